"""How far a trained generator lies from held-out music, statistic by statistic, beside what the data itself has.

    python -m benchmarks.models.quality RUN [--split validation|test] [--n 1024] [--seed 0]

Prints one table; `--out FILE` writes it as JSON too. The six families of DIST are those of the published prototypes:
pitch, key-relative pitch class, length, position, interval and chord type.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from musegan import config
from musegan.data.dataset import PackedDataset
from musegan.errors import UserError
from musegan.evaluation.corpus import Corpus
from musegan.evaluation.statistics import Measured, measure, values_by_name
from musegan.metrics.histograms import family_distances, total_variation
from musegan.models import load_generator
from musegan.sampling import sample_packed
from musegan.training.run_folder import RunFolder
from musegan.training.splits import split

SIX = ("pitch", "pitch class", "length", "position", "interval", "chord type")


def main(argv: list[str] | None = None) -> int:
    """Measures a run."""
    parser = argparse.ArgumentParser(prog="benchmarks.models.quality", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--snapshot", default="best", choices=["best", "newest"])
    parser.add_argument("--split", default="validation", choices=["validation", "test"])
    parser.add_argument("--n", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(argv)

    run = RunFolder(arguments.run)
    settings = config.load(["--config", str(run.config)])
    dataset = PackedDataset.open(Path(settings.data.dataset) if Path(settings.data.dataset).exists() else run.data)
    parts = split(settings.data, dataset)._asdict()
    if parts[arguments.split] is None:
        raise UserError(f"--split: {run.path} was trained without data.test_share")
    real = {
        name: measure(Corpus.of_roll(part.sample(4096, 0), dataset.spec)) for name, part in parts.items() if part is not None
    }
    model = load_generator(run.path / arguments.snapshot)
    roll = sample_packed(model, arguments.n, arguments.seed, in_training_key=True)
    generated = measure(Corpus(roll, torch.arange(arguments.n), model.spec))
    found = compare(generated, real["training"], real[arguments.split])
    show(found, arguments.split)
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2))
    return 0


def compare(generated: Measured, training: Measured, held_out: Measured) -> dict:
    """Distances and statistics of the three."""
    counts = {"generated": generated.counts(), "training": training.counts(), "held_out": held_out.counts()}
    distances = {}
    for name, (a, b) in {
        "to training": ("generated", "training"),
        "to held-out": ("generated", "held_out"),
        "floor": ("training", "held_out"),
    }.items():
        families = {family: float(value) for family, value in family_distances(counts[a], counts[b]).items()}
        distances[name] = {
            "six": sum(families[family] for family in SIX) / len(SIX),
            "eight": sum(families.values()) / len(families),
            **families,
            "drum positions": _drums(counts[a], counts[b], generated),
        }
    values = {name: values_by_name(each)
              for name, each in (("generated", generated), ("training", training), ("held_out", held_out))}
    for each in values.values():
        for column in generated.columns["tonal distance"]:
            each[f"tonal distance over shuffled: {column}"] = (
                each[f"tonal distance: {column}"] / each[f"tonal distance, shuffled: {column}"]
            )
    return {"distances": distances, "statistics": values, "columns": generated.columns}


def _drums(a: dict, b: dict, generated: Measured) -> float | None:
    names = [name for name in a if name.startswith("position: ") and name.replace("position", "length", 1) not in a]
    return float(sum(total_variation(a[name], b[name]) for name in names) / len(names)) if names else None


def show(found: dict, split_name: str) -> None:
    """Prints tables."""
    console = Console(width=170)
    table = Table("distance", *next(iter(found["distances"].values())), title="DIST", box=None)
    for name, row in found["distances"].items():
        table.add_row(name, *(f"{value:.3f}" if value is not None else "-" for value in row.values()))
    console.print(table)
    generated, training, held_out = (found["statistics"][name] for name in ("generated", "training", "held_out"))
    tracks = [name for name in found["columns"]["empty bars"]]
    table = Table("statistic", *tracks, title=f"generated / training (and {split_name})", box=None)
    seen = dict.fromkeys(name.rsplit(": ", 1)[0] for name in generated)
    for statistic in seen:
        if not any(f"{statistic}: {column}" in generated for column in tracks[:-1]):
            continue
        cells = []
        for column in tracks:
            key = f"{statistic}: {column}"
            cells.append(f"{generated[key]:.2f} / {training[key]:.2f} ({held_out[key]:.2f})" if key in generated else "-")
        table.add_row(statistic, *cells)
    console.print(table)
    for key, value in generated.items():
        if key.startswith(("joint", "tonal distance over")):
            console.print(f"{key}: {value:.2f} / {training[key]:.2f} ({held_out[key]:.2f})", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
