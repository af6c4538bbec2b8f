"""How a run looks at itself: generated phrases beside held-out and training ones, in numbers and in a picture."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from musegan.data.phrases import Phrases
from musegan.evaluation.corpus import Corpus
from musegan.evaluation.statistics import Measured, flagged, measure, values_by_name
from musegan.export import write_midi, write_png
from musegan.metrics.histograms import distance
from musegan.models import Generator
from musegan.roll import Roll
from musegan.sampling import GivenRoll, sample, sample_packed
from musegan.seeding import derived_seed, generator_for
from musegan.training.run_folder import RunFolder

N_SHOWN = 4    # phrases in a picture


class Found(NamedTuple):
    """What a comparison found."""

    distances: dict[str, float]
    """From held-out and from training phrases."""
    statistics: dict[str, float | None]
    """Of the generated phrases, by `name: column`; None where there is nothing to measure."""
    flags: list[str]
    """What is badly off, in words."""


class Validation:
    """Compares generators with the real phrases of a run.

    Args:
        training, held_out: real phrases.
        n: how many are looked at.
        seed: decides which, and what is generated.
        accompany_share: of generated phrases that accompany held-out ones, where a generator does.
    """

    def __init__(self, training: Phrases, held_out: Phrases, n: int, seed: int, accompany_share: float = 0.0):
        self._n, self._seed, self._share = n, seed, accompany_share
        rolls = {"held_out": held_out.sample(n, self._seed), "training": training.sample(n, self._seed)}
        self._real = {name: _measured(roll, training) for name, roll in rolls.items()}
        self._held_out = rolls["held_out"]
        self.training = rolls["training"]
        """[n, K, B, T, P] bool planes of training phrases, in the training key."""
        self.floor = float(distance(*(measured.counts() for measured in self._real.values())))
        """Distance between the two sets of real phrases."""

    def compare(self, generator: Generator) -> Found:
        """Draws phrases, of which some accompany held-out ones where the generator does, and measures them."""
        given = None
        if generator.accompanies:
            roll = self._held_out.map(lambda plane: plane[torch.arange(self._n) % len(plane)])
            given = GivenRoll(roll, given_tracks(self._n, len(roll.frame[0]), self._share, self._seed, "validation"))
        seed = derived_seed(self._seed, "validation")
        roll = sample_packed(generator, self._n, seed, in_training_key=True, given=given)
        generated = measure(Corpus(roll, torch.arange(self._n), generator.spec))
        counts = generated.counts()
        distances = {f"distance_{name}": float(distance(counts, real.counts())) for name, real in self._real.items()}
        values, wanted = (values_by_name(measured) for measured in (generated, self._real["training"]))
        statistics = {name: value if math.isfinite(value) else None for name, value in values.items()}
        return Found(distances, statistics, flagged(values, wanted))


def given_tracks(n: int, n_tracks: int, share: float, seed: int, *purpose: str | int) -> Tensor:
    """Which tracks are given in each of `n` phrases: in a share of them 1 to K - 1, each number as likely.

    Returns:
        [n, K] bool.
    """
    rng = generator_for(seed, "given tracks", *purpose)
    number = torch.randint(1, max(n_tracks, 2), (n, 1), generator=rng) * (torch.rand(n, 1, generator=rng) < share)
    rank = torch.rand(n, n_tracks, generator=rng).argsort(1).argsort(1)
    return (rank < number) & (n_tracks > 1)


def show(generator: Generator, run: RunFolder, step: int, seed: int) -> None:
    """Writes a picture of some phrases, always of the same latents, and the first of them as MIDI."""
    roll = sample(generator, N_SHOWN, derived_seed(seed, "samples"))
    name = run.samples / f"step-{step:06d}"
    write_png(name.with_suffix(".png"), roll.phrases(), generator.spec)
    write_midi(name.with_suffix(".mid"), roll.phrases()[0], generator.spec, generator.facts.tempo_bpm)


def _measured(roll: Roll, phrases: Phrases) -> Measured:
    return measure(Corpus.of_roll(roll, phrases.dataset.spec))
