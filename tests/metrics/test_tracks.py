"""What single tracks do: each metric against a loop written from its definition, and what it means in music."""

import inspect
import math

import pytest
import torch

from musegan.metrics import tracks
from musegan.metrics.music import Music, Tally
from musegan.ops import pack
from musegan.roll import RollSpec
from tests.metrics.examples import DRUMS, PIANO, SPECS, drawn, music_of, random_music, random_voices

SPEC = RollSpec((DRUMS, PIANO))    # 4/4, 16 steps a bar, C1 to B7
C4 = 60
KICK, SNARE, HAT = 36, 38, 42

METRICS = {name: f for name, f in inspect.getmembers(tracks, inspect.isfunction) if f.__module__ == tracks.__name__
           and inspect.signature(f).return_annotation == "Tally" and not name.startswith("_")}
JOINT = {"joint_scale_consistency", "joint_pitch_class_entropy"}    # one column
DRUMS_ONLY = {"drum_pattern_rate", "kick_on_first_beat", "snare_on_even_beats"}
NO_DRUMS = {"used_pitch_classes", "note_length", "qualified_note_rate", "mean_pitch", "pitch_range", "scale_consistency",
            "pitch_class_entropy"} | JOINT
ANY_BAR = {"empty_bar_rate", "note_density", "polyphonic_rate"}    # have a value in silence too
DIVISIONS = {"lpd5": 2, "twelve steps a beat": 4, "24 steps a beat": 4, "3/4": 2, "6/8": 2, "7/8, a step each": 1,
             "12 pitches from an odd one": 2, "a step a beat": 1, "all MIDI": 2}


# Loops from the definitions: of one voice, what its phrase adds to total and count.

def sounding_bars(voice):
    return [bar for bar in voice.bars if any(any(step) for step in bar)]


def loop_empty_bar_rate(voice):
    return len(voice.bars) - len(sounding_bars(voice)), len(voice.bars)


def loop_used_pitches(voice):
    total = 0
    for bar in sounding_bars(voice):
        for p in range(voice.spec.n_pitches):
            if any(step[p] for step in bar):
                total += 1
    return total, len(sounding_bars(voice))


def loop_used_pitch_classes(voice):
    total = 0
    for bar in sounding_bars(voice):
        classes = set()
        for step in bar:
            for p in range(voice.spec.n_pitches):
                if step[p]:
                    classes.add((p + voice.spec.lowest_pitch) % 12)
        total += len(classes)
    return total, len(sounding_bars(voice))


def loop_notes_per_bar(voice):
    return len(voice.notes), len(sounding_bars(voice))


def loop_note_density(voice):
    return len(voice.notes), len(voice.bars) * voice.spec.beats_per_bar


def loop_note_length(voice):
    return sum((end - start) / voice.spec.steps_per_beat for _, start, end in voice.notes), len(voice.notes)


def loop_qualified_note_rate(voice):
    total = 0
    for _, start, end in voice.notes:
        # At least a 32nd, an eighth of a quarter note; and one step is too short on any grid.
        if 8 * (end - start) >= voice.spec.steps_per_quarter and end - start > 1:
            total += 1
    return total, len(voice.notes)


def loop_polyphonic_rate(voice):
    return sum(sum(step) >= 2 for step in voice.frame), len(voice.frame)


def loop_polyphony(voice):
    return sum(sum(step) for step in voice.frame), sum(any(step) for step in voice.frame)


def loop_mean_pitch(voice):
    return sum(pitch for pitch, _, _ in voice.notes), len(voice.notes)


def loop_pitch_range(voice):
    pitches = [pitch for pitch, _, _ in voice.notes]
    return (max(pitches) - min(pitches), 1) if pitches else (0, 0)


def loop_scale_consistency(*voices):
    classes = [pitch % 12 for voice in voices if not voice.is_drum for pitch, _, _ in voice.notes]
    best = 0
    for tonic in range(12):
        scale, note = [], tonic
        for interval in (2, 2, 1, 2, 2, 2, 1):
            scale.append(note % 12)
            note += interval
        best = max(best, sum(c in scale for c in classes))
    return best, len(classes)


