"""An evaluation as tables, for people who read on a terminal; the page has all of it."""

from __future__ import annotations

import math

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from musegan.evaluation.comparison import Comparison, Estimate, StatisticRow
from musegan.evaluation.report import Evaluation
from musegan.evaluation.statistics import ALL
from musegan.pages.comparison import giveaways, replayed
from musegan.pages.evaluation import N_GIVEAWAYS

_NAME, _CELL = 16, 15    # letters of the longest word of a statistic's name, and of two numbers


def show(found: Evaluation, console: Console) -> None:
    """Prints the report."""
    comparison = found.comparison
    for name, side in found.sides.items():
        pieces = f" of {side.n_pieces:,} pieces" if side.n_pieces < side.n_phrases else ""
        phrases = f"{side.n_phrases:,} phrases of {found.n_bars} bars{pieces}"
        console.print(f"[bold]{name}[/]: {phrases}, {escape(side.source)}", highlight=False)
    for warning in found.warnings:
        console.print(f"[yellow]{escape(warning)}[/]", highlight=False)
    console.print(_distance_table(comparison))
    console.print(_statistics_table(found, {"track", ALL}, console.width))
    if len(found.spec["tracks"]) > 1:
        console.print(_statistics_table(found, {"pair"}, console.width))
    console.print(_papers_table(found, released=False))
    if found.papers_released is not None:
        console.print(_papers_table(found, released=True))
    for line in [*_original_lines(found), *_condition_lines(found)]:
        console.print(line, highlight=False)
    found_off = giveaways(comparison)
    if found_off:
        console.print("[bold]What tells it from the data most[/] "
                      "(times the difference that two halves of the data stay within)")
        for row in found_off[:N_GIVEAWAYS]:
            unit = f" {row.unit}" if row.unit not in ("", "share") else ""
            replay = f" (training phrases themselves: {replayed(row):.1f} x)" if replayed(row) else ""
            console.print(
                f"  {row.excess['generated']:.1f} x  {row.name}, {escape(row.column)}: "
                f"{_number(row.generated.value)}{unit}, data {_number(row.real.value)}{replay}", highlight=False,
            )    # fmt: skip
        if len(found_off) > N_GIVEAWAYS:
            console.print(f"  and {len(found_off) - N_GIVEAWAYS} more, on the page")
    else:
        others = "; distances do, where they are marked *" if any("generated" in each.off for each in comparison.distances) else ""
        console.print(f"[bold]No single statistic tells it from the data[/]: each lies where halves of the data do{others}")
    for flag in comparison.flags:
        console.print(f"[bold red]{escape(flag)}[/]", highlight=False)


def _distance_table(comparison: Comparison) -> Table:
    title = f"Distance from half of the real pieces, {comparison.n:,} phrases a row (*: off the floor)"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0)
    rows = [name for name in comparison.distances[0].rows if name != "real"]
    for name in ("", "floor", *rows):
        widest = max(map(len, name.split()), default=0)    # names break between words only
        table.add_column(name, justify="right" if name else "left", min_width=widest or None)
    for distance in comparison.distances:
        cells = [_marked(_number(distance.rows[row].value), row in distance.off) for row in rows]
        table.add_row(distance.name, _range(distance.rows["real"]), *cells)
    return table


def _range(estimate: Estimate) -> str:
    return f"{estimate.low:.2g}–{estimate.high:.2g}"


def _statistics_table(found: Evaluation, kinds: set[str], width: int) -> Table:
    """Statistics by track, or by pair: the data's, and the generated music's."""
    names = [track["name"] for track in found.spec["tracks"]]
    is_pair = "pair" in kinds
    by_name: dict[str, dict[str, StatisticRow]] = {}
    for row in found.comparison.statistics:
        if not row.name.startswith("released: "):
            by_name.setdefault(row.name, {})[row.column] = row
    chosen = {name: rows for name, rows in by_name.items() if any(" - " in c and c not in names for c in rows) == is_pair}
    columns = [c for c in dict.fromkeys(column for rows in chosen.values() for column in rows) if c != ALL] + [ALL]
    columns = columns[-1:] if len(names) == 1 else columns    # which is the same
    title = f"{'Pairs of tracks' if is_pair else 'Tracks'}: data / generated (*: off)"
    heads, lines = (list(chosen), columns) if is_pair else (columns, list(chosen))    # pairs are many, their statistics few
    between = " / " if _NAME + _CELL * len(heads) <= width else " /\n"
    cells = {(name, column): _both(rows.get(column), between) for name, rows in chosen.items() for column in columns}
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0)
    for head in ("", *heads):
        table.add_column(escape(head), min_width=max(map(len, head.split()), default=_NAME))
    for line in lines:
        table.add_row(escape(line), *(cells[(head, line) if is_pair else (line, head)] for head in heads))
    return table


def _both(row: StatisticRow | None, between: str) -> str:
    if row is None:
        return ""
    return _marked(f"{_number(row.real.value)}{between}{_number(row.generated.value)}", row.excess["generated"] > 1)


def _papers_table(found: Evaluation, released: bool) -> Table:
    """The papers' columns as rows, which fit a terminal."""
    papers = found.papers_released if released else found.papers
    title = "As the papers report" + (", with the faults of the released code" if released else "")
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0)
    table.add_column("", no_wrap=True)
    for row in papers.rows:
        table.add_column(row, min_width=max(map(len, row.split())))
    for (group, column), values in zip(papers.columns, zip(*papers.rows.values())):
        table.add_row(f"{group} {escape(column)}", *map(_number, values))
    return table


def _original_lines(found: Evaluation) -> list[str]:
    original = found.originality
    where = "training phrase" if original.corpus == "train" else "real phrase"
    lines = [
        f"[bold]Nearest {where}[/], in any key, of {original.n_corpus:,} (1: the same note starts): generated "
        f"{_number(original.generated.median)} in the middle, {_number(original.generated.closest)} at most; real "
        f"{_number(original.real.median)} and {_number(original.real.closest)}",
        f"Copies (0.9 or more): {original.copied:.1%} of the generated, {original.copied_real:.1%} of the real; twice among "
        f"themselves: {original.duplicates:.1%} and {original.duplicates_real:.1%}",
    ]    # fmt: skip
    if original.melodies:
        parts = (f"{escape(m.track)} {_number(m.generated.median)} / {_number(m.real.median)}" for m in original.melodies)
        lines.append(f"Nearest melody, semitones a note, generated / real: {', '.join(parts)}")
    return lines


def _condition_lines(found: Evaluation) -> list[str]:
    lines = []
    for name, test in (found.condition or {}).items():
        parts = (
            f"{field.replace('_', ' ')} {_number(own)} / {_number(other)}"
            for field, own, other in zip(test.own._fields, test.own, test.swapped)
        )
        lines.append(f"[bold]Given track[/] with its own / another phrase's accompaniment, {name}: {', '.join(parts)}")
        if math.isfinite(test.changed):
            lines.append(
                f"Given another phrase's track, {test.changed:.0%} of the accompaniments change, by {test.change:.0%} of "
                "their note starts"
            )
    return lines


def _marked(text: str, is_off: bool) -> str:
    return f"[red]{text}*[/]" if is_off else text


def _number(value: float) -> str:
    """Three significant digits."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else "inf"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
