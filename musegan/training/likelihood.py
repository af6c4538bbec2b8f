"""How well a model foretells music: nats a token, a step and a note, and music of its own to look at."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from musegan.data.sequences import IGNORED, Windows
from musegan.export import write_midi, write_png
from musegan.models import SequenceModel
from musegan.seeding import derived_seed
from musegan.sequences import Choice, sample
from musegan.training.run_folder import RunFolder

_BATCH = 32    # windows looked at together
_SHOWN = Choice(top_p=0.95)


class Likelihood(NamedTuple):
    """What music costs, in nats; those a step and a note can be compared between encodings."""

    per_token: float
    per_step: float
    per_note: float
    accuracy: float
    """Share of the tokens that were the likeliest."""

    @property
    def perplexity(self) -> float:
        """Of a token."""
        return math.exp(min(self.per_token, 700))


def loss_of(model: SequenceModel, given: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of the targets [N, L] that count, in nats."""
    return F.cross_entropy(model(given).flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def summed(nats: float, n_tokens: int, n_right: int, windows: Windows) -> Likelihood:
    """Of all tokens of windows that cost so much in all."""
    return Likelihood(nats / n_tokens, nats / windows.n_steps, nats / windows.n_notes, n_right / n_tokens)


@torch.no_grad()
def likelihood(model: SequenceModel, windows: Windows) -> Likelihood:
    """Of all windows, by a model in evaluation mode."""
    device = next(model.parameters()).device
    nats, n_tokens, n_right = 0.0, 0, 0
    for index in torch.arange(len(windows)).split(_BATCH):
        given, targets = (each.to(device) for each in windows.rows(index))
        logits, counts = model(given), targets != IGNORED
        nats += F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum").item()
        n_tokens += int(counts.sum())
        n_right += int(((logits.argmax(2) == targets) & counts).sum())
    return summed(nats, n_tokens, n_right, windows)


def show(model: SequenceModel, run: RunFolder, step: int, seed: int) -> None:
    """Writes what it makes, always of the same random numbers, as a picture and as MIDI."""
    (roll,) = sample(model, 1, model.n_bars, derived_seed(seed, "samples"), _SHOWN).phrases()
    name = run.samples / f"step-{step:06d}"
    write_png(name.with_suffix(".png"), [roll], model.spec)
    write_midi(name.with_suffix(".mid"), roll, model.spec, model.facts.tempo_bpm)
