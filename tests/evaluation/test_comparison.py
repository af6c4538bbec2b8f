"""What a comparison must tell, and must not: on made phrases, and on real music and its spoilt rows."""

import dataclasses
import functools
import math

import pytest
import torch

from musegan.errors import UserError
from musegan.evaluation import comparison, naive
from musegan.evaluation.comparison import compare
from musegan.evaluation.corpus import Corpus
from musegan.evaluation.statistics import measure
from musegan.metrics.histograms import distance
from musegan.roll import Roll, RollSpec, Track
from tests.evaluation.music import DUO, beats, corpus_of_notes, halves, scales


@pytest.fixture(scope="module")
def made():
    """Scales against broken ones."""
    return compare(scales(), scales(broken=True), None, seed=0)


@pytest.fixture(scope="module")
def real(songs):
    """Real music against other real music."""
    corpus, other = halves(songs)
    return compare(corpus, other, None, seed=0)


def row(found, name, column="all"):
    return next(r for r in found.statistics if (r.name, r.column) == (name, column))


def distance_row(found, name):
    return next(r for r in found.distances if r.name == name)


def test_values_are_those_of_all_phrases(made):
    notes = row(made, "qualified notes", "lead")
    assert (notes.real.value, notes.generated.value) == (1.0, 0.0)
    assert row(made, "notes", "lead").real.value == 8
    assert row(made, "note length", "lead").generated.value == 0.25
    assert row(made, "empty bars", "lead").real == (0, 0, 0)


def test_what_is_off_is_told(made):
    assert math.isinf(row(made, "qualified notes", "lead").excess["generated"])    # real halves do not differ at all
    assert row(made, "chord tones", "chords").excess["generated"] > 1
    assert row(made, "notes", "lead").excess["generated"] == 0
    assert "generated" in distance_row(made, "length").off
    assert "generated" not in distance_row(made, "position").off


def test_a_difference_over_its_floor():
    nan, inf = math.nan, math.inf
    for difference, limit, over in ((1, 2, 0.5), (0, 0, 0), (1, 0, inf), (0, 2, 0)):
        assert comparison._over(difference, limit) == over
    assert all(math.isnan(comparison._over(*pair)) for pair in ((nan, 0.0), (nan, 1.0), (1.0, nan), (0.0, nan)))


def test_an_interval_holds_its_value(real):
    for r in real.statistics:
        for estimate in (r.real, r.generated):
            if not math.isnan(estimate.value):
                assert estimate.low - 1e-6 <= estimate.value <= estimate.high + 1e-6 or estimate.high - estimate.low < 0.2


def test_intervals_are_of_the_bootstrap_over_pieces(songs):
    """Against resampling phrases piece by piece, in plain loops."""
    corpus, _ = halves(songs)
    measured = measure(corpus)
    draws = comparison._bootstrap(measured, corpus.piece, seed=5)["notes"][:, -1]
    pieces = corpus.piece.unique().tolist()
    tally = measured.tallies["notes"]
    rng = torch.Generator().manual_seed(1)
    values = []
    for _ in range(2000):
        chosen = [pieces[i] for i in torch.randint(len(pieces), (len(pieces),), generator=rng).tolist()]
        total, count = (sum(float(part[corpus.piece == p, -1].sum()) for p in chosen) for part in tally)
        values.append(total / count)
    assert abs(draws.mean() - sum(values) / len(values)) < 0.15 * draws.std()
    assert abs(draws.std() / torch.tensor(values).std() - 1) < 0.15


