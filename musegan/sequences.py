"""Melodies and whole bands from a trained model, token by token: of exactly so many bars, from a beginning or from none."""

from __future__ import annotations

import itertools
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
from musegan.roll import Roll, RollSpec
from musegan.sampling import exact, in_key, packed_parts
from musegan.seeding import generator_for
from musegan.tokens import BEGIN, END, Place

_BATCH = 64    # made at a time; does not change any of them
_BATCH_BARS = 1024    # of these in all: what attention keeps of a bar of a band takes half a megabyte
_N_DRAWS = 256    # random numbers drawn at a time, likewise


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
        if self.temperature and not self.top_k and self.top_p == 1:    # nothing is left out: no order is needed
            return ((logits - logits.amax(1, keepdim=True)) / self.temperature).softmax(1)
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
    """Makes music. Sample i depends on the seed and on i, not on how many are asked for.

    Args:
        model: a trained one.
        n_samples: N.
        n_bars: B, 1 to 1024, of which the beginning is a part.
        seed: any integer.
        choice: how tokens are chosen.
        first_sample: number of the first one.
        prime: tokens [L] that all begin with, of fewer bars than `n_bars`; see `Vocabulary.encode`.
        key, only_scale: see `musegan.sampling.in_key`. A model trained in one key takes no token that leaves the scale.
        in_training_key: leave music in the key that was trained in.
    Returns:
        planes [N, K, B, T, P] bool.
    Raises:
        UserError: B is out of range.
    """
    if not 1 <= n_bars <= MAX_BARS:
        raise UserError(f"--bars must be 1 to {MAX_BARS}: got {n_bars}")
    model, rolls, normal = exact(model), [], bool(model.facts.key_shifts)
    size = min(_BATCH, max(_BATCH_BARS // n_bars, 1))
    for first in range(first_sample, first_sample + n_samples, size):
        numbers = range(first, min(first + size, first_sample + n_samples))
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
    """Tokens of music that lasts exactly so many steps.

    Args:
        model: in float64, so that how many are made at once moves no token.
        numbers: [N] which part of the random stream each has.
        only_scale: no pitch outside the scale of C major / A minor, but for those of the prime.
    Returns:
        [N, L] int64: begin, the music, and ends where others take more tokens.
    """
    vocabulary, n = model.vocabulary, len(numbers)
    usable = torch.ones(vocabulary.size, dtype=torch.bool)
    if only_scale:
        in_scale = torch.isin((vocabulary.pitch + model.spec.lowest_pitch) % 12, torch.tensor(SCALE))
        usable = (vocabulary.pitch < 0) | in_scale    # [V]
    streams = [generator_for(seed, "melody", i) for i in numbers]
    prime = np.zeros(0, np.int64) if prime is None else prime
    n_begun = int(vocabulary.lasting[prime].sum())
    told = torch.tensor([BEGIN, *vocabulary.open_ended(prime).tolist()]).expand(n, -1)    # [N, 1 + L]
    place = vocabulary.begin(n)
    for token in told[:, 1:].unbind(1):
        place = vocabulary.after(place, token)
    logits, state = model.run(told)
    tokens, logits, going = [told], logits[:, -1], torch.arange(n)
    for turn in itertools.count():
        on = place.elapsed < n_steps    # [N]
        n_on = int(on.count_nonzero())
        if not n_on:
            break
        if 4 * n_on <= 3 * len(on):    # a quarter is over: the others go on without it
            going, logits, state, place = going[on], logits[on], state.rows(on), Place(*(each[on] for each in place))
        if turn % _N_DRAWS == 0:
            draws = torch.stack([torch.rand(_N_DRAWS, generator=stream, dtype=torch.float64) for stream in streams])
        allowed = usable & vocabulary.allowed(place, n_steps, n_begun)    # [N, V]
        probability = choice.probabilities(torch.where(allowed, logits, -torch.inf)).cumsum(1)
        chosen = torch.searchsorted(probability, draws[going, turn % _N_DRAWS, None] * probability[:, -1:], right=True)
        tokens.append(torch.full((n, 1), END).index_copy(0, going, chosen))
        chosen = chosen[:, 0]
        place = vocabulary.after(place, chosen)
        logits, state = model.step(chosen, state)
    return torch.cat(tokens, 1)


def to_roll(model: SequenceModel, tokens: Sequence[np.ndarray], n_bars: int) -> Roll:
    """Tokens of N samples as planes [N, K, B, T, P] bool; see `Vocabulary.decode`."""
    rows = []
    for i, sequence in enumerate(tokens):
        ends = np.flatnonzero(sequence == END)
        music = model.vocabulary.decode(sequence[: ends[0]] if len(ends) else sequence)    # [n, 3]
        rows.append(np.insert(music, 0, i, 1))
    voices = np.concatenate(rows) if rows else np.zeros((0, 4), np.int64)
    return roll_of_voices(voices, len(tokens), n_bars, model.spec)


def roll_of_voices(voices: np.ndarray, n_samples: int, n_bars: int, spec: RollSpec) -> Roll:
    """A table of sample, voice, start and end step [n, 4] as planes [N, K, B, T, P] bool; see `musegan.tokens`."""
    track_pitch = np.stack(np.divmod(voices[:, 1], spec.n_pitches), 1)
    table = torch.from_numpy(np.concatenate([voices[:, :1], track_pitch, voices[:, 2:]], 1))    # [n, 5]
    return roll_from_notes(table, n_samples, spec.n_tracks, n_bars, spec.steps_per_bar, spec.n_pitches)
