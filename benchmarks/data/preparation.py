"""How fast MIDI becomes packed bars: beside `pypianoroll.read` and `binarize`, by stage, and in several processes.

    python -m benchmarks.data.preparation [FOLDER]

FOLDER holds MIDI files (default: the embedded songs). The first table takes turns on the same ten files at a time, in one
process and on one thread; rates are of medians. The second is whole calls of `prepare`, and what they say of 174,154
files, the number of Lakh's that could be read (Raffel 2016).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pypianoroll
import torch
from rich.console import Console
from rich.table import Table

from musegan import ops, resources
from musegan.data import preparation, processes
from musegan.data.bars import cut_bars
from musegan.data.events import SongError
from musegan.data.grid import quantisation_error, regrid
from musegan.data.midi import load_midi
from musegan.data.packed import pack, write_shard
from musegan.data.preparation import Rules, prepare, prepare_block
from musegan.data.report import Report
from musegan.data.sources import Source, find_sources
from musegan.data.tracks import PRESETS

BATCH = 10    # files that a turn takes
LAKH = 174_154
RESULTS = Path(__file__).resolve().parent.parent / "results" / "preparation.jsonl"


def main() -> None:
    """Measures, prints, writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=resources.dataset_path("freedoom"))
    parser.add_argument("--files", type=int, default=300, help="files of the first table (default: 300)")
    parser.add_argument("--repeat", type=int, default=10, help="how often whole calls get each file (default: 10)")
    parser.add_argument("--steps-per-beat", type=int, default=12)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    rules = Rules(PRESETS["lpd5"].with_spec(steps_per_beat=arguments.steps_per_beat), ignore_signatures=True)
    torch.set_num_threads(1)
    sources = find_sources([arguments.folder])
    lines = beside_pypianoroll(sources[: arguments.files], rules) + by_stage(sources[: arguments.files], rules)
    lines += whole_calls(sources, arguments.repeat, replace(rules, duplicates="keep"), arguments.jobs)
    facts = {"folder": arguments.folder.name, "steps_per_beat": arguments.steps_per_beat, "torch": torch.__version__,
             "pypianoroll": pypianoroll.__version__, "cpu_level": ops.native_status().cpu_level,
             "machine": platform.machine()}    # fmt: skip
    RESULTS.parent.mkdir(exist_ok=True)
    kept = []
    if RESULTS.exists():
        kept = [line for line in map(json.loads, RESULTS.read_text().splitlines())
                if (line["folder"], line["steps_per_beat"]) != (facts["folder"], facts["steps_per_beat"])]    # fmt: skip
    RESULTS.write_text("".join(json.dumps(line) + "\n" for line in kept + [line | facts for line in lines]))
    table = Table("case", "way", "ms a file", "", title=f"{arguments.folder.name}, {arguments.steps_per_beat} steps a beat")
    for line in lines:
        table.add_row(line["case"], line["way"], f"{line['ms_per_file']:.3f}", line.get("note", ""))
    Console().print(table)


def beside_pypianoroll(sources: list[Source], rules: Rules) -> list[dict]:
    """Packed bars, in memory and as written blocks, beside pypianoroll's reading and binarizing; all take turns."""
    seconds: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "pypianoroll: read(resolution=24), binarize()": lambda _, batch: _pypianoroll(batch),
            "musegan: packed bars in memory": lambda _, batch: _packed_bars(batch, rules),
            "musegan: with digests, written": lambda index, batch: prepare_block(Path(folder), rules, index, batch),
        }
        for index in range(0, len(sources), BATCH):
            batch = sources[index : index + BATCH]
            for way, call in ways.items():
                if "pypianoroll" not in way:
                    call(index, batch)    # its caches and memory, not its neighbour's
                seconds[way].append(_time(lambda: call(index, batch)) / len(batch))
    median = {way: statistics.median(times) for way, times in seconds.items()}
    rival = next(iter(ways))
    return [
        {"case": "files to bars", "way": way, "ms_per_file": value * 1e3, "speed_up": median[rival] / value,
         "note": "" if way == rival else f"{median[rival] / value:.1f} times as fast"}
        for way, value in median.items()
    ]    # fmt: skip


