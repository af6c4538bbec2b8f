"""The music of a run: what it learns from, what chooses its best snapshot, and what is kept for the end."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch

from musegan.config import DataConfig, SequenceDataConfig
from musegan.data.dataset import PackedDataset, split_pieces
from musegan.data.phrases import Phrases
from musegan.data.sequences import Passage, Windows, read_passages, tracks_of
from musegan.errors import UserError
from musegan.tokens import vocabulary_of

_TRAINING = "train on"


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
    found = []
    for name, indices in _pieces(data, dataset).items():
        if not indices:
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


class SequenceSplits(NamedTuple):
    """Windows of different pieces, divided as phrases are."""

    training: Windows
    validation: Windows
    test: Windows | None
    """None without `data.test_share`."""
    passages: list[list[Passage]]
    """Of each of the three."""


def split_sequences(data: SequenceDataConfig, dataset: PackedDataset) -> SequenceSplits:
    """Divides the music of a data set by piece; of held-out ones each bar is in one window.

    Raises:
        UserError: there are too few pieces, a part has no notes, or there is no such track.
    """
    spec = replace(dataset.spec, tracks=tracks_of(dataset, data.track, data.encoding))
    vocabulary, passages, found = vocabulary_of(data.encoding, spec), [], []
    for name, indices in _pieces(data, dataset).items():
        passages.append(read_passages(dataset, indices, data.track, data.normalize_key, data.encoding))
        if indices and not passages[-1]:
            raise UserError(f"no music to {name}: none of the {len(indices)} pieces for it has a note in {data.track}; "
                            f"there are {len(dataset.pieces)} pieces in all")
        found.append(Windows(passages[-1], vocabulary, data.n_bars, every_bar=name == _TRAINING) if indices else None)
    return SequenceSplits(*found, passages)


def _pieces(data: DataConfig | SequenceDataConfig, dataset: PackedDataset) -> dict[str, list[int]]:
    """Indices of the pieces for each purpose; none where that has no share."""
    parts = {_TRAINING: 1.0, "hold out": data.validation_share, "test on": data.test_share}
    wanted = sum(share > 0 for share in parts.values())
    if len(dataset.pieces) < wanted:
        raise UserError(
            f"training needs {'two' if wanted == 2 else 'three'} pieces at least, one of them to hold out"
            f"{' and one to test on' if wanted == 3 else ''}: the data set has {_number(len(dataset.pieces))}"
        )
    return dict(zip(parts, split_pieces(dataset.pieces, data.validation_share, data.test_share)))


def _number(n: int) -> str:
    return {0: "none", 1: "one", 2: "two"}[n]
