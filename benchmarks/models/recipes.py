"""Losses and kinds of model at equal CPU time: `python -m benchmarks.models.recipes [--seconds 180] [--seeds 0 1 2]`.

Each recipe trains on the embedded songs for so many seconds of CPU, with each seed; what it has come to is compared with the
pieces kept apart. One line of JSON for each run; those that are there already are not run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from collections.abc import Mapping
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.models.quality import compare
from benchmarks.ops.__main__ import ROOT, read_lines
from musegan import __version__, config
from musegan.config import Config
from musegan.data.dataset import PackedDataset
from musegan.data.embedded import open_dataset
from musegan.errors import UserError, one_line
from musegan.evaluation.corpus import Corpus
from musegan.evaluation.statistics import Measured, measure
from musegan.files import atomic_write
from musegan.models import load_generator
from musegan.sampling import sample_packed
from musegan.training import gan
from musegan.training.run_folder import RunFolder
from musegan.training.splits import split

RESULTS = ROOT / "benchmarks" / "results" / "recipes.jsonl"
N_SAMPLES = 512
WGAN = ("--train.loss", "wasserstein", "--train.penalty", "gradient", "--train.penalty_weight", "10",
        "--train.penalty_every", "1",
        "--train.discriminator_updates", "5", "--train.adam_beta1", "0.5", "--train.adam_beta2", "0.9")    # fmt: skip
R1 = ("--train.penalty", "real")
RECIPES: dict[str, tuple[str, ...]] = {
    "relativistic": (),
    "wasserstein": (*WGAN, "--train.learning_rate", "5e-4"),
    "non-saturating": ("--train.loss", "non-saturating", *R1),
    "classic": ("--train.loss", "classic", *R1),
    "hinge": ("--train.loss", "hinge", "--train.penalty", "none", "--model.spectral_norm", "true",
              "--train.learning_rate", "4e-4"),
    "least-squares": ("--train.loss", "least-squares", *R1),
    "musegan hybrid": ("--config", "musegan-hybrid"),
    "musegan-v3": ("--config", "musegan-v3"),
    "bmusegan": ("--config", "bmusegan"),
}
"""What differs from the config `band`, or a config of its own."""


def main(argv: list[str] | None = None) -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.models.recipes", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180, help="of CPU, for each run (default: 180)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--data", type=Path, help="packed data set (default: the embedded songs)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    console = Console(width=150)
    torch.set_num_threads(1)    # CPU time is then time
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.data or Path(scratch) / "data"
        dataset = PackedDataset.open(folder) if arguments.data else open_dataset("freedoom", folder, "--data", console.print)
        for seed in arguments.seeds:
            for name in arguments.recipes:
                wanted = {"recipe": name, "seed": seed, "cpu_seconds": arguments.seconds}
                if any(wanted.items() <= line.items() for line in read_lines(arguments.out)):
                    continue
                line = wanted | run(name, seed, arguments.seconds, folder, dataset, Path(scratch) / "run")
                lines = [*read_lines(arguments.out), line | {"musegan": __version__, "torch": torch.__version__}]
                with atomic_write(arguments.out) as temporary:
                    temporary.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
                distance = line.get("held_out", math.nan)
                console.print(f"{name}, seed {seed}: {line.get('error') or line['steps']} steps, DIST {distance:.3f}")
    console.print(table([line for line in read_lines(arguments.out) if line["cpu_seconds"] == arguments.seconds]))


def run(name: str, seed: int, seconds: float, folder: Path, dataset: PackedDataset, path: Path) -> dict:
    """Trains once and measures what it has come to."""
    shutil.rmtree(path, ignore_errors=True)
    settings = settings_of(name, seed, folder)
    folder_of_run = RunFolder(path)
    folder_of_run.create()
    spent = _Clock(seconds)
    try:
        gan.train(settings, dataset, folder_of_run, progress=spent, stop_requested=spent.is_over)
        one_more = dataclasses.replace(settings.train, steps=spent.steps + 1)    # the last one leaves a snapshot
        gan.train(dataclasses.replace(settings, train=one_more), dataset, folder_of_run, resume=True)
    except UserError as err:
        return {"error": one_line(err), "steps": spent.steps}
    generator = load_generator(folder_of_run.newest)
    roll = sample_packed(generator, N_SAMPLES, seed, in_training_key=True)
    generated = measure(Corpus(roll, torch.arange(N_SAMPLES), generator.spec))
    parts = split(settings.data, dataset)
    training, test = (_measured(part) for part in (parts.training, parts.test))
    found = compare(generated, training, test)
    return {
        "steps": spent.steps, "parameters": sum(p.numel() for p in generator.parameters()),
        "training": found["distances"]["to training"]["eight"], "held_out": found["distances"]["to held-out"]["eight"],
        "training six": found["distances"]["to training"]["six"], "held_out six": found["distances"]["to held-out"]["six"],
        "floor": found["distances"]["floor"]["eight"],
        **{key: found["statistics"]["generated"][key] for key in STATISTICS},
    }    # fmt: skip


STATISTICS = {
    "empty bars: all": "empty bars", "notes: all": "notes a bar", "qualified notes: all": "qualified notes",
    "joint scale: all": "scale", "self-similarity, 1 bar: all": "self-similarity", "groove: all": "groove",
}    # fmt: skip


def settings_of(name: str, seed: int, folder: Path) -> Config:
    """The config of a recipe."""
    options = RECIPES[name]
    base = () if "--config" in options else ("--config", "band")
    parsed = config.parse(config.parser("recipes", ""), [
        *base, *options, "--data.dataset", str(folder), "--data.test_share", "0.15", "--train.seed", str(seed),
        "--train.steps", "1000000", "--train.validate_every", "1000000", "--train.checkpoint_every", "1000000",
        "--train.device", "cpu", "--train.augment_target", "0", "--train.augment_probability", "1",
    ])    # fmt: skip
    return Config(data=parsed.data, model=parsed.model, train=parsed.train)


class _Clock(gan.Progress):
    """Ends a run after some seconds of CPU, counted from its first step on."""

    def __init__(self, seconds: float):
        self._seconds, self.steps = seconds, 0

    def start(self, done: int, total: int, shown: Mapping[str, str]) -> None:
        self._started = time.process_time()

    def advance(self, step: int, numbers: dict[str, float]) -> None:
        self.steps = step

    def is_over(self) -> bool:
        return time.process_time() - self._started > self._seconds


def _measured(phrases) -> Measured:
    return measure(Corpus.of_roll(phrases.sample(4096, 0), phrases.dataset.spec))


def table(lines: list[dict]) -> Table:
    """Mean over seeds, and the spread of DIST."""
    shown = Table("recipe", "parameters of G", "steps", "DIST to training", "to held-out", *STATISTICS.values(), box=None)
    for name in RECIPES:
        own = [line for line in lines if line["recipe"] == name]
        good = [line for line in own if "error" not in line]
        if not good:
            shown.add_row(name, *(("ended: " + own[0]["error"][:60],) if own else ("not run",)))
            continue

        def mean(key, own=good):
            return statistics.mean(line[key] for line in own)

        def spread(key, own=good):
            return f"{mean(key):.3f} ({min(line[key] for line in own):.3f}–{max(line[key] for line in own):.3f})"

        shown.add_row(
            name, f"{mean('parameters'):,.0f}", f"{mean('steps'):,.0f}", spread("training"), spread("held_out"),
            *(f"{mean(key):.2f}" for key in STATISTICS),
        )    # fmt: skip
    return shown


if __name__ == "__main__":
    main()