def loop_pitch_class_entropy(*voices):
    classes = [pitch % 12 for voice in voices if not voice.is_drum for pitch, _, _ in voice.notes]
    entropy = 0.0
    for c in set(classes):
        share = classes.count(c) / len(classes)
        entropy -= share * math.log2(share)
    return entropy, int(bool(classes))


loop_joint_scale_consistency = loop_scale_consistency
loop_joint_pitch_class_entropy = loop_pitch_class_entropy


def loop_drum_pattern_rate(voice, divisions):
    total = 0
    for _, start, _ in voice.notes:
        quarters = start % voice.spec.steps_per_bar / voice.spec.steps_per_quarter    # in the bar
        if (quarters * divisions).is_integer():
            total += 1
    return total, len(voice.notes)


def loop_kick_on_first_beat(voice):
    firsts = {start for pitch, start, _ in voice.notes if pitch in (35, 36)}
    return sum(bar * voice.spec.steps_per_bar in firsts for bar in range(len(voice.bars))), len(sounding_bars(voice))


def loop_snare_on_even_beats(voice):
    snares = {start for pitch, start, _ in voice.notes if pitch in (38, 40)}
    total = count = 0
    for index, bar in enumerate(voice.bars):
        if not any(any(step) for step in bar):
            continue
        for beat in range(2, voice.spec.beats_per_bar + 1, 2):
            total += index * voice.spec.steps_per_bar + (beat - 1) * voice.spec.steps_per_beat in snares
            count += 1
    return total, count


def looped(name, grid, phrases):
    """The tally of a metric as its loop has it, of voices [N][K]."""
    loop = globals()[f"loop_{name}"]
    extra = (DIVISIONS[grid],) if name == "drum_pattern_rate" else ()
    rows = []
    for phrase in phrases:
        if name in JOINT:
            rows.append([loop(*phrase)])
            continue
        applies = [voice.is_drum if name in DRUMS_ONLY else not (voice.is_drum and name in NO_DRUMS) for voice in phrase]
        rows.append([loop(voice, *extra) if applied else (0, 0) for voice, applied in zip(phrase, applies)])
    return Tally(*torch.tensor(rows, dtype=torch.float64).unbind(-1))


