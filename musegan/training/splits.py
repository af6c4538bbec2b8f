"""The phrases of a run: those it learns from, those that choose its best snapshot, and those kept for the end."""

from __future__ import annotations

from typing import NamedTuple

import torch

from musegan.config import DataConfig
from musegan.data.dataset import PackedDataset, split_pieces
from musegan.data.phrases import Phrases
from musegan.errors import UserError


class Splits(NamedTuple):
    """Phrases of different pieces."""

    training: Phrases
    validation: Phrases
    test: Phrases | None
    """None without `data.test_share`."""


def split(data: DataConfig, dataset: PackedDataset) -> Splits:
    """Divides the phrases of a data set by piece.

    Raises:
        UserError: there are too few pieces, or a part has no phrases.
    """
    starts = dataset.phrase_starts(data.n_bars)
    piece = dataset.piece_of(starts)
    parts = {"train on": 1.0, "hold out": data.validation_share, "test on": data.test_share}
    wanted = sum(share > 0 for share in parts.values())
    if len(dataset.pieces) < wanted:
        raise UserError(
            f"training needs {'two' if wanted == 2 else 'three'} pieces at least, one of them to hold out"
            f"{' and one to test on' if wanted == 3 else ''}: the data set has {_number(len(dataset.pieces))}"
        )
    found = []
    pieces = split_pieces(dataset.pieces, data.validation_share, data.test_share)
    for (name, share), indices in zip(parts.items(), pieces):
        if not share:
            found.append(None)
            continue
        own = starts[torch.isin(piece, torch.as_tensor(indices))]
        phrases = Phrases(dataset, own, data.n_bars, data.normalize_key, data.min_tracks)
        if len(phrases) == 0:
            raise UserError(
                f"no phrases to {name}: none of the {len(indices)} pieces for it has {data.n_bars} bars in a row in "
                f"which data.min_tracks={data.min_tracks} tracks sound; there are {len(dataset.pieces)} pieces in all"
            )
        found.append(phrases)
    return Splits(*found)


def _number(n: int) -> str:
    return {0: "none", 1: "one", 2: "two"}[n]
