"""Model folders: `config.json` and `model.safetensors`, safe to load from strangers."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from huggingface_hub import constants
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from musegan.errors import UserError, one_line
from musegan.files import atomic_write
from musegan.models.bmusegan import BMuseganGenerator
from musegan.models.compact import CompactGenerator
from musegan.models.generator import Generator
from musegan.models.musegan import MuseganGenerator
from musegan.models.musegan_v3 import MuseganV3Generator
from musegan.models.sequence import GruModel, LstmModel
from musegan.models.transformer import TransformerModel
from musegan.models.vae import PhraseEncoder

ENCODER = "encoder"    # of an autoencoder, the folder in its decoder's folder

_M = TypeVar("_M", bound=nn.Module)


class Model(Protocol):
    """What a model folder holds: a network that is a `PyTorchModelHubMixin`, and the three names that it adds."""

    family: ClassVar[str]
    """Of the config that trains it."""
    kind: ClassVar[str]
    """Its name in a config and in a model folder."""

    @classmethod
    def arguments(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """What `__init__` takes, of what `config.json` holds."""

    def check_weights(self) -> None:
        """Raises ValueError for weights that no training gives."""


_KINDS: dict[str, type[Model]] = {
    kind.kind: kind
    for kind in (
        CompactGenerator, MuseganGenerator, MuseganV3Generator, BMuseganGenerator, LstmModel, GruModel, TransformerModel,
        PhraseEncoder,
    )    # fmt: skip
}


def save_model(model: Model, folder: Path) -> None:
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


def load_model(folder: Path) -> nn.Module:
    """Reads a model folder of any family, ready to sample.

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
        name = settings.pop("kind")
        if name not in _KINDS:
            raise ValueError(f"unknown kind of model {name!r}")
        kind = _KINDS[name]
        arguments = kind.arguments(settings)
        with torch.device("meta"):    # no numbers: what the config says may not fit in memory
            shapes = {name: value.shape for name, value in kind(**arguments).state_dict().items()}
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as err:
        raise UserError(f"cannot read {config}: {one_line(err)}") from err
    try:
        state = load_file(weights)
        if shapes != {name: value.shape for name, value in state.items()}:
            raise ValueError("names or shapes of weights differ")
        model = kind(**arguments)
        model.load_state_dict(state)
    except (SafetensorError, RuntimeError, OSError, ValueError) as err:
        raise UserError(f"{weights} is damaged or does not fit its config: {one_line(err)}") from err
    try:
        if not all(torch.isfinite(value).all() for value in model.state_dict().values()):
            raise ValueError("a weight is not a number")
        model.check_weights()
    except ValueError as err:
        raise UserError(f"{weights} is damaged: {err}") from err
    return model.eval()


def load_generator(folder: Path) -> Generator:
    """Reads the model folder of a generator of rolls.

    Raises:
        UserError: see `load_model`; or it is of another family.
    """
    return check_family(load_model(folder), Generator, folder)


def load_encoder(folder: Path, decoder: Generator) -> PhraseEncoder:
    """Reads the encoder that lies beside a decoder in a model folder.

    Raises:
        UserError: there is none, or it does not fit the decoder; see `load_model`.
    """
    if not (Path(folder) / ENCODER).is_dir():
        raise UserError(f"{folder} has no encoder: a model that `musegan train --family vae` makes has one")
    encoder = check_family(load_model(Path(folder) / ENCODER), PhraseEncoder, folder)
    if encoder.layout != decoder.layout or encoder.latent_shape(decoder.n_bars) != decoder.latent_shape:
        raise UserError(f"{Path(folder) / ENCODER} does not fit the model in {folder}: its tracks or its latents are others")
    return encoder


def check_family(model: nn.Module, wanted: type[_M], folder: Path) -> _M:
    """The model, if it is of the wanted family.

    Raises:
        UserError: it is not.
    """
    if not isinstance(model, wanted):
        raise UserError(f"{folder} holds a model of the family {model.family} ({model.kind}): this takes one of the family "
                        f"{wanted.family}")
    return model
