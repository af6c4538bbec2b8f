"""Thresholds at which a generator's tracks sound, and start notes, as often as in its training data.

Where a generator is unsure, cells lie below one half and would be lost: tracks come out thin, drums above all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from musegan.decoding import sounding_before, winner
from musegan.models import Generator
from musegan.sampling import logits_of

_RANGE = (0.1, 0.9)    # what is less likely, or more, is not decided by density
_N_PHRASES = 256


@torch.no_grad()
def calibrate(generator: Generator, seed: int) -> None:
    """Sets `generator.thresholds` by phrases drawn from it; to one half where the data's densities are unknown, or binary
    neurons decide.

    Args:
        generator: in evaluation mode.
        seed: of the phrases.
    """
    facts, layout = generator.facts, generator.layout
    generator.thresholds.fill_(0.5)
    if not facts.frame_density or generator.is_binary:
        return
    logits = logits_of(generator, range(_N_PHRASES), seed)
    frame = torch.empty_like(logits.frame, dtype=torch.bool)
    for k, head in enumerate(layout.heads):
        scores = winner(logits.frame[:, k]) if head == "mono" else logits.frame[:, k]    # [N, B, T, P]
        wanted = facts.frame_density[k] * scores[..., 0].numel()
        generator.thresholds[0, k] = _threshold(scores.flatten(), wanted)
        frame[:, k] = scores > generator.thresholds[0, k].logit()
    before = sounding_before(frame)
    for k, onset_density in enumerate(facts.onset_density):
        if layout.columns[k].onset:
            held = frame[:, k] & before[:, k]
            wanted = onset_density * frame[:, k].sum() - (frame[:, k] & ~before[:, k]).sum()
            generator.thresholds[1, k] = _threshold(logits.onset[:, k][held], float(wanted))


def _threshold(scores: Tensor, wanted: float) -> Tensor:
    """The probability above which about `wanted` of the log-odds [n] lie, within `_RANGE`."""
    if len(scores) == 0:
        return torch.tensor(0.5)
    order = scores.sort(descending=True).values
    cut = order[min(max(round(wanted), 0), len(scores) - 1)]
    return cut.sigmoid().clamp(*_RANGE)
