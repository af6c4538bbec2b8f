"""Time and memory of a whole evaluation, stage by stage: `python -m benchmarks.metrics.evaluation`."""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.ops.__main__ import ROOT, cpu_model, read_lines
from musegan import __version__
from musegan.data.dataset import PackedDataset
from musegan.data.embedded import open_dataset
from musegan.evaluation.corpus import Corpus
from musegan.evaluation.report import evaluate
from musegan.files import atomic_write
from musegan.keys import transpose

RESULTS = ROOT / "benchmarks" / "results" / "evaluation.jsonl"
N_BARS, CHUNK = 4, 256


def main(argv: list[str] | None = None) -> None:
    arguments = _parse(argv)
    console = Console()
    with tempfile.TemporaryDirectory() as scratch:
        dataset = (PackedDataset.open(arguments.data) if arguments.data
                   else open_dataset("freedoom", Path(scratch) / "data", "--data", console.print))
        load_before = os.getloadavg()[0]
        imported = _peak_bytes()
        stages: dict[str, float] = {}
        begun, running = time.perf_counter(), "reading"

        def say(line: str) -> None:
            nonlocal begun, running
            stages[running] = stages.get(running, 0.0) + time.perf_counter() - begun
            begun, running = time.perf_counter(), line

        real = Corpus.of_dataset(dataset, N_BARS, limit=arguments.real)
        say("making phrases in place of a model's")
        generated = moved(real, arguments.generated)
        say("start")
        evaluate(real, generated, say=say)
        say("")
    line = {
        "real": len(real), "generated": len(generated), "tracks": real.spec.n_tracks,
        "steps_per_bar": real.spec.steps_per_bar, "pieces": real.n_pieces, "stages": stages,
        "seconds": sum(stages.values()), "peak_bytes": _peak_bytes(), "peak_bytes_before": imported,
        "threads": torch.get_num_threads(), "data": arguments.data.name if arguments.data else "embedded songs",
        "versions": {"musegan": __version__, "torch": torch.__version__}, "cpu": cpu_model(), "load_before": load_before,
    }    # fmt: skip
    console.print(table(line))
    if arguments.out is not None:
        kept = [old for old in read_lines(arguments.out) if old["data"] != line["data"]]
        with atomic_write(arguments.out) as temporary:
            temporary.write_text("".join(json.dumps(each) + "\n" for each in [*kept, line]), encoding="utf-8")


def moved(real: Corpus, n: int) -> Corpus:
    """`n` phrases in the place of generated ones: real ones, again and again, each in another key."""
    planes = real.roll.map(lambda plane: plane.new_empty(n, *plane.shape[1:]))
    for first in range(0, n, CHUNK):
        numbers = torch.arange(first, min(first + CHUNK, n))
        part = real.take(numbers % len(real))
        semitones = (numbers * 7 + numbers // len(real)) % 12 - 6
        own = Corpus.of_roll(transpose(part.unpacked(), semitones, real.spec), real.spec).roll
        for plane, made in zip(planes, own):
            plane[first : first + CHUNK] = made
    return Corpus(planes, torch.arange(n), real.spec)


def table(line: dict) -> Table:
    """Seconds of each stage."""
    title = (f"{line['generated']:,} phrases against {line['real']:,}, {line['tracks']} tracks of "
             f"{line['steps_per_bar']} steps a bar")
    result = Table("stage", "seconds", title=title)
    for name, seconds in line["stages"].items():
        result.add_row(name, f"{seconds:.2f}")
    result.add_section()
    result.add_row("all", f"{line['seconds']:.1f}")
    result.add_row("peak memory", f"{line['peak_bytes'] / 1e9:.2f} GB, {line['peak_bytes_before'] / 1e9:.2f} of it before")
    return result


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics.evaluation", description=__doc__)
    parser.add_argument("--data", type=Path, help="packed data set (default: the embedded songs)")
    parser.add_argument("--real", type=int, default=20_000, help="real phrases at most (default: 20000)")
    parser.add_argument("--generated", type=int, default=20_000, help="generated phrases (default: 20000)")
    parser.add_argument("--quick", action="store_true", help="a trial: 400 and 200 phrases")
    parser.add_argument("--out", type=Path,
                        help="JSON lines (default: benchmarks/results/evaluation.jsonl; none for --quick)")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.real, arguments.generated = 400, 200
    elif arguments.out is None:
        arguments.out = RESULTS
    return arguments


def _peak_bytes() -> int:
    """Most memory that the process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
