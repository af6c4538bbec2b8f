"""Generated phrases against real ones: each statistic and each distance, with what chance and naive rows give.

A row is a set of phrases: `generated`, the naive rows, and `real`, which stands for a perfect model. Each is compared with
half of the real pieces, in many splits, always with the same number of phrases, so that no row has an advantage by size. The
*floor* of a number is what `real` gets so: how far two halves of the same data lie apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from musegan.errors import UserError
from musegan.evaluation import naive
from musegan.evaluation.corpus import Corpus
from musegan.evaluation.features import Scaling, features
from musegan.evaluation.splits import Splits, choose, split, weights
from musegan.evaluation.statistics import (
    ALL,
    RATIOS,
    Measured,
    column_names,
    flagged,
    measure,
    measure_chunks,
    statistics,
    values_by_name,
)
from musegan.metrics.histograms import ORDERED, bin_widths, distance, family_distances, total_variation, wasserstein
from musegan.metrics.music import Tally
from musegan.metrics.vectors import Neighbours, classifier_auc, frechet_distance, neighbours
from musegan.roll import RollSpec
from musegan.seeding import derived_seed, generator_for

REAL, GENERATED = "real", "generated"
MAX_POINTS = 1000    # of each side, for measures whose cost grows with the square
MAX_REPLAY = 20_000    # phrases of the training data that are measured
N_VECTOR_SPLITS = 20
N_CLASSIFIER_SPLITS = 3
N_BOOTSTRAP = 500
_TAIL = 0.025    # of each side of an interval
_ROUNDING = 1e-6    # relative

Say = Callable[[str], None]


class Estimate(NamedTuple):
    """A number with its 95 % interval; NaN where there is nothing to measure."""

    value: float
    low: float
    high: float


class StatisticRow(NamedTuple):
    """A statistic of a track, a pair or all together, in each row."""

    name: str
    column: str
    unit: str
    meaning: str
    real: Estimate
    """Of all real phrases; the interval is of other pieces of the same kind (bootstrap over pieces)."""
    generated: Estimate
    """Of all generated ones; bootstrap over what was generated independently."""
    floor: float
    """Difference that two halves of the real pieces stay within in 97.5 of 100 splits."""
    excess: dict[str, float]
    """By row: its median difference from half of the real pieces, over `floor`. Above 1 it differs from the data."""
    values: dict[str, float]
    """By naive row: its value."""


class DistanceRow(NamedTuple):
    """A measure of how far each row is from half of the real pieces."""

    name: str
    meaning: str
    best: str
    """`lowest`, `highest`, or `floor`: what is closest to it."""
    n: int
    """Phrases of each row."""
    rows: dict[str, Estimate]
    """Median and interval over the splits; that of `real` is the floor."""
    off: list[str]
    """Rows that lie outside the interval of `real`, on the side that is not best."""


class HistogramRow(NamedTuple):
    """One histogram on both sides."""

    name: str
    real: list[float]
    """Shares."""
    generated: list[float]
    total_variation: Estimate
    """From half of the real pieces; the overlapping area is 1 minus it."""
    floor: Estimate
    wasserstein: float
    """Median over the splits, in `unit`; NaN where the bins have no order."""
    wasserstein_floor: float
    unit: str


class Taken(NamedTuple):
    """A row in the splits: what was counted in the phrases that each split takes of it."""

    tallies: dict[str, Tally]
    """[S, columns] sums."""
    counts: dict[str, Tensor]
    """[S, bins]."""
    points: list[np.ndarray]
    """[n, D] vectors in each of the first `N_VECTOR_SPLITS`, of `MAX_POINTS` phrases at most."""
    pieces: list[np.ndarray]
    """[n] of these."""

    def values(self) -> dict[str, Tensor]:
        """Each statistic in each split: [S, columns] float64."""
        return _with_ratios({name: tally.total / tally.count for name, tally in self.tallies.items()})


class Comparison(NamedTuple):
    """All of it."""

    n: int
    """Phrases of each row that were compared."""
    statistics: list[StatisticRow]
    distances: list[DistanceRow]
    histograms: list[HistogramRow]
    flags: list[str]
    """Tracks that are silent too often or too rarely, in words."""


def compare(
    real: Corpus,
    generated: Corpus,
    train: Corpus | None,
    seed: int,
    released: bool = False,
    say: Say = lambda line: None,
) -> Comparison:
    """Measures everything.

    Args:
        real: of two pieces at least.
        generated: of the same spec and length.
        train: what the model was trained on, for the row `replay`; by default the real phrases.
        seed: decides splits, samples and naive rows.
        released: also compute the papers' metrics as the released code does.
        say: told what is being done.
    Raises:
        UserError: specs or lengths differ, or there are too few phrases.
    """
    check_comparable(real, generated, train)
    splits = split(real, len(generated), seed)
    say("measuring real phrases")
    measured = {REAL: measure(real, released)}
    vectors = features(measured[REAL])
    scaling = Scaling(vectors)
    halves = _take(measured[REAL], real.piece, splits.second, scaling, seed, "second half")
    rows = {REAL: _take(measured[REAL], real.piece, splits.first, scaling, seed, REAL)}
    say("measuring generated phrases")
    measured[GENERATED] = measure(generated, released)
    own = _drawn(generated, splits, seed, GENERATED)
    rows[GENERATED] = _take(measured[GENERATED], generated.piece, own, scaling, seed, GENERATED)
    rows |= _naive_rows(real, train, rows[REAL], splits, scaling, seed, released, say)
    say("comparing")
    statistic_rows = _statistics(real, generated, measured, rows, halves, seed, released)
    found = [*_histogram_distances(rows, halves, splits.n), *_vector_distances(rows, halves, seed, say)]
    histogram_rows = _histograms(rows, halves, measured, real.spec)
    flags = flagged(values_by_name(measured[GENERATED]), values_by_name(measured[REAL]))
    return Comparison(splits.n, statistic_rows, found, histogram_rows, flags)


def check_comparable(real: Corpus, generated: Corpus, train: Corpus | None) -> None:
    """Raises UserError where corpora do not have the same spec and number of bars."""
    for name, other in ((GENERATED, generated), ("train", train)):
        if other is None:
            continue
        if other.spec != real.spec:
            raise UserError(f"{name} and real music must have one spec: {difference(other.spec, real.spec)}")
        if other.n_bars != real.n_bars:
            raise UserError(f"{name} and real phrases must have as many bars: {other.n_bars} and {real.n_bars}")


def difference(a, b) -> str:
    """The first field in which two specs differ, e.g. `steps_per_beat is 4 and 12`."""
    name = next(name for name in vars(a) if getattr(a, name) != getattr(b, name))
    values = [getattr(spec, name) for spec in (a, b)]
    if name == "tracks":
        values = [", ".join(f"{t.name} ({'drums' if t.is_drum else t.program})" for t in tracks) for tracks in values]
    return f"{name} is {values[0]} and {values[1]}"


def _naive_rows(
    real: Corpus,
    train: Corpus | None,
    floor: Taken,
    splits: Splits,
    scaling: Scaling,
    seed: int,
    released: bool,
    say: Say,
) -> dict[str, Taken]:
    """The rows that this music can have."""
    n_pitched = sum(not track.is_drum for track in real.spec.tracks)
    rows = {}
    if real.spec.n_tracks > 1:
        say(f"measuring: {naive.RE_PAIRED}")
        # In each split anew, so that no track comes from the half that it is compared with.
        parts = []
        for s, index in enumerate(splits.first[:N_VECTOR_SPLITS]):
            corpus = naive.re_paired(real.take(index), derived_seed(seed, naive.RE_PAIRED, s))
            everything = torch.arange(len(corpus))[None]
            parts.append(_take(measure(corpus, released), corpus.piece, everything, scaling, seed, naive.RE_PAIRED, s))
        rows[naive.RE_PAIRED] = _joined(parts)
    for name, maker, is_possible in (
        (naive.SHUFFLED, naive.bars_shuffled, real.n_bars > 1),
        (naive.TRANSPOSED, naive.transposed_apart, n_pitched > 1),
        (naive.BERNOULLI, naive.bernoulli_cells, True),
    ):
        if is_possible:
            say(f"measuring: {name}")
            measured = measure_chunks(maker(real, derived_seed(seed, name)), len(real), released)
            rows[name] = _take(measured, real.piece, splits.first, scaling, seed, name)
    if train is None:
        return rows | {naive.REPLAY: floor}
    say(f"measuring: {naive.REPLAY}")
    if len(train) > MAX_REPLAY:    # no split takes more than half of the real phrases
        most = max(MAX_REPLAY, 2 * splits.n)
        train = train.take(choose(torch.arange(len(train)), most, seed, "replayed"))
    index = _drawn(train, splits, seed, naive.REPLAY)
    return rows | {naive.REPLAY: _take(measure(train, released), train.piece, index, scaling, seed, naive.REPLAY)}


def _drawn(corpus: Corpus, splits: Splits, seed: int, name: str) -> Tensor:
    """[S, n] phrases of a corpus, others in each split."""
    everything = torch.arange(len(corpus))
    return torch.stack([choose(everything, splits.n, seed, name, s) for s in range(len(splits.first))])


def _take(
    measured: Measured, piece: Tensor, chosen: Tensor, scaling: Scaling, seed: int, name: str, first_split: int = 0
) -> Taken:
    """Sums over the phrases that each split takes: [S, n] indices, or [S, N] bool."""
    # In double precision: a floor may be a millionth of what is added up.
    selection = chosen.double() if chosen.dtype == torch.bool else weights(chosen, len(piece))
    tallies = {name: Tally(*(selection @ part.double() for part in tally)) for name, tally in measured.tallies.items()}
    vectors = features(measured)
    points, pieces = [], []
    for s, row in enumerate(selection[:N_VECTOR_SPLITS], first_split):
        index = choose(torch.nonzero(row).squeeze(1), MAX_POINTS, seed, "points", name, s)
        points.append(scaling(vectors[index]))
        pieces.append(piece[index].numpy())
    return Taken(tallies, measured.counts(selection), points, pieces)


def _joined(parts: list[Taken]) -> Taken:
    """Splits taken one by one."""
    names, histogram_names = parts[0].tallies, parts[0].counts
    return Taken(
        {name: Tally(*(torch.cat(each) for each in zip(*(part.tallies[name] for part in parts)))) for name in names},
        {name: torch.cat([part.counts[name] for part in parts]) for name in histogram_names},
        [points for part in parts for points in part.points],
        [pieces for part in parts for pieces in part.pieces],
    )


def _with_ratios(values: dict[str, Tensor]) -> dict[str, Tensor]:
    ratios = {name: values[part] / values[f"{part}, shuffled"] for name, (part, _) in RATIOS.items() if part in values}
    return values | ratios


def _statistics(
    real: Corpus,
    generated: Corpus,
    measured: dict[str, Measured],
    rows: dict[str, Taken],
    halves: Taken,
    seed: int,
    released: bool,
) -> list[StatisticRow]:
    second = halves.values()
    values = {name: row.values() for name, row in rows.items()}    # [S, columns]
    differences = {
        name: {key: _apart(each, second[key][: len(each)]) for key, each in found.items()} for name, found in values.items()
    }
    sides = ((REAL, real), (GENERATED, generated))
    whole = [_with_ratios({key: tally.value() for key, tally in measured[name].tallies.items()}) for name, _ in sides]
    spread = [_bootstrap(measured[name], corpus.piece, derived_seed(seed, "bootstrap", name)) for name, corpus in sides]

    described = {s.name: s for s in statistics(real.spec, real.n_bars, released)}
    for name, (part, meaning) in RATIOS.items():
        described[name] = described[part]._replace(name=name, unit="", meaning=meaning)
    found = []
    for name, statistic in described.items():
        own: list[StatisticRow] = []
        for c, column in enumerate(column_names(statistic.columns, real.spec)):
            if column == ALL and len(own) == 1:
                continue    # of one track or pair, and the same
            estimates = [
                Estimate(float(value[name][c]), *_interval(draws[name][:, c])) for value, draws in zip(whole, spread)
            ]
            if all(math.isnan(estimate.value) for estimate in estimates):
                continue    # no such thing: pitch classes of drums
            floor = float(differences[REAL][name][:, c].nanquantile(1 - _TAIL))
            own.append(StatisticRow(
                name, column, statistic.unit, statistic.meaning, *estimates, floor,
                {row: _over(float(differences[row][name][:, c].nanmedian()), floor) for row in rows if row != REAL},
                {row: float(values[row][name][:, c].nanmedian()) for row in rows if row in naive.ROWS},
            ))    # fmt: skip
        found += own
    return found


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """Differences; 0 for what single phrases' float32 numbers cannot tell, or a floor would be made of their rounding."""
    difference = (a - b).abs()
    return difference.masked_fill(difference <= _ROUNDING * b.abs(), 0.0)


