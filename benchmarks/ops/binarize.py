"""Speed of threshold and bernoulli on a MuseGAN batch, against plain torch: `python -m benchmarks.ops.binarize`."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from musegan import __version__, ops
from musegan.ops import binarize

RESULTS = Path(__file__).resolve().parent.parent / "results" / "ops_binarize.jsonl"
SHAPE = (64, 5, 4, 48, 84)  # N, K, B, T, P of the released MuseGAN
SEED = 7


def rivals(op: str, x: torch.Tensor) -> dict[str, Callable[[], torch.Tensor]]:
    """The ways to the same thing, by name; the first is the op, the second its plain-torch rival."""
    if op == "threshold":
        return {
            "musegan": lambda: ops.threshold(x),
            "torch: x > 0": lambda: x > 0,
            "reference": lambda: binarize._threshold_reference(x, 0.0),
        }
    return {
        "musegan": lambda: ops.bernoulli(x, SEED),
        "torch: bernoulli(sigmoid(x))": lambda: torch.bernoulli(torch.sigmoid(x)),
        "reference": lambda: binarize._bernoulli_reference(x, SEED, 0),
    }


def measure(functions: dict[str, Callable], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call, the functions taking turns; two rounds of warm-up are not counted."""
    seconds = {name: [] for name in functions}
    for i in range(repeats + 2):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if i >= 2:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def check_equal(op: str, functions: dict[str, Callable], x: torch.Tensor) -> None:
    """Raises AssertionError unless op and reference agree bit for bit, and torch in value or in mean."""
    result = functions["musegan"]()
    assert torch.equal(result, functions["reference"]()), f"{op}: native and reference differ"
    rival = list(functions.values())[1]()
    if op == "threshold":
        assert torch.equal(result, rival), f"{op}: torch differs"
    else:
        assert abs(result.float().mean() - rival.float().mean()) < 5 / x.numel() ** 0.5, f"{op}: torch differs"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="numbers of threads (default: 1)")
    parser.add_argument("--repeats", type=int, default=11, help="timed calls of each (default: 11)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file that the JSON lines are added to")
    arguments = parser.parse_args(argv)

    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)) * 3 - 3
    table = Table("op", "threads", "way", "ns/element", "IQR", "speed-up over torch")
    lines = []
    for n_threads in arguments.threads:
        torch.set_num_threads(n_threads)
        for op in ("threshold", "bernoulli"):
            functions = rivals(op, x)
            check_equal(op, functions, x)
            for line in cases(op, measure(functions, arguments.repeats), x, n_threads):
                lines.append(line)
                table.add_row(
                    op,
                    str(n_threads),
                    line["way"],
                    f"{line['median_ns']:.2f}",
                    f"{line['iqr_ns']:.2f}",
                    f"{line['torch_over_this']:.2f}",
                )
    Console().print(table)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def cases(op: str, seconds: dict[str, list[float]], x: torch.Tensor, n_threads: int) -> list[dict]:
    """One JSON-able line for each way."""
    median = {name: statistics.median(values) for name, values in seconds.items()}
    rival = list(median)[1]
    lines = []
    for name, values in seconds.items():
        low, _, high = statistics.quantiles(values, n=4)
        lines.append(
            {
                "op": op,
                "way": name,
                "kernel": ops.op_backends()[op]["cpu"] if name == "musegan" else "",
                "shape": list(x.shape),
                "dtype": str(x.dtype).removeprefix("torch."),
                "threads": n_threads,
                "median_ns": median[name] / x.numel() * 1e9,
                "iqr_ns": (high - low) / x.numel() * 1e9,
                "torch_over_this": median[rival] / median[name],
                "repeats": len(values),
                "musegan": __version__,
                "torch": torch.__version__,
                "machine": f"{platform.machine()}, CPU level {ops.native_status().cpu_level or 'unknown'}",
            }
        )
    return lines


if __name__ == "__main__":
    main()
