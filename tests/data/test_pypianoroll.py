"""`read_midi` against `pypianoroll.read`: equal, but for the differences here; each has a file that shows it.

`docs/reading-midi.md` counts them in whole sets (`python -m benchmarks.data.reading FOLDER`).
"""

import io
import warnings

import numpy as np
import pypianoroll
import pytest
from pretty_midi import PrettyMIDI

from benchmarks.data import reading
from musegan.data.events import SongError
from musegan.data.midi import read_midi
from musegan.resources import dataset_path
from tests.data.smf import FOUR_FOUR, chunk, midi_file, name, note, off, on, program, signature, tempo

END = note(3840, 3900, 30)    # two bars on: pypianoroll fails where there is one beat only


def theirs(file: bytes, resolution: int = 24) -> pypianoroll.Multitrack:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pypianoroll.from_pretty_midi(PrettyMIDI(io.BytesIO(file)), resolution=resolution)


def one_track(*events, ticks_per_quarter=480) -> bytes:
    return midi_file(chunk([FOUR_FOUR, *events, *END]), ticks_per_quarter=ticks_per_quarter)


def runs(multitrack, pitch, track=0):
    """Steps in which a pitch sounds, half-open."""
    edges = np.flatnonzero(np.diff(multitrack.tracks[track].pianoroll[:, pitch] > 0, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist()))


def both(file: bytes, pitch: int):
    return runs(read_midi(file, 24), pitch), runs(theirs(file), pitch)


def downbeats(multitrack):
    return np.flatnonzero(multitrack.downbeat).tolist()


def kinds(multitrack):
    return [(track.name, track.program, track.is_drum) for track in multitrack.tracks]


# Equal.


@pytest.mark.filterwarnings("ignore:Tempo, Key or Time:RuntimeWarning")
@pytest.mark.parametrize("song", ["phase1-e1m3", "phase1-e2m7", "phase1-inter", "phase2-messg2", "phase2-romero"])
def test_songs_outside_the_differences_are_equal(song):
    path = dataset_path("freedoom") / f"{song}.mid"
    ours, other = read_midi(path, 24), pypianoroll.read(path)
    assert kinds(ours) == kinds(other)
    for mine, track in zip(ours.tracks, other.tracks):
        n_steps = max(len(mine), len(track))
        padded = (np.pad(t.pianoroll, ((0, n_steps - len(t)), (0, 0))) for t in (mine, track))
        assert np.array_equal(*padded)


@pytest.mark.parametrize("song", ["phase1-e1m2", "phase1-e2m9", "phase1-e3m7", "phase2-countd", "phase2-shawn2"])
def test_what_differs_in_other_songs_is_explained(song):
    difference = reading.compare(dataset_path("freedoom") / f"{song}.mid")
    assert difference.cells.total() > 0 and difference.cells["unexplained"] == 0
    assert difference.facts["tracks"] == 0


RUNNING_STATUS = [(0, on(60)), (240, b"\x3c\0"), (240, b"\x3e\x50"), (480, b"\x3e\0")]
SEVERAL = [FOUR_FOUR, (0, program(33, 1)), *note(0, 480, 60), *note(0, 480, 40, channel=1), *note(0, 60, 36, channel=9)]
NAMED = [chunk([(0, name(text)), *note(0, 480, 60), *END]) for text in (b"a", b"b")]