def _over(difference: float, limit: float) -> float:
    """A difference over its floor; where that is 0, 0 for none and infinity for any. NaN where one is."""
    if limit > 0:
        return difference / limit
    if math.isnan(difference) or math.isnan(limit):
        return math.nan
    return math.inf if difference > 0 else 0.0


def _bootstrap(measured: Measured, piece: Tensor, seed: int) -> dict[str, Tensor]:
    """Each statistic of `N_BOOTSTRAP` draws of as many pieces: [R, columns]."""
    _, number = piece.unique(return_inverse=True)
    n_pieces = int(number.max()) + 1
    times = torch.zeros(N_BOOTSTRAP, n_pieces, dtype=torch.float64)
    for r, row in enumerate(times):
        row += torch.bincount(torch.randint(n_pieces, (n_pieces,), generator=generator_for(seed, r)), minlength=n_pieces)
    values = {}
    for name, tally in measured.tallies.items():
        total, count = (times.new_zeros(n_pieces, part.shape[1]).index_add_(0, number, part.double()) for part in tally)
        values[name] = (times @ total) / (times @ count)
    return _with_ratios(values)


def _interval(values: Tensor) -> tuple[float, float]:
    low, high = values.nanquantile(_TAIL), values.nanquantile(1 - _TAIL)
    return float(low), float(high)


