"""The released metrics: each fault beside the correct metric, and agreement with the code that has it where that runs."""

import inspect
import math

import numpy as np
import pypianoroll.metrics as ppr
import pytest
import torch

from musegan.metrics import released, tracks
from musegan.metrics.music import Music
from musegan.roll import Roll, RollSpec
from tests.metrics.examples import BASS, DRUMS, PIANO, SPECS, drawn, music_of, random_music, random_roll

SPEC = RollSpec((DRUMS, PIANO, BASS))    # 84 pitches from C1
HELD = RollSpec((PIANO,), steps_per_beat=12)    # 48 steps a bar
C4, TOP = 60, 107
METRICS = {name: f for name, f in inspect.getmembers(released, inspect.isfunction) if f.__module__ == released.__name__
           and inspect.signature(f).return_annotation == "Tally" and not name.startswith("_")}
PAIRS = {"tonal_distance", "harmonicity"}
DRUMS_ONLY = {"drum_pattern_rate"}
NO_DRUMS = {"used_pitch_classes", "n_pitch_classes_used", "in_scale_rate", "bar_qualified_note_rate", "qualified_note_rate"}


def piano(tally):
    return tally.value()[1].item()


def arrays(roll):
    """Each phrase of a roll of one track as pypianoroll sees it, [steps, 128] int; numbers, as it fails on bool."""
    return [np.pad(frame.flatten(1, 2)[0].numpy().astype(int), ((0, 0), (0, 128 - frame.shape[-1]))) for frame in roll.frame]


# Chroma

