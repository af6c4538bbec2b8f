"""Feeds damaged files to the data side: no file may crash, hang or bloat it, or raise what it does not promise.

    python -m tests.data.fuzz --n 20000 --seed 0 --jobs 2

Files are made here and read in other processes, which are watched from here. A file is either left out with a
reason of one line, or goes all the way: onto its beat, into bars, packed, into piano-rolls; zips by way of
`prepare`. Files that break this are kept, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from tests.data.damaged import Case, make
from tests.data.nasty import NASTY

if TYPE_CHECKING:    # imported where it is read, so that the watching process stays small
    from musegan.data.sources import Source
    from musegan.data.tracks import Preset

MAX_SECONDS = 5.0    # of CPU, for one file
MAX_WALL_SECONDS = 60.0    # the machine may be busy
MAX_MIB = 1024    # resident, all in all
VIOLATIONS = ("crash", "hang", "memory", "exception")


class Outcome(NamedTuple):
    """What became of a file."""

    kind: str
    """"ok", "skip", or one of `VIOLATIONS`."""
    detail: str
    """The reason, or what was raised."""
    seconds: float
    """Of CPU."""
    peak_mib: float
    """Resident, with what the process takes anyway."""


# The process that reads.


def read_all(path: Path) -> str:
    """Takes a file as far as it goes.

    Returns:
        "" or the reasons why it, or parts of it, were left out.
    Raises:
        Anything that the data side must not raise.
    """
    from musegan.data.sources import find_sources
    from musegan.data.tracks import PRESETS

    presets = list(PRESETS.values())
    preset = presets[path.stat().st_size % len(presets)]
    if path.suffix == ".zip":
        reasons = _prepare(path, preset)
    else:
        (source,) = find_sources([path])
        reasons = _read(source, presets)
    return "; ".join(dict.fromkeys(_checked(reason, path) for reason in reasons))


def _read(source: Source, presets: list[Preset]) -> list[str]:
    from musegan.data.bars import check_tracks, cut_bars
    from musegan.data.events import SongError
    from musegan.data.pianorolls import MAX_CELLS, from_multitrack, to_multitrack
    from musegan.data.grid import quantisation_error, regrid
    from musegan.data.packed import pack
    from musegan.data.reading import read_songs
    from musegan.data.report import Report

    reasons, report = [], Report()
    try:
        for song in read_songs(source):
            used, unused, moved = False, [], song
            try:
                moved, _ = regrid(song)
            except SongError as err:
                reasons.append(str(err))
            for preset in presets:
                try:
                    bars = cut_bars(moved, preset, 2)
                    report.count_errors(quantisation_error(moved, preset.spec.steps_per_quarter),
                                        quantisation_error(song, 24))
                    report.count_bars("x", bars)
                    check_tracks(bars, preset.spec, 1)
                    pack("x", [bars], preset.spec)
                    used = True
                except SongError as err:
                    unused.append(str(err))
            if not used:
                reasons += unused
            try:
                multitrack = to_multitrack(song, 24).validate()
                if sum(track.pianoroll.size for track in multitrack.tracks) < MAX_CELLS // 16:
                    from_multitrack(multitrack)
            except SongError as err:
                reasons.append(str(err))
    except SongError as err:
        reasons.append(str(err))
    return reasons


def _prepare(path: Path, preset: Preset) -> list[str]:
    from musegan.data.dataset import PackedDataset
    from musegan.data.preparation import Rules, prepare
    from musegan.errors import UserError

    with tempfile.TemporaryDirectory() as folder:
        try:
            report = prepare([path], Path(folder, "set"), Rules(preset))
            reasons = list(report.rejected_files.values())
            assert PackedDataset.open(Path(folder, "set")).n_bars == report.n_bars
        except UserError as err:
            if not str(err).startswith(("no music in", "no bars are left")):
                raise
            reasons = [re.sub(r"^(no music) in .*(?=: looked)|^no bars are left of \d+ files: ", r"\1", str(err))]
        assert set(os.listdir(folder)) <= {"set"}, f"wrote {os.listdir(folder)}"
    return reasons


def _checked(reason: str, path: Path) -> str:
    assert reason and reason.isprintable(), f"not a line: {reason!r}"
    if not reason.startswith("the same music as"):    # what names another
        assert len(reason) < 600, f"too long: {reason}"
        assert not re.search(r"\w\.(mid|npz|npy|krn|mxl)\b", reason) and path.stem not in reason, f"names a file: {reason}"
    return reason


def _plant(fault: str | None) -> None:
    """A fault on purpose, to see that it is found."""
    match fault:
        case "crash":
            os.abort()
        case "hang":
            while True:
                pass
        case "memory":
            bytearray(b"x") * (3 << 30)
        case "exception":
            raise KeyError("planted")


def serve() -> None:
    """Reads the files that standard input names, each on a line, and answers each with a line of JSON.

    This process only imports; one that it forks reads, and another follows where that one dies. Each says its number
    first. The environment's FUZZ_PLANT, as "name=fault,...", makes files of some names fail.
    """
    import torch

    import musegan.data.preparation  # noqa: F401  (takes seconds)

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, 8 << 30))    # a bloat shall end before the machine does
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    while True:
        process = os.fork()    # torch has made no threads yet
        if not process:
            print(os.getpid(), file=answers, flush=True)
            _serve_files(answers)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        if not status:
            return
        detail = f"the process ended with {os.waitstatus_to_exitcode(status)}"
        print(json.dumps(["crash", detail, 0.0, 0.0]), file=answers, flush=True)


def _serve_files(answers: IO[str]) -> None:
    warnings.simplefilter("error")
    for category in (DeprecationWarning, ResourceWarning):
        warnings.filterwarnings("ignore", category=category)
    planted = dict(item.split("=") for item in os.environ.get("FUZZ_PLANT", "").split(",") if item)
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        _reset_peak()
        started = time.process_time()
        try:
            _plant(planted.get(path.stem))
            reason = read_all(path)
            kind, detail = ("skip", reason) if reason else ("ok", "")
        except MemoryError:
            kind, detail = "memory", "MemoryError"
        except Exception as err:
            trace = err.__traceback__
            while trace.tb_next:
                trace = trace.tb_next
            place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
            kind, detail = "exception", f"{type(err).__name__} at {place}: {err}"
        print(json.dumps([kind, detail[:600], time.process_time() - started, _peak_mib()]), file=answers, flush=True)


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:    # then it is the peak of all files so far
        pass


def _peak_mib() -> float:
    try:
        return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# The process that watches.


class Reader:
    """Another process that reads files; see `serve`."""

    def __init__(self):
        command = [sys.executable, "-X", "faulthandler", "-m", "tests.data.fuzz", "--serve"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.reading: int | None = None    # the process that it forked
        self.started = self.cpu_before = 0.0

    def begin(self, path: Path) -> None:
        """Gives it a file."""
        if self.reading is None:
            self.reading = int(self.process.stdout.readline())
        self.started, (self.cpu_before, _) = time.monotonic(), self._usage()
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()

    def poll(self) -> Outcome | None:
        """What became of the file, or None while it is being read. Ends the process where it hangs or swells."""
        cpu, mib = self._usage()
        cpu -= self.cpu_before
        if select.select([self.process.stdout], [], [], 0)[0]:
            outcome = Outcome(*json.loads(self.process.stdout.readline()))
            if outcome.kind == "crash":
                self.reading = None
                return outcome
            if outcome.peak_mib > MAX_MIB / 2:
                self._renew()    # the next one shall not be blamed for what the allocator keeps
            if outcome.peak_mib > MAX_MIB:
                return outcome._replace(kind="memory")
            return outcome._replace(kind="hang") if outcome.seconds > MAX_SECONDS else outcome
        if cpu > 2 * MAX_SECONDS or time.monotonic() - self.started > MAX_WALL_SECONDS or mib > 2 * MAX_MIB:
            self._renew()
            return Outcome("memory" if mib > 2 * MAX_MIB else "hang", "the process was stopped", cpu, mib)
        return None

    def _renew(self) -> None:
        os.kill(self.reading, signal.SIGKILL)
        while json.loads(self.process.stdout.readline())[0] != "crash":
            pass    # it had just answered
        self.reading = None

    def _usage(self) -> tuple[float, float]:
        """Seconds of CPU so far, MiB resident."""
        try:
            fields = Path(f"/proc/{self.reading}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return self.cpu_before, 0.0
        ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
        return ticks / os.sysconf("SC_CLK_TCK"), pages * resource.getpagesize() / (1 << 20)

    def close(self) -> None:
        """Ends it."""
        if self.reading is not None:
            os.kill(self.reading, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def fuzz(cases: Iterable[tuple[str, Case]], jobs: int, keep: Path) -> Iterator[tuple[str, Case, Outcome]]:
    """Reads every case.

    Args:
        cases: with a name for the file of each.
        jobs: processes that read.
        keep: where files that break the rules are left.
    """
    cases = iter(cases)
    with tempfile.TemporaryDirectory() as folder:
        free, busy = [Reader() for _ in range(jobs)], {}
        more = True
        try:
            while more or busy:
                while free and (item := next(cases, None)):
                    name, case = item
                    path = Path(folder, name + case.suffix)
                    path.write_bytes(case.content)
                    reader = free.pop()
                    reader.begin(path)
                    busy[reader] = name, case, path
                more = not free
                select.select([reader.process.stdout for reader in busy], [], [], 0.05)
                for reader in list(busy):
                    if outcome := reader.poll():
                        name, case, path = busy.pop(reader)
                        free.append(reader)
                        if outcome.kind in VIOLATIONS:
                            keep.mkdir(parents=True, exist_ok=True)
                            shutil.copy(path, keep)
                        path.unlink()
                        yield name, case._replace(content=b""), outcome
        finally:
            for reader in [*free, *busy]:
                reader.close()


def random_cases(seed: int, numbers: Iterable[int]) -> Iterator[tuple[str, Case]]:
    """Damaged files by number."""
    for number in numbers:
        yield f"case-{number:06d}", make(seed, number)


def nasty_cases(names: Iterable[str] = tuple(NASTY)) -> Iterator[tuple[str, Case]]:
    """The worst files by name."""
    for name in names:
        yield "nasty-" + re.sub(r"\W+", "-", name), Case(name, *NASTY[name]())


def main(arguments: list[str] | None = None) -> int:
    """Runs it, and prints what became of the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20_000, help="files, beside those that are known by name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--only", default="", help="kinds of files whose name has this, e.g. array")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir(), "fuzz-findings"),
                        help="folder for files that break the rules")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve()
        return 0
    counts, reasons = Counter(), Counter()
    slowest, largest, broken = [], [], []
    started = time.monotonic()

    def cases() -> Iterator[tuple[str, Case]]:
        yield from nasty_cases()
        yield from random_cases(options.seed, range(options.first, options.first + options.n))

    chosen = ((name, case) for name, case in cases() if options.only in case.kind)
    for n, (name, case, outcome) in enumerate(fuzz(chosen, options.jobs, options.keep), 1):
        group = "by name" if name.startswith("nasty") else case.kind
        counts[group, outcome.kind] += 1
        if outcome.kind == "skip":
            reasons[re.sub(r"[-+]?[\d.,]*\d", "#", outcome.detail.split("; ")[0])[:100]] += 1
        for heap, value in ((slowest, outcome.seconds), (largest, outcome.peak_mib)):
            heapq.heappush(heap, (value, name, case.kind))
            if len(heap) > 10:
                heapq.heappop(heap)
        if outcome.kind in VIOLATIONS:
            broken.append(name)
            cost = f"[{outcome.seconds:.1f} s, {outcome.peak_mib:.0f} MiB]"
            print(f"{outcome.kind}: {name} ({case.kind}): {outcome.detail} {cost}", flush=True)
        if n % 1000 == 0:
            print(f"... {n} files in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    _print_table(counts, reasons, slowest, largest)
    print(f"\n{sum(counts.values())} files in {time.monotonic() - started:.0f} s; {len(broken)} break the rules")
    if broken:
        print(f"kept in {options.keep}")
    return int(bool(broken))


def _print_table(counts: Counter, reasons: Counter, slowest: list, largest: list) -> None:
    columns = ("ok", "skip", *VIOLATIONS)
    print(f"\n{'files':16}" + "".join(f"{column:>10}" for column in columns))
    for group in dict.fromkeys(group for group, _ in counts):
        print(f"{group:16}" + "".join(f"{counts[group, column]:10}" for column in columns))
    print(f"{'all':16}" + "".join(f"{sum(n for (_, kind), n in counts.items() if kind == column):10}" for column in columns))
    print("\nleft out, by first reason")
    for reason, count in reasons.most_common(60):
        print(f"{count:8}  {reason}")
    for title, heap, unit in (("slowest", slowest, "s"), ("largest", largest, "MiB")):
        print(f"\n{title}")
        for value, name, kind in sorted(heap, reverse=True)[:10]:
            print(f"{value:10.2f} {unit}  {name} ({kind})")


if __name__ == "__main__":
    sys.exit(main())
