"""What a run of a generator/discriminator pair writes about itself: numbers, comparisons with held-out pieces, snapshots."""

from __future__ import annotations

from musegan.config import TrainConfig
from musegan.models import Generator, save_model
from musegan.seeding import derived_seed
from musegan.training.calibration import calibrate
from musegan.training.log import Log, Progress
from musegan.training.run_folder import RunFolder
from musegan.training.validation import Found, Validation, show


class Record(Log):
    """The files that one process writes for all; a context, in which they are open.

    Args:
        run, progress, step: see `Log`.
        best: the smallest distance so far.
    """

    def __init__(
        self, run: RunFolder, validation: Validation, settings: TrainConfig, progress: Progress, step: int, best: float
    ):
        super().__init__(run, progress, step)
        self._run, self._validation, self._seed = run, validation, settings.seed
        self.best = best

    def compare(self, average: Generator, step: int) -> Found:
        """Compares a generator with held-out pieces, and keeps it as the newest and, where it is, as the best one."""
        run, say = self._run, self._progress.say
        calibrate(average, derived_seed(self._seed, "calibration"), self._validation.training)
        found = self._validation.compare(average)
        distance = found.distances["distance_held_out"]
        save_model(average, run.newest)
        if distance < self.best:
            self.best = distance
            save_model(average, run.best)
        show(average, run, step, self._seed)
        say(f"step {step}: distance {distance:.3f} from held-out pieces (best {self.best:.3f}, "
            f"real {self._validation.floor:.3f}), {found.distances['distance_training']:.3f} from training")
        for flag in found.flags:
            say(f"step {step}: {flag}")
        return found
