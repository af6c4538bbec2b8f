"""Data sets by name: a folder of the user's, or one that the package embeds, prepared when it is first needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from musegan import resources
from musegan.data.dataset import PackedDataset
from musegan.data.packed import SHARD_PATTERN
from musegan.data.preparation import Rules, prepare
from musegan.data.tracks import PRESETS
from musegan.errors import UserError


def open_dataset(name: str, cache: Path, option: str, say: Callable[[str], None]) -> PackedDataset:
    """Opens a data set.

    Args:
        name: a folder, or the name of an embedded data set.
        cache: folder in which an embedded one is prepared, if it is not there yet.
        option: what the user called `name` by, for messages.
        say: told when it takes a while.
    Raises:
        UserError: no such folder or name; see also `PackedDataset.open`.
    """
    is_embedded = name in resources.dataset_names()
    if Path(name).is_dir() and not (is_embedded and not any(Path(name).glob(SHARD_PATTERN))):
        return PackedDataset.open(Path(name))
    if not is_embedded:
        raise UserError(
            f"{option}: no folder {name!r}, and no embedded data set of that name; there are "
            f"{', '.join(resources.dataset_names())}. Make one of your MIDI files with: musegan prepare FOLDER -o {name}"
        )
    if not cache.exists():
        say(f"Preparing the embedded data set {name!r} ...")
        report = prepare([resources.dataset_path(name)], cache, Rules(PRESETS["lpd5"]))
        say(f"Prepared the embedded data set {name!r}: {report.n_bars} bars")
    return PackedDataset.open(cache)
