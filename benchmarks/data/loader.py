"""Speed and memory of the training loader at 100,000 phrases: `python -m benchmarks.data.loader`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks import harness
from benchmarks.cases import same_bits
from benchmarks.data.repeated import write_repeated
from benchmarks.ops.__main__ import ROOT, cpu_model, read_lines
from musegan import __version__
from musegan.config import Config, TrainConfig
from musegan.data.dataset import PackedDataset
from musegan.keys import key_shifts, transpose
from musegan.data.loader import Batches, Loader
from musegan.data.phrases import Augmentation, Phrases
from musegan.files import atomic_write
from musegan.seeding import generator_for
from musegan.training import gan
from musegan.training.run_folder import RunFolder
from musegan.training.memory import keep_freed_memory

RESULTS = ROOT / "benchmarks" / "results" / "loader.jsonl"
N_BARS, BATCH_SIZE, SEMITONES, SEED = 4, 64, 5, 7
AUGMENTATION = Augmentation(transpose_semitones=SEMITONES)


def main(argv: list[str] | None = None) -> None:
    arguments = _parse(argv)
    console = Console()
    keep_freed_memory()
    torch.set_num_threads(1)
    origin = {
        "data": "phrases apart" if arguments.apart else "songs",
        "versions": {"musegan": __version__, "torch": torch.__version__, "numpy": np.__version__},
        "cpu": cpu_model(),
        "load_before": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with console.status("writing the data set"):
            write_repeated(folder, arguments.music, arguments.phrases, N_BARS, arguments.apart)
        with console.status("measuring"):
            lines = [line | origin for line in measure(folder, arguments)]
    console.print(table(lines))
    if arguments.out is not None:
        kept = [line for line in read_lines(arguments.out) if line["data"] != origin["data"]]
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(arguments.out) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept + lines), encoding="utf-8")


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data.loader", description=__doc__)
    parser.add_argument("--music", type=Path, help="packed data set or MIDI files to repeat (default: the embedded songs)")
    parser.add_argument("--phrases", type=int, default=100_000, help="phrases of four bars at least (default: 100000)")
    parser.add_argument("--apart", action="store_true", help="four bars on disk for each phrase, instead of songs")
    parser.add_argument("--dense", type=int, default=20_000, help="phrases that the rivals hold (default: 20000)")
    parser.add_argument("--repeats", type=int, default=21, help="timed samples of each way (default: 21)")
    parser.add_argument("--quick", action="store_true", help="a trial: 300 phrases, 2 samples, no training")
    parser.add_argument("--out", type=Path, help="JSON lines (default: benchmarks/results/loader.jsonl; none for --quick)")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.phrases, arguments.dense, arguments.repeats = 300, 200, 2
    elif arguments.out is None:
        arguments.out = RESULTS
    if arguments.repeats < 2:
        parser.error(f"--repeats must be at least 2, or there is no IQR: got {arguments.repeats}")
    return arguments


def measure(folder: Path, arguments: argparse.Namespace) -> Iterator[dict]:
    """One line for each way of each case."""
    size = sum(path.stat().st_size for path in folder.iterdir())
    dataset = PackedDataset.open(folder)
    starts = dataset.phrase_starts(N_BARS)
    float_bytes = len(starts) * dataset.spec.n_tracks * N_BARS * dataset.spec.steps_per_bar * dataset.spec.n_pitches * 4
    yield {"case": "disk", "way": "packed, frame and onset", "value": size, "unit": "bytes", "phrases": len(starts),
           "bars": dataset.n_bars, "float32_frame_bytes": float_bytes}

    opening = {"PackedDataset.open": harness.Way(lambda: PackedDataset.open(folder))}
    harness.measure(opening, arguments.repeats)
    yield from _lines("open", opening, 1e3, "ms")

    building = _building(dataset, starts)
    harness.measure(building, min(3, arguments.repeats))
    yield from _lines("know its phrases", building, 1, "s", rival="unpacking every phrase")

    phrases = Phrases(dataset, starts, N_BARS, normalize_key=False)
    dense = starts[: arguments.dense]
    batching = _batching(phrases, Phrases(dataset, dense, N_BARS, normalize_key=False))
    harness.measure(batching, arguments.repeats)
    yield from _lines("batch", batching, 1 / BATCH_SIZE, "phrases/s", dense_phrases=len(dense),
                      rival="numpy, tracks last as in the reference project")

    n_batches = 4 if arguments.quick else 100
    with contextlib.ExitStack() as stack:
        loading = _loading(phrases, n_batches, stack)
        harness.measure(loading, min(9, arguments.repeats))
    yield from _lines("load", loading, 1 / (n_batches * BATCH_SIZE), "phrases/s", rival="0 loader processes")

    if not arguments.quick:
        yield from _training(folder)
    yield from _resident(folder)


def _lines(case: str, ways: dict[str, harness.Way], scale: float, unit: str, rival: str = "", **facts) -> Iterator[dict]:
    """Medians and quartiles in a unit: of a time, or of how many in a second."""
    for name, way in ways.items():
        values = [1 / (s * scale) if unit.endswith("/s") else s * scale for s in way.seconds]
        low, _, high = statistics.quantiles(values, n=4)
        line = {"case": case, "way": name, "value": statistics.median(values), "unit": unit, "iqr": high - low}
        if rival:
            line |= {"rival": rival, "speed_up": statistics.median(ways[rival].seconds) / statistics.median(way.seconds)}
        yield line | {"repeats": len(values), "threads": torch.get_num_threads(), "measured_share": way.share} | facts


def _building(dataset: PackedDataset, starts: Tensor) -> dict[str, harness.Way]:
    """`Phrases` from packed bits, and as it was before, of a share of the phrases."""
    share = starts[: max(1, len(starts) // 50)]

    def unpacking() -> tuple[Tensor, ...]:
        counts, shifts = 0, []
        for chunk in share.split(512):
            roll = dataset.roll(chunk, N_BARS)
            shift = key_shifts(roll.frame, dataset.spec)
            shifts.append(shift)
            counts = counts + transpose(roll, -shift, dataset.spec).frame.sum((0, 2, 3))
        return counts, torch.cat(shifts)

    phrases = Phrases(dataset, share, N_BARS, normalize_key=True, min_tracks=0)
    assert same_bits((phrases.cell_counts, phrases.shifts), unpacking()), "what is known of the phrases differs"
    return {
        "from packed bits": harness.Way(lambda: Phrases(dataset, starts, N_BARS, normalize_key=True)),
        "unpacking every phrase": harness.Way(unpacking, share=len(share) / len(starts)),
    }


def _batching(phrases: Phrases, few: Phrases) -> dict[str, harness.Way]:
    """A frame plane of float32, each phrase moved by up to five semitones; the rivals hold few phrases, as bool."""
    spec = phrases.dataset.spec
    pitched = [k for k, track in enumerate(spec.tracks) if not track.is_drum]
    first = pitched[0]
    assert pitched == list(range(first, spec.n_tracks)), "the rivals' slices want drums first"
    dense = torch.cat([few.roll(index, frame_only=True) for index in torch.arange(len(few)).split(512)]).numpy()
    tracks_last = np.ascontiguousarray(dense.transpose(0, 2, 3, 4, 1))    # [n, B, T, P, K]
    index, moves = few.indices(0, SEED, BATCH_SIZE).numpy(), _moves(0)

    def by_numpy(index: np.ndarray, moves: np.ndarray) -> np.ndarray:
        batch = dense[index].astype(np.float32)
        for phrase, move in zip(batch, moves.tolist()):
            moved = np.roll(phrase[first:], move, axis=-1)
            moved[..., slice(move) if move >= 0 else slice(move, None)] = 0    # what wrapped
            phrase[first:] = moved
        return batch

    def as_reference(index: np.ndarray, moves: np.ndarray) -> np.ndarray:
        batch = tracks_last[index].astype(np.float32)
        for phrase, move in zip(batch, moves.tolist()):
            moved = np.roll(phrase[..., first:], move, axis=-2)
            moved[:, :, slice(move) if move >= 0 else slice(move, None)] = 0
            phrase[..., first:] = moved
        return batch

    options = {"augmentation": AUGMENTATION, "dtype": torch.float32}
    expected = few.batch(0, SEED, BATCH_SIZE, frame_only=True, **options)
    assert same_bits(expected, torch.from_numpy(by_numpy(index, moves))), "numpy's batch differs"
    theirs = np.ascontiguousarray(as_reference(index, moves).transpose(0, 4, 1, 2, 3))
    assert same_bits(expected, torch.from_numpy(theirs)), "the reference project's batch differs"
    rng, steps = np.random.default_rng(0), iter(range(1, sys.maxsize))

    def drawn(way: Callable) -> Callable:
        return lambda: way(rng.integers(0, len(dense), BATCH_SIZE), rng.integers(-SEMITONES, SEMITONES + 1, BATCH_SIZE))

    return {
        "loader, frame": harness.Way(lambda: phrases.batch(next(steps), SEED, BATCH_SIZE, frame_only=True, **options)),
        "loader, frame and onset": harness.Way(lambda: phrases.batch(next(steps), SEED, BATCH_SIZE, **options)),
        "numpy, tracks first": harness.Way(drawn(by_numpy)),
        "numpy, tracks last as in the reference project": harness.Way(drawn(as_reference)),
        "numpy, tracks last, then [N, K, B, T, P]": harness.Way(
            drawn(lambda *drawn: np.ascontiguousarray(as_reference(*drawn).transpose(0, 4, 1, 2, 3)))
        ),
    }


def _moves(step: int) -> np.ndarray:
    """Those that `Phrases.batch` draws."""
    rng = generator_for(SEED, "transposition", step)
    return torch.randint(-SEMITONES, SEMITONES + 1, (BATCH_SIZE,), generator=rng).numpy()


def _loading(phrases: Phrases, n_batches: int, stack: contextlib.ExitStack) -> dict[str, harness.Way]:
    """Goes through batches of both planes as bool, with loader processes that have started before."""
    batches = Batches(phrases, BATCH_SIZE, SEED, augmentation=AUGMENTATION)

    def way(n_workers: int) -> harness.Way:
        loader = stack.enter_context(Loader(batches, range(1 << 40), n_workers))
        return harness.Way(lambda: sum(len(next(loader).frame) for _ in range(n_batches)))

    return {f"{n} loader processes": way(n) for n in (0, 1, 2)}


def _training(folder: Path) -> Iterator[dict]:
    """Seconds of a training step of the default pair on all CPUs, with and without a loader process, taking turns."""
    seconds: dict[int, list[float]] = {0: [], 1: []}
    dataset = PackedDataset.open(folder)
    torch.set_num_threads(os.cpu_count() or 1)
    for turn in range(4):
        for n_workers in sorted(seconds, reverse=turn % 2 == 1):
            seconds[n_workers] += _step_seconds(dataset, n_workers)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for n_workers, values in seconds.items():
        low, median, high = statistics.quantiles(values, n=4)
        yield {"case": "training step", "way": f"{n_workers} loader processes", "value": median, "unit": "s",
               "iqr": high - low, "rival": "0 loader processes", "speed_up": statistics.median(seconds[0]) / median,
               "repeats": len(values), "threads": n_threads}


def _step_seconds(dataset: PackedDataset, n_workers: int, n_steps: int = 20) -> list[float]:
    class Watch(gan.Progress):
        def __init__(self):
            self.seconds: list[float] = []

        def advance(self, step: int, numbers: dict[str, float]) -> None:
            self.seconds.append(numbers["seconds"])

    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        run.create()
        config = Config(train=TrainConfig(steps=n_steps, validation_samples=8, workers=n_workers, device="cpu"))
        gan.train(config, dataset, run, progress=watch)
    return watch.seconds[4:]    # the first warm up


def _resident(folder: Path) -> Iterator[dict]:
    """Memory of fresh processes that read every phrase once."""
    for dtype, how in (("bool", "placed"), ("float32", "placed"), ("bool", "mapped")):
        command = [sys.executable, "-m", "benchmarks.data.resident", str(folder), str(N_BARS), str(BATCH_SIZE), dtype, how]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        way = f"frame and onset as {dtype}" + ("" if how == "placed" else ", read through the map")
        growth = max(told["high_water"], told["most"]["rss"]) - told["imports"]["rss"]
        yield {"case": "resident memory over imports", "way": way, "value": growth, "unit": "bytes",
               "anonymous": told["most"]["anonymous"] - told["imports"]["anonymous"], "whole_process": told["high_water"],
               "imports": told["imports"]["rss"], "torch_alone": told["torch"]["rss"], "phrases_read": told["n_read"]}


def table(lines: list[dict]) -> Table:
    """All lines, a section for each case."""
    result, case = Table("way", "value", "IQR", "speed-up", title="Loader"), None
    for line in lines:
        if line["case"] != case:
            case = line["case"]
            result.add_section()
            result.add_row(f"[bold]{case}")
        scale, unit = (1e-6, "MB") if line["unit"] == "bytes" else (1, line["unit"])
        iqr = f"{line['iqr'] * scale:,.3g}" if "iqr" in line else ""
        speed_up = f"{line['speed_up']:.2f}" if "speed_up" in line else ""
        result.add_row(line["way"], f"{line['value'] * scale:,.4g} {unit}", iqr, speed_up)
    return result


if __name__ == "__main__":
    main()