def test_bands_of_seven_semitones_pass_for_pitch_classes():
    """Every pitch of 84 alone, in the code's own words: the band of a pitch is its index over 7, where % 12 was meant."""
    spec = RollSpec((PIANO,))
    for index in range(84):
        bands = released.chroma(music_of(spec, (0, 24 + index, 0, 1), n_bars=1))
        assert bands.shape == (1, 1, 1, 16, 12)
        assert bands[0, 0, 0, 0].nonzero().flatten().tolist() == [index // 7]
        assert not bands[0, 0, 0, 1:].any()


@pytest.mark.parametrize("n_pitches, padded, width",
                         [(84, False, 7), (84, True, 8), (80, False, 7), (80, True, 7), (12, True, 2), (5, True, 1)])
def test_bands_are_as_wide_as_the_padding_makes_them(n_pitches, padded, width):
    """v2 and bmusegan pad 84 pitches, a multiple of 12 already, to 96."""
    spec = RollSpec((PIANO,), n_pitches=n_pitches)
    every = [(0, 24 + p, 0, 1) for p in range(n_pitches)]
    bands = released.chroma(music_of(spec, *every, n_bars=1), padded)[0, 0, 0, 0].tolist()
    assert bands == [max(0, min(width, n_pitches - width * band)) for band in range(12)]


def test_octaves_count_as_classes_and_semitones_do_not():
    octaves = music_of(SPEC, (1, 48, 0, 4), (1, 60, 0, 4), (1, 72, 0, 4))
    assert piano(tracks.used_pitch_classes(octaves)) == 1
    assert piano(released.used_pitch_classes(octaves)) == 3
    cluster = music_of(SPEC, (1, 24, 0, 4), (1, 25, 0, 4), (1, 26, 0, 4), (1, 27, 0, 4))
    assert piano(tracks.used_pitch_classes(cluster)) == 4
    assert piano(released.used_pitch_classes(cluster)) == 1


def test_padding_moves_the_bands():
    music = music_of(SPEC, (1, 30, 0, 4), (1, 31, 0, 4))    # index 6 and 7
    assert piano(released.used_pitch_classes(music)) == 2
    assert piano(released.used_pitch_classes(music, padded=True)) == 1


def test_used_classes_are_of_sounding_bars():
    music = music_of(SPEC, (1, 24, 0, 4), (1, 36, 4, 8), (1, 24, 40, 44), n_bars=4)
    assert piano(released.used_pitch_classes(music)) == 1.5


def test_pypianoroll_has_the_same_bands_of_120_pitches():
    """Its bands are of 10: 12 of them hold the lowest 120 pitches, which as a roll of P = 120 are bands of 10 here too."""
    spec = RollSpec((PIANO,), lowest_pitch=0, n_pitches=120)
    roll = random_roll(spec, n=8, n_bars=1)
    tally = released.used_pitch_classes(Music(roll, spec))
    theirs = [ppr.n_pitch_classes_used(array) for array in arrays(roll)]
    assert tally.total[:, 0].tolist() == theirs and max(theirs) > 3
    assert tracks.used_pitch_classes(Music(roll, spec)).total[:, 0].tolist() != theirs


def test_pypianoroll_gives_a_note_above_119_all_classes():
    """And leaves them in the roll that it was to look at: why it is compared below 120."""
    array = np.zeros((4, 128), int)
    array[0, 120] = 1
    assert ppr.n_pitch_classes_used(array) == 12
    assert np.count_nonzero(array) == 13


def test_in_scale_rate_agrees_with_pypianoroll():
    spec = RollSpec((PIANO,), lowest_pitch=0, n_pitches=120)
    roll = random_roll(spec, n=8)
    tally = released.in_scale_rate(Music(roll, spec))
    theirs = [ppr.in_scale_rate(array) for array in arrays(roll) if array.any()]    # it divides by 0 in silence
    sounds = tally.count[:, 0] > 0
    assert (tally.total / tally.count)[sounds, 0].tolist() == pytest.approx(theirs)
    assert not sounds.all() and len(set(theirs)) > 3


def test_in_scale_hears_octaves_and_no_semitones():
    def rate(*pitches):
        return piano(released.in_scale_rate(music_of(SPEC, *((1, pitch, 0, 4) for pitch in pitches))))
    assert rate(24) == rate(25) == 1    # C and C#, band 0
    assert rate(31) == rate(36) == 0    # G, and C an octave higher: band 1, "C#"
    assert rate(24, 36) == 0.5
    c_major = music_of(SPEC, *((1, 48 + p, i, i + 1) for i, p in enumerate((0, 2, 4, 5, 7, 9, 11))))
    assert piano(tracks.scale_consistency(c_major)) == 1
    assert piano(released.in_scale_rate(c_major)) == pytest.approx(5 / 7)    # C and D are in band 3, "D#"


# Tonal distance

def centroid(bands):
    """Of the 12 numbers of a beat; radii 1, 1 and 0.5."""
    weights = [band / sum(bands) for band in bands]
    return [radius * sum(w * f(i * angle * math.pi) for i, w in enumerate(weights))
            for radius, angle in ((1, 7 / 6), (1, 3 / 2), (0.5, 2 / 3)) for f in (math.sin, math.cos)]


def looped_distances(music, padded):
    """[N][pairs][bars][beats], None where one of the two is silent in a beat."""
    frame = torch.stack([*released.chroma(music, padded)]).tolist()    # [N][K][B][T][12]
    step = music.spec.steps_per_beat
    result = []
    for phrase in frame:
        result.append([])
        for a, b in released.pitched_pairs(music.spec):
            bars = []
            for bar_a, bar_b in zip(phrase[a], phrase[b]):
                beats = []
                for start in range(0, music.steps_per_bar, step):
                    both = [[sum(steps) for steps in zip(*bar[start : start + step])] for bar in (bar_a, bar_b)]
                    beats.append(math.dist(*map(centroid, both)) if all(map(sum, both)) else None)
                bars.append(beats)
            result[-1].append(bars)
    return result


def sustained(spec, n=5, seed=0):
    """Random music over a pedal, so that most beats sound; one bar of one track is silent."""
    roll = random_roll(spec, n=n, seed=seed)
    roll.frame[:, :, ..., 2] = roll.onset[:, :, :, 0, 2] = True
    for plane in roll:
        plane[0, -1, 1] = False
    return roll


@pytest.mark.parametrize("grid", ["lpd5", "3/4", "6/8"])
@pytest.mark.parametrize("padded", [False, True])
def test_tonal_distance_is_a_mean_over_bars_that_sound_in_every_beat(grid, padded):
    spec = SPECS[grid]
    for roll in (sustained(spec), random_music(grid)[0]):
        music = Music(roll, spec)
        tally = released.tonal_distance(music, padded)
        loop = looped_distances(music, padded)
        assert tally.total.shape == (music.n, len(released.pitched_pairs(spec)))
        for n, pairs in enumerate(loop):
            for pair, bars in enumerate(pairs):
                means = [sum(beats) / len(beats) for beats in bars if None not in beats]
                assert tally.count[n, pair] == len(means)
                assert tally.total[n, pair].item() == pytest.approx(sum(means), abs=1e-5)


@pytest.mark.parametrize("grid", ["lpd5", "3/4"])
def test_harmonicity_is_a_mean_over_all_beats_and_nothing_if_one_is_silent(grid):
    music = Music(sustained(SPECS[grid]), SPECS[grid])
    tally = released.harmonicity(music)
    n_silent = 0
    for n, pairs in enumerate(looped_distances(music, padded=False)):
        for pair, bars in enumerate(pairs):
            beats = [beat for bar in bars for beat in bar]
            assert tally.count[n, pair] == len(beats)
            n_silent += None in beats
            total = math.nan if None in beats else sum(beats)
            assert tally.total[n, pair].item() == pytest.approx(total, abs=1e-4, nan_ok=True)
    assert 0 < n_silent < tally.total.numel()
    assert tally.value().isnan().any() and not released.tonal_distance(music).value().isnan().any()


def test_pairs_are_of_pitched_tracks():
    assert released.pitched_pairs(SPECS["lpd5"]) == [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)]
    assert released.pitched_pairs(SPECS["twelve steps a beat"]) == [(0, 2)]
    assert released.pitched_pairs(SPECS["6/8"]) == []
    assert released.tonal_distance(random_music("6/8")[1]).value().shape == (0,)


