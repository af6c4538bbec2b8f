"""What catches which naive row, and how floors shrink with the number of phrases: `python -m benchmarks.metrics.naive`."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.ops.__main__ import ROOT, read_lines
from musegan import __version__
from musegan.data.dataset import PackedDataset
from musegan.data.embedded import open_dataset
from musegan.evaluation.comparison import Comparison, compare
from musegan.evaluation.corpus import Corpus
from musegan.evaluation.originality import originality
from musegan.files import atomic_write

RESULTS = ROOT / "benchmarks" / "results" / "naive.jsonl"
N_BARS = 4
DISTANCES = ("DIST", "pitch class", "chord type", "length", "Fréchet", "precision", "coverage", "classifier")
STATISTICS = (
    "chord tones", "tonal distance over shuffled", "joint scale", "leap at bar lines over shuffled", "held over",
    "self-similarity, 1 bar", "qualified notes", "used pitches",
)    # fmt: skip


def main(argv: list[str] | None = None) -> None:
    arguments = _parse(argv)
    console = Console()
    with tempfile.TemporaryDirectory() as scratch, console.status("comparing") as status:
        dataset = (PackedDataset.open(arguments.data) if arguments.data
                   else open_dataset("freedoom", Path(scratch) / "data", "--data", console.print))
        real = Corpus.of_dataset(dataset, N_BARS)
        whole = compare(real, real, None, seed=0, say=status.update)
        copied = originality(real, real, None, seed=0, say=status.update)
        floors = {}
        for n in arguments.phrases:
            if n <= whole.n:
                found = compare(real, real.take(torch.arange(n)), None, seed=0, say=status.update)
                floors[n] = {row.name: row.rows["real"] for row in found.distances}
    line = facts(whole) | {
        "data": arguments.data.name if arguments.data else "embedded songs", "pieces": real.n_pieces, "phrases": len(real),
        "floors": floors, "replay_copied": copied.copied, "real_copied": copied.copied_real, "musegan": __version__,
    }    # fmt: skip
    console.print(rows_table(line))
    console.print(floors_table(line))
    if arguments.out is not None:
        kept = [old for old in read_lines(arguments.out) if old["data"] != line["data"]]
        with atomic_write(arguments.out) as temporary:
            temporary.write_text("".join(json.dumps(each) + "\n" for each in [*kept, line]), encoding="utf-8")


def facts(comparison: Comparison) -> dict:
    """Distances of each row, and how many floors each statistic is off."""
    rows = [name for name in comparison.distances[0].rows if name != "generated"]
    distances = {d.name: {row: d.rows[row].value for row in rows} for d in comparison.distances if d.name in DISTANCES}
    for distance in comparison.distances:
        if distance.name in DISTANCES:
            distances[distance.name]["floor"] = distance.rows["real"][1:]
    statistics = {
        s.name: {"real": s.real.value, **{row: [s.values[row], s.excess[row]] for row in s.values}}
        for s in comparison.statistics if s.name in STATISTICS and s.column == "all"
    }    # fmt: skip
    return {"n": comparison.n, "distances": distances, "statistics": statistics}


def rows_table(line: dict) -> Table:
    """Measures by rows."""
    rows = [name for name in line["distances"]["DIST"] if name not in ("real", "floor")]
    table = Table("", "floor or data", *rows, title=f"{line['data']}: {line['n']:,} phrases a row, {line['pieces']} pieces")
    for name, values in line["distances"].items():
        low, high = values["floor"]
        table.add_row(name, f"{low:.3f} to {high:.3f}", *(f"{values[row]:.3f}" for row in rows))
    table.add_section()
    for name, values in line["statistics"].items():
        cells = (f"{values[row][0]:.3f} ({values[row][1]:.1f})" for row in rows)
        table.add_row(name, f"{values['real']:.3f}", *cells)
    table.caption = "in brackets: times floor"
    return table


def floors_table(line: dict) -> Table:
    """Floors by number of phrases."""
    table = Table("phrases a row", *DISTANCES, title="Floors (median)")
    for n, floor in line["floors"].items():
        table.add_row(f"{int(n):,}", *(f"{floor[name][0]:.3f}" if name in floor else "" for name in DISTANCES))
    return table


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics.naive", description=__doc__)
    parser.add_argument("--data", type=Path, help="packed data set (default: the embedded songs)")
    parser.add_argument("--phrases", type=int, nargs="+", default=[50, 100, 200, 400, 800, 1600, 3200, 6400],
                        help="numbers of phrases for the floors")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON lines (default: benchmarks/results/naive.jsonl)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
