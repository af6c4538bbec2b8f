"""What every loop tells whoever watches, and writes down: a line of numbers, for people and for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping

from torch.utils.tensorboard import SummaryWriter

from musegan.training.run_folder import RunFolder

LOG_EVERY = 10    # steps


class Progress:
    """What the loop tells whoever watches; the command's version shows a progress bar."""

    def start(self, done: int, total: int, shown: Mapping[str, str]) -> None:
        """The loop begins after `done` of `total` steps; of its numbers, those `shown` are worth a place, each by its label."""

    def advance(self, step: int, numbers: dict[str, float]) -> None:
        """A step is done."""

    def say(self, line: str) -> None:
        """Something happened that is worth a line."""


class Log:
    """The files of numbers of a run; a context, in which they are open.

    Args:
        run: where.
        progress: who watches.
        step: after which the run goes on; what is there of later steps is dropped.
    """

    def __init__(self, run: RunFolder, progress: Progress, step: int):
        self._progress = progress
        run.rewind_metrics(step)
        self._writer = SummaryWriter(run.tensorboard, purge_step=step + 1)
        self._file = open(run.metrics, "a", buffering=1)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_exception) -> None:
        self._file.close()
        self._writer.close()

    def log(
        self,
        step: int,
        numbers: dict[str, float],
        found: dict[str, float] | None = None,
        statistics: Mapping[str, float | None] | None = None,
    ) -> None:
        """Tells who watches, and writes a line every few steps and after each validation.

        Args:
            numbers: of the step.
            found: of a validation, where there was one.
            statistics: of what was generated then, by name; None where there was nothing to measure.
        """
        numbers = numbers | (found or {})
        self._progress.advance(step, numbers)
        if not (found or step % LOG_EVERY == 0 or step == 1):
            return
        line = {"step": step, **numbers} | ({"statistics": statistics} if statistics else {})
        self._file.write(json.dumps(line) + "\n")
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        for name, value in (statistics or {}).items():
            if value is not None:
                self._writer.add_scalar(f"statistics/{name}", value, step)
