"""One line of all families of models, beside held-out music: `python -m benchmarks.models.families runs/lstm runs/gan ...`.

What a model makes is cut down to what all of them make, one line of so many bars: of a pair's or an autoencoder's tracks, the
one that `--track` names (`lead`: the highest of all pitched ones), as models of melodies learn it. Each line is moved to C
major or A minor by the key of its own notes, and compared with the same line of the pieces that no run was shown; of these,
training pieces are the floor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.models.kinds import write
from musegan import config, sampling, sequences
from musegan.config import AnyConfig, DataConfig
from musegan.data.dataset import PackedDataset
from musegan.data.embedded import open_dataset
from musegan.data.lines import line_spec, lines_of, roll_of_lines
from musegan.data.sequences import LEAD
from musegan.errors import UserError
from musegan.evaluation.corpus import Corpus
from musegan.evaluation.statistics import Measured, measure, values_by_name
from musegan.keys import key_shifts, transpose
from musegan.latents import piece
from musegan.metrics.copies import longest_copies
from musegan.metrics.histograms import distance
from musegan.models import Generator, SequenceModel, load_model
from musegan.roll import Roll, RollSpec
from musegan.training.run_folder import RunFolder
from musegan.training.splits import split

N_REAL = 2048
N_TIMED = 64    # lines that are made at a time
N_TURNS = 3
STATISTICS = ("notes", "qualified notes", "scale", "leap within bars", "self-similarity, 1 bar", "groove")


@dataclass(frozen=True)
class Contestant:
    """A run."""

    name: str
    settings: AnyConfig
    model: Generator | SequenceModel
    seconds: float
    """Of training until its end, wall clock, as the run logged them."""

    def make(self, n: int, n_bars: int, seed: int = 0, first: int = 0) -> Roll:
        """Music [n, K, B, T, P] in the key it was trained in."""
        if isinstance(self.model, SequenceModel):
            return sequences.sample(self.model, n, n_bars, seed, first_sample=first, in_training_key=True)
        numbers = range(first, first + n)
        latents = torch.cat([piece(self.model, n_bars, None, seed, number) for number in numbers])
        return sampling.render(self.model, latents, seed, numbers)


def contestant(path: Path) -> Contestant:
    """Reads the best snapshot of a run."""
    run = RunFolder(path)
    if not run.config.is_file() or run.model() is None:
        raise UserError(f"{path} holds no run with a snapshot")
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    steps = np.diff([0, *(line["step"] for line in lines)])
    seconds = float(sum(n * line["seconds"] for n, line in zip(steps, lines)))
    model = sampling.exact(load_model(run.model()))
    return Contestant(path.name, config.load(["--config", str(run.config)]), model, seconds)


def as_music(lines: list[np.ndarray], n_bars: int, spec: RollSpec) -> Measured:
    """What lines are like, each moved to C major or A minor."""
    roll = roll_of_lines(lines, n_bars, spec)
    return measure(Corpus.of_roll(transpose(roll, -key_shifts(roll.frame, spec), spec), spec))


def timed(contestants: list[Contestant], n_bars: int) -> dict[str, float]:
    """Lines a second of each, by the median of turns."""
    def seconds(make: Callable[[], object]) -> float:
        start = time.perf_counter()
        make()
        return time.perf_counter() - start

    turns = [
        {each.name: seconds(lambda: each.make(N_TIMED, n_bars, first=turn * N_TIMED)) for each in contestants}
        for turn in range(N_TURNS)
    ]
    return {each.name: N_TIMED / statistics.median(turn[each.name] for turn in turns) for each in contestants}


def rows_of(contestants: list[Contestant], dataset: PackedDataset, track: str, n_bars: int, n: int) -> list[dict]:
    """A row for training pieces and one for each run."""
    data = contestants[0].settings.data
    shares = {(each.settings.data.validation_share, each.settings.data.test_share) for each in contestants}
    if len(shares) > 1 or not data.test_share:
        raise UserError(f"all runs must have the same data.validation_share and data.test_share, above 0: got {shares}")
    parts = split(DataConfig(n_bars=n_bars, min_tracks=1, normalize_key=False, validation_share=data.validation_share,
                             test_share=data.test_share), dataset)    # fmt: skip
    spec = line_spec(dataset.spec, track)
    real = {name: [line for line in lines_of(part.sample(N_REAL, 0), dataset.spec, track) if len(line)]
            for name, part in (("training", parts.training), ("test", parts.test))}    # fmt: skip
    lines = {"training pieces": real["training"]}
    for each in contestants:
        lines[each.name] = [line for line in lines_of(each.make(n, n_bars), each.model.spec, track) if len(line)]
    held_out, speed = as_music(real["test"], n_bars, spec), timed(contestants, n_bars)
    rows = [_row("pieces kept apart", held_out, held_out, real["test"], real["training"])]
    rows += [_row(name, as_music(own, n_bars, spec), held_out, own, real["training"]) for name, own in lines.items()]
    for row, each in zip(rows[2:], contestants):
        row |= {"family": each.settings.family, "kind": each.model.kind, "training_s": each.seconds,
                "parameters": sum(weight.numel() for weight in each.model.parameters()),
                "lines_per_s": speed[each.name], "silent": 1 - len(lines[each.name]) / n}    # fmt: skip
    return rows


def _row(name: str, own: Measured, held_out: Measured, lines: list[np.ndarray], training: list[np.ndarray]) -> dict:
    values = values_by_name(own)
    (track,) = own.columns["notes"][:1]
    return {
        "row": name,
        "n": len(lines),
        "distance": float(distance(own.counts(), held_out.counts())),
        **{statistic: values[f"{statistic}: {track}"] for statistic in STATISTICS},
        "copied_notes": float(longest_copies(lines[:64], training).double().median()) if lines is not training else None,
    }


def main(argv: list[str] | None = None) -> None:
    """Measures runs together."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.families", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", required=True, help="packed data set that all runs learned from, or an embedded one's name")
    parser.add_argument("--track", default=LEAD, help="of the line (default: lead, the highest of all pitched tracks)")
    parser.add_argument("--bars", type=int, default=4)
    parser.add_argument("--n", type=int, default=512, help="lines of each run (default: 512)")
    parser.add_argument("--out", type=Path, help="JSON lines, such as benchmarks/results/families.jsonl")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    dataset = open_dataset(arguments.data, Path("datasets") / arguments.data, "--data", print)
    rows = rows_of([contestant(path) for path in arguments.runs], dataset, arguments.track, arguments.bars, arguments.n)
    table = Table("", "DIST", *STATISTICS, "notes copied", "parameters", "training s", "lines/s", title=arguments.track)
    for row in rows:
        cells = [f"{row[name]:.2f}" for name in STATISTICS]
        copied = "-" if row["copied_notes"] is None else f"{row['copied_notes']:.0f}"
        cost = [f"{row['parameters']:,}", f"{row['training_s']:.0f}", f"{row['lines_per_s']:.1f}"] if "kind" in row else []
        table.add_row(row["row"], f"{row['distance']:.3f}", *cells, copied, *cost)
    Console(width=170).print(table)
    if arguments.out is not None:
        about = {"dataset": Path(arguments.data).name, "track": arguments.track, "bars": arguments.bars}
        write([about | row for row in rows], arguments.out)


if __name__ == "__main__":
    main()
