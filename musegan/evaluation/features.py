"""A phrase as a vector, for the measures that compare sets of points.

What each phrase has of the statistics below, each track or pair for itself; the share of its pitched notes on each pitch
class from its tonic; the share of its beats with each chord type; and the share of each track's notes that start on each
beat of the bar. So it holds single tracks, what they do together, and what comes back.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from musegan.evaluation.statistics import Measured

STATISTICS = (
    "empty bars", "used pitches", "notes", "note length", "qualified notes", "polyphony", "mean pitch", "pitch range",
    "scale", "joint scale", "joint pitch class entropy", "drum pattern", "kick on 1", "snare on 2 and 4",
    "tonal distance", "onset coincidence", "chord tones", "self-similarity, 1 bar", "self-similarity, 2 bars", "held over",
    "leap at bar lines", "leap within bars",
)    # fmt: skip


class Scaling:
    """Moves and scales features so that those of a reference have mean 0 and deviation 1.

    What a phrase has no value of (the note length of a silent track) is put at the mean; features that do not vary in the
    reference are left out.
    """

    def __init__(self, reference: Tensor):
        known = reference.isfinite()
        n = known.sum(0).clamp(min=1)
        self._mean = reference.where(known, 0).sum(0) / n
        self._deviation = ((reference - self._mean) ** 2).where(known, 0).sum(0).div(n).sqrt()
        # Of features that vary by rounding alone (float32), any difference would be millions of deviations.
        self._kept = self._deviation > 1e-6 * self._mean.abs().clamp(min=1)

    def __call__(self, features: Tensor) -> np.ndarray:
        scaled = (features - self._mean)[:, self._kept] / self._deviation[self._kept]
        return scaled.where(scaled.isfinite(), 0).numpy()


def features(measured: Measured) -> Tensor:
    """[N, D] float64, NaN where a phrase has no such value."""
    found = []
    for name in STATISTICS:
        if name in measured.tallies:
            total, count = measured.tallies[name]
            n_columns = total.shape[1] - (total.shape[1] > 1)    # the last is all together
            found.append((total / count)[:, :n_columns])
    classes = sum(counts.double() for name, counts in measured.histograms.items() if name.startswith("pitch class: "))
    if torch.is_tensor(classes):
        found.append(_shares(classes))
    found.append(_shares(measured.histograms["chord type: all"]))
    found += [_shares(counts) for name, counts in measured.histograms.items() if name.startswith("beat: ")]
    return torch.cat([part.double() for part in found], 1)


def _shares(counts: Tensor) -> Tensor:
    """Each row divided by its sum; NaN where that is 0."""
    return counts.double() / counts.double().sum(1, keepdim=True)
