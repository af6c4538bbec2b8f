"""Rules that the configs of several families share; a breach is a `UserError` that names the key."""

from __future__ import annotations

from musegan.errors import UserError


def key(config, name: str) -> str:
    """The dotted name of a field of a part, e.g. `train.steps` for one of `TrainConfig`."""
    part = next(part for part in ("data", "model", "train") if type(config).__name__.lower().endswith(f"{part}config"))
    return f"{part}.{name}"


def check_least(config, at_least: float, *names: str) -> None:
    """Fields that must be so much, and finite."""
    for name in names:
        value = getattr(config, name)
        if not at_least <= value < float("inf"):    # nor is NaN
            raise UserError(f"{key(config, name)} must be at least {at_least}: got {value}")


def check_semitones(config, name: str) -> None:
    """A field that says how far music moves."""
    check_least(config, 0, name)
    if getattr(config, name) > 127:
        raise UserError(f"{key(config, name)} must be at most 127, all of MIDI's pitches: got {getattr(config, name)}")


def check_share(config, *names: str) -> None:
    """Fields that are shares or probabilities."""
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise UserError(f"{key(config, name)} must lie in [0, 1]: got {getattr(config, name)}")


def check_decay(config, *names: str) -> None:
    """Fields that are the decay of a mean."""
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise UserError(f"{key(config, name)} must lie in [0, 1): got {getattr(config, name)}")


def check_learning_rate(train) -> None:
    """`train.learning_rate`."""
    if not 0 < train.learning_rate < float("inf"):
        raise UserError(f"train.learning_rate must be above 0, and finite: got {train.learning_rate}")


def check_held_out(data) -> None:
    """`data.validation_share` and `data.test_share`: a third part is left to train on."""
    if not 0 < data.validation_share < 1:
        raise UserError(f"data.validation_share must lie between 0 and 1: got {data.validation_share}")
    if not 0 <= data.test_share < 1 - data.validation_share:
        raise UserError(f"data.test_share must lie in [0, 1 - data.validation_share): got {data.test_share}")
