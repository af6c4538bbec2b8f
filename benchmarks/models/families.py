"""All families of models beside held-out music: `python -m benchmarks.models.families runs/lstm runs/gan ...`.

What models make is cut down to what all of them make. One line of so many bars: of several tracks the one that `--track` names
(`lead`: the highest of all pitched ones), as models of melodies learn it. Or, with `--track all`, whole bands. Each phrase is
moved to C major or A minor by the key of its own notes, and compared with the same music of the pieces that no run was shown;
of these, training pieces are the floor.
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
from musegan.data.lines import LEAD, line_spec, lines_of, roll_of_lines
from musegan.data.sequences import ALL
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
N_TIMED = 64    # phrases that are made at a time
N_TURNS = 3
N_COPIED = 64    # in which copies are looked for
LINE = ("notes", "qualified notes", "scale", "leap within bars", "self-similarity, 1 bar", "groove")
BAND = ("notes", "qualified notes", "empty bars", "joint scale", "chord tones", "onset coincidence", "self-similarity, 1 bar",
        "groove")    # fmt: skip


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


def cut_down(roll: Roll, spec: RollSpec, track: str) -> Roll:
    """The line that is asked for of planes [N, K, B, T, P], or all of them, of the phrases in which there is a note."""
    if track != ALL:
        roll = roll_of_lines(lines_of(roll, spec, track), roll.frame.shape[2], line_spec(spec, track))
    return roll.map(lambda plane: plane[roll.frame.flatten(1).any(1)])


def as_music(roll: Roll, spec: RollSpec) -> Measured:
    """What phrases are like, each moved to C major or A minor."""
    return measure(Corpus.of_roll(transpose(roll, -key_shifts(roll.frame, spec), spec), spec))


def timed(contestants: list[Contestant], n_bars: int) -> dict[str, float]:
    """Phrases a second of each, by the median of turns."""
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
    spec = dataset.spec if track == ALL else line_spec(dataset.spec, track)
    if track == ALL and (alone := [each.name for each in contestants if each.model.spec.tracks != spec.tracks]):
        raise UserError(f"--track all: {alone[0]} does not write the tracks {', '.join(each.name for each in spec.tracks)}")
    training, test = (cut_down(part.sample(N_REAL, 0), dataset.spec, track) for part in (parts.training, parts.test))
    made = {each.name: cut_down(each.make(n, n_bars), each.model.spec, track) for each in contestants}
    held_out, known = as_music(test, spec), lines_of(training, spec, LEAD)

    def row(name: str, own: Roll) -> dict:
        found = as_music(own, spec)
        values = values_by_name(found)
        copied = longest_copies(lines_of(own.map(lambda plane: plane[:N_COPIED]), spec, LEAD), known)
        return {
            "row": name,
            "n": len(own.frame),
            "distance": float(distance(found.counts(), held_out.counts())),
            **{each: values[f"{each}: {ALL}"] for each in (BAND if track == ALL else LINE)},
            "copied_notes": float(copied.double().median()) if own is not training else None,
        }

    rows = [row("pieces kept apart", test), row("training pieces", training)]
    speed = timed(contestants, n_bars)
    for each in contestants:
        own = row(each.name, made[each.name])
        own |= {"family": each.settings.family, "kind": each.model.kind, "training_s": each.seconds,
                "parameters": sum(weight.numel() for weight in each.model.parameters()),
                "per_s": speed[each.name], "silent": 1 - own["n"] / n}    # fmt: skip
        rows.append(own)
    return rows


def main(argv: list[str] | None = None) -> None:
    """Measures runs together."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.families", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", required=True, help="packed data set that all runs learned from, or an embedded one's name")
    parser.add_argument("--track", default=LEAD, help="of the line (default: lead, the highest of all pitched tracks), or all for whole bands")
    parser.add_argument("--bars", type=int, default=4)
    parser.add_argument("--n", type=int, default=512, help="phrases of each run (default: 512)")
    parser.add_argument("--out", type=Path, help="JSON lines, such as benchmarks/results/families.jsonl")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    dataset = open_dataset(arguments.data, Path("datasets") / arguments.data, "--data", print)
    rows = rows_of([contestant(path) for path in arguments.runs], dataset, arguments.track, arguments.bars, arguments.n)
    shown = BAND if arguments.track == ALL else LINE
    table = Table("", "DIST", *shown, "notes copied", "parameters", "training s", "phrases/s", title=arguments.track)
    for row in rows:
        cells = [f"{row[name]:.2f}" for name in shown]
        copied = "-" if row["copied_notes"] is None else f"{row['copied_notes']:.0f}"
        cost = [f"{row['parameters']:,}", f"{row['training_s']:.0f}", f"{row['per_s']:.1f}"] if "kind" in row else []
        table.add_row(row["row"], f"{row['distance']:.3f}", *cells, copied, *cost)
    Console(width=170).print(table)
    if arguments.out is not None:
        about = {"dataset": Path(arguments.data).name, "track": arguments.track, "bars": arguments.bars}
        write([about | row for row in rows], arguments.out)


if __name__ == "__main__":
    main()
