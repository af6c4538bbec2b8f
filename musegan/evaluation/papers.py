"""The layout of the MuseGAN papers' tables: EB, UPC, QN, DP and TD, of each row."""

from __future__ import annotations

from typing import NamedTuple

from musegan.evaluation import naive
from musegan.evaluation.comparison import GENERATED, REAL, Comparison
from musegan.evaluation.statistics import ALL

# Name in the papers, statistic, factor: percent where the papers have percent.
_GROUPS = (
    ("EB", "empty bars", 100.0),
    ("UPC", "used pitch classes", 1.0),
    ("QN", "qualified notes", 100.0),
    ("DP", "drum pattern", 100.0),
    ("TD", "tonal distance", 1.0),
)


class PaperTable(NamedTuple):
    """Rows by columns."""

    columns: list[tuple[str, str]]
    """Group (EB in percent, UPC, QN in percent, DP in percent, TD), and track or pair."""
    rows: dict[str, list[float]]
    """By row, a number for each column."""


def paper_table(comparison: Comparison, prefix: str = "") -> PaperTable:
    """The papers' view of a comparison.

    Args:
        prefix: `released: ` for the statistics as the released code computes them.
    Source: Dong et al. 2018, tables 2 and 3. Their numbers are of 96 steps a bar and of code with the faults that
        `musegan.metrics.released` shows; numbers of other data or another grid do not compare.
    """
    columns: list[tuple[str, str]] = []
    rows: dict[str, list[float]] = {}
    for group, name, factor in _GROUPS:
        for row in comparison.statistics:
            if row.name != prefix + name or row.column == ALL:
                continue
            columns.append((group, row.column))
            values = {REAL: row.real.value, GENERATED: row.generated.value, **row.values}
            for name_of_row, value in values.items():
                if name_of_row != naive.REPLAY:
                    rows.setdefault(name_of_row, []).append(factor * value)
    return PaperTable(columns, rows)
