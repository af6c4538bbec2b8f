"""What a comparison found, as HTML: distances, statistics, histograms, and which naive rows are caught."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

from musegan.data.facts import pitch_name
from musegan.evaluation import naive
from musegan.evaluation.comparison import GENERATED, REAL, Comparison, DistanceRow, Estimate, HistogramRow, StatisticRow
from musegan.evaluation.statistics import RATIOS, statistics
from musegan.metrics.histograms import FAMILIES
from musegan.pages.bins import TITLES, bins
from musegan.pages.html import Cell, plural, table, text
from musegan.pages.marks import WIDE_LABEL, Lane, Mark, Scale, lanes_chart, overlay_chart, scale_of
from musegan.roll import RollSpec

RELEASED = "released: "    # how names of the released code's statistics begin
MIN_SHARE = 0.005    # below it on both sides, a chord type is left out of its chart
N_STRONGEST = 3    # measures that are named of each naive row
_MEASURES = {
    "DIST": "DIST, all histograms",
    "Fréchet": "Fréchet distance",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
    "classifier": "Classifier",
}
_NEAREST = {"lowest": "lower is closer", "highest": "higher is closer", "floor": "closest is what the data has"}
_SPOILT = {
    naive.RE_PAIRED: "the tracks are of different pieces, and do not fit each other",
    naive.SHUFFLED: "the bars of each phrase come in a wrong order",
    naive.TRANSPOSED: "each pitched track is moved by its own number of semitones",
    naive.BERNOULLI: "each cell of the roll is drawn by itself",
    naive.REPLAY: "nothing is new: phrases of the training data",
}


def number(value: float, unit: str = "") -> str:
    """Three significant digits, or percent of a share."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞"
    if unit == "share":
        return f"{value:.1%}" if abs(value) < 0.1 and value else f"{value:.0%}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percent(value: float) -> str:
    """A share of phrases."""
    return "–" if math.isnan(value) else f"{value:.1%}"


def with_unit(value: float, unit: str) -> str:
    """A number with its unit, as a reader says it."""
    if unit == "MIDI" and math.isfinite(value):
        return f"{value:.1f} ({pitch_name(round(value))})"
    return number(value, unit) if unit in ("", "share", "MIDI") else f"{number(value)} {unit}"


def interval(estimate: Estimate, unit: str = "") -> str:
    """E.g. `0.42 [0.31, 0.5]`."""
    value, low, high = (number(each, unit) for each in estimate)
    return value if value == "–" else f"{value} [{low}, {high}]"


def times(excess: float) -> str:
    """A multiple of the floor, e.g. `2.3×`."""
    return f"{number(excess)}×"


def giveaways(comparison: Comparison) -> list[StatisticRow]:
    """The statistics that tell the generated music from the data, the strongest first."""
    return sorted((row for row in _findings(comparison) if row.excess[GENERATED] > 1),
                  key=lambda row: -row.excess[GENERATED])


def replayed(row: StatisticRow) -> float:
    """How many times the floor training phrases lie off by themselves; 0 where they lie within it."""
    excess = row.excess.get(naive.REPLAY, 0.0)
    return excess if excess > 1 else 0.0


def n_statistics(comparison: Comparison) -> int:
    """How many were looked at."""
    return len(_findings(comparison))


def _findings(comparison: Comparison) -> list[StatisticRow]:
    """What says something of the music by itself: neither the released code's figures nor what chance gives."""
    return [row for row in comparison.statistics if not row.name.startswith(RELEASED)
            and not row.name.endswith(", shuffled")]


def measure_name(distance: DistanceRow) -> str:
    """What a distance is called on the page."""
    return _MEASURES.get(distance.name, f"{distance.name[:1].upper()}{distance.name[1:]} histograms")


def distances(comparison: Comparison) -> str:
    """Charts of all distances, and their numbers."""
    charts = "".join(map(_distance_chart, comparison.distances))
    rows = [name for name in comparison.distances[0].rows if name != REAL]
    lines = [
        [
            Cell(measure_name(each), title=each.meaning), _NEAREST[each.best], f"{each.n:,}", interval(each.rows[REAL]),
            *(Cell(interval(each.rows[row]), row in each.off) for row in rows),
        ]
        for each in comparison.distances
    ]    # fmt: skip
    numbers = table(["", "best", "phrases", "floor", *rows], lines, is_numbers=True)
    return f'<div class="charts">{charts}</div>\n<details><summary>The distances in numbers</summary>{numbers}</details>'