@pytest.mark.parametrize(
    "file",
    {
        "running status, velocity 0 ends a note": one_track(*RUNNING_STATUS),
        "type 0": midi_file(chunk(SEVERAL + END), kind=0),
        "channel 10 is drums, one step long": one_track(*note(0, 960, 38, channel=9)),
        "struck again as it ends": one_track(*note(0, 480, 60), *note(480, 960, 60, 70)),
        "struck again as it ends, the end last": one_track(
            (0, on(60)), (480, on(60, 70)), (480, off(60)), (960, off(60))
        ),
        "two chunks on one channel and program": midi_file(chunk([FOUR_FOUR]), *NAMED),
        "a program change between notes": one_track(
            (0, program(5)), *note(0, 480, 60), (480, program(30)), *note(480, 960, 60)
        ),
        "two names": one_track((0, name(b"first")), (0, name(b"second")), *note(0, 480, 60)),
        "a name with a zero": one_track((0, name(b"bass\0")), *note(0, 480, 60)),
        "a note without end": one_track((0, on(60)), *note(480, 960, 62)),
        "an end without note": one_track((0, off(60)), *note(480, 960, 62)),
        "the program of a channel, given in another chunk": midi_file(
            chunk([FOUR_FOUR, (0, program(33))]), chunk([*note(0, 480, 60), *END])
        ),
        "type 2": midi_file(chunk([FOUR_FOUR, *note(0, 480, 60)]), chunk([*note(0, 480, 62), *END]), kind=2),
        "drums in the next step": one_track(*note(0, 10, 38, channel=9), *note(20, 30, 38, 70, channel=9)),
    }.items(),
    ids=lambda item: item[0],
)
def test_equal(file):
    ours, other = read_midi(file[1], 24), theirs(file[1])
    assert sorted(kinds(ours)) == sorted(kinds(other))
    for mine, track in zip(*(sorted(m.tracks, key=lambda t: (t.is_drum, t.program, t.name)) for m in (ours, other))):
        n_steps = min(len(mine), len(track))
        assert np.array_equal(mine.pianoroll[:n_steps], track.pianoroll[:n_steps])
        assert not mine.pianoroll[n_steps:].any() and not track.pianoroll[n_steps:].any()


# Cells.


def test_onset_half_way():
    """Ours is right: half-way goes up, so notes a step apart stay a step apart. pypianoroll's go to the even step."""
    file = one_track(*(event for tick in (10, 30, 50, 70) for event in note(tick, tick + 100, 40 + tick)))
    starts = [[steps[0][0] for steps in both(file, 40 + tick)] for tick in (10, 30, 50, 70)]
    assert starts == [[1, 0], [2, 2], [3, 2], [4, 4]]


def test_note_end_between_steps():
    """Ours is right: the nearest step. pypianoroll cuts ends down, so a note is half a step short on average."""
    assert both(one_track(*note(0, 59, 60)), 60) == ([(0, 3)], [(0, 2)])


def test_note_end_on_a_step():
    """Ours is right: ticks are integers. pypianoroll goes by seconds, whose rounding error is cut down to a step."""
    assert both(one_track((0, tempo(97)), *note(0, 140, 60)), 60) == ([(0, 7)], [(0, 6)])


def test_short_note():
    """Ours is right: a note lasts a step at least. Where its onset is rounded up past its end, pypianoroll loses it."""
    assert both(one_track(*note(12, 19, 60)), 60) == ([(1, 2)], [])
    # The gap before it stays.
    assert both(one_track(*note(0, 480, 60), *note(485, 499, 60)), 60) == ([(0, 23), (24, 25)], [(0, 23)])


def test_note_without_length():
    """Ours is right: an electronic drum may end its hits in the tick in which they start. pretty_midi drops them."""
    assert both(one_track(*note(480, 480, 60)), 60) == ([(24, 25)], [])
    ours, other = (read(one_track(*note(480, 480, 38, channel=9)), 24) for read in (read_midi, theirs))
    assert runs(ours, 38, track=1) == [(24, 25)] and len(other.tracks) == 1


def test_two_notes_of_one_pitch_that_overlap():
    """Ours is right: each release ends the note struck first. For pypianoroll the first release ends them all."""
    file = one_track((0, on(60)), (480, on(60)), (600, off(60)), (960, off(60)))
    assert both(file, 60) == ([(0, 23), (24, 48)], [(0, 23), (24, 30)])


def test_two_strikes_and_one_release():
    """pypianoroll is right: both sound until the release. symusic leaves out the one whose release is missing."""
    file = one_track((0, on(60)), (480, on(60)), (960, off(60)))
    assert both(file, 60) == ([(0, 48)], [(0, 23), (24, 48)])


def test_velocities_of_overlapping_notes():
    """Ours is right: the louder of two that start together. pypianoroll adds modulo 256: three notes make silence."""
    file = one_track(*note(0, 960, 60, 100), *note(0, 960, 60, 100), *note(0, 960, 60, 56))
    ours, other = read_midi(file, 24), theirs(file)
    assert set(ours.tracks[0].pianoroll[:48, 60]) == {100} and set(other.tracks[0].pianoroll[:48, 60]) == {0}
    twice = theirs(one_track(*note(0, 960, 60, 100), *note(0, 960, 60, 100)))
    assert twice.tracks[0].pianoroll[0, 60] == 200    # no velocity of MIDI


