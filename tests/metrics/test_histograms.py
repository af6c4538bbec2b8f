"""Histograms against loops over notes, distances of histograms against their definitions, and what they tell apart."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from musegan.keys import transpose
from musegan.metrics.histograms import (
    FAMILIES, ORDERED, bin_widths, distance, family_distances, histograms, total_variation, wasserstein,
)    # fmt: skip
from musegan.metrics.music import Music
from musegan.metrics.pairs import chord_types
from musegan.ops import pack
from musegan.roll import PRESETS, Roll, RollSpec
from tests.metrics.examples import BASS, DRUMS, PIANO, SPECS, drawn, music_of, random_roll, voices

LPD5 = RollSpec(PRESETS["lpd5"])
SPEC = RollSpec((DRUMS, PIANO))
GRIDS = {**SPECS, "drums only": RollSpec((DRUMS,), lowest_pitch=30, n_pitches=20)}
C4 = 60
KICKS, SNARES = (35, 36), (38, 40)
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)    # Krumhansl 1990
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


def joined(*rolls):
    return Roll(*(torch.cat(planes) for planes in zip(*rolls)))


# Loops over notes: one phrase's counts by name.

def correlation(a, b):
    mean_a, mean_b = sum(a) / 12, sum(b) / 12
    spread = math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))
    return sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b)) / spread if spread else 0.0


def loop_tonic(phrase):
    """The tonic of the best major key, or the third above that of the best minor one."""
    weights = [0] * 12
    for voice in phrase:
        for pitch, start, end in voice.notes:
            weights[pitch % 12] += 0 if voice.is_drum else end - start
    fits = {}
    for key in range(12):
        from_tonic = [weights[(key + c) % 12] for c in range(12)]
        for profile, tonic in ((MAJOR, key), (MINOR, (key + 3) % 12)):
            fits[tonic] = max(fits.get(tonic, -1), correlation(from_tonic, profile))
    return max(fits, key=fits.get) if any(weights) else 0


def bar_starts(voice):
    width = voice.spec.steps_per_bar
    return [{(start % width, pitch) for pitch, start, _ in voice.notes if start // width == bar}
            for bar in range(len(voice.bars))]


def loop_histograms(phrase):
    spec = phrase[0].spec
    steps, tonic = spec.steps_per_bar, loop_tonic(phrase)
    found = {}
    for voice, track in zip(phrase, spec.tracks):
        pitch, length, position, beat = [0] * spec.n_pitches, [0] * 2 * steps, [0] * steps, [0] * spec.beats_per_bar
        classes, interval, notes, repetition = [0] * 12, [0] * 27, [0] * 33, [0] * 11
        drums = {"kick": [0] * steps, "snare": [0] * steps}
        tops = {}
        for midi, start, end in voice.notes:
            pitch[midi - spec.lowest_pitch] += 1
            classes[(midi - tonic) % 12] += 1
            length[min(end - start, 2 * steps) - 1] += 1
            position[start % steps] += 1
            beat[start % steps // spec.steps_per_beat] += 1
            for name, kit in (("kick", KICKS), ("snare", SNARES)):
                drums[name][start % steps] += midi in kit
            tops[start] = max(tops.get(start, 0), midi)
        for here, there in itertools.pairwise(sorted(tops)):
            interval[max(-13, min(13, tops[there] - tops[here])) + 13] += 1
        bars = bar_starts(voice)
        for bar in bars:
            notes[min(len(bar), 32)] += 1
        for here, there in itertools.pairwise(bars):
            if here | there:
                repetition[10 * len(here & there) // len(here | there)] += 1
        own = {"pitch": pitch, "position": position, "notes": notes, "repetition": repetition, "beat": beat}
        own |= drums if voice.is_drum else {"pitch class": classes, "length": length, "interval": interval}
        found |= {f"{family}: {track.name}": counts for family, counts in own.items()}
    return found


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("n_bars", [1, 3])
def test_counts_are_those_of_a_loop_over_notes(grid, n_bars):
    roll = random_roll(GRIDS[grid], n=5, n_bars=n_bars, seed=7)
    music = Music(roll, GRIDS[grid])
    ours = histograms(music)
    phrases = voices(roll, GRIDS[grid])
    expected = [loop_histograms(phrase) for phrase in phrases]
    assert set(ours) == {*expected[0], "chord type: all"}
    for name in expected[0]:
        assert ours[name].dtype == torch.int32
        assert ours[name].tolist() == [phrase[name] for phrase in expected], name
    assert torch.equal(ours["chord type: all"], chord_types(music).int())


def test_random_phrases_fill_many_bins():
    """Or the comparison above would prove little."""
    counts = histograms(Music(random_roll(LPD5, n=5, n_bars=3, seed=7), LPD5))
    keys = {loop_tonic(phrase) for phrase in voices(random_roll(LPD5, n=5, n_bars=3, seed=7), LPD5)}
    assert len(keys) >= 3
    filled = {name: (rows.sum(0) > 0).sum().item() for name, rows in counts.items()}
    assert filled["pitch: piano"] > 20 and filled["interval: piano"] >= 5 and filled["pitch class: piano"] == 12
    assert filled["length: piano"] >= 5 and filled["notes: piano"] >= 4 and filled["kick: drums"] >= 4


def test_packed_rolls_give_the_same():
    roll = random_roll(LPD5)
    a, b = histograms(Music(roll, LPD5)), histograms(Music(roll.map(pack), LPD5))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_names_are_families_of_tracks():
    names = set(histograms(music_of(SPEC)))
    families = ("pitch", "position", "notes", "repetition", "beat")
    both = {f"{family}: {track}" for family in families for track in ("drums", "piano")}
    assert names == both | {"pitch class: piano", "length: piano", "interval: piano", "chord type: all", "kick: drums",
                            "snare: drums"}
    assert {name.split(": ")[0] for name in names} - {"beat", "kick", "snare"} == set(FAMILIES)
    assert set(ORDERED) <= set(FAMILIES)


@pytest.mark.parametrize("n, n_bars", [(0, 2), (2, 2), (2, 1), (2, 0)])
def test_silence_has_bars_without_notes_and_nothing_else(n, n_bars):
    for name, counts in histograms(Music(drawn(SPEC, n=n, n_bars=n_bars), SPEC)).items():
        assert len(counts) == n
        if name.startswith("notes"):
            assert counts[:, 0].tolist() == [n_bars] * n
            assert counts.sum() == n * n_bars
        else:
            assert not counts.any(), name


def test_one_note_counts_where_it_is():
    music = music_of(SPEC, (1, C4 + 1, 20, 23))    # bar 2, beat 2, three steps
    bins = {name: counts[0].nonzero().flatten().tolist() for name, counts in histograms(music).items() if counts.any()}
    assert bins == {"pitch: piano": [37], "pitch class: piano": [0], "length: piano": [2], "position: piano": [4],
                    "beat: piano": [1], "notes: piano": [0, 1], "notes: drums": [0], "repetition: piano": [0],
                    "chord type: all": [0]}    # alone, it is the tonic


def test_last_bins_hold_what_is_longer_more_or_farther():
    spec = RollSpec((PIANO,), lowest_pitch=0, n_pitches=128)
    counts = histograms(music_of(spec, (0, 40, 0, 32), (0, 41, 0, 33), (0, 42, 0, 64), (0, 43, 0, 31), n_bars=4))
    assert counts["length: piano"][0].nonzero().flatten().tolist() == [30, 31] and counts["length: piano"][0, 31] == 3
    for n_notes, index in ((31, 31), (32, 32), (33, 32), (60, 32)):
        chord = [(0, 20 + p, 0, 1) for p in range(n_notes)]
        assert histograms(music_of(spec, *chord, n_bars=1))["notes: piano"][0].nonzero().tolist() == [[index]]
    for semitones, index in ((12, 25), (13, 26), (14, 26), (60, 26), (0, 13), (-12, 1), (-13, 0), (-40, 0)):
        notes = music_of(spec, (0, C4, 0, 1), (0, C4 + semitones, 5, 6))
        assert histograms(notes)["interval: piano"][0].nonzero().tolist() == [[index]]


def test_repetition_is_in_tenths_and_equal_bars_alone_are_ten():
    cases = ((10, 10, 10), (9, 10, 9), (7, 10, 7), (3, 10, 3), (6, 20, 3), (1, 11, 0), (10, 11, 9), (0, 4, 0))
    for shared, n, index in cases:
        first = [(1, C4 + p, 0, 1) for p in range(n)]
        second = [(1, C4 + p, 16, 17) for p in range(shared)]
        counts = histograms(music_of(SPEC, *first, *second))["repetition: piano"][0]
        assert counts.nonzero().tolist() == [[index]], (shared, n)


def test_kicks_and_snares_are_of_drums():
    notes = [(track, pitch, step, step + 1) for track in (0, 1) for step, pitch in enumerate((35, 36, 37, 38, 39, 40))]
    counts = histograms(music_of(SPEC, *notes))
    assert counts["kick: drums"][0].nonzero().flatten().tolist() == [0, 1]
    assert counts["snare: drums"][0].nonzero().flatten().tolist() == [3, 5]


@pytest.mark.parametrize("semitones", [-5, 1, 6, 7])
def test_classes_are_from_the_key_so_that_transposing_a_phrase_changes_none(semitones):
    melody = (0, 2, 4, 5, 7, 9, 11, 12, 7, 4, 0)
    notes = [(2, C4 + p, 2 * i, 2 * i + 2) for i, p in enumerate(melody)] + [(1, C4 - 24, 0, 16), (0, 36, 0, 1)]
    spec = RollSpec((DRUMS, BASS, PIANO))
    moved = [(track, pitch + (track > 0) * semitones, start, end) for track, pitch, start, end in notes]
    a, b = histograms(music_of(spec, *notes)), histograms(music_of(spec, *moved))
    for name in a:
        assert torch.equal(a[name], b[name]) == (name not in ("pitch: bass", "pitch: piano")), name
    assert a["pitch class: bass"][0].nonzero().tolist() == [[0]]    # the tonic


def test_the_key_is_that_of_the_phrase_and_not_of_the_track():
    c_major = [(2, C4 + p, i, i + 1) for i, p in enumerate((0, 4, 7, 0, 2, 4, 5, 7, 9, 11, 12))]
    with_bass = music_of(RollSpec((DRUMS, BASS, PIANO)), *c_major, (1, 43, 0, 4))
    assert histograms(with_bass)["pitch class: bass"][0].nonzero().tolist() == [[7]]    # G, the fifth


def test_minor_is_from_its_relative_major():
    a_minor = [(1, 57 + p, 2 * i, 2 * i + 2) for i, p in enumerate((0, 3, 7, 12, 8, 7, 0, 3, 2, 0))]
    assert histograms(music_of(SPEC, *a_minor))["pitch class: piano"][0].argmax() == 9


note = st.tuples(st.integers(0, 4), st.integers(24, 107), st.integers(0, 31), st.integers(1, 40))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(note, max_size=12), min_size=1, max_size=4))
def test_phrases_together_count_as_each_alone(phrases):
    phrases = [[(k, pitch, start, min(start + length, 32)) for k, pitch, start, length in notes] for notes in phrases]
    rolls = [drawn(LPD5, *notes) for notes in phrases]
    together = histograms(Music(joined(*rolls), LPD5))
    alone = [histograms(Music(roll, LPD5)) for roll in rolls]
    for name, counts in together.items():
        assert torch.equal(counts, torch.cat([one[name] for one in alone]))
        assert torch.equal(counts.sum(0), sum(one[name][0] for one in alone))


# Distances of histograms

def loop_total_variation(a, b):
    if not sum(a) and not sum(b):
        return math.nan
    if not sum(a) or not sum(b):
        return 1.0
    return 1 - sum(min(x / sum(a), y / sum(b)) for x, y in zip(a, b))    # what does not overlap


def counts_of(*rows):
    return torch.tensor(rows, dtype=torch.int32)


PAIRS = st.integers(1, 12).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 5), min_size=n, max_size=n)] * 2))


@given(PAIRS)
def test_total_variation_is_what_does_not_overlap(pair):
    ours = total_variation(*map(torch.tensor, pair)).item()
    assert ours == pytest.approx(loop_total_variation(*pair), nan_ok=True)
    assert ours == pytest.approx(total_variation(*map(torch.tensor, reversed(pair))).item(), nan_ok=True)


@given(PAIRS)
def test_wasserstein_is_that_of_scipy(pair):
    a, b = pair
    ours = wasserstein(torch.tensor(a), torch.tensor(b)).item()
    expected = wasserstein_distance(range(len(a)), range(len(b)), a, b) if sum(a) and sum(b) else math.nan
    assert ours == pytest.approx(expected, nan_ok=True)


def test_how_far_it_is_moved_matters_to_one_and_not_to_the_other():
    a, near, far = (torch.eye(8, dtype=torch.int32)[i] for i in (0, 1, 7))
    assert total_variation(a, near) == total_variation(a, far) == 1
    assert (wasserstein(a, near), wasserstein(a, far)) == (1, 7)
    assert wasserstein(a, near + a) == 0.5 and total_variation(a, near + a) == 0.5


def test_one_empty_side_is_as_far_as_can_be_and_two_are_nothing():
    a, empty = counts_of(1, 2), counts_of(0, 0)
    assert total_variation(a, empty) == total_variation(empty, a) == 1
    assert total_variation(empty, empty).isnan()
    for one, two in ((a, empty), (empty, a), (empty, empty)):
        assert wasserstein(one, two).isnan()


def test_how_much_is_counted_does_not_matter():
    a, b = counts_of(1, 2, 0), counts_of(3, 0, 5)
    assert total_variation(a * 1000, b) == pytest.approx(total_variation(a, b).item())
    assert wasserstein(a, b * 7) == pytest.approx(wasserstein(a, b).item())
    assert total_variation(a, 3 * a) == wasserstein(a, 3 * a) == 0


@pytest.mark.parametrize("metric", [total_variation, wasserstein])
def test_many_at_once_are_as_one_by_one(metric):
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randint(0, 4, (3, 5, 7), generator=generator) for _ in "ab")
    a[0, 0] = b[0, 0] = a[1, 1] = b[2, 2] = 0
    together = metric(a, b)
    assert together.shape == (3, 5) and together.dtype == torch.float64
    for i, j in itertools.product(range(3), range(5)):
        torch.testing.assert_close(together[i, j], metric(a[i, j], b[i, j]), equal_nan=True)
    one = torch.stack([metric(row, b[0, 1].expand(5, 7)) for row in a])
    torch.testing.assert_close(metric(a, b[0, 1]), one, equal_nan=True)


def summed(roll, spec=LPD5):
    return {name: counts.sum(0) for name, counts in histograms(Music(roll, spec)).items()}


def test_family_distances_are_means_over_tracks():
    a, b = summed(random_roll(LPD5, seed=1)), summed(random_roll(LPD5, seed=2))
    b["length: bass"] = torch.zeros_like(b["length: bass"])    # counts as 1
    a["length: piano"], b["length: piano"] = (torch.zeros_like(b["length: piano"]) for _ in "ab")    # is left out
    ours = family_distances(a, b)
    assert list(ours) == list(FAMILIES)
    for family in FAMILIES:
        values = [loop_total_variation(a[name].tolist(), b[name].tolist()) for name in a if name.split(": ")[0] == family]
        values = [value for value in values if not math.isnan(value)]
        assert len(values) == {"pitch class": 4, "length": 3, "interval": 4, "chord type": 1}.get(family, 5)
        assert ours[family].item() == pytest.approx(sum(values) / len(values))
    assert distance(a, b).item() == pytest.approx(sum(value.item() for value in ours.values()) / len(FAMILIES))


def test_a_set_is_at_no_distance_from_itself_in_any_order():
    roll = random_roll(LPD5)
    mixed = roll.map(lambda plane: plane[torch.tensor([3, 0, 5, 1, 4, 2])])
    assert distance(summed(roll), summed(mixed)) == 0
    assert all(value == 0 for value in family_distances(summed(roll), summed(mixed)).values())


def test_distance_is_symmetric_and_below_one():
    a, b = summed(random_roll(LPD5, seed=1)), summed(random_roll(LPD5, seed=2))
    assert distance(a, b) == distance(b, a)
    assert 0 < distance(a, b) < 1


def test_more_of_the_same_is_nearer_than_something_else():
    first, again = (random_roll(LPD5, n=40, n_bars=2, seed=seed) for seed in (1, 2))
    other = again.map(lambda plane: plane.roll(1, 3))    # a step late
    far = again.map(lambda plane: plane.roll(3, 1))    # each track what another one plays
    assert distance(summed(first), summed(again)) < distance(summed(first), summed(other))
    assert distance(summed(first), summed(again)) < distance(summed(first), summed(far)) * 0.8


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_sees_what_it_is_about(family):
    """A change to one thing, and the families that notice."""
    notes = [(1, C4 + p, 4 * i, 4 * i + 2) for i, p in enumerate((0, 4, 7, 5, 2, 0, 0, 4))]
    changes = {
        "higher by an octave": ([(k, p + 12, s, e) for k, p, s, e in notes], {"pitch"}),
        "longer": ([(k, p, s, e + 1) for k, p, s, e in notes], {"length"}),
        "later by a step": ([(k, p, s + 1, e + 1) for k, p, s, e in notes], {"position"}),
        "backwards": ([(k, p, 28 - s, 30 - s) for k, p, s, e in notes], {"interval"}),
        "in one bar": ([(k, p, s // 2, s // 2 + 2) for k, p, s, e in notes], {"position", "notes", "chord type"}),
    }
    a = summed(drawn(SPEC, *notes), SPEC)
    for what, (changed, families) in changes.items():
        value = family_distances(a, summed(drawn(SPEC, *changed), SPEC))[family]
        assert (value > 0) == (family in families), what


def test_a_silent_side_is_at_one_in_all_but_the_bars_without_notes():
    sounding, silent = summed(random_roll(LPD5)), summed(drawn(LPD5, n=3))
    for family, value in family_distances(sounding, silent).items():
        assert value == 1 if family != "notes" else 0 < value < 1
    assert distance(sounding, silent) == distance(silent, sounding) > 0.9


def test_two_silences_are_alike_in_their_bars_and_two_nothings_in_nothing():
    silent = summed(drawn(LPD5, n=3))
    found = family_distances(silent, silent)
    assert [family for family, value in found.items() if not value.isnan()] == ["notes"]
    assert found["notes"] == distance(silent, silent) == 0
    nothing = summed(drawn(LPD5, n=0))
    assert distance(nothing, nothing).isnan()
    assert distance(nothing, silent) == 1


def test_drums_alone_have_no_pitch_classes():
    spec = GRIDS["drums only"]
    a, b = (summed(random_roll(spec, seed=seed), spec) for seed in (1, 2))
    found = family_distances(a, b)
    assert not {"pitch class", "length", "interval"} & set(found)
    assert found.pop("chord type").isnan()
    assert distance(a, b).item() == pytest.approx(sum(value.item() for value in found.values()) / len(found))


def test_many_selections_of_phrases_are_each_alone():
    """As a bootstrap does: weights [R, N] times counts [N, bins]."""
    counts = histograms(Music(random_roll(LPD5), LPD5))
    weights = torch.tensor([[1, 0, 0, 2, 1, 0], [0, 0, 0, 0, 0, 3], [1, 1, 1, 1, 1, 1]])
    many = {name: weights.double() @ rows.double() for name, rows in counts.items()}
    real = {name: rows.sum(0) for name, rows in counts.items()}
    together, families = distance(many, real), family_distances(many, real)
    assert together.shape == (3,)
    for r, row in enumerate(weights):
        one = {name: (row[:, None] * rows).sum(0) for name, rows in counts.items()}
        assert together[r].item() == pytest.approx(distance(one, real).item())
        for family, value in family_distances(one, real).items():
            torch.testing.assert_close(families[family][r], value, equal_nan=True)


def test_bins_have_units():
    assert bin_widths("length", SPECS["twelve steps a beat"]) == (1 / 12, "beats")
    assert bin_widths("position", SPECS["3/4"]) == (1 / 4, "beats")
    assert bin_widths("pitch", LPD5) == bin_widths("interval", LPD5) == (1, "semitones")
    assert bin_widths("notes", LPD5)[0] == 1 and bin_widths("repetition", LPD5)[0] == 0.1
    assert all(bin_widths(family, LPD5) for family in ORDERED)


def test_length_moves_in_beats_on_any_grid():
    """Notes of one beat against notes of two are a beat apart."""
    for steps in (1, 4, 12):
        spec = RollSpec((PIANO,), steps_per_beat=steps)
        a, b = (summed(drawn(spec, (0, C4, 0, beats * steps)), spec)["length: piano"] for beats in (1, 2))
        assert wasserstein(a, b) * bin_widths("length", spec)[0] == pytest.approx(1)


# Real music

def test_real_phrases_in_other_keys_differ_in_pitches_only(songs):
    starts = songs.phrase_starts(4)[::16]
    roll = songs.roll(starts, 4)
    moved = transpose(roll, torch.full((len(starts),), 2), songs.spec)
    whole = roll.frame[:, 1:].sum() == moved.frame[:, 1:].sum()    # nothing left the range
    found = family_distances(summed(roll, songs.spec), summed(moved, songs.spec))
    assert whole and found["pitch"] > 0.1
    assert all(value < 1e-9 for family, value in found.items() if family != "pitch")


def test_real_songs_are_nearer_to_songs_than_to_broken_ones(songs):
    starts = songs.phrase_starts(4)
    even = songs.piece_of(starts) % 2 == 0
    one, two = songs.roll(starts[even][::8], 4), songs.roll(starts[~even][::8], 4)
    mixed = two.map(lambda plane: plane.roll(1, 3).roll(3, 4))
    one, two, mixed = (summed(roll, songs.spec) for roll in (one, two, mixed))
    assert distance(one, two) < distance(one, mixed)
