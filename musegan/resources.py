"""The experiments (`configs/`), data sets (`data/`) and trained models (`models/`) that come with the package.

They lie next to the package in a source tree, and inside it, as `musegan/configs`, `musegan/embedded_data` and
`musegan/embedded_models`, once installed.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from musegan.errors import UserError

_PACKAGE = Path(__file__).resolve().parent


def config_names() -> list[str]:
    """Names of the configs that come with the package, sorted."""
    return sorted(path.stem for path in _folder("configs", "configs").glob("*.yaml"))


def config_path(name: str) -> Path:
    """The YAML file of a config that comes with the package.

    Args:
        name: one of `config_names()`.
    Raises:
        UserError: no such config; names the nearest.
    """
    _check_name("config", name, config_names())
    return _folder("configs", "configs") / f"{name}.yaml"


def dataset_names() -> list[str]:
    """Names of the data sets that come with the package, sorted."""
    folders = (path for path in _folder("embedded_data", "data").iterdir() if path.is_dir())
    return sorted(path.name for path in folders if not path.name.startswith(("_", ".")))


def dataset_path(name: str) -> Path:
    """The folder of a data set that comes with the package.

    Args:
        name: one of `dataset_names()`.
    Raises:
        UserError: no such data set; names the nearest.
    """
    _check_name("data set", name, dataset_names())
    return _folder("embedded_data", "data") / name


def model_names() -> list[str]:
    """Names of the trained models that come with the package, sorted; there may be none."""
    return sorted(path.parent.name for path in _folder("embedded_models", "models").glob("*/config.json"))


def model_path(name: str) -> Path:
    """The folder of a trained model that comes with the package.

    Args:
        name: one of `model_names()`.
    Raises:
        UserError: no such model; names the nearest.
    """
    _check_name("model", name, model_names())
    return _folder("embedded_models", "models") / name


def _folder(installed: str, in_source: str) -> Path:
    """The folder inside the installed package, or else at the top of the source tree."""
    inside = _PACKAGE / installed
    return inside if inside.is_dir() else _PACKAGE.parent / in_source


def _check_name(kind: str, name: str, names: list[str]) -> None:
    if name in names:
        return
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    there = f"there are {', '.join(names)}" if names else "there are none"
    raise UserError(f"no {kind} {name!r} comes with musegan: {there}{hint}")
