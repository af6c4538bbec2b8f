"""What the loops of all families do alike: choose a device, average weights, stop on NaN, save and go on."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import nn

from musegan.data.phrases import Phrases
from musegan.errors import UserError, one_line
from musegan.export import MAX_TEMPO_BPM, MIN_TEMPO_BPM
from musegan.keys import median_pitches
from musegan.models import Facts
from musegan.models.batch import n_processes
from musegan.models.generator import CALIBRATED
from musegan.training import processes
from musegan.training.run_folder import RunFolder

MEASURED = (*CALIBRATED, "directions")    # buffers that are set by what a network makes, not trained


class Stateful(Protocol):
    """A network or an optimizer."""

    def state_dict(self) -> dict[str, Any]:
        """All that changes."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Takes what `state_dict` gave."""


def device_of(name: str) -> torch.device:
    """The device that `train.device` names.

    Raises:
        UserError: there is none of that name, or it cannot be used.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise UserError(f"train.device must be auto, cpu or cuda: got {name!r}")
    if name.startswith("cuda") and n_processes() > 1:
        name = f"cuda:{torch.cuda.current_device()}"    # each process has its own
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as err:
        raise UserError(f"train.device: cannot use {name!r}: {one_line(err)}") from err
    return torch.device(name)


def facts_of(training: Phrases) -> Facts:
    """What a generator keeps of the data it was trained on."""
    cells, n_steps = training.cell_counts.sum(1), len(training) * training.n_bars * training.dataset.spec.steps_per_bar
    tempo_bpm = float(training.dataset.tempo_bpm[training.starts].median())
    return Facts(
        frame_density=tuple((cells / n_steps).tolist()),
        onset_density=tuple((training.onset_counts / cells.clamp(min=1)).tolist()),
        key_shifts=tuple(training.shift_counts()),
        tempo_bpm=round(min(max(tempo_bpm, MIN_TEMPO_BPM), MAX_TEMPO_BPM), 2),
        median_pitch=tuple(median_pitches(training.cell_counts, training.dataset.spec).tolist()),
    )


def check_parts(batch_size: int, accumulate: int = 1) -> None:
    """Checks that each process has as many phrases of a batch, in each of its parts.

    Raises:
        UserError: the batch cannot be divided like this.
    """
    n = n_processes()
    if batch_size % (n * accumulate):
        several = f"{n} processes" + (f" x train.accumulate={accumulate}" if accumulate > 1 else "")
        raise processes.told_once(UserError(
            f"train.batch_size, of all processes together, must be divisible by {several}: got {batch_size}"
        ))


def halved(learning_rate: float, steps: int, step: int) -> float:
    """A learning rate that falls by half in so many steps, smoothly; 0 for never."""
    return learning_rate * (0.5 ** (step / steps) if steps else 1.0)


def check_finite(step: int, numbers: dict[str, float], networks: dict[str, nn.Module], learning_rate: float) -> None:
    """Stops a run whose numbers, or whose networks' weights, are none any more.

    Raises:
        UserError: one is not finite.
    """
    weights = (value for network in networks.values() for value in network.state_dict().values())
    if all(map(math.isfinite, numbers.values())) and all(torch.isfinite(value).all() for value in weights):
        return
    raise processes.told_once(UserError(
        f"step {step}: a loss or a weight is not a number any more ({numbers}); what was saved before is kept. "
        f"Try a lower train.learning_rate than {learning_rate:g}"
    ))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Moves an average, batch-norm statistics included, towards a network; what was measured of it stays.

    Args:
        decay: reached after a ramp-up.
        step: from 1.
    """
    decay = min(decay, (1 + step) / (10 + step))
    for (name, old), new in zip(average.state_dict().items(), network.state_dict().values()):
        if name in MEASURED:
            continue
        if old.is_floating_point() and name != "slope":
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)


def save(run: RunFolder, parts: dict[str, Stateful], **facts) -> None:
    """Replaces the checkpoint by the state of networks and optimizers, and facts that `restore` gives back."""
    run.save_checkpoint({**facts, **{name: part.state_dict() for name, part in parts.items()}})


def restore(run: RunFolder, parts: dict[str, Stateful], fingerprint: str, *facts: str) -> list[Any]:
    """Loads what `save` wrote into the parts; returns the facts of these names.

    Args:
        fingerprint: of the data, which the fact `data` must be.
    Raises:
        UserError: the checkpoint is missing, damaged, or does not fit.
    """
    state = run.load_checkpoint()
    try:
        if state["data"] != fingerprint:
            raise UserError("its data set has changed since")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return [state[name] for name in facts]
    except (LookupError, RuntimeError, ValueError, TypeError, AttributeError) as err:
        raise UserError(f"{run.checkpoint} does not fit this run: {one_line(err)}") from err
