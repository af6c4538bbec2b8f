"""Model folders: `config.json` and `model.safetensors`, safe to load from strangers."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from huggingface_hub import constants
from safetensors import SafetensorError
from safetensors.torch import load_file

from musegan.errors import UserError, one_line
from musegan.files import atomic_write
from musegan.models.bmusegan import BMuseganGenerator
from musegan.models.compact import CompactGenerator
from musegan.models.generator import THRESHOLDS, Facts, Generator
from musegan.models.layout import Layout
from musegan.models.musegan import MuseganGenerator
from musegan.models.musegan_v3 import MuseganV3Generator

_KINDS = {
    kind.kind: kind for kind in (CompactGenerator, MuseganGenerator, MuseganV3Generator, BMuseganGenerator)
}


def save_generator(model: Generator, folder: Path) -> None:
    """Writes a model folder; a killed process leaves each file old or new, and the config of a run never changes.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UserError(f"cannot make the model folder {folder}: {err.strerror or err}") from err
    with tempfile.TemporaryDirectory() as staging:
        model.save_pretrained(staging)
        config = Path(staging) / constants.CONFIG_NAME
        config.write_text(json.dumps({"kind": model.kind, **json.loads(config.read_text())}, indent=2))
        for name in (constants.CONFIG_NAME, constants.SAFETENSORS_SINGLE_FILE):
            with atomic_write(folder / name) as temporary:
                temporary.write_bytes((Path(staging) / name).read_bytes())


def load_generator(folder: Path) -> Generator:
    """Reads a model folder, ready to sample.

    Raises:
        UserError: a file is missing, damaged, or does not fit the other.
    """
    folder = Path(folder)
    for name in (constants.CONFIG_NAME, constants.SAFETENSORS_SINGLE_FILE):
        if not (folder / name).is_file():
            raise UserError(f"not a model folder: {folder} has no {name}")
    config, weights = folder / constants.CONFIG_NAME, folder / constants.SAFETENSORS_SINGLE_FILE
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise TypeError(f"expected settings by name, got {one_line(ValueError(settings), 40)}")
        kind = settings.pop("kind")
        if kind not in _KINDS:
            raise ValueError(f"unknown kind of model {kind!r}")
        layout, facts = Layout(**settings.pop("layout")), Facts(**settings.pop("facts"))
        with torch.device("meta"):    # no numbers: what the config says may not fit in memory
            shapes = {name: value.shape
                      for name, value in _KINDS[kind](layout, facts=facts, **settings).state_dict().items()}
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as err:
        raise UserError(f"cannot read {config}: {one_line(err)}") from err
    try:
        state = load_file(weights)
        if shapes != {name: value.shape for name, value in state.items()}:
            raise ValueError("names or shapes of weights differ")
        model = _KINDS[kind](layout, facts=facts, **settings)
        model.load_state_dict(state)
    except (SafetensorError, RuntimeError, OSError, ValueError) as err:
        raise UserError(f"{weights} is damaged or does not fit its config: {one_line(err)}") from err
    if not all(torch.isfinite(value).all() for value in model.state_dict().values()):
        raise UserError(f"{weights} is damaged: a weight is not a number")
    thresholds = [value for name, value in model.named_buffers() if name in THRESHOLDS]
    if not all(((value > 0) & (value < 1)).all() for value in thresholds) or not model.slope > 0:
        raise UserError(f"{weights} is damaged: thresholds must lie between 0 and 1, and the slope above 0")
    return model.eval()
