"""What a run writes about itself: numbers, comparisons with held-out pieces, snapshots."""

from __future__ import annotations

import json

from torch.utils.tensorboard import SummaryWriter

from musegan.config import TrainConfig
from musegan.models import Generator, save_generator
from musegan.seeding import derived_seed
from musegan.training.calibration import calibrate
from musegan.training.run_folder import RunFolder
from musegan.training.validation import Found, Validation, show

LOG_EVERY = 10    # steps


class Progress:
    """What the loop tells whoever watches; the command's version shows a progress bar."""

    def start(self, done: int, total: int) -> None:
        """The loop begins after `done` of `total` steps."""

    def advance(self, step: int, numbers: dict[str, float]) -> None:
        """A step is done."""

    def say(self, line: str) -> None:
        """Something happened that is worth a line."""


class Record:
    """The files that one process writes for all; a context, in which they are open.

    Args:
        run: where.
        step: after which the run goes on; what is there of later steps is dropped.
        best: the smallest distance so far.
    """

    def __init__(
        self, run: RunFolder, validation: Validation, settings: TrainConfig, progress: Progress, step: int, best: float
    ):
        self._run, self._validation, self._seed, self._progress = run, validation, settings.seed, progress
        self.best = best
        run.rewind_metrics(step)
        self._writer = SummaryWriter(run.tensorboard, purge_step=step + 1)
        self._log = open(run.metrics, "a", buffering=1)

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *_exception) -> None:
        self._log.close()
        self._writer.close()

    def compare(self, average: Generator, step: int) -> Found:
        """Compares a generator with held-out pieces, and keeps it as the newest and, where it is, as the best one."""
        run, say = self._run, self._progress.say
        calibrate(average, derived_seed(self._seed, "calibration"), self._validation.training)
        found = self._validation.compare(average)
        distance = found.distances["distance_held_out"]
        save_generator(average, run.newest)
        if distance < self.best:
            self.best = distance
            save_generator(average, run.best)
        show(average, run, step, self._seed)
        say(f"step {step}: distance {distance:.3f} from held-out pieces (best {self.best:.3f}, "
            f"real {self._validation.floor:.3f}), {found.distances['distance_training']:.3f} from training")
        for flag in found.flags:
            say(f"step {step}: {flag}")
        return found

    def log(self, step: int, numbers: dict[str, float], found: Found | None) -> None:
        """Tells who watches, and writes a line every few steps and after each comparison."""
        numbers = numbers | (found.distances if found else {})
        self._progress.advance(step, numbers)
        if not (found or step % LOG_EVERY == 0 or step == 1):
            return
        line = {"step": step, **numbers} | ({"statistics": found.statistics} if found else {})
        self._log.write(json.dumps(line) + "\n")
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        for name, value in found.statistics.items() if found else ():
            if value is not None:
                self._writer.add_scalar(f"statistics/{name}", value, step)