@pytest.mark.parametrize("grid", SPECS)
@pytest.mark.parametrize("name", METRICS)
def test_each_phrase_adds_what_a_loop_counts(name, grid):
    ours, theirs = METRICS[name](random_music(grid)[1]), looped(name, grid, random_voices(grid))
    assert ours.total.dtype == ours.count.dtype == torch.float32
    assert torch.equal(ours.count.double(), theirs.count)
    torch.testing.assert_close(ours.total.double(), theirs.total, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", METRICS)
def test_a_loop_sees_what_differs_between_phrases(name):
    """Or the comparison above would prove little."""
    tally = looped(name, "lpd5", random_voices("lpd5"))
    assert len(tally.total.sum(1).unique()) >= 2 and (tally.total != tally.count).any()


@pytest.mark.parametrize("name", METRICS)
def test_packed_rolls_give_the_same(name):
    roll, music = random_music("6/8")
    for a, b in zip(METRICS[name](music), METRICS[name](Music(roll.map(pack), music.spec))):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", METRICS)
def test_a_phrase_counts_the_same_in_any_company(name):
    roll, music = random_music("lpd5")
    whole = METRICS[name](music)
    for i in range(music.n):
        alone = METRICS[name](Music(roll.map(lambda plane: plane[i : i + 1]), music.spec))
        assert torch.equal(alone.total[0], whole.total[i]) and torch.equal(alone.count[0], whole.count[i])


@pytest.mark.parametrize("name", METRICS)
def test_silence_has_no_value_but_where_it_is_what_is_measured(name):
    value = METRICS[name](music_of(SPEC)).value()
    if name in JOINT:
        assert value.isnan().tolist() == [True]
    elif name in ANY_BAR:
        assert value.tolist() == [1.0 if name == "empty_bar_rate" else 0.0] * 2
    else:
        assert value.isnan().all()


@pytest.mark.parametrize("name", METRICS)
def test_no_phrase_has_no_value(name):
    tally = METRICS[name](Music(drawn(SPEC, n=0), SPEC))
    assert tally.total.shape == (0, 1 if name in JOINT else 2)
    assert tally.value().isnan().all()


@pytest.mark.parametrize("name", METRICS)
def test_drums_and_pitched_tracks_have_what_applies_to_them(name):
    value = METRICS[name](music_of(SPEC, (0, KICK, 0, 1), (1, C4, 0, 4))).value()
    if name not in JOINT:
        assert value.isnan().tolist() == [name in NO_DRUMS, name in DRUMS_ONLY]


@pytest.mark.parametrize("name", sorted(set(METRICS) - DRUMS_ONLY - {"mean_pitch"}))
@pytest.mark.parametrize("semitones", [-7, 1, 12])
def test_transposition_changes_nothing(name, semitones):
    """Not even used pitches or entropy: it is the same music in another key."""
    notes = [(1, C4, 0, 4), (1, C4 + 4, 0, 2), (1, C4 + 12, 8, 20), (1, C4 + 7, 20, 21), (1, C4 + 4, 3, 8)]
    moved = [(track, pitch + semitones, start, end) for track, pitch, start, end in notes]
    a, b = METRICS[name](music_of(SPEC, *notes)), METRICS[name](music_of(SPEC, *moved))
    assert torch.equal(a.total, b.total) and torch.equal(a.count, b.count)


def test_the_mean_pitch_is_of_notes_however_long_and_moves_with_them():
    notes = [(1, C4, 0, 16), (1, C4 + 12, 16, 17), (1, C4 + 12, 20, 21), (0, KICK, 0, 1)]
    assert tracks.mean_pitch(music_of(SPEC, *notes)).value()[1] == C4 + 8
    up = [(track, pitch + 5 * track, start, end) for track, pitch, start, end in notes]
    assert tracks.mean_pitch(music_of(SPEC, *up)).value()[1] == C4 + 13


@pytest.mark.parametrize("name", ["used_pitch_classes", "scale_consistency", "pitch_class_entropy"])
def test_octaves_of_single_notes_do_not_matter_to_classes(name):
    close = METRICS[name](music_of(SPEC, (1, C4, 0, 4), (1, C4 + 4, 0, 4), (1, C4 + 6, 4, 8))).value()
    wide = METRICS[name](music_of(SPEC, (1, C4 - 24, 0, 4), (1, C4 + 16, 0, 4), (1, C4 + 30, 4, 8))).value()
    assert torch.equal(close[1], wide[1])


def test_c_in_three_octaves_is_three_pitches_and_one_class():
    music = music_of(SPEC, (1, 48, 0, 4), (1, 60, 0, 4), (1, 72, 0, 4))
    assert tracks.used_pitches(music).value()[1] == 3
    assert tracks.used_pitch_classes(music).value()[1] == 1
    assert tracks.pitch_class_entropy(music).value()[1] == 0
    assert tracks.pitch_range(music).value()[1] == 24


def test_silent_bars_do_not_dilute_what_is_counted_in_bars():
    music = music_of(SPEC, (1, C4, 0, 4), (1, C4 + 2, 4, 8), (1, C4, 48, 52), n_bars=4)
    assert tracks.empty_bar_rate(music).value().tolist() == [1.0, 0.5]
    assert tracks.used_pitches(music).value()[1] == 1.5    # two bars sound: 2 and 1
    assert tracks.notes_per_bar(music).value()[1] == 1.5
    assert tracks.note_density(music).value()[1] == 3 / 16    # of beats there are those of silence too


def test_a_note_over_the_bar_line_sounds_in_both_bars_and_starts_in_one():
    music = music_of(SPEC, (1, C4, 12, 20))
    assert tracks.empty_bar_rate(music).value()[1] == 0
    assert tracks.used_pitches(music).value()[1] == 1
    assert tracks.notes_per_bar(music).value()[1] == 0.5
    assert tracks.note_length(music).value()[1] == 2    # beats: it is not cut


def test_a_note_cut_at_the_start_of_a_phrase_counts_as_far_as_it_is_within():
    roll = drawn(SPEC, (1, C4, 0, 6))
    roll.onset[...] = False
    music = Music(roll, SPEC)
    assert tracks.notes_per_bar(music).value()[1] == 1
    assert tracks.note_length(music).value()[1] == 1.5


def test_a_note_struck_again_is_two_notes_and_one_pitch():
    music = music_of(SPEC, (1, C4, 0, 4), (1, C4, 4, 8))
    assert tracks.notes_per_bar(music).value()[1] == 2
    assert tracks.note_length(music).value()[1] == 1
    assert tracks.used_pitches(music).value()[1] == 1
    assert tracks.polyphony(music).value()[1] == 1


def test_length_is_in_beats_whatever_the_grid():
    for steps in (1, 4, 12):
        spec = RollSpec((PIANO,), steps_per_beat=steps)
        assert tracks.note_length(music_of(spec, (0, C4, 0, 3 * steps))).value() == 3
    eighths = RollSpec((PIANO,), steps_per_beat=2, beats_per_bar=6, beat_unit=8)
    assert tracks.note_length(music_of(eighths, (0, C4, 0, 6))).value() == 3    # a dotted quarter note is 3 beats of 6/8


@pytest.mark.parametrize("steps, beat_unit, least",
                         [(24, 4, 3), (48, 4, 6), (12, 4, 2), (4, 4, 2), (1, 4, 2), (30, 4, 4), (12, 8, 3)])
def test_a_note_is_qualified_from_a_32nd_on(steps, beat_unit, least):
    spec = RollSpec((PIANO,), steps_per_beat=steps, beat_unit=beat_unit)
    assert tracks.qualified_min_steps(spec) == least
    for length, share in ((least - 1, 0.0), (least, 1.0)):
        assert tracks.qualified_note_rate(music_of(spec, (0, C4, 0, length), n_bars=4)).value() == share


def test_the_shortest_qualified_note_may_be_told():
    music = music_of(SPEC, (1, C4, 0, 2), (1, C4, 4, 9))
    assert [tracks.qualified_note_rate(music, n).value()[1].item() for n in (2, 3, 6)] == [1, 0.5, 0]


def test_broken_music_is_less_qualified():
    held, broken = drawn(SPEC, (1, C4, 0, 8)), drawn(SPEC, (1, C4, 0, 8))
    broken.frame[0, 1, 0, 3] = False
    broken.frame[0, 1, 0, 5] = False
    assert tracks.qualified_note_rate(Music(held, SPEC)).value()[1] == 1
    assert tracks.qualified_note_rate(Music(broken, SPEC)).value()[1] == pytest.approx(2 / 3)    # three steps, one, and two


def test_polyphony_is_of_sounding_steps_and_its_rate_of_all():
    music = music_of(SPEC, (1, C4, 0, 8), (1, C4 + 4, 0, 4), (1, C4 + 7, 0, 2))
    assert tracks.polyphony(music).value()[1] == 14 / 8
    assert tracks.polyphonic_rate(music).value()[1] == 4 / 32
    assert tracks.polyphonic_rate(music, min_pitches=3).value()[1] == 2 / 32
    assert tracks.polyphonic_rate(music, min_pitches=1).value()[1] == 8 / 32


def test_a_scale_holds_its_notes_and_the_chromatic_one_7_of_12():
    g_major = [(1, C4 + p, i, i + 1) for i, p in enumerate((7, 9, 11, 12, 14, 16, 18))]
    chromatic = [(1, C4 + p, p, p + 1) for p in range(12)]
    assert tracks.scale_consistency(music_of(SPEC, *g_major)).value()[1] == 1
    assert tracks.scale_consistency(music_of(SPEC, *chromatic)).value()[1] == pytest.approx(7 / 12)
    assert tracks.pitch_class_entropy(music_of(SPEC, *chromatic)).value()[1] == pytest.approx(math.log2(12))


def test_minor_shares_its_scale_with_the_relative_major():
    a_minor = [(1, 57 + p, i, i + 1) for i, p in enumerate((0, 2, 3, 5, 7, 8, 10))]
    assert tracks.scale_consistency(music_of(SPEC, *a_minor)).value()[1] == 1
    harmonic = [*a_minor[:-1], (1, 57 + 11, 6, 7)]    # its G sharp lies outside
    assert tracks.scale_consistency(music_of(SPEC, *harmonic)).value()[1] == pytest.approx(6 / 7)


def test_tracks_in_two_keys_agree_with_themselves_and_not_with_each_other():
    spec = SPECS["lpd5"]
    c_major, f_sharp = (0, 2, 4, 5, 7, 9, 11), 6
    notes = [(1, C4 + p, i, i + 1) for i, p in enumerate(c_major)]
    notes += [(2, C4 + f_sharp + p, i, i + 1) for i, p in enumerate(c_major)]
    music = music_of(spec, *notes)
    assert tracks.scale_consistency(music).value()[1:3].tolist() == [1, 1]
    joint = tracks.joint_scale_consistency(music)
    assert joint.value().item() == pytest.approx(9 / 14)    # seven, and the two classes that both have
    assert tracks.joint_pitch_class_entropy(music).value() > tracks.pitch_class_entropy(music).value()[1]


def test_joint_columns_of_one_track_are_its_own():
    music = music_of(SPEC, (0, KICK, 0, 1), (0, SNARE + 1, 3, 4), (1, C4, 0, 4), (1, C4 + 1, 4, 8), (1, C4 + 2, 4, 8))
    for joint, own in ((tracks.joint_scale_consistency, tracks.scale_consistency),
                       (tracks.joint_pitch_class_entropy, tracks.pitch_class_entropy)):
        assert joint(music).value()[0] == own(music).value()[1]


@pytest.mark.parametrize("grid, divisions", DIVISIONS.items())
def test_drum_patterns_divide_a_quarter_note(grid, divisions):
    assert tracks.pattern_divisions(SPECS[grid]) == divisions


def test_a_hit_beside_the_pattern_is_not_in_it():
    spec = RollSpec((DRUMS,), steps_per_beat=12)
    on = [(0, HAT, step, step + 1) for step in (0, 3, 6, 9)]
    off = [(0, HAT, step, step + 1) for step in (13, 17)]
    assert tracks.drum_pattern_rate(music_of(spec, *on)).value() == 1
    assert tracks.drum_pattern_rate(music_of(spec, *on, *off)).value() == pytest.approx(4 / 6)


def test_patterns_begin_anew_with_each_bar():
    """A bar of 7/8 with a step an eighth has three and a half quarter notes: the second bar would be off its beats."""
    spec = SPECS["7/8, a step each"]
    first_beats = [(0, KICK, 7 * bar, 7 * bar + 1) for bar in range(3)]
    assert tracks.drum_pattern_rate(music_of(spec, *first_beats, n_bars=3)).value()[0] == 1


def test_rock_has_kicks_on_one_and_snares_on_two_and_four():
    beat = [(0, KICK, 0, 1), (0, SNARE, 4, 5), (0, KICK, 8, 9), (0, SNARE, 12, 13)]
    late = [(track, pitch, start + 17, end + 17) for track, pitch, start, end in beat[:3]]
    music = music_of(SPEC, *beat)
    assert tracks.kick_on_first_beat(music).value()[0] == 1    # the silent second bar is not asked
    assert tracks.snare_on_even_beats(music).value()[0] == 1
    music = music_of(SPEC, *beat, *late)
    assert tracks.kick_on_first_beat(music).value()[0] == 0.5
    assert tracks.snare_on_even_beats(music).value()[0] == 0.5


@pytest.mark.parametrize("pitch, kick, snare", [(35, 1, 0), (36, 1, 0), (38, 0, 0.5), (40, 0, 0.5), (37, 0, 0), (39, 0, 0)])
def test_both_kicks_and_both_snares_count(pitch, kick, snare):
    music = music_of(SPEC, (0, pitch, 0, 1), (0, pitch, 4, 5))
    assert tracks.kick_on_first_beat(music).value()[0] == kick
    assert tracks.snare_on_even_beats(music).value()[0] == snare


def test_pitched_tracks_play_no_drums():
    music = music_of(SPEC, (0, HAT, 0, 1), (1, KICK, 0, 1), (1, SNARE, 4, 5))
    assert tracks.kick_on_first_beat(music).value()[0] == 0
    assert tracks.snare_on_even_beats(music).value()[0] == 0


def test_bars_of_one_beat_have_no_even_beat():
    spec = RollSpec((DRUMS,), beats_per_bar=1)
    assert tracks.snare_on_even_beats(music_of(spec, (0, SNARE, 0, 1))).value().isnan()
