"""Which of a file's tracks feeds which track of a roll, and presets of one's own."""

import pytest
import torch

from musegan.data.dataset import PackedDataset
from musegan.data.preparation import Rules, prepare
from musegan.data.tracks import FAMILIES, PRESETS, Feed, Preset, assign, family, load_preset
from musegan.errors import UserError
from musegan.roll import PRESETS as TRACKS
from musegan.roll import RollSpec, Track
from tests.data.songs import midi

LPD5 = [
    (range(0, 24), "piano"),
    (range(24, 32), "guitar"),
    (range(32, 40), "bass"),
    (range(40, 96), "strings"),
    (range(96, 128), None),
]


def song(*tracks):
    return [Track("", program, is_drum) for program, is_drum in tracks]


def fed(tracks, *feeds, drums=False):
    """The number of the feed, from 0, that takes each track."""
    spec = RollSpec(tuple(Track(str(k), is_drum=drums) for k in range(len(feeds))))
    return assign(tracks, Preset(spec, feeds))


@pytest.mark.parametrize("program", range(128))
def test_lpd5_programs(program):
    wanted = next(name for programs, name in LPD5 if program in programs)
    (place,) = assign(song((program, False)), PRESETS["lpd5"])
    assert (None if place is None else TRACKS["lpd5"][place].name) == wanted


def test_lpd5_drums_by_channel_whatever_the_program():
    assert assign(song((33, True), (0, False), (0, True)), PRESETS["lpd5"]) == [0, 1, 0]


def test_satb_takes_the_first_four_pitched_tracks_in_order():
    tracks = song((0, True), (73, False), (71, False), (60, False), (70, False), (48, False))
    assert assign(tracks, PRESETS["satb"]) == [None, 0, 1, 2, 3, None]


def test_drums_alone():
    assert assign(song((0, False), (33, True), (25, False), (0, True)), PRESETS["drums"]) == [None, 0, None, 0]


def test_presets_are_those_of_the_vocabulary():
    assert {name: PRESETS[name].spec.tracks for name in TRACKS} == TRACKS
    assert [family(track) for track in song((0, True), (0, False), (127, False))] == ["drums", "piano", FAMILIES[-1]]


def test_a_feed_by_families_and_programs_takes_either():
    tracks = song((0, False), (7, False), (8, False), (33, False), (80, False))
    assert fed(tracks, Feed(families=("piano",), programs=(80, 33))) == [0, 0, None, 0, 0]


def test_a_feed_by_names_goes_by_the_pattern_whatever_the_case():
    tracks = [Track(name) for name in ("Lead Melody", "MELODY", "mel", "", "Bass 2")]
    assert fed(tracks, Feed(names=("*melody*", "bass ?"))) == [0, 0, None, None, 0]


def test_a_feed_by_order_counts_pitched_tracks_and_drum_tracks_apart():
    tracks = song((0, True), (5, False), (0, True), (6, False), (7, False))
    assert fed(tracks, Feed(order=2)) == [None, None, None, 0, None]
    assert fed(tracks, Feed(order=2), drums=True) == [None, None, 0, None, None]


def test_a_track_must_be_all_of_what_is_given():
    tracks = [Track("solo", 24), Track("solo", 0), Track("rhythm", 24), Track("solo", 25)]
    assert fed(tracks, Feed(families=("guitar",), names=("solo",))) == [0, None, None, 0]
    assert fed(tracks, Feed(families=("guitar",), names=("solo",), order=4)) == [None, None, None, 0]


def test_the_first_feed_that_takes_a_track_has_it():
    tracks = [Track("tune", 0), Track("", 0), Track("tune", 40)]
    assert fed(tracks, Feed(names=("tune",)), Feed(families=("piano",)), Feed()) == [0, 1, 0]
    assert fed(tracks, Feed(), Feed(names=("tune",))) == [0, 0, 0]


def test_drums_feed_drums_alone_and_pitched_tracks_never():
    spec = RollSpec((Track("kit", is_drum=True), Track("all")))
    tracks = song((0, True), (0, False), (117, False), (117, True))
    assert assign(tracks, Preset(spec, (Feed(), Feed()))) == [0, 1, 1, 0]
    assert assign(tracks, Preset(spec, (Feed(families=("piano",)), Feed(families=("piano",))))) == [0, 1, None, 0]


@pytest.mark.parametrize(
    "values, message",
    [
        ({"families": ("pianos",)}, "no family of General MIDI 'pianos': there are piano, "),
        ({"programs": (128,)}, "programs must be 0 to 127: got 128"),
        ({"order": 0}, "order must be at least 1: got 0"),
    ],
)
def test_a_feed_of_nothing_that_is_there(values, message):
    with pytest.raises(UserError, match=message):
        Feed(**values)


