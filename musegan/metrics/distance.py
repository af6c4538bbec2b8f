"""How far the statistics of generated phrases lie from those of real ones: a mean of total variations.

A quick measure to choose between snapshots of one training run. Never quote it without the distance between
two sets of real phrases beside it: songs differ so much that this floor is far above 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from musegan.ops.notes import notes
from musegan.roll import Roll, RollSpec

_MAX_NOTES = 32     # notes in a bar, counted together from here on
_MAX_SOUNDING = 12  # pitches at a time, counted together from here on
_OVERLAP_BINS = 10


def histograms(roll: Roll, spec: RollSpec) -> dict[str, Tensor]:
    """Counts of what phrases do, by name; float64, not normalised.

    Args:
        roll: planes [N, K, B, T, P] bool.
    Returns:
        for each track: `pitch` [P], `position` [T] of onsets in the bar, `notes` [33] started in a bar, `overlap`
        [11] of neighbouring bars (the last bin: equal or both silent); for pitched tracks also `length` [2 T] in
        steps and `sounding` [13] pitches at a time; over all tracks: `pitch class` [12] and `tracks` [K + 1] that
        sound in a bar.
    """
    n, n_tracks, n_bars, n_steps, n_pitches = roll.frame.shape
    _, track, pitch, start, end = notes(roll).unbind(1)
    sounds = roll.frame.flatten(3).any(3)    # [N, K, B]
    result = {"tracks": _counts(sounds.sum(1), n_tracks + 1)}
    pitched = ~torch.tensor([t.is_drum for t in spec.tracks])[track]
    result["pitch class"] = _counts((pitch[pitched] + spec.lowest_pitch) % 12, 12)
    notes_per_bar = roll.onset.sum((3, 4))    # [N, K, B]
    for k, name in enumerate(t.name for t in spec.tracks):
        own = track == k
        result[f"{name}: pitch"] = _counts(pitch[own], n_pitches)
        result[f"{name}: position"] = _counts(start[own] % n_steps, n_steps)
        result[f"{name}: notes"] = _counts(notes_per_bar[:, k], _MAX_NOTES + 1)
        result[f"{name}: overlap"] = _counts(bar_overlap(roll.onset[:, k]) * _OVERLAP_BINS, _OVERLAP_BINS + 1)
        if not spec.tracks[k].is_drum:
            result[f"{name}: length"] = _counts((end - start)[own] - 1, 2 * n_steps)
            result[f"{name}: sounding"] = _counts(roll.frame[:, k].sum(-1), _MAX_SOUNDING + 1)
    return result


def bar_overlap(onset: Tensor) -> Tensor:
    """Shared onsets of neighbouring bars over all their onsets (Jaccard), 1 where both are silent.

    Args:
        onset: [N, B, T, P] bool.
    Returns:
        [N, B - 1] float32 in [0, 1].
    """
    here, there = onset[:, :-1], onset[:, 1:]
    both, either = (here & there).sum((2, 3)), (here | there).sum((2, 3))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


def distance(generated: dict[str, Tensor], real: dict[str, Tensor]) -> float:
    """Mean total variation between the histograms of two sets of phrases.

    A histogram that is empty on one side only counts as 1; one that is empty on both is left out.

    Returns:
        in [0, 1]; NaN if every histogram is empty.
    """
    parts = []
    for name, real_counts in real.items():
        a, b = generated[name], real_counts
        if a.sum() == 0 and b.sum() == 0:
            continue
        if a.sum() == 0 or b.sum() == 0:
            parts.append(1.0)
        else:
            parts.append(float((a / a.sum() - b / b.sum()).abs().sum() / 2))
    return sum(parts) / len(parts) if parts else float("nan")


def _counts(values: Tensor, n_bins: int) -> Tensor:
    """Histogram of whole numbers from 0; what lies above the last bin counts in it."""
    return torch.bincount(values.flatten().long().clamp(max=n_bins - 1), minlength=n_bins).double()
