"""Model folders: `config.json` and `model.safetensors`, safe to load from strangers."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from huggingface_hub import constants
from safetensors import SafetensorError

from musegan.errors import UserError, one_line
from musegan.files import atomic_write
from musegan.models.compact import CompactGenerator


def save_generator(model: CompactGenerator, folder: Path) -> None:
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
        for name in (constants.CONFIG_NAME, constants.SAFETENSORS_SINGLE_FILE):
            with atomic_write(folder / name) as temporary:
                temporary.write_bytes((Path(staging) / name).read_bytes())


def load_generator(folder: Path) -> CompactGenerator:
    """Reads a model folder, ready to sample.

    Raises:
        UserError: a file is missing, damaged, or does not fit the other.
    """
    folder = Path(folder)
    for name in (constants.CONFIG_NAME, constants.SAFETENSORS_SINGLE_FILE):
        if not (folder / name).is_file():
            raise UserError(f"not a model folder: {folder} has no {name}")
    try:
        kind = json.loads((folder / constants.CONFIG_NAME).read_text()).get("kind")
        match kind:
            case "compact":
                model = CompactGenerator.from_pretrained(folder, strict=True)
            case _:
                raise UserError(f"unknown kind of model {kind!r} in {folder / constants.CONFIG_NAME}")
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError, TypeError, ValueError) as err:
        raise UserError(f"cannot read {folder / constants.CONFIG_NAME}: {err}") from err
    except (SafetensorError, RuntimeError, OSError) as err:
        weights = folder / constants.SAFETENSORS_SINGLE_FILE
        raise UserError(f"{weights} is damaged or does not fit its config: {one_line(err)}") from err
    return model.eval()
