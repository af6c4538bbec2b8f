"""Phrases of a packed data set as training batches, a function of (seed, step) alone."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from musegan.data.keys import HIGHEST_SHIFT, LOWEST_SHIFT, key_shifts, transpose
from musegan.data.packed import PackedDataset
from musegan.roll import Roll
from musegan.seeding import generator_for

_CHUNK = 512    # phrases read at a time when a whole data set is gone through


class Phrases:
    """The phrases of some pieces, moved to C major / A minor where wanted.

    Args:
        dataset: the packed bars.
        starts: [n] int64, first bar of each phrase.
        n_bars: B.
        normalize_key: move each phrase to C major or A minor.
        min_tracks: phrases in which fewer tracks sound are left out.
    """

    def __init__(self, dataset: PackedDataset, starts: Tensor, n_bars: int, normalize_key: bool, min_tracks: int = 1):
        self.dataset, self.n_bars, spec = dataset, n_bars, dataset.spec
        shifts, kept = [], []
        self.cell_counts = torch.zeros(spec.n_tracks, spec.n_pitches, dtype=torch.int64)
        """[K, P] in how many phrase steps each pitch sounds, after the move."""
        self.onset_counts = torch.zeros(spec.n_tracks, dtype=torch.int64)
        """[K] how many notes start."""
        for chunk in starts.split(_CHUNK):
            roll = dataset.roll(chunk, n_bars)
            keep = roll.frame.flatten(2).any(2).sum(1) >= min_tracks
            chunk, roll = chunk[keep], roll.map(lambda plane: plane[keep])
            shift = key_shifts(roll.frame, spec) if normalize_key else torch.zeros(len(chunk), dtype=torch.int64)
            roll = transpose(roll, -shift, spec)
            kept.append(chunk)
            shifts.append(shift)
            self.cell_counts += roll.frame.sum((0, 2, 3))
            self.onset_counts += roll.onset.sum((0, 2, 3, 4))
        self.starts = torch.cat(kept) if kept else starts    # [n]
        self.shifts = torch.cat(shifts) if shifts else starts    # [n]

    def __len__(self) -> int:
        return len(self.starts)

    def roll(self, index: Tensor) -> Roll:
        """The phrases at `index` [N] int64 as planes [N, K, B, T, P]."""
        return self.dataset.roll(self.starts[index], self.n_bars, semitones=-self.shifts[index])

    def batch(self, step: int, seed: int, size: int) -> Roll:
        """The batch of one step: each epoch passes through a permutation of its own."""
        position = torch.arange(step * size, (step + 1) * size)
        epoch, place = position // len(self), position % len(self)
        index = torch.empty(size, dtype=torch.int64)
        for e in epoch.unique().tolist():
            order = torch.randperm(len(self), generator=generator_for(seed, "epoch", e))
            index[epoch == e] = order[place[epoch == e]]
        return self.roll(index)

    def sample(self, size: int, seed: int) -> Roll:
        """`size` phrases drawn without repetition, or all if there are fewer: the same ones for the same seed."""
        order = torch.randperm(len(self), generator=generator_for(seed, "sample"))
        return self.roll(order[:size].sort().values)

    def fingerprint(self) -> str:
        """A digest that another set of phrases, or another cut of the same music, would not have."""
        digest = hashlib.sha256(repr((self.dataset.spec, self.dataset.pieces, self.n_bars)).encode())
        for values in (self.starts, self.shifts, self.cell_counts, self.onset_counts):
            digest.update(values.numpy().tobytes())
        return digest.hexdigest()

    def shift_counts(self) -> list[int]:
        """[12] how many phrases lay -5 .. +6 semitones from C major or A minor."""
        return torch.bincount(self.shifts - LOWEST_SHIFT, minlength=HIGHEST_SHIFT - LOWEST_SHIFT + 1).tolist()
