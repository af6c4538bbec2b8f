"""Counts over the music of a packed data set: pitches, onsets, lengths, notes in a bar, sounding tracks, tempo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from musegan.data.dataset import PackedDataset
from musegan.ops import notes

MAX_BARS = 1 << 14    # counted; of larger data sets a sample of whole runs
PHRASE_BARS = 4
MAX_NOTES_IN_BAR = 32    # bars of more count as bars of so many


@dataclass(frozen=True)
class Statistics:
    """Counts as int64 arrays. Notes that go on from a bar that was left out count as notes that start."""

    n_bars: int
    """Bars counted."""
    every: int
    """1 where all runs were counted, n where every n-th was."""
    pitches: np.ndarray
    """[K, P] notes by pitch."""
    onset_steps: np.ndarray
    """[K, T] notes by the step of the bar in which they start."""
    lengths: np.ndarray
    """[K, T + 1] notes by length in steps, from 1; last those longer than a bar."""
    notes_in_bar: np.ndarray
    """[K, MAX_NOTES_IN_BAR + 1] bars in which the track sounds, by how many of its notes start there."""
    sounding_tracks: np.ndarray
    """[K + 1] phrases of `PHRASE_BARS` bars, by how many tracks sound in them; every start within a run."""


def count(dataset: PackedDataset, max_bars: int = MAX_BARS) -> Statistics:
    """Goes through the runs of a data set, or through every n-th where they have more than `max_bars` bars."""
    spec = dataset.spec
    shape = (spec.n_tracks, spec.n_pitches), (spec.n_tracks, spec.steps_per_bar), (spec.n_tracks, spec.steps_per_bar + 1)
    pitches, onset_steps, lengths = (np.zeros(each, np.int64) for each in shape)
    notes_in_bar = np.zeros((spec.n_tracks, MAX_NOTES_IN_BAR + 1), np.int64)
    sounding_tracks = np.zeros(spec.n_tracks + 1, np.int64)
    starts, n_bars = runs(dataset)
    every = max(-(-int(n_bars.sum()) // max_bars), 1)
    for start, n in zip(starts[::every], n_bars[::every].tolist()):
        roll = dataset.roll(start[None], n)    # [1, K, n, T, P]
        found = notes(roll).numpy()
        _, track, pitch, first, end = found.T
        np.add.at(pitches, (track, pitch), 1)
        np.add.at(onset_steps, (track, first % spec.steps_per_bar), 1)
        np.add.at(lengths, (track, np.minimum(end - first, spec.steps_per_bar + 1) - 1), 1)
        in_bar = np.zeros((spec.n_tracks, n), np.int64)
        np.add.at(in_bar, (track, first // spec.steps_per_bar), 1)
        sounding = roll.frame[0].flatten(2).any(2).numpy()    # [K, n]
        where = np.nonzero(sounding)
        np.add.at(notes_in_bar, (where[0], np.minimum(in_bar[where], MAX_NOTES_IN_BAR)), 1)
        if n >= PHRASE_BARS:
            windows = np.lib.stride_tricks.sliding_window_view(sounding, PHRASE_BARS, axis=1)    # [K, phrases, 4]
            np.add.at(sounding_tracks, windows.any(2).sum(0), 1)
    return Statistics(
        n_bars=int(n_bars[::every].sum()),
        every=every,
        pitches=pitches,
        onset_steps=onset_steps,
        lengths=lengths,
        notes_in_bar=notes_in_bar,
        sounding_tracks=sounding_tracks,
    )


def runs(dataset: PackedDataset) -> tuple[Tensor, Tensor]:
    """First bar and number of bars of each run of a data set's pieces, as rows (see `phrase_starts`): two [R] int64."""
    bars = dataset.phrase_starts(1)
    goes_on = torch.isin(bars, dataset.phrase_starts(2))    # its next bar follows in the same run
    first = torch.cat([torch.ones(min(len(bars), 1), dtype=torch.bool), ~goes_on[:-1]])
    starts = torch.nonzero(first).squeeze(1)
    return bars[first], torch.diff(starts, append=torch.tensor([len(bars)]))


def examples(dataset: PackedDataset, n: int, n_bars: int = PHRASE_BARS) -> tuple[Tensor, int]:
    """Phrases spread evenly over the pieces, and over their bars where there are few pieces; none overlap.

    Returns:
        [n or fewer] int64 first bars as rows, ascending, and the number of bars: `n_bars`, or fewer where no run is
        so long.
    """
    while n_bars > 1 and not len(dataset.phrase_starts(n_bars)):
        n_bars -= 1
    starts = dataset.phrase_starts(n_bars)
    pieces, counts = torch.unique_consecutive(dataset.piece_of(starts), return_counts=True)
    ends = counts.cumsum(0).tolist()
    chosen: list[int] = []
    place = [i * len(pieces) // n for i in range(n)] if len(pieces) else []
    for piece in sorted(set(place)):
        n_here = place.count(piece)
        own = starts[ends[piece] - int(counts[piece]) : ends[piece]]
        for j in range(n_here):
            start = int(own[(2 * j + 1) * len(own) // (2 * n_here)])
            if not chosen or start >= chosen[-1] + n_bars:
                chosen.append(start)
    return torch.tensor(chosen, dtype=torch.int64), n_bars