def test_doubling_at_the_octave_is_a_distance():
    """And a semitone apart, the harshest of intervals, is none."""
    every = [(1, 48, 4 * beat, 4 * beat + 4) for beat in range(8)]
    octave = [(2, 36, start, end) for _, _, start, end in every]
    assert released.tonal_distance(music_of(SPEC, *every, *octave)).value().item() > 0.5
    semitone = [(2, 47, start, end) for _, _, start, end in every]
    assert released.tonal_distance(music_of(SPEC, *every, *semitone)).value().item() == 0


def test_pypianoroll_mixes_up_the_axes_of_its_tonal_distance():
    """It runs only where a beat has as many steps as there are classes, and then hears when but not what is played."""
    array = np.zeros((8, 128), int)
    array[:, 60] = 1
    with pytest.raises(ValueError, match="mismatch"):
        ppr.tonal_distance(array, array, resolution=4)
    low, high = np.zeros((2, 12, 128), int)
    low[:, 5] = high[:, 65] = 1    # bands 0 and 6, held: over the steps of a beat all held notes are alike
    assert ppr.tonal_distance(low, high, resolution=12) == pytest.approx(0, abs=1e-12)
    high[6:] = 0    # what sounds half of the beat divides by 0
    with pytest.warns(RuntimeWarning):
        assert math.isnan(ppr.tonal_distance(low, high, resolution=12))


# Bars

def test_empty_bar_rate_is_that_of_sounding_bars():
    music = music_of(SPEC, (1, C4, 0, 4), n_bars=4)
    assert tracks.empty_bar_rate(music).value().tolist() == [1, 0.75, 1]
    assert released.empty_bar_rate(music).value().tolist() == [0, 0.25, 0]


@pytest.mark.parametrize("grid", SPECS)
def test_empty_bar_rate_is_one_less_the_true_one(grid):
    _, music = random_music(grid)
    ours = released.empty_bar_rate(music)
    assert torch.equal(ours.total + tracks.empty_bar_rate(music).total, ours.count)


def test_pypianoroll_has_the_same_fault_with_beats():
    spec = RollSpec((PIANO,), beats_per_bar=1, lowest_pitch=0, n_pitches=128)    # a bar is a beat
    roll = random_roll(spec, n=6, n_bars=8)
    tally = released.empty_bar_rate(Music(roll, spec))
    theirs = [ppr.empty_beat_rate(array, resolution=4) for array in arrays(roll)]
    assert (tally.total / tally.count)[:, 0].tolist() == theirs and len(set(theirs)) > 2


def test_one_held_pitch_counts_48():
    music = music_of(HELD, (0, C4, 0, 48), n_bars=1)
    assert tracks.used_pitches(music).value() == 1
    assert released.n_pitches_used(music).value() == 48
    assert released.n_pitch_classes_used(music).value() == 48


def test_cells_are_counted_over_silent_bars_too():
    music = music_of(HELD, (0, C4, 0, 24), (0, C4 + 12, 0, 12), n_bars=2)
    assert tracks.used_pitches(music).value() == 2
    assert released.n_pitches_used(music).value() == 18
    assert released.n_pitch_classes_used(music).value() == 18


def test_semitones_in_a_band_count_once_a_step():
    music = music_of(HELD, (0, 24, 0, 10), (0, 25, 0, 10), n_bars=1)
    assert released.n_pitches_used(music).value() == 20
    assert released.n_pitch_classes_used(music).value() == 10


@pytest.mark.parametrize("grid", SPECS)
def test_n_pitches_used_counts_cells(grid):
    roll, music = random_music(grid)
    tally = released.n_pitches_used(music)
    assert torch.equal(tally.total, roll.frame.sum((2, 3, 4)).float())
    assert tally.count.unique().tolist() == [music.n_bars]


