"""What the discriminator sees moved, and how often: real and generated phrases alike.

Source: Karras et al. 2020 (ADA), with their r_v: how much of its preference for real training phrases over generated
ones the discriminator has for training phrases over held-out ones, which is memory and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from musegan.config import TrainConfig
from musegan.models import Layout
from musegan.seeding import generator_for

ADAPT_EVERY = 8    # steps from one look at held-out phrases to the next
_ADAPT_STEP = 0.01    # by which the probability changes then; from 0 to 1 in 800 steps


class View(NamedTuple):
    """How phrases are seen in one update."""

    semitones: int
    """Pitched tracks higher by this many."""
    bars: int
    """Rotated by this many."""
    beats: int
    """And by this many."""
    silent_track: int | None
    """Whose cells are not seen."""

    def score(self, discriminator, features: Tensor, layout: Layout) -> Tensor:
        """The scores of phrases [N, B, T, F] seen like this: [N]."""
        if self.silent_track is not None:
            silent = torch.zeros(1, layout.spec.n_tracks, dtype=torch.bool, device=features.device)
            silent[:, self.silent_track] = True
            features = features.masked_fill(layout.cells_of(silent), 0)
        if self.beats:
            shape = features.shape
            features = features.flatten(1, 2).roll(self.beats * layout.spec.steps_per_beat, dims=1).view(shape)
        return discriminator(features, self.semitones, self.bars)


def view(settings: TrainConfig, layout: Layout, n_bars: int, number: int, probability: float) -> View:
    """The view of a discriminator update, a function of (seed, number) and of the probability."""
    rng = generator_for(settings.seed, "augmentation", number)
    reach = settings.transpose_range
    semitones = int(torch.randint(-reach, reach + 1, (), generator=rng))
    bars = int(torch.randint(n_bars, (), generator=rng))
    beats = int(torch.randint(layout.spec.beats_per_bar, (), generator=rng))
    track = int(torch.randint(layout.spec.n_tracks, (), generator=rng))
    moved, shifted, silenced = (torch.rand(3, generator=rng) < probability).tolist()
    return View(
        semitones=semitones if moved else 0,
        bars=bars,
        beats=beats if settings.shift_beats and shifted else 0,
        silent_track=track if settings.silence_track and silenced and layout.spec.n_tracks > 1 else None,
    )


@dataclass
class Strength:
    """The probability with which phrases are seen moved, and its adaptation."""

    probability: float
    """In [0, 1]."""
    target: float
    """Of the memory; 0 leaves the probability as it is."""

    def adapt(self, training: Tensor, held_out: Tensor, generated: Tensor) -> float:
        """Changes the probability by how the discriminator scores three sets of phrases [N]; returns its memory.

        The memory is (training - held out) / (training - generated) of the mean scores, clamped to [0, 1]: 0 for a
        discriminator that generalizes, 1 for one that takes held-out phrases for generated ones.
        """
        preference = (training.mean() - generated.mean()).item()
        memory = (training.mean() - held_out.mean()).item() / max(preference, 1e-6) if preference > 0 else 0.0
        memory = min(max(memory, 0.0), 1.0)
        if self.target:
            step = _ADAPT_STEP if memory > self.target else -_ADAPT_STEP
            self.probability = min(max(self.probability + step, 0.0), 1.0)
        return memory