# Where the beats are.


def test_no_signature():
    """Ours is right: MIDI's default is 4/4 from tick 0. pypianoroll guesses a first beat and drops what ends before."""
    events = [event for beat in range(16) for event in note(240 + 480 * beat, 440 + 480 * beat, 60 + beat)]
    ours, other = (read(midi_file(chunk(events)), 24) for read in (read_midi, theirs))
    assert runs(ours, 60) == [(12, 22)] and runs(other, 60) == [(0, 10)]
    assert downbeats(ours) == [0, 96, 192, 288] and other.downbeat is None


def test_late_signature():
    """Ours is right: music before it counts. pypianoroll starts at the first signature and drops what ends before."""
    file = midi_file(chunk([*note(0, 480, 60), (960, signature(4, 4)), *note(960, 1440, 62), *END]))
    assert both(file, 60) == ([(0, 24)], [])
    assert both(file, 62) == ([(48, 72)], [(0, 24)])


@pytest.mark.parametrize(("metre", "quarters"), [((6, 8), 1.5), ((2, 2), 2.0), ((3, 8), 0.5)])
def test_beats_that_are_no_quarter_notes(metre, quarters):
    """Ours is right: `Multitrack.resolution` is steps in a quarter note. pypianoroll divides the beat of the metre."""
    file = midi_file(chunk([(0, signature(*metre)), *note(0, 2880, 60), *END]))
    assert both(file, 60) == ([(0, 144)], [(0, round(144 / quarters))])
    assert read_midi(file, 24).tempo[0] == 120 and theirs(file).tempo[0, 0] == pytest.approx(120 / quarters)


def test_signature_inside_a_beat():
    """Ours is right: all steps are equal. pypianoroll puts the steps of a beat into what is left of it."""
    file = midi_file(chunk([FOUR_FOUR, *note(0, 480, 60), (720, signature(4, 4)), *note(720, 1200, 62), *END]))
    assert both(file, 62) == ([(36, 60)], [(48, 72)])
    assert downbeats(read_midi(file, 24)) == [0, 36, 132]


def test_tempo_change_inside_a_beat():
    """Ours is right: steps are equal in notes, as on paper. pypianoroll's are equal in seconds within a beat."""
    file = one_track(*note(0, 240, 60), (240, tempo(60)), *note(240, 480, 62))
    assert both(file, 60) == ([(0, 12)], [(0, 8)])
    assert both(file, 62) == ([(12, 24)], [(8, 24)])


# Bars, tempo, length.


def test_downbeats():
    """Ours is right. pypianoroll marks none after the last signature, and so only step 0 where there is one."""
    waltz = midi_file(chunk([(0, signature(3, 4)), *note(0, 5760, 60)]))
    assert downbeats(read_midi(waltz, 24)) == [0, 72, 144, 216] and downbeats(theirs(waltz)) == [0]
    two = midi_file(chunk([(0, signature(3, 4)), (2880, signature(4, 4)), *note(0, 6720, 60)]))
    assert downbeats(read_midi(two, 24)) == [0, 72, 144, 240] and downbeats(theirs(two)) == [0, 72]


def test_downbeats_of_six_eighths():
    """Ours is right. pypianoroll counts six beats of three eighths in a bar."""
    file = midi_file(chunk([(0, signature(6, 8)), (8640, signature(4, 4)), *note(0, 10560, 60)]))
    assert downbeats(read_midi(file, 24)) == [0, 72, 144, 216, 288, 360, 432]
    assert downbeats(theirs(file)) == [0, 144] and theirs(file).resolution == 24    # bars of 144 steps


def test_tempo_and_signature_of_another_track():
    """Ours is right to read them: files have them there. pretty_midi reads the first track's only."""
    file = midi_file(chunk([(0, name(b"song"))]), chunk([(0, tempo(60)), (0, signature(3, 4)), *note(0, 2880, 60)]))
    ours, other = read_midi(file, 24), theirs(file)
    assert ours.tempo[0] == pytest.approx(60) and other.tempo[0, 0] == 120
    assert downbeats(ours) == [0, 72] and other.downbeat is None