def test_polyphony_of_the_papers_leaves_silent_bars_out():
    music = music_of(SPEC, (1, C4, 0, 8), (1, C4 + 4, 0, 8), n_bars=4)
    assert piano(released.polyphonic_rate(music)) == 0.5
    assert piano(tracks.polyphonic_rate(music)) == 0.125


def test_pypianoroll_wants_more_than_two_pitches():
    spec = RollSpec((PIANO,), lowest_pitch=0, n_pitches=128)
    roll = random_roll(spec, n=6)
    ours = tracks.polyphonic_rate(Music(roll, spec), min_pitches=3)
    assert (ours.total / ours.count)[:, 0].tolist() == pytest.approx([ppr.polyphonic_rate(array) for array in arrays(roll)])


# Qualified notes

def test_starts_are_paired_with_the_ends_of_others():
    """Three notes of one step, all too short: the distance of cells says that they are long."""
    music = music_of(SPEC, (1, C4, 0, 1), (1, C4 + 4, 0, 1), (1, C4 + 7, 3, 4))
    assert piano(tracks.qualified_note_rate(music)) == 0
    assert piano(released.bar_qualified_note_rate(music)) == 0
    assert piano(released.qualified_note_rate(music)) == 1


@pytest.mark.parametrize("grid", SPECS)
def test_all_music_is_qualified(grid):
    """Even noise: it says nothing."""
    frame = torch.rand(random_music(grid)[0].frame.shape, generator=torch.Generator().manual_seed(0)) < 0.4
    music = Music(Roll(frame, torch.zeros_like(frame)), SPECS[grid])
    value = released.qualified_note_rate(music).value()
    assert (value[~music.is_drum] == 1).all() and value[music.is_drum].isnan().all()
    assert (tracks.qualified_note_rate(music).value()[~music.is_drum] < 0.6).all()
    assert (released.bar_qualified_note_rate(music).value()[~music.is_drum] < 0.6).all()


def test_with_a_single_pitch_cells_are_steps():
    """The only music whose starts and ends it pairs rightly."""
    one = RollSpec((PIANO,), n_pitches=1)
    assert released.qualified_note_rate(music_of(one, (0, 24, 0, 1), (0, 24, 4, 6))).value() == 0.5


@pytest.mark.parametrize("n_pitches", [1, 2, 5, 128])
def test_pypianoroll_pairs_the_same(n_pitches):
    frame = torch.rand(12, 1, 2, 16, n_pitches, generator=torch.Generator().manual_seed(0)) < 0.5
    frame[-1] = False
    tally = released.qualified_note_rate(Music(Roll(frame, torch.zeros_like(frame)), RollSpec((PIANO,), 4, 4, 0, n_pitches)))
    theirs = [ppr.qualified_note_rate(phrase.flatten(1, 2)[0].numpy().astype(int)) for phrase in frame]
    assert (tally.total / tally.count)[:, 0].tolist() == pytest.approx(theirs, nan_ok=True)
    assert math.isnan(theirs[-1])
    assert (min(theirs[:-1]) < 1) == (n_pitches == 1)


@pytest.mark.parametrize("dtype", [bool, np.uint8])
def test_pypianoroll_fails_on_its_own_types(dtype):
    array = np.zeros((16, 128), dtype)
    array[2:6, 60] = array[4:9, 64] = 1
    with pytest.raises(ValueError, match="broadcast"):
        ppr.qualified_note_rate(array)


@pytest.mark.parametrize("grid", SPECS)
def test_bar_qualified_notes_are_those_of_each_bar_alone(grid):
    roll, music = random_music(grid)
    tally = released.bar_qualified_note_rate(music)
    frame = roll.frame.tolist()
    for n, phrase in enumerate(frame):
        for k, bars in enumerate(phrase):
            shares = []
            for bar in bars:
                lengths = []
                for p in range(music.spec.n_pitches):
                    run = 0
                    for step in [*bar, [False] * music.spec.n_pitches]:
                        if step[p]:
                            run += 1
                        elif run:
                            lengths.append(run)
                            run = 0
                if lengths:
                    shares.append(sum(length >= 2 for length in lengths) / len(lengths))
            if music.spec.tracks[k].is_drum:
                shares = []
            assert tally.count[n, k] == len(shares)
            assert tally.total[n, k].item() == pytest.approx(sum(shares))


