"""Melodies from a trained model, token by token: of exactly so many bars, from a beginning or from none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from musegan.errors import UserError
from musegan.keys import SCALE, Key
from musegan.models import SequenceModel
from musegan.models.generator import MAX_BARS
from musegan.ops.notes import roll_from_notes
from musegan.roll import Roll
from musegan.sampling import exact, in_key, packed_parts
from musegan.seeding import generator_for
from musegan.tokens import BEGIN, END, FIRST_PITCH

_BATCH = 64    # melodies made at a time; does not change any of them


@dataclass(frozen=True)
class Choice:
    """How the next token is chosen by its probability."""

    temperature: float = 1.0
    """Logits are divided by it: below 1 the likely becomes likelier; 0 takes the likeliest."""
    top_k: int = 0
    """Only so many of the likeliest tokens; 0 for all."""
    top_p: float = 1.0
    """Only the fewest likeliest tokens that together are so probable, in (0, 1]."""

    def __post_init__(self):
        """Raises UserError for what is out of range."""
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"--temperature must be at least 0: got {self.temperature:g}")
        if self.top_k < 0:
            raise UserError(f"--top-k must be at least 0: got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise UserError(f"--top-p must lie in (0, 1]: got {self.top_p:g}")

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits [N, V], -inf where a token is not allowed -> probabilities [N, V] of what may be chosen."""
        order = logits.sort(dim=1, descending=True, stable=True).indices    # [N, V]
        if self.temperature == 0:
            return torch.zeros_like(logits).scatter_(1, order[:, :1], 1)
        sorted_logits = logits.gather(1, order)
        likeliest = ((sorted_logits - sorted_logits[:, :1]) / self.temperature).softmax(1)    # 0 at least once, however cold
        chosen = likeliest.cumsum(1) - likeliest < self.top_p    # the first always is
        if self.top_k:
            chosen[:, self.top_k :] = False
        kept = torch.where(chosen, likeliest, 0)
        return torch.zeros_like(logits).scatter_(1, order, kept / kept.sum(1, keepdim=True))


def sample(
    model: SequenceModel,
    n_samples: int,
    n_bars: int,
    seed: int,
    choice: Choice = Choice(),
    first_sample: int = 0,
    prime: np.ndarray | None = None,
    key: Key | None = None,
    only_scale: bool = False,
    in_training_key: bool = False,
) -> Roll:
    """Makes melodies. Sample i depends on the seed and on i, not on how many are asked for.

    Args:
        model: a trained one.
        n_samples: N.
        n_bars: B, 1 to 1024, of which the beginning is a part.
        seed: any integer.
        choice: how tokens are chosen.
        first_sample: number of the first melody.
        prime: tokens [L] that all melodies begin with, of fewer bars than `n_bars`; see `Vocabulary.encode`.
        key, only_scale: see `musegan.sampling.in_key`. A model trained in one key takes no token that leaves the scale.
        in_training_key: leave melodies in the key they were trained in.
    Returns:
        planes [N, 1, B, T, P] bool.
    Raises:
        UserError: B is out of range.
    """
    if not 1 <= n_bars <= MAX_BARS:
        raise UserError(f"--bars must be 1 to {MAX_BARS}: got {n_bars}")
    model, rolls, normal = exact(model), [], bool(model.facts.key_shifts)
    for first in range(first_sample, first_sample + n_samples, _BATCH):
        numbers = range(first, min(first + _BATCH, first_sample + n_samples))
        tokens = draw_tokens(model, numbers, n_bars * model.spec.steps_per_bar, seed, choice, prime, only_scale and normal)
        roll = to_roll(model, [row.numpy() for row in tokens], n_bars)
        if not in_training_key:
            roll = in_key(model, roll, seed, numbers, key, only_scale)
        rolls.append(roll)
    if not rolls:
        return to_roll(model, [], n_bars)
    return Roll(*(torch.cat(planes) for planes in zip(*rolls)))


def sample_packed(
    model: SequenceModel, n_samples: int, n_bars: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> Roll:
    """`sample` as bits; see `musegan.sampling.packed_parts`."""
    model = exact(model)
    return packed_parts(
        lambda first, n: sample(model, n, n_bars, seed, first_sample=first), n_samples, model.spec, n_bars, progress
    )


@torch.no_grad()
def draw_tokens(
    model: SequenceModel,
    numbers: Sequence[int],
    n_steps: int,
    seed: int,
    choice: Choice = Choice(),
    prime: np.ndarray | None = None,
    only_scale: bool = False,
) -> Tensor:
    """Tokens of melodies that last exactly so many steps.

    Args:
        model: in float64, so that how many are made at once moves no token.
        numbers: [N] which part of the random stream each has.
        only_scale: no pitch outside the scale of C major / A minor, but for those of the prime.
    Returns:
        [N, L] int64: begin, the music, and ends where others take more tokens.
    """
    vocabulary, n = model.vocabulary, len(numbers)
    usable = torch.ones(vocabulary.size, dtype=torch.bool)
    usable[END] = False    # melodies end when their time is over
    if only_scale:
        pitches = (torch.arange(vocabulary.n_pitches) + model.spec.lowest_pitch) % 12
        usable[FIRST_PITCH : FIRST_PITCH + vocabulary.n_pitches] = torch.isin(pitches, torch.tensor(SCALE))
    draws = [torch.rand(2 * n_steps, generator=generator_for(seed, "melody", i), dtype=torch.float64) for i in numbers]
    draws = torch.stack(draws)    # [N, 2 * steps]: no melody takes more tokens
    told = torch.tensor([BEGIN, *([] if prime is None else prime.tolist())]).expand(n, -1)    # [N, 1 + L]
    logits, state = model.run(told)
    tokens, logits = [told], logits[:, -1]
    for turn in range(2 * n_steps):
        left = n_steps - state.elapsed    # [N]
        if not left.any():
            break
        allowed = usable & vocabulary.follows[tokens[-1][:, -1]] & (vocabulary.lasting <= left[:, None])    # [N, V]
        allowed[left == 0] = torch.arange(vocabulary.size) == END
        probability = choice.probabilities(torch.where(allowed, logits, -torch.inf)).cumsum(1)
        chosen = torch.searchsorted(probability, draws[:, turn, None] * probability[:, -1:], right=True)    # [N, 1]
        tokens.append(chosen)
        logits, state = model.step(chosen[:, 0], state)
    return torch.cat(tokens, 1)


def to_roll(model: SequenceModel, tokens: Sequence[np.ndarray], n_bars: int) -> Roll:
    """Tokens of N melodies as planes [N, 1, B, T, P] bool; see `Vocabulary.decode`."""
    spec, rows = model.spec, []
    for i, melody in enumerate(tokens):
        ends = np.flatnonzero(melody == END)
        line = model.vocabulary.decode(melody[: ends[0]] if len(ends) else melody)    # [n, 3]
        rows.append(np.concatenate([np.full((len(line), 1), i), np.zeros((len(line), 1), np.int64), line], 1))
    table = torch.from_numpy(np.concatenate(rows) if rows else np.zeros((0, 5), np.int64))    # [n, 5]
    return roll_from_notes(table, len(tokens), 1, n_bars, spec.steps_per_bar, spec.n_pitches)