def test_floors_and_excesses_are_what_they_say(songs, monkeypatch):
    """Against one split at a time, counted anew; of a quarter of the splits."""
    monkeypatch.setattr(comparison, "split", functools.partial(comparison.split, n_splits=25))
    corpus, other = halves(songs)
    found = compare(corpus, other, None, seed=3)
    splits = comparison.split(corpus, len(other), 3)
    floors, differences, dist, dist_floor = [], [], [], []
    for s in range(len(splits.first)):
        own, half = measure(corpus.take(splits.first[s])), measure(corpus.take(splits.second[s]))
        index = comparison._drawn(other, splits, 3, "generated")[s]
        generated = measure(other.take(index))
        values = [float(m.tallies["notes"].value()[3]) for m in (own, half, generated)]
        floors.append(abs(values[0] - values[1]))
        differences.append(abs(values[2] - values[1]))
        dist.append(float(distance(generated.counts(), half.counts())))
        dist_floor.append(float(distance(own.counts(), half.counts())))
    bass = row(found, "notes", "bass")
    assert bass.floor == pytest.approx(float(torch.tensor(floors).quantile(0.975)), rel=1e-4)
    assert bass.excess["generated"] == pytest.approx(float(torch.tensor(differences).nanmedian()) / bass.floor, rel=1e-4)
    rows = distance_row(found, "DIST").rows
    assert rows["generated"].value == pytest.approx(float(torch.tensor(dist).nanmedian()), rel=1e-4)
    assert rows["real"].high == pytest.approx(float(torch.tensor(dist_floor).quantile(0.975)), rel=1e-4)


MEANT_FOR = {
    naive.RE_PAIRED: ("chord tones", "tonal distance", "tonal distance over shuffled", "joint scale"),
    naive.TRANSPOSED: ("chord tones", "tonal distance", "tonal distance over shuffled", "joint scale"),
    naive.BERNOULLI: ("qualified notes", "used pitches", "self-similarity, 1 bar", "scale"),
}


@pytest.mark.parametrize("name", MEANT_FOR)
def test_each_naive_row_is_caught_by_what_is_meant_to_catch_it(real, name):
    caught = [statistic for statistic in MEANT_FOR[name] if row(real, statistic).excess[name] > 1]
    assert caught, {statistic: row(real, statistic).excess[name] for statistic in MEANT_FOR[name]}


def test_shuffled_bars_leap_as_by_chance(songs):
    corpus = Corpus.of_dataset(songs, 4)
    found = compare(corpus, corpus, None, seed=0)
    leap = row(found, "leap at bar lines over shuffled", "guitar")
    assert leap.excess[naive.SHUFFLED] > leap.excess["generated"]
    assert abs(leap.values[naive.SHUFFLED] - 1) < 0.07 < 1 - leap.real.value


def test_nothing_is_off_where_the_same_is_compared(songs):
    corpus = Corpus.of_dataset(songs, 4)
    found = compare(corpus, corpus, None, seed=0)
    assert max(r.excess["generated"] for r in found.statistics) <= 1
    assert not found.flags
    assert distance_row(found, "DIST").off.count("generated") == 0
    assert distance_row(found, "DIST").rows[naive.REPLAY] == distance_row(found, "DIST").rows["real"]


def test_floors_shrink_with_the_number_of_phrases():
    """Of independent phrases: of one source, more of them lie closer together."""
    def floor(n):
        corpus = beats(n)
        jittered = corpus.unpacked()
        keep = torch.rand(jittered.frame.shape, generator=torch.Generator().manual_seed(0)) < 0.6
        corpus = Corpus.of_roll(jittered.map(lambda plane: plane & keep), corpus.spec)
        return distance_row(compare(corpus, corpus, None, seed=0), "DIST").rows["real"].value

    values = [floor(n) for n in (40, 160, 640)]
    assert values[0] > 1.5 * values[1] > 2.25 * values[2] > 0


def test_a_silent_track_is_flagged_and_not_averaged_away(songs):
    corpus, other = halves(songs)
    muted = other.roll.map(torch.clone)
    for plane in muted:
        plane[:, 3] = 0
    found = compare(corpus, Corpus(muted, other.piece, other.spec), None, seed=0)
    real = row(found, "empty bars", "bass").real.value
    assert f"bass is silent in 100% of the bars, in the data in {real:.0%}" in found.flags
    assert not any(flag.startswith("drums") for flag in found.flags)
    assert math.isnan(row(found, "notes", "bass").generated.value)
    assert row(found, "empty bars", "bass").generated.value == 1.0