def _distance_chart(distance: DistanceRow) -> str:
    lanes = []
    for name, estimate in _ordered(distance.rows).items():
        kind = "gen" if name == GENERATED else "naive"
        mark = Mark(kind, estimate, f"{name}: {interval(estimate)}")
        lanes.append(Lane(name, [mark], number(estimate.value), name in distance.off, name == GENERATED))
    floor = distance.rows[REAL]
    ends = [end for estimate in distance.rows.values() for end in estimate]
    scale = scale_of(ends, may_be_log=distance.best == "lowest" and distance.name != "classifier")
    caption = f"{distance.meaning}; {_NEAREST[distance.best]}; {plural(distance.n, 'phrase')} a row"
    caption += "; logarithmic" if scale.is_log else ""
    return lanes_chart(
        measure_name(distance), caption, lanes, scale, _tick(scale, ""), Mark("data", floor, f"floor: {interval(floor)}")
    )


def _ordered(rows: dict[str, Estimate]) -> dict[str, Estimate]:
    return {name: rows[name] for name in (GENERATED, *(name for name in rows if name not in (REAL, GENERATED)))}


def _tick(scale: Scale, unit: str):
    """How the numbers on an axis are written."""
    if unit == "share":
        return lambda value: f"{value:.{1 if scale.high - scale.low < 0.04 else 0}%}"
    return lambda value: f"{value:.4g}"


def statistic_charts(comparison: Comparison, spec: RollSpec, n_bars: int) -> str:
    """A chart for each statistic, those of single tracks first, and a table of all."""
    kinds = {statistic.name: statistic.columns for statistic in statistics(spec, n_bars)}
    kinds |= {name: kinds[part] for name, (part, _) in RATIOS.items() if part in kinds}
    by_name: dict[str, list[StatisticRow]] = {}
    for row in comparison.statistics:
        by_name.setdefault(row.name, []).append(row)
    parts = []
    for title, is_pair in (("Tracks", False), ("Pairs of tracks", True)):
        own = [rows for name, rows in by_name.items() if name in kinds and ("pair" in kinds[name]) == is_pair]
        charts = list(map(_statistic_chart, own))
        if charts:
            parts.append(f'<h3>{title}</h3>\n<div class="charts">{"".join(charts)}</div>')
    return "\n".join([*parts, _statistic_table(comparison)])


def _statistic_chart(rows: list[StatisticRow]) -> str:
    unit = rows[0].unit
    ends = [end for row in rows for end in (*row.real, *row.generated) if math.isfinite(end)]
    if ends:    # naive rows that are far off would press all else together
        reach = max(ends) - min(ends) or abs(ends[0]) or 1.0
        values = [value for row in rows for value in row.values.values()]
        ends += [value for value in values if min(ends) - reach <= value <= max(ends) + reach]
    scale = scale_of(ends)
    lanes = []
    for row in rows:
        excess = row.excess[GENERATED]
        marks = [
            Mark("data", row.real, f"{row.column}, data: {interval(row.real, unit)}"),
            *(Mark("tick", Estimate(value, value, value), f"{row.column}, {name}: {number(value, unit)}")
              for name, value in row.values.items() if name != naive.REPLAY),
            Mark("gen", row.generated,
                 f"{row.column}, generated: {interval(row.generated, unit)}; {times(excess)} the floor"),
        ]    # fmt: skip
        lanes.append(Lane(row.column, marks, times(excess) if excess > 1 else number(row.generated.value, unit), excess > 1))
    caption = rows[0].meaning + (f" ({unit})" if unit not in ("", "share") else "")
    return lanes_chart(rows[0].name, caption, lanes, scale, _tick(scale, unit))


def _statistic_table(comparison: Comparison) -> str:
    names = [name for name in naive.ROWS if any(name in row.excess for row in comparison.statistics)]
    lines = []
    for row in comparison.statistics:
        show = partial(interval, unit=row.unit)
        lines.append([
            Cell(f"{row.name}, {row.column}", title=row.meaning), row.unit, show(row.real), show(row.generated),
            number(row.floor, "share" if row.unit == "share" else ""),
            *(Cell(number(row.excess[name]), row.excess[name] > 1) for name in (GENERATED, *names)),
        ])    # fmt: skip
    columns = ["", "unit", "data", "generated", "floor", "generated", *names]
    groups = [("", 2), ("value [95 % interval]", 2), ("", 1), ("difference from the data, in floors", 1 + len(names))]
    numbers = table(columns, lines, groups, is_numbers=True)
    return f"<details><summary>All statistics in numbers ({len(lines):,})</summary>{numbers}</details>"


