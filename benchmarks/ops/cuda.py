"""Speed of the CUDA kernels on a GPU, against plain torch there: `python -m benchmarks.ops.cuda [--out FILE]`.

One batch of the released MuseGAN's size; equal results first, then all ways taking turns. Times are the GPU's own, by
events around some calls in a row; a call shorter than what it takes to start one is as long as that.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.cases import same_bits
from benchmarks.music import QUICK, Sizes, logits, phrases
from musegan import __version__, ops
from musegan.files import atomic_write
from musegan.ops import binarize, bits, neurons
from musegan.ops.cleanup import _cleanup_reference
from musegan.ops.notes import _notes_reference, _roll_from_notes_reference
from musegan.roll import Roll

SEED = 7
WARM_UP_ROUNDS, ROUNDS = 3, 21
SAMPLE_SECONDS = 2e-3    # calls in a row until a sample lasts this long
COPY = "copy of as many bytes"


class Case(NamedTuple):
    """An op on an input that lies on the GPU."""

    op: str
    native: Callable
    reference: Callable
    rival: Callable | None
    """What a user would otherwise write."""
    n_bytes: int
    """Read and written."""


def cases(sizes: Sizes) -> Iterator[Case]:
    """Each op on a batch."""
    x = logits(sizes.batch).cuda()
    n, p = x.numel(), x.shape[-1]
    yield Case("threshold", lambda: ops.threshold(x), lambda: binarize._threshold_reference(x, 0.0, None, False),
               lambda: x > 0, x.nbytes + n)    # fmt: skip
    yield Case("bernoulli", lambda: ops.bernoulli(x, SEED), lambda: binarize._bernoulli_reference(x, SEED, 0, None, False),
               lambda: torch.bernoulli(torch.sigmoid(x)), x.nbytes + n)    # fmt: skip
    yield Case("bernoulli to bits", lambda: ops.bernoulli(x, SEED, output="bits"),
               lambda: binarize._bernoulli_reference(x, SEED, 0, None, True), None,
               x.nbytes + n // p * -(-p // 8))    # fmt: skip
    yield Case("stochastic neuron", lambda: ops.stochastic_neuron(x, SEED, slope=1.0),
               lambda: neurons._stochastic_neuron_reference(x, 1.0, SEED, 0),
               lambda: (torch.rand_like(x) < torch.sigmoid(x)).float(), 2 * x.nbytes)    # fmt: skip
    roll = phrases(sizes.batch, sizes.n_songs)
    frame = roll.frame.cuda()
    packed = bits.pack_reference(frame)
    yield Case("pack", lambda: ops.pack(frame), lambda: bits.pack_reference(frame), None, n + packed.nbytes)
    yield Case("unpack", lambda: ops.unpack(packed, p, dtype=torch.float32), lambda: bits.unpack_reference(packed, p, True),
               None, packed.nbytes + 4 * n)    # fmt: skip
    noisy = torch.where(frame, 3.0, -5.0) + 2 * torch.randn(sizes.batch, generator=torch.Generator().manual_seed(3)).cuda()
    rough = Roll(noisy > 0, roll.onset.cuda() & (noisy > 0))
    limits = torch.tensor([[2, 1, 4]] * x.shape[1], device="cuda")
    yield Case("cleanup", lambda: ops.cleanup(rough, noisy, min_steps=2, max_gap_steps=1, max_pitches=4),
               lambda: Roll(*_cleanup_reference(*rough, noisy, limits)), None, 4 * n)    # fmt: skip
    table = ops.notes(frame)
    yield Case("notes", lambda: ops.notes(frame), lambda: _notes_reference(frame, None, p), None, n + table.nbytes)
    yield Case("roll_from_notes", lambda: ops.roll_from_notes(table, *sizes.batch),
               lambda: Roll(*_roll_from_notes_reference(table, list(sizes.batch), False)), None,
               table.nbytes + 2 * n)    # fmt: skip


def main(argv: list[str] | None = None) -> None:
    """Measures and prints the table; exits where there are no kernels on a GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ops.cuda", description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON lines")
    parser.add_argument("--quick", action="store_true", help="a trial: tiny sizes")
    arguments = parser.parse_args(argv)
    if not ops.native_status().cuda_path:
        parser.exit(1, f"no CUDA kernels: {ops.native_status().cuda_reason}\n")
    lines = [measure(case) for case in cases(QUICK if arguments.quick else Sizes())]
    Console().print(table_of(lines))
    if arguments.out is not None:
        with atomic_write(arguments.out) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def measure(case: Case) -> dict:
    """Medians in microseconds of each way."""
    expected, made = case.reference(), case.native()
    assert same_bits(expected, made), f"{case.op}: kernel and reference differ"
    source = torch.empty(case.n_bytes // 2, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    ways = {"kernel": case.native, "reference": case.reference, COPY: lambda: target.copy_(source)}
    if case.rival is not None:
        ways["rival"] = case.rival
    n_calls, times = dict.fromkeys(ways, 1), {name: [] for name in ways}
    for i in range(WARM_UP_ROUNDS + ROUNDS):
        for name in random.Random(i).sample(sorted(ways), len(ways)):
            seconds = _time(ways[name], n_calls[name])
            if i < WARM_UP_ROUNDS:
                n_calls[name] = max(1, math.ceil(SAMPLE_SECONDS / seconds))
            else:
                times[name].append(seconds * 1e6)
    return {
        "op": case.op, **{f"{name} (us)": statistics.median(each) for name, each in times.items()},
        "gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "musegan": __version__,
    }    # fmt: skip


def table_of(lines: list[dict]) -> Table:
    """The lines, and how many times as long each way takes as the kernel."""
    columns = "op", "kernel", "plain torch, same bits", "as a user would write it", COPY
    result = Table(*columns, title=lines[0]["gpu"], box=None)
    for line in lines:
        kernel = line["kernel (us)"]
        others = (line.get(f"{name} (us)") for name in ("reference", "rival", COPY))
        cells = ("" if t is None else f"{t:.1f} us, {t / kernel:.2f} x" for t in others)
        result.add_row(line["op"], f"{kernel:.1f} us", *cells)
    return result


def _time(call: Callable[[], Tensor], n_calls: int) -> float:
    """Mean seconds of some calls in a row."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(n_calls):
        call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3 / n_calls


if __name__ == "__main__":
    main()