def test_bar_lines_cut_qualified_notes():
    music = music_of(SPEC, (1, C4, 12, 17), (1, C4 + 2, 17, 18))
    assert piano(tracks.qualified_note_rate(music)) == 0.5
    assert piano(released.bar_qualified_note_rate(music)) == 0.5    # bar 1: 1 of 1; bar 2: none of 2, as a step is left
    music = music_of(SPEC, (1, C4, 12, 17))
    assert piano(tracks.qualified_note_rate(music)) == 1
    assert piano(released.bar_qualified_note_rate(music)) == 0.5


def test_repeated_notes_are_one_to_released_code():
    music = music_of(SPEC, *((1, C4, step, step + 1) for step in range(8)))
    assert piano(tracks.qualified_note_rate(music)) == 0
    assert piano(released.bar_qualified_note_rate(music)) == 1


# Drums

FINE = RollSpec((DRUMS,), steps_per_beat=24, lowest_pitch=36, n_pitches=8)


def test_ends_of_drum_notes_count_against_the_pattern():
    """Sixteenths, all in the pattern: each lasts a step, and its end lies beside it."""
    music = music_of(FINE, *((0, 38, 6 * i, 6 * i + 1) for i in range(16)), n_bars=1)
    assert tracks.drum_pattern_rate(music).value() == 1
    assert released.drum_pattern_rate(music).value().item() == pytest.approx((1 + 0.1) / 2)


def test_a_shift_of_the_whole_pattern_is_forgiven():
    on, late = (music_of(FINE, *((0, 38, 6 * i + by, 6 * i + by + 1) for i in range(15)), n_bars=1) for by in (0, 2))
    assert tracks.drum_pattern_rate(late).value() == 0
    assert released.drum_pattern_rate(on).value() == released.drum_pattern_rate(late).value()


@pytest.mark.parametrize("grid", ["lpd5", "twelve steps a beat", "24 steps a beat", "6/8", "a step a beat"])
def test_drum_patterns_are_those_of_a_loop(grid):
    roll, music = random_music(grid)
    tally = released.drum_pattern_rate(music)
    period = music.spec.steps_per_quarter // tracks.pattern_divisions(music.spec)
    weights = {0: 1.0, 1: 0.1, period - 1: 0.1} | {0: 1.0}
    seen = 0
    for n, phrase in enumerate(roll.frame.numpy()):
        for k, bars in enumerate(phrase):
            total = count = 0
            for bar in bars:
                if not bar.any() or not music.spec.tracks[k].is_drum:
                    continue
                count += 1
                before = np.vstack([np.zeros_like(bar[:1]), bar[:-1]])
                changes = (before != bar).sum(1)    # np.diff of bool: starts and ends
                shifted = [sum(change * weights.get((step - shift) % period, 0.0) for step, change in enumerate(changes))
                           for shift in range(period)]
                total += max(shifted) / changes.sum()
            assert tally.count[n, k] == count
            assert tally.total[n, k].item() == pytest.approx(total, rel=1e-5)
            seen += count
    assert seen > 1


def test_differences_of_bools_are_the_cause():
    hit = np.array([False, True, False])
    assert np.diff(hit).tolist() == [True, True]
    assert np.diff(hit.astype(int)).tolist() == [1, -1]


# All

@pytest.mark.parametrize("name", METRICS)
def test_columns_are_tracks_or_pairs_and_nothing_has_no_value(name):
    tally = METRICS[name](Music(drawn(SPECS["lpd5"], n=0), SPECS["lpd5"]))
    assert tally.total.shape == tally.count.shape == (0, 6 if name in PAIRS else 5)
    assert tally.value().isnan().all()


@pytest.mark.parametrize("name", sorted(set(METRICS) - PAIRS))
def test_drums_and_pitched_tracks_have_what_applies_to_them(name):
    value = METRICS[name](music_of(SPEC, (0, 36, 0, 1), (1, C4, 0, 4), (2, C4, 0, 4))).value()
    assert value.isnan().tolist() == [name in NO_DRUMS] + [name in DRUMS_ONLY] * 2


@pytest.mark.parametrize("name", METRICS)
def test_a_phrase_counts_the_same_in_any_company(name):
    roll, music = random_music("lpd5")
    whole = METRICS[name](music)
    assert whole.total.dtype == whole.count.dtype == torch.float32
    for i in range(music.n):
        alone = METRICS[name](Music(roll.map(lambda plane: plane[i : i + 1]), music.spec))
        torch.testing.assert_close(alone.total[0], whole.total[i], equal_nan=True)
        assert torch.equal(alone.count[0], whole.count[i])