def histogram_charts(rows: list[HistogramRow], spec: RollSpec) -> str:
    """Both sides of each histogram, family by family."""
    by_family: dict[str, list[HistogramRow]] = {}
    for row in rows:
        by_family.setdefault(row.name.split(": ", 1)[0], []).append(row)
    ordered = [*(family for family in FAMILIES if family in by_family), *(f for f in by_family if f not in FAMILIES)]
    parts = []
    for family in ordered:
        charts = "".join(_histogram_chart(row, spec) for row in by_family[family])
        parts.append(f'<h3>{text(TITLES.get(family, family))}</h3>\n<div class="charts">{charts}</div>')
    return "\n".join(parts)


def _histogram_chart(row: HistogramRow, spec: RollSpec) -> str:
    family, track = row.name.split(": ", 1)
    is_drum = any(each.is_drum and each.name == track for each in spec.tracks)
    found = bins(family, spec, is_drum, len(row.real))
    distance, floor = row.total_variation, row.floor
    sides = row.real, row.generated
    tops = [found.names[max(range(len(side)), key=side.__getitem__)] if sum(side) else "none" for side in sides]
    caption = f"overlap {number(1 - distance.value, 'share')}, in the data {number(1 - floor.value, 'share')}"
    caption += f"; most: {tops[0]}" + ("" if tops[0] == tops[1] else f", generated: {tops[1]}")
    caption += f"; total variation {number(distance.value)}, floor {number(floor.low)} to {number(floor.high)}"
    if math.isfinite(row.wasserstein):
        unit = f" {row.unit}" if row.unit else ""
        caption += f"; Wasserstein {number(row.wasserstein)}{unit}, floor {number(row.wasserstein_floor)}"
    title = "All pitched tracks" if family == "chord type" else track
    is_off = distance.value > floor.high
    if not found.ticks:    # names that find no room under bars
        return _named_chart(title, caption, row, found.names, is_off)
    return overlay_chart(title, caption, row.real, row.generated, found, is_off)


def _named_chart(title: str, caption: str, row: HistogramRow, names: list[str], is_off: bool) -> str:
    """A histogram whose bins lie under each other, the data's most frequent first."""
    lanes = []
    for i in sorted(range(len(names)), key=lambda i: (-row.real[i], -row.generated[i])):
        real, generated = row.real[i], row.generated[i]
        if max(real, generated) >= MIN_SHARE:
            label = f"{names[i]}: data {real:.1%}, generated {generated:.1%}"
            bar, dot = Estimate(real, 0.0, real), Estimate(generated, generated, generated)
            marks = [Mark("data", bar, label), Mark("gen", dot, label)]
            lanes.append(Lane(names[i], marks, number(generated, "share"), is_off))
    scale = scale_of([0.0, *row.real, *row.generated])._replace(label=WIDE_LABEL)
    return lanes_chart(title, f"{caption}. Those of {MIN_SHARE:.1%} and more", lanes, scale, _tick(scale, "share"))


def naive_table(comparison: Comparison) -> str:
    """Each naive row, what is spoilt in it, and by what it is told from the data."""
    lines = []
    for row in naive.ROWS:
        if row not in comparison.distances[0].rows:
            continue
        found = [(r.excess[row], f"{r.name}, {r.column}") for r in comparison.statistics if not r.name.startswith(RELEASED)]
        found = sorted((each for each in found if each[0] > 1), key=lambda each: -each[0])
        off = [distance for distance in comparison.distances if row in distance.off]
        off.sort(key=lambda distance: -beyond(distance, row))
        lines.append([
            row, _SPOILT[row], _strongest([f"{name} {times(excess)}" for excess, name in found]),
            _strongest([measure_name(distance) for distance in off]),
        ])    # fmt: skip
    return table(["row", "what is spoilt", "statistics that tell it", "distances that tell it"], lines)


def beyond(distance: DistanceRow, row: str) -> float:
    """How many times as far as the floor's end a row lies from its middle."""
    floor, value = distance.rows[REAL], distance.rows[row].value
    reach = floor.high - floor.value if value > floor.value else floor.value - floor.low
    return abs(value - floor.value) / reach if reach > 0 else math.inf


def _strongest(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - N_STRONGEST} more" if len(names) > N_STRONGEST else ""
    return "; ".join(names[:N_STRONGEST]) + more if names else "none"
