"""Batches by number of their step, made in the training process or by processes of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from musegan.data.phrases import Augmentation, Phrases
from musegan.errors import UserError, one_line
from musegan.roll import Roll

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Batches(Dataset):
    """The batches of a run: `batches[step]` is a function of (seed, step, rank, world_size) alone.

    Args:
        phrases: what batches are made of.
        size: phrases in a batch, of all processes together.
        seed: decides everything random.
        rank: number of this training process.
        world_size: number of training processes; divides `size`.
        augmentation: what is done to each phrase.
        dtype: bool, or float32 for 0.0 and 1.0.
        frame_only: leave the onset plane out.
        transform: makes of a batch what the networks see; pickled where loader processes are not forked.
    """

    def __init__(
        self,
        phrases: Phrases,
        size: int,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        augmentation: Augmentation = Augmentation(),
        dtype: torch.dtype = torch.bool,
        frame_only: bool = False,
        transform: Callable[[Roll | Tensor], object] | None = None,
    ):
        self._phrases, self._transform = phrases, transform
        self._options = {
            "seed": seed,
            "size": size,
            "rank": rank,
            "world_size": world_size,
            "augmentation": augmentation,
            "dtype": dtype,
            "frame_only": frame_only,
        }

    def __getitem__(self, step: int):
        batch = self._phrases.batch(step, **self._options)
        return batch if self._transform is None else self._transform(batch)


class Loader:
    """The batches of some steps, in order.

        with Loader(batches, range(step, steps), n_workers=1) as loader:
            for batch in loader:
                ...

    The same batches come whatever the number of processes. They end with the block, however it is left; Ctrl-C and
    SIGTERM are for the training process to answer, and a training process that is killed takes them with it.

    Args:
        batches: item -> batch.
        steps: the items.
        n_workers: loader processes; with 0 batches are made where they are asked for.
        start_method: of the processes: fork, forkserver or spawn; by default Python's.
    Raises:
        UserError (on leaving the block): a loader process has ended.
    """

    def __init__(self, batches: Batches, steps: range, n_workers: int = 0, start_method: str | None = None):
        self._batches, self._steps = batches, steps
        self._n_workers, self._start_method = n_workers, start_method

    def __enter__(self) -> Loader:
        if not self._n_workers:
            self._iterator = map(self._batches.__getitem__, self._steps)
            return self
        loader = DataLoader(
            self._batches,
            batch_size=None,
            sampler=self._steps,
            num_workers=self._n_workers,
            collate_fn=_as_it_is,
            worker_init_fn=_depend_on_training,
            multiprocessing_context=self._start_method,
            generator=torch.Generator(),    # or a seed nobody needs is drawn from the global one
        )
        with _signals_held():
            self._iterator = iter(loader)
        return self

    def __iter__(self) -> Iterator:
        return self

    def __next__(self):
        return next(self._iterator)

    def __exit__(self, _kind, error: BaseException | None, _traceback) -> None:
        if self._n_workers:
            # Not left to the collector: a traceback may hold the iterator for long.
            try:
                self._iterator._shutdown_workers()
            finally:    # also at another Ctrl-C
                for process in self._iterator._workers:
                    process.kill()    # only one that hangs is still there
        self._iterator = iter(())
        if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker"):
            raise UserError(
                f"a process that loads batches has ended ({one_line(error)}); train.workers=0 does without"
            ) from error


def _as_it_is(batch):
    return batch


def _depend_on_training(_worker: int) -> None:
    """A loader process ends with the training process and when that wants it to, not on a signal that goes to both."""
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _mask("SIG_UNBLOCK")
    # DataLoader's own check every five seconds waits for ever where a batch was on its way.
    threading.Thread(target=_end_with_training, daemon=True).start()


def _end_with_training() -> None:
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Processes started here do not get signals before they are ready; this one gets them afterwards."""
    before = _mask("SIG_BLOCK")
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _mask(how: str) -> set | None:
    """Changes which signals wait; the mask of before, or None where the system has none."""
    if not hasattr(signal, "pthread_sigmask"):
        return None
    return signal.pthread_sigmask(getattr(signal, how), _STOP_SIGNALS)