def test_each_track_has_a_feed():
    with pytest.raises(UserError, match="one feed for each track: got 1 for 5 tracks"):
        Preset(RollSpec(TRACKS["lpd5"]), (Feed(),))


def loaded(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    return load_preset(tmp_path / "mine.yaml")


def test_a_preset_of_ones_own(tmp_path):
    preset = loaded(
        tmp_path,
        """
beats_per_bar: 6
beat_unit: 8
steps_per_beat: 2
lowest_pitch: 0
n_pitches: 128
tracks:
- {name: kit, is_drum: true}
- name: tune
  program: 73
  from: {names: ["*melody*", lead], order: 1}
- name: low
  from:
    families: bass
    programs: [43, 58]
""",
    )
    assert preset.spec == RollSpec((Track("kit", is_drum=True), Track("tune", 73), Track("low")), 2, 6, 0, 128, 8)
    low = Feed(families=("bass",), programs=(43, 58))
    assert preset.feeds == (Feed(), Feed(names=("*melody*", "lead"), order=1), low)


@pytest.mark.parametrize(
    "metre, steps_per_bar, quarters",
    [
        ("beats_per_bar: 3", 12, 3),
        ("{beats_per_bar: 6, beat_unit: 8}", 24, 3),
        ("{beats_per_bar: 7, beat_unit: 8, steps_per_beat: 6}", 42, 3.5),
        ("{beats_per_bar: 2, beat_unit: 2}", 8, 4),
        ("{beats_per_bar: 5, beat_unit: 16, steps_per_beat: 1}", 5, 1.25),
    ],
)
@pytest.mark.parametrize("n_tracks", [1, 3, 7])
@pytest.mark.parametrize("lowest, n_pitches", [(0, 128), (127, 1), (36, 49)])
def test_any_metre_number_of_tracks_and_pitch_range(tmp_path, metre, steps_per_bar, quarters, n_tracks, lowest, n_pitches):
    inner = metre.strip("{}").replace(", ", "\n")
    names = ", ".join(f"{{name: t{k}}}" for k in range(n_tracks))
    spec = loaded(tmp_path, f"{inner}\nlowest_pitch: {lowest}\nn_pitches: {n_pitches}\ntracks: [{names}]\n").spec
    assert (spec.steps_per_bar, spec.quarters_per_bar, spec.n_tracks) == (steps_per_bar, quarters, n_tracks)
    assert (spec.lowest_pitch, spec.n_pitches) == (lowest, n_pitches)


MISTAKES = {
    "an unknown key": ("beat_per_bar: 3\ntracks: [{name: a}]",
                       "the preset has no key 'beat_per_bar': did you mean 'beats_per_bar'"),
    "a key like no other": ("xyz: 3\ntracks: [{name: a}]", "the preset has no key 'xyz': there are steps_per_beat, "),
    "a key that is a number": ("7: 3\ntracks: [{name: a}]", "the preset has no key 7: there are "),
    "an unknown key of a track": ("tracks: [{name: a, prograM: 3}]", "a track has no key 'prograM': did you mean 'program'"),
    "an unknown key of from": ("tracks: [{name: a, from: {family: bass}}]",
                               "`from` of track 'a' has no key 'family': did you mean 'families'"),
    "no tracks": ("beats_per_bar: 3", "tracks must be a list, with a name in each"),
    "no track": ("tracks: []", "tracks must not be empty"),
    "tracks that are no list": ("tracks: {name: a}", "tracks must be a list, with a name in each"),
    "a track that is a text": ("tracks: [piano]", "a track must be keys and values: got 'piano'"),
    "a track without name": ("tracks: [{program: 3}]", "a track has no name: got {'program': 3}"),
    "a name that is a number": ("tracks: [{name: 3}]", "a track's name must be text: got 3"),
    "one name twice": ("tracks: [{name: a}, {name: a}]", "track names must differ"),
    "a text for a number": ("beats_per_bar: three\ntracks: [{name: a}]",
                            "beats_per_bar must be a whole number: got 'three'"),
    "a fraction for a number": ("beats_per_bar: 3.5\ntracks: [{name: a}]", "beats_per_bar must be a whole number: got 3.5"),
    "yes for a number": ("beats_per_bar: yes\ntracks: [{name: a}]", "beats_per_bar must be a whole number: got True"),
    "a program that is a name": ("tracks: [{name: a, program: flute}]", "track 'a': program must be a number: got 'flute'"),
    "a program too high": ("tracks: [{name: a, program: 128}]", "program must be 0 to 127: got 128 for track 'a'"),
    "drums by number": ("tracks: [{name: a, is_drum: 1}]", "track 'a': is_drum must be true or false: got 1"),
    "from a name": ("tracks: [{name: a, from: bass}]", "`from` of track 'a' must be keys and values: got 'bass'"),
    "a bad family": ("tracks: [{name: a, from: {families: [horns]}}]",
                     "no family of General MIDI 'horns': there are piano, "),
    "families by number": ("tracks: [{name: a, from: {families: [3]}}]", "track 'a': families must be texts: got [3]"),
    "programs by name": ("tracks: [{name: a, from: {programs: [flute]}}]",
                         "track 'a': programs must be numbers: got ['flute']"),
    "from a program too high": ("tracks: [{name: a, from: {programs: 200}}]", "programs must be 0 to 127: got 200"),
    "order by name": ("tracks: [{name: a, from: {order: first}}]", "track 'a': order must be a number: got 'first'"),
    "order 0": ("tracks: [{name: a, from: {order: 0}}]", "order must be at least 1: got 0"),
    "a range that is too wide": ("n_pitches: 129\nlowest_pitch: 0\ntracks: [{name: a}]", "must stay within MIDI's 0 to 127"),
    "a beat that is none": ("beat_unit: 3\ntracks: [{name: a}]", "beat_unit must be a power of two"),
    "nothing": ("", "the preset must be keys and values: got None"),
    "a list": ("- a\n- b", "the preset must be keys and values: got ['a', 'b']"),
    "no YAML": ("tracks: [", "is not YAML: "),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_preset_is_told_in_one_line(tmp_path, mistake):
    text, message = MISTAKES[mistake]
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, text)
    said = str(caught.value)
    assert message in said and said.startswith(str(tmp_path / "mine.yaml")) and "\n" not in said


def test_a_preset_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="cannot read .*nowhere.yaml: No such file"):
        load_preset(tmp_path / "nowhere.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(UserError, match="bytes.yaml is not YAML"):
        load_preset(tmp_path / "bytes.yaml")


def test_a_file_in_six_eight_by_a_preset_of_ones_own(tmp_path):
    """Two bars of 6/8, one of 4/4, one of 6/8; eighths of a tune on each, drums on the two main beats, chords unused."""
    preset = loaded(
        tmp_path,
        "{beats_per_bar: 6, beat_unit: 8, steps_per_beat: 2, lowest_pitch: 60, n_pitches: 24, tracks: ["
        "{name: tune, from: {names: [Melody]}}, {name: kit, is_drum: true}, {name: low, from: {families: [bass]}}]}",
    )
    eighths = [(i * 240, 240, 60 + i % 12) for i in range(6 + 6 + 8 + 6)]
    beats = [(tick, 10, 62) for tick in (0, 720, 1440, 2160, 4800, 5520)]
    tracks = [(0, False, eighths), (0, False, [(0, 6240, 72)]), (0, True, beats),
              (33, False, [(240, 480, 40), (4800, 480, 60)])]
    signatures = ((0, 6, 8), (2880, 4, 4), (4800, 6, 8))
    file = midi(tracks, signatures=signatures, names=("MELODY", "chords"))
    (tmp_path / "song.mid").write_bytes(file)
    report = prepare([tmp_path / "song.mid"], tmp_path / "set", Rules(preset))
    assert report.pieces == {"song.mid": 3} and report.dropped_notes == {"piano": 1} and report.n_out_of_range == 1
    assert report.rejected_bars == [("song.mid", "4 quarter notes in a bar, not 3", 3, 3)]
    assert report.sounding_bars == {"tune": 3, "kit": 3, "low": 1}
    dataset = PackedDataset.open(tmp_path / "set")
    assert dataset.spec == preset.spec and dataset.phrase_starts(2).tolist() == [0]
    roll = dataset.roll(torch.arange(3), 1)
    assert roll.onset.shape == (3, 3, 1, 12, 24)
    tune = roll.onset[:, 0].flatten(0, 2).nonzero().tolist()
    assert tune == [[2 * i, pitch % 12] for i, pitch in enumerate([*range(12), *range(20, 26)])]
    assert roll.onset[:, 1].flatten(0, 2).nonzero().tolist() == [[step, 2] for step in (0, 6, 12, 18, 24, 30)]
    assert roll.frame[:, 2].flatten(0, 2).nonzero().tolist() == [[step, 0] for step in range(24, 28)]
