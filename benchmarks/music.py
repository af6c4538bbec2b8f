"""Real music for the benchmarks: phrases of the embedded songs, at the released MuseGAN's 12 steps a beat."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from musegan import resources
from musegan.data.dataset import PackedDataset
from musegan.data.preparation import Rules, prepare
from musegan.data.tracks import PRESETS
from musegan.roll import Roll

BAND = PRESETS["lpd5"].with_spec(steps_per_beat=12)
SPEC = BAND.spec


class Sizes(NamedTuple):
    """Shapes [N, K, B, T, P] that ops are measured on."""

    phrase: tuple[int, ...] = (1, 5, 4, 48, 84)
    """One phrase: what a call costs."""
    batch: tuple[int, ...] = (64, 5, 4, 48, 84)
    """The released MuseGAN's batch."""
    long: tuple[int, ...] = (1, 5, 256, 48, 84)
    """As many cells, in one phrase of 12,288 steps."""
    dataset_bars: int = 20_000
    """Bars of a data set."""
    n_songs: int | None = None
    """How many of the embedded songs the music is taken from; None for all."""


QUICK = Sizes((1, 5, 1, 48, 84), (2, 5, 1, 48, 84), (1, 5, 4, 48, 84), dataset_bars=100, n_songs=2)


def logits(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Normal numbers around -3, so that few pitches sound."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3 - 3).to(dtype)


def phrases(shape: tuple[int, ...], n_songs: int | None = None) -> Roll:
    """Music of a shape [N, K, B, T, P], from all through the songs; again from the start where it ends.

    A phrase longer than four bars is put together of four-bar ones.
    """
    n_phrases, _, n_bars, *_ = shape
    short_bars = min(n_bars, 4)
    n_short = n_phrases * n_bars // short_bars
    dataset = _dataset(n_songs)
    starts = dataset.phrase_starts(short_bars)
    roll = dataset.roll(starts[torch.linspace(0, len(starts) - 1, n_short).long()], short_bars)
    joined = (n_phrases, -1, *roll.frame.shape[1:])
    return roll.map(lambda plane: plane.view(joined).transpose(1, 2).reshape(shape))


def packed_bars(n_bars: int, n_songs: int | None = None) -> Tensor:
    """The frame plane of a packed data set: [n_bars, K, T, ceil(P / 8)] uint8, the songs over and over."""
    dataset = _dataset(n_songs)
    frame = dataset.roll(torch.arange(dataset.n_bars), 1).frame.squeeze(2)    # [bars, K, T, P]
    bits = torch.from_numpy(np.packbits(frame.numpy(), axis=-1))
    return bits[torch.arange(n_bars) % len(bits)]


@functools.cache
def _dataset(n_songs: int | None) -> PackedDataset:
    files = sorted(resources.dataset_path("freedoom").glob("*.mid"))[:n_songs]
    with tempfile.TemporaryDirectory() as folder:
        prepare(files, Path(folder) / "songs", Rules(BAND))
        return PackedDataset.open(Path(folder) / "songs")    # stays mapped when the files are gone
