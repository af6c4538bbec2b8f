"""Seconds of a training step of each kind of model: `python -m benchmarks.models.kinds`.

Every config of the package is trained for a few steps by the loop itself, on the embedded data, with one thread:
batches, penalties and the moving average are in, comparisons with held-out pieces and checkpoints are not. A *block* is
as many steps as it takes until the penalty comes round; the first block warms up. CPU seconds are those of the process,
so that what else runs on the machine counts little. A step is one update of the generator and those of the
discriminator before it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.ops.__main__ import cpu_model
from musegan import __version__, config, resources
from musegan.config import Config
from musegan.data.dataset import PackedDataset
from musegan.data.preparation import Rules, prepare
from musegan.data.tracks import PRESETS, Preset
from musegan.files import atomic_write
from musegan.training.gan import Progress, train
from musegan.training.run_folder import RunFolder


class Enough(Exception):
    """As many blocks as wanted are done."""


class Clock(Progress):
    """Times a run of the loop by blocks of steps, and ends it after some of them by raising `Enough`.

    Args:
        block: steps in a block.
        n_blocks: that are counted, after the first.
        between: called after each block, off the clock; for rivals to take their turn.
    """

    def __init__(self, block: int, n_blocks: int, between: Callable[[], None] = lambda: None):
        self._block, self._n_blocks, self._between = block, n_blocks, between
        self.cpu: list[float] = []
        """CPU seconds of a step in each block that is counted."""
        self.wall: list[float] = []
        """The same on the clock."""

    def start(self, done: int, total: int, shown: Mapping[str, str]) -> None:
        self._mark()

    def advance(self, step: int, numbers: dict[str, float]) -> None:
        if step % self._block:
            return
        cpu, wall = time.process_time() - self._cpu_start, time.perf_counter() - self._wall_start
        if step > self._block:    # the first warms up
            self.cpu.append(cpu / self._block)
            self.wall.append(wall / self._block)
        self._between()
        if len(self.cpu) == self._n_blocks:
            raise Enough
        self._mark()

    def _mark(self) -> None:
        self._cpu_start, self._wall_start = time.process_time(), time.perf_counter()


def load(name: str) -> Config:
    """One of the package's configs."""
    return config.load(["--config", name])


def prepare_songs(folder: Path, preset: Preset, n_songs: int | None = None) -> PackedDataset:
    """The embedded songs, or the first of them, packed in a folder."""
    prepare(sorted(resources.dataset_path("freedoom").glob("*.mid"))[:n_songs], folder, Rules(preset))
    return PackedDataset.open(folder)


def run(settings: Config, dataset: PackedDataset, n_blocks: int, between: Callable[[], None] = lambda: None) -> Clock:
    """Trains for a block that warms up and `n_blocks` that count, and says how long steps took."""
    own = dataclasses.replace(settings.train, device="cpu", validation_samples=8)    # looked at before the first step
    block = own.penalty_every // math.gcd(own.penalty_every, own.discriminator_updates)
    assert block * (n_blocks + 1) < min(own.validate_every, own.checkpoint_every), "a comparison would be timed"
    clock = Clock(block, n_blocks, between)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
        runs = RunFolder(Path(folder) / "run")
        runs.create()
        train(dataclasses.replace(settings, train=own), dataset, runs, progress=clock)
    return clock


def origin() -> dict:
    """What each line says of the machine and the versions."""
    return {"threads": torch.get_num_threads(), "load": os.getloadavg()[0], "cpu": cpu_model(),
            "versions": {"musegan": __version__, "torch": torch.__version__}}    # fmt: skip


def write(lines: list[dict], path: Path) -> None:
    """JSON lines; what was there is replaced."""
    with atomic_write(path) as temporary:
        temporary.write_text("".join(json.dumps(each | origin()) + "\n" for each in lines), encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    """Measures configs one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.kinds", description=__doc__)
    parser.add_argument("--configs", nargs="+", choices=resources.config_names(), default=resources.config_names())
    parser.add_argument("--blocks", type=int, default=3, help="of each config (default: 3)")
    parser.add_argument("--batch", type=int, help="phrases (default: the config's)")
    parser.add_argument("--songs", type=int, help="how many of the embedded songs (default: all)")
    parser.add_argument("--out", type=Path, help="JSON lines, such as benchmarks/results/kinds.jsonl")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    table, lines = Table(title="A training step, one thread"), []
    for heading in ("config", "kind", "batch", "D updates", "CPU s", "clock s", "phrases/s"):
        table.add_column(heading, justify="left" if heading in ("config", "kind") else "right")
    with tempfile.TemporaryDirectory() as folder:
        dataset = prepare_songs(Path(folder) / "songs", PRESETS["lpd5"], arguments.songs)
        for name in arguments.configs:
            settings = load(name)
            own = dataclasses.replace(settings.train, batch_size=arguments.batch or settings.train.batch_size)
            clock = run(dataclasses.replace(settings, train=own), dataset, arguments.blocks)
            cpu, wall = statistics.median(clock.cpu), statistics.median(clock.wall)
            lines.append({"config": name, "kind": settings.model.kind, "batch": own.batch_size,
                          "discriminator_updates": own.discriminator_updates, "cpu_s": cpu, "wall_s": wall,
                          "least_cpu_s": min(clock.cpu), "most_cpu_s": max(clock.cpu),
                          "blocks": len(clock.cpu)})    # fmt: skip
            table.add_row(name, settings.model.kind, str(own.batch_size), str(own.discriminator_updates), f"{cpu:.3f}",
                          f"{wall:.3f}", f"{own.batch_size / cpu:.1f}")    # fmt: skip
    Console().print(table)
    if arguments.out is not None:
        write(lines, arguments.out)


if __name__ == "__main__":
    main()
