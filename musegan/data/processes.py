"""Blocks of files done in processes of this machine."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process

import torch

from musegan.data.sources import SCORE_SUFFIXES, Source
from musegan.errors import UserError

FILES_PER_PROCESS = 1000    # at about a millisecond a file, fewer are read before another process has started
_FILES_PER_SCORE = 50    # music21 takes so many times as long as a MIDI file takes

RunBlocks = Callable[[Callable[[int, list[Source]], int], dict[int, list[Source]], int], Iterator[int]]
"""Calls a function for each block with its number, in any order and at most some at once; gives what it returns."""


def run_in_processes(
    function: Callable[[int, list[Source]], int], blocks: dict[int, list[Source]], jobs: int
) -> Iterator[int]:
    """Calls a function for each block, in as many processes of this machine as pay, `jobs` at most; see `RunBlocks`.

    Raises:
        UserError: a process was killed from without.
        Exception: what the function raised.
    """
    scores = sum(source.suffix in SCORE_SUFFIXES for block in blocks.values() for source in block)
    n_files = sum(map(len, blocks.values())) + (_FILES_PER_SCORE - 1) * scores
    n_processes = min(jobs, len(blocks), 1 + n_files // FILES_PER_PROCESS)
    if n_processes <= 1:
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)    # ops of some microseconds: waiting for a second thread costs more than it does
        try:
            for index, block in blocks.items():
                yield function(index, block)
        finally:
            torch.set_num_threads(n_threads)
        return
    # Not by fork: torch's threads do not survive it.
    pool = ProcessPoolExecutor(n_processes, mp_context=get_context("spawn"), initializer=_begin_process)
    try:
        for done in as_completed([pool.submit(function, *item) for item in blocks.items()]):
            yield done.result()
    except BrokenProcessPool as err:
        raise UserError(
            "a process was lost, perhaps for want of memory; the same call goes on where it was, also with fewer jobs"
        ) from err
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_process() -> None:
    """Makes a process one of several: with one thread, and gone when the first one is killed, which it would outlive.

    Ctrl-C goes to all of them; the first one sees to the others.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    first = parent_process()
    threading.Thread(target=lambda: (first.join(), os._exit(1)), daemon=True).start()