def test_tempo_changes():
    """Ours is right: a tempo for each step. pypianoroll repeats the beats' tempos 24 times, one after the other."""
    file = one_track(*note(0, 1920, 60), (1920, tempo(60)), *note(1920, 3840, 60))
    ours, other = read_midi(file, 24), theirs(file)
    assert ours.tempo[::24].round().tolist() == [120] * 4 + [60] * 8
    n_beats = len(other.tempo) // 24
    assert other.tempo[:n_beats, 0].round().tolist() == [120] * 4 + [60] * (n_beats - 4)


def test_tempo_that_changes_inside_a_beat():
    """Both are: ours the tempo at each step, pypianoroll's the mean of the beat."""
    file = one_track(*note(0, 480, 60), (240, tempo(60)))
    assert read_midi(file, 24).tempo[[0, 11, 12]].round().tolist() == [120, 120, 60]
    assert theirs(file).tempo[0, 0] == pytest.approx(80)


def test_length():
    """A choice: ours ends with a bar, pypianoroll's with the beat of the last event."""
    file = midi_file(chunk([FOUR_FOUR, *note(0, 480, 60), *note(960, 1000, 60)]))
    assert len(read_midi(file, 24).tempo) == 96 and len(theirs(file).tempo) == 72


# Tracks.


def test_program_change_while_a_note_sounds():
    """Ours is right: a note has the program with which it was struck. pretty_midi's has that of its release."""
    file = one_track((0, program(5)), (0, on(60)), (240, program(30)), (480, off(60)), (480, program(5)))
    assert [kind[1] for kind in kinds(read_midi(file, 24))] == [5]
    assert [kind[1] for kind in kinds(theirs(file))] == [30, 5]


def test_order_of_the_channels_of_one_track():
    """A choice: ours by channel and program, pretty_midi's by the first release."""
    file = midi_file(chunk([FOUR_FOUR, (0, program(7, 1)), *note(0, 960, 60), *note(0, 480, 60, channel=1), *END]), kind=0)
    assert [kind[1] for kind in kinds(read_midi(file, 24))] == [0, 7]
    assert [kind[1] for kind in kinds(theirs(file))] == [7, 0]


def test_names_beyond_ascii():
    """Each is right about one encoding, and MIDI names none: ours reads UTF-8, pretty_midi Latin-1."""
    utf8, latin1 = (one_track((0, name("Flûte".encode(code))), *note(0, 480, 60)) for code in ("utf-8", "latin-1"))
    assert [kinds(read(utf8, 24))[0][0] for read in (read_midi, theirs)] == ["Flûte", "FlÃ»te"]
    assert [kinds(read(latin1, 24))[0][0] for read in (read_midi, theirs)] == ["Fl\ufffdte", "Flûte"]


def test_name_after_the_first_note():
    """Ours is right: the name of a track is its name wherever it stands. pretty_midi takes those before a release."""
    file = one_track(*note(0, 480, 60), (960, name(b"late")))
    assert [kinds(read(file, 24))[0][0] for read in (read_midi, theirs)] == ["late", ""]


# Files that one of them refuses.


@pytest.mark.parametrize(
    ("file", "error"),
    [
        (midi_file(chunk([FOUR_FOUR, *note(0, 400, 60)])), IndexError),
        (one_track(*note(0, 480, 60)).replace(b"\0\1\0\1", b"\0\1\0\3", 1), EOFError),
        (midi_file(b"XFIH\0\0\0\2ab", chunk([FOUR_FOUR, *note(0, 480, 60), *END])), OSError),
        (one_track(*note(0, 480, 60), *note(10_500_000, 10_500_480, 60), ticks_per_quarter=960), ValueError),
    ],
    ids=["one beat", "fewer tracks than announced", "a chunk of another kind", "eleven million ticks"],
)
def test_files_that_only_we_read(file, error):
    """Ours is right: nothing is wrong with their music."""
    assert runs(read_midi(file, 24), 60)[0][0] == 0
    with pytest.raises(error):
        theirs(file)


@pytest.mark.parametrize(
    "file",
    [
        one_track(*note(0, 480, 60))[:-6],
        one_track((0, b"\x90\x3c\xc8"), (480, off(60))),
        midi_file(chunk([FOUR_FOUR, *note(0, 480, 60)]), ticks_per_quarter=0xE728),
    ],
    ids=["cut off", "velocity 200", "ticks in a second"],
)
def test_files_that_both_refuse(file):
    with pytest.raises(SongError, match="damaged MIDI"):
        read_midi(file, 24)
    with pytest.raises((EOFError, OSError, ValueError)):
        theirs(file)
