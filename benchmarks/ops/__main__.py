"""Speed of the native kernels, against plain torch, numpy and the memory limit: `python -m benchmarks.ops`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import harness, music
from benchmarks.ops.chart import write_chart
from musegan import __version__
from musegan.files import atomic_write
from musegan.training.memory import keep_freed_memory

STEMS = ("binarize", "neurons", "bits", "cleanup", "notes")
ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "ops.jsonl"
CHART = ROOT / "docs" / "kernels.png"


def main(argv: list[str] | None = None) -> None:
    arguments = _parse(argv)
    console = Console()
    measured = []
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if load is not None and load + max(arguments.threads) > (os.cpu_count() or 1) + 0.5:
        console.print(f"[bold]Other processes keep the CPU busy (load {load:.1f}): times of many threads will be wrong.")
    if not arguments.quick:
        keep_freed_memory()
    with harness.settings_kept():
        for stem in arguments.stems:
            lines = [line | {"load_before": load} for line in measure(stem, arguments, console)]
            console.print(table(stem, lines))
            measured += lines

    if arguments.out is None:
        return
    lines = [line for line in read_lines(arguments.out) if line["stem"] not in arguments.stems] + measured
    lines.sort(key=lambda line: STEMS.index(line["stem"]))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(arguments.out) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    if arguments.chart is not None:
        write_chart(arguments.chart, lines)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    levels = harness.cpu_levels()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ops", description=__doc__)
    parser.add_argument("stems", nargs="*", metavar="stem", help=f"of {', '.join(STEMS)} (default: all)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (default: 1 2)")
    parser.add_argument("--repeats", type=int, default=None, help="timed samples of each way (default: 21)")
    parser.add_argument("--levels", nargs="+", choices=levels, default=levels, help="CPU levels (default: all)")
    parser.add_argument("--no-compile", action="store_true", help="leave out references under torch.compile")
    parser.add_argument("--quick", action="store_true", help="a trial: tiny sizes, 2 samples, no torch.compile")
    parser.add_argument(
        "--out", type=Path, default=None,
        help="JSON lines; those of other stems stay (default: benchmarks/results/ops.jsonl; none for --quick)",
    )    # fmt: skip
    parser.add_argument(
        "--chart", type=Path, default=None,
        help="PNG of all lines of --out (default: docs/kernels.png; none for --quick or another --out)",
    )    # fmt: skip
    arguments = parser.parse_args(argv)
    arguments.stems = arguments.stems or list(STEMS)
    for stem in arguments.stems:
        if stem not in STEMS:
            parser.error(f"stem must be one of {', '.join(STEMS)}: got {stem!r}")
    if arguments.chart is not None and arguments.quick and arguments.out is None:
        parser.error("--chart is drawn from the lines of --out: give --out too")
    if arguments.repeats is None:
        arguments.repeats = 2 if arguments.quick else 21
    if arguments.repeats < 2:
        parser.error(f"--repeats must be at least 2, or there is no IQR: got {arguments.repeats}")
    if arguments.out is None and not arguments.quick:
        arguments.out = RESULTS
        arguments.chart = arguments.chart or CHART
    return arguments


def measure(stem: str, arguments: argparse.Namespace, console: Console) -> Iterator[dict]:
    """Lines of every case of a stem, with each number of threads."""
    sizes = music.QUICK if arguments.quick else music.Sizes()
    origin = {
        "versions": {"musegan": __version__, "torch": torch.__version__, "numpy": np.__version__},
        "cpu": cpu_model(),
    }
    with_compiled = not (arguments.quick or arguments.no_compile)
    for case in importlib.import_module(f"benchmarks.ops.{stem}").cases(sizes):
        with console.status(f"{case.op}, {case.size}"):
            ways = harness.ways_of(case, arguments.levels, with_compiled)
            for n_threads in arguments.threads:
                torch.set_num_threads(n_threads)
                harness.check_equal(case, ways)
                harness.measure(ways, arguments.repeats)
                yield from ({"stem": stem} | line | origin for line in harness.lines_of(case, ways))


def table(stem: str, lines: list[dict]) -> Table:
    """The lines of a stem as a table, a section for each case."""
    result = Table("way", title=stem)
    for column in ("ns/element", "IQR", "speed-up", "x memory limit"):
        result.add_column(column, justify="right")
    case = None
    for line in lines:
        if (this := tuple(line[name] for name in ("op", "size", "dtype", "threads"))) != case:
            case = this
            result.add_section()
            result.add_row("[bold]{}, {}, {}, threads: {}".format(*case))
        way = f"{line['way']} (rival)" if line["way"] == line["rival"] else line["way"]
        if "left_out" in line:
            result.add_row(f"{way}: left out, {line['left_out']}")
        else:
            numbers = (line[name] for name in ("median_ns", "iqr_ns", "speed_up", "over_memory_limit"))
            result.add_row(way, *(f"{number:.3g}" for number in numbers))
    return result


def read_lines(path: Path) -> list[dict]:
    """The JSON lines of a file; none where it is absent."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def cpu_model() -> str:
    """Name of the CPU, as the system tells it."""
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