def _packed_bars(batch: list[Source], rules: Rules) -> None:
    report = Report()
    for source in batch:
        try:
            for _ in preparation._pieces(source, rules, report):
                pass
        except SongError:
            continue


def by_stage(sources: list[Source], rules: Rules) -> list[dict]:
    """Where the time goes."""
    seconds: dict[str, float] = defaultdict(float)

    def clock(stage: str, call: Callable):
        started = time.perf_counter()
        try:
            return call()
        finally:
            seconds[stage] += time.perf_counter() - started

    spec = rules.preset.spec
    with tempfile.TemporaryDirectory() as folder:
        for first in range(0, len(sources), BATCH):
            pieces = []
            for source in sources[first : first + BATCH]:
                try:
                    content = clock("read the file", source.read)
                    song = clock("parse (symusic) and note events", lambda: load_midi(content))
                    song, _ = clock("find the beat", lambda: regrid(song))
                    song = clock("bar lines", lambda: preparation._in_metre(song, spec))
                    clock("quantisation error", lambda: quantisation_error(song, spec.steps_per_quarter))
                    bars = clock("cut and draw bars", lambda: cut_bars(song, rules.preset, rules.max_silence))
                    if len(bars.frame):
                        pieces.append(clock("digest", lambda: pack(source.name, [bars], spec)))
                except SongError:
                    continue
            if pieces:
                clock("write and sync", lambda: write_shard(Path(folder) / "shard.safetensors", spec, pieces))
    return [{"case": "by stage", "way": stage, "ms_per_file": total / len(sources) * 1e3}
            for stage, total in seconds.items()]


def whole_calls(sources: list[Source], n_times: int, rules: Rules, jobs: int) -> list[dict]:
    """Whole calls of `prepare` on each file several times, in one process and in several that take turns.

    What starting processes costs is told apart.
    """
    lines, n_files = [], len(sources) * n_times
    processes.FILES_PER_PROCESS = 1    # as many processes as asked for, also where they do not pay
    seconds_by_jobs: dict[int, list[float]] = {n_jobs: [] for n_jobs in sorted({1, jobs})}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "music"
        for time_ in range(n_times):
            (folder / str(time_)).mkdir(parents=True)
            for index, source in enumerate(sources):
                (folder / str(time_) / f"{index:05d}{source.suffix}").symlink_to(Path(source.path).resolve())
        for turn in range(3):
            for n_jobs, seconds in seconds_by_jobs.items():
                out = Path(temporary) / f"set-{turn}-{n_jobs}"
                seconds.append(_time(lambda: prepare([folder], out, rules, jobs=n_jobs)))
                shutil.rmtree(out)
    for n_jobs, seconds in seconds_by_jobs.items():
        median = statistics.median(seconds)
        start = _time(lambda: _start(n_jobs)) if n_jobs > 1 else 0.0
        hours = (max(median - start, 1e-9) / n_files * LAKH + start) / 3600
        note = f"{n_files} files in {median:.2f} s, {start:.2f} s of it to start; Lakh's {LAKH:,} in {hours * 60:.1f} min"
        lines.append({"case": "prepare", "way": f"{n_jobs} processes", "ms_per_file": median / n_files * 1e3,
                      "start_seconds": start, "lakh_minutes": hours * 60, "note": note})    # fmt: skip
    return lines


def _start(n_jobs: int) -> None:
    blocks = {index: [Source("", "")] for index in range(n_jobs)}
    list(processes.run_in_processes(_nothing, blocks, n_jobs))


def _nothing(index: int, sources: list[Source]) -> int:
    return 0


def _pypianoroll(batch: list[Source]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for source in batch:
            try:
                pypianoroll.read(source.path, resolution=24).binarize()
            except (ValueError, OSError, EOFError, KeyError, IndexError):    # what it raises for files that it cannot read
                continue


def _time(call: Callable) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