def test_the_seed_decides_everything(songs):
    corpus, other = halves(songs)
    first, again, another = (compare(corpus, other, None, seed=seed) for seed in (0, 0, 1))
    assert repr(first) == repr(again) != repr(another)


@pytest.mark.parametrize("n_bars", [1, 2])
def test_drums_alone_and_short_phrases_have_fewer_rows(n_bars):
    corpus = beats() if n_bars == 1 else scales()
    found = compare(corpus, corpus, None, seed=0)
    rows = set(distance_row(found, "DIST").rows)
    if n_bars == 1:
        assert rows == {"real", "generated", naive.BERNOULLI, naive.REPLAY}
        assert {r.name for r in found.statistics} >= {"drum pattern", "kick on 1", "snare on 2 and 4"}
        assert not [r for r in found.statistics if r.name in ("used pitch classes", "tonal distance", "groove")]
    else:
        assert rows == {"real", "generated", *naive.ROWS}
        assert not [r for r in found.statistics if "2 bars" in r.name]


def test_training_data_are_the_replay(songs):
    corpus, other = halves(songs)
    found = compare(corpus, other, other, seed=0)
    dist = distance_row(found, "DIST")
    assert abs(dist.rows[naive.REPLAY].value - dist.rows["generated"].value) < 0.02
    assert dist.rows[naive.REPLAY] != dist.rows["real"]


def test_other_specs_and_lengths_are_refused(songs):
    corpus, other = halves(songs)
    with pytest.raises(UserError, match="generated and real music must have one spec: tracks is lead .*80.* and drums"):
        compare(corpus, scales(), None, seed=0)
    with pytest.raises(UserError, match="generated and real phrases must have as many bars: 2 and 4"):
        compare(corpus, Corpus.of_dataset(songs, 2), None, seed=0)
    finer = RollSpec(corpus.spec.tracks, steps_per_beat=12)
    with pytest.raises(UserError, match="train and real music must have one spec: steps_per_beat is 12 and 4"):
        compare(corpus, other, dataclasses.replace(corpus, spec=finer), seed=0)


def test_counts_that_a_small_integer_cannot_hold():
    spec = RollSpec((Track("drums", is_drum=True),), steps_per_beat=24, n_pitches=128, lowest_pitch=0)
    full = torch.ones(1, 1, 16, 96, 128, dtype=torch.bool)
    music = Corpus.of_roll(Roll(full, full), spec)
    assert measure(music).counts()["beat: drums"].tolist() == [16 * 24 * 128.0] * 4


def test_music_that_is_all_the_same_can_be_compared():
    same = corpus_of_notes([(i, 0, 60, 0, 16) for i in range(40)], 40, DUO, 2, torch.arange(40) % 10)
    found = compare(same, scales(), None, seed=0)
    assert all(math.isnan(row.rows["generated"].value) for row in found.distances if row.name in ("Fréchet", "classifier"))
    assert found.distances[0].rows["generated"].value > 0.5


def test_rounding_makes_no_floor():
    """Notes of a twelfth of a beat everywhere, in numbers that differ from phrase to phrase."""
    spec = RollSpec(DUO.tracks, steps_per_beat=12)
    notes = [(i, 0, 60 + j, j, j + 1) for i in range(60) for j in range(1 + i % 11)]
    corpus = corpus_of_notes(notes, 60, spec, 1, torch.arange(60) % 12)
    row = next(r for r in compare(corpus, corpus, None, seed=0).statistics if (r.name, r.column) == ("note length", "lead"))
    assert row.floor == 0.0 and row.excess["generated"] == 0.0


def test_a_track_may_be_called_all():
    spec = RollSpec((Track("all", 80), Track("chords", 0)))
    corpus = scales()
    named = Corpus(corpus.roll, corpus.piece, spec)
    found = compare(named, named, None, seed=0)
    assert [r.column for r in found.statistics if r.name == "empty bars"] == ["all (track)", "chords", "all"]