def _estimate(values: Tensor) -> Estimate:
    """Median and interval over splits."""
    values = values.double()
    return Estimate(float(values.nanmedian()), *_interval(values))


def _histogram_distances(rows: dict[str, Taken], halves: Taken, n: int) -> Iterator[DistanceRow]:
    """DIST and each family's mean total variation."""
    total, families = {}, {}
    for name, row in rows.items():
        second = {key: counts[: len(row.counts[key])] for key, counts in halves.counts.items()}
        total[name], families[name] = distance(row.counts, second), family_distances(row.counts, second)
    yield _distance_row("DIST", "mean of the total variations below", "lowest", n, total)
    for family in families[REAL]:
        values = {name: found[family] for name, found in families.items()}
        if not values[REAL].isnan().all():
            yield _distance_row(family, "total variation of histograms", "lowest", n, values)


def _histograms(
    rows: dict[str, Taken], halves: Taken, measured: dict[str, Measured], spec: RollSpec
) -> list[HistogramRow]:
    whole = [measured[name].counts() for name in (REAL, GENERATED)]
    found = []
    for name, half in halves.counts.items():
        if all(not counts[name].sum() for counts in whole):
            continue
        family = name.split(": ")[0]
        shares = [(counts[name] / counts[name].sum().clamp(min=1)).tolist() for counts in whole]
        taken = [rows[row].counts[name] for row in (GENERATED, REAL)]
        distances = [_estimate(total_variation(counts, half)) for counts in taken]
        moved, unit = [math.nan] * 2, ""
        if family in ORDERED:
            width, unit = bin_widths(family, spec)
            moved = [float(wasserstein(counts, half).nanmedian()) * width for counts in taken]
        found.append(HistogramRow(name, *shares, *distances, *moved, unit))
    return found


