"""A function under torch.compile, or why it cannot be had."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable

import torch

COMPILE_SECONDS = 60    # until the first results


def compiled(function: Callable[[], object], equal: Callable[[object, object], bool]) -> tuple[Callable | None, str]:
    """Compiles a function for its inputs of now and any number of threads.

    Args:
        function: takes nothing.
        equal: tells whether the result is the function's own.
    Returns:
        The compiled function and "", or None and the reason: an error, a result that differs, or too long a wait.
    """

    def out_of_time(*_):
        raise TimeoutError(f"not compiled in {COMPILE_SECONDS} s")

    torch._dynamo.reset()
    torch._logging.set_logs(dynamo=logging.ERROR)    # not each break of the graph
    torch._inductor.config.cpp.dynamic_threads = True    # or it would keep today's number of threads
    before = signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(COMPILE_SECONDS)
    try:
        result = torch.compile(function)
        for _ in range(2):    # the second call compiles for what changed since the first
            if not equal(function(), result()):
                return None, "its result differs from the reference's"
    except Exception as err:    # whatever it is, the caller tells it
        return None, reason(err)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return result, ""


def reason(err: Exception) -> str:
    """Name and first line of an error, or the first line in which a compiler calls it one."""
    lines = str(err).strip().splitlines() or [""]
    told = next((line.partition("error: ")[2] for line in lines if "error: " in line), lines[0])
    return f"{type(err).__name__}: {told[:200]}"
