"""Measures ways to the same result against each other: equal results first, then all of them taking turns."""

from __future__ import annotations

import contextlib
import importlib
import math
import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from benchmarks.cases import Call, Case, same_bits
from benchmarks.compiling import compiled
from musegan import ops

REFERENCE, COMPILED, MEMORY_LIMIT = "reference", "compiled reference", "memory limit"
WARM_UP_ROUNDS = 2
MIN_SAMPLE_SECONDS = 1e-3    # a shorter call is repeated until a sample lasts this long
SETTLE_SECONDS = 0.02    # a shorter call is made once before each sample: its caches and memory, not its neighbour's


@dataclass
class Way:
    """One way to a case's result."""

    call: Call | None
    level: str = ""
    share: float = 1.0
    reason: str = ""
    """Why it is left out, where `call` is None."""
    seconds: list[float] = field(default_factory=list)
    """One time a round, of all the case's elements."""


def cpu_levels() -> list[str]:
    """The levels of native kernels that this CPU has, the best one first; none without the native library."""
    return list(_native().cpu_levels())[::-1] if ops.native_status().loaded else []


@contextlib.contextmanager
def settings_kept() -> Iterator[None]:
    """Restores the number of threads and the CPU level."""
    n_threads, level = torch.get_num_threads(), _native().cpu_level() if cpu_levels() else None
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
        if level is not None:
            _native().use_cpu_level(level)


def ways_of(case: Case, levels: list[str], compile_reference: bool) -> dict[str, Way]:
    """The ways by name, in the order in which they take turns; compiles what is to be compiled."""
    ways = {f"native@{level}": Way(case.native, level) for level in levels}
    ways[REFERENCE] = Way(case.reference)
    if compile_reference and case.compiled:
        call, reason = compiled(case.reference, same_bits)
        ways[COMPILED] = Way(call, reason=reason)
    ways |= {rival.name: Way(rival.call, share=rival.share) for rival in case.rivals}
    ways[MEMORY_LIMIT] = Way(_memory_limit(case.bytes_read, case.bytes_written))
    return ways


def check_equal(case: Case, ways: dict[str, Way]) -> None:
    """Raises AssertionError unless native kernels and reference agree bit for bit, and rivals as far as they can."""
    expected = case.reference()
    for name, way in ways.items():
        if way.level:
            _native().use_cpu_level(way.level)
        if way.level or name == COMPILED and way.call is not None:
            assert same_bits(expected, way.call()), f"{case.op}: {name} and the reference differ"
    for rival in case.rivals:
        assert rival.agrees(expected, rival.call()), f"{case.op}: {rival.name} and the reference differ"


def measure(ways: dict[str, Way], repeats: int) -> None:
    """Fills the seconds of each way that is not left out, all taking turns."""
    ways = {name: way for name, way in ways.items() if way.call is not None}
    for way in ways.values():
        way.seconds = []    # not those with another number of threads
    n_calls, slow = dict.fromkeys(ways, 1), set()
    for i in range(WARM_UP_ROUNDS + repeats):
        order = random.Random(i).sample(sorted(ways), len(ways))    # so that none always follows the same other
        for name in order:
            way = ways[name]
            if way.level:
                _native().use_cpu_level(way.level)
            if name not in slow:
                way.call()
            seconds = _time(way.call, n_calls[name])
            if seconds > SETTLE_SECONDS:
                slow.add(name)
            if i < WARM_UP_ROUNDS:
                n_calls[name] = max(1, math.ceil(MIN_SAMPLE_SECONDS / seconds))
            else:
                way.seconds.append(seconds / way.share)


def lines_of(case: Case, ways: dict[str, Way]) -> list[dict]:
    """What was measured, one line for each way; a way that was left out tells why."""
    median = {name: statistics.median(way.seconds) for name, way in ways.items() if way.call is not None}
    n_elements = math.prod(case.shape)
    lines = []
    for name, way in ways.items():
        line = {
            "op": case.op,
            "size": case.size,
            "shape": list(case.shape),
            "dtype": str(case.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "way": name,
            "level": way.level,
            "rival": case.rival,
        }
        if way.call is None:
            lines.append(line | {"left_out": way.reason})
            continue
        low, _, high = statistics.quantiles(way.seconds, n=4)
        line |= {
            "median_ns": median[name] / n_elements * 1e9,
            "iqr_ns": (high - low) / n_elements * 1e9,
            "speed_up": median[case.rival] / median[name],
            "over_memory_limit": median[name] / median[MEMORY_LIMIT],
            "repeats": len(way.seconds),
        }
        lines.append(line if way.share == 1 else line | {"measured_share": way.share})
    return lines


def _time(call: Call, n_calls: int) -> float:
    """Mean seconds of some calls in a row."""
    start = time.perf_counter()
    for _ in range(n_calls):
        call()
    return (time.perf_counter() - start) / n_calls


def _memory_limit(bytes_read: int, bytes_written: int) -> Call:
    """Reads and writes as many bytes, by the fastest ways torch has: a sum, and zeros written over old memory.

    (A copy of as many bytes took longer than the two.)
    """
    source = torch.ones(max(1, bytes_read // 4))
    target = torch.empty(bytes_written, dtype=torch.uint8)
    return lambda: (source.sum(), target.zero_())


def _native():
    return importlib.import_module("musegan._C")