def _vector_distances(rows: dict[str, Taken], halves: Taken, seed: int, say: Say) -> list[DistanceRow]:
    """Fréchet distance, neighbours and a classifier, on vectors of so many phrases at most."""
    frechet, near, auc = {}, {}, {}
    n_points = min(len(points) for row in (*rows.values(), halves) for points in row.points)
    for name, row in rows.items():
        say(f"comparing: {name}")
        pairs = [
            tuple(side[:n_points] for side in sides) for sides in zip(row.points, halves.points, row.pieces, halves.pieces)
        ]
        frechet[name] = torch.tensor([frechet_distance(points, second) for points, second, _, _ in pairs])
        near[name] = torch.tensor([neighbours(*pair) for pair in pairs])    # [S, 4]
        auc[name] = torch.tensor([classifier_auc(*pair, seed) for pair in pairs[:N_CLASSIFIER_SPLITS]])
    meanings = {
        "precision": "generated phrases near a real one", "recall": "real phrases near a generated one",
        "density": "real phrases around a generated one", "coverage": "real phrases with a generated one around",
    }    # fmt: skip
    return [
        _distance_row("Fréchet", "between normal distributions of the vectors", "lowest", n_points, frechet),
        *(
            _distance_row(name, meanings[name], "floor" if name == "density" else "highest", n_points,
                          {row: values[:, i] for row, values in near.items()})
            for i, name in enumerate(Neighbours._fields)
        ),
        _distance_row("classifier", "area under the curve; 0.5 is guessing", "lowest", n_points, auc),
    ]    # fmt: skip


def _distance_row(name: str, meaning: str, best: str, n: int, values: dict[str, Tensor]) -> DistanceRow:
    estimates = {row: _estimate(each) for row, each in values.items()}
    floor = estimates[REAL]
    off = [
        row for row, estimate in estimates.items()
        if row != REAL
        and (best != "highest" and estimate.value > floor.high or best != "lowest" and estimate.value < floor.low)
    ]    # fmt: skip
    return DistanceRow(name, meaning, best, n, estimates, off)
