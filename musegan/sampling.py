"""A model and a request in, rolls out: used by every way to generate."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from musegan.keys import LOWEST_SHIFT, transpose
from musegan.errors import UserError
from musegan.models import Generator, Given, Layout, RollLogits
from musegan.ops import bernoulli, pack, threshold
from musegan.roll import Roll
from musegan.seeding import derived_seed, generator_for

Method = Literal["threshold", "bernoulli"]


class GivenRoll:
    """Tracks to which the others are made.

    Args:
        roll: planes [N, K, B, T, P] bool; tracks that are not given do not count.
        tracks: [N, K] bool, which are given.
    """

    def __init__(self, roll: Roll, tracks: Tensor):
        self.roll, self.tracks = roll, tracks

    def __getitem__(self, samples: slice) -> GivenRoll:
        return GivenRoll(self.roll.map(lambda plane: plane[samples]), self.tracks[samples])


_BATCH = 64     # samples made at a time; does not change any of them


def sample(
    model: Generator,
    n_samples: int,
    seed: int,
    method: Method = "threshold",
    at: float | None = None,
    in_training_key: bool = False,
    first_sample: int = 0,
    given: GivenRoll | None = None,
) -> Roll:
    """Makes phrases. Sample i depends on the seed and on i, not on how many are asked for.

    Runs in float64: what differs between thread counts, batch sizes and machines is then far too small to
    move a cell across its threshold.

    Args:
        model: a trained generator.
        n_samples: N.
        seed: any integer.
        method: `threshold` takes what is likelier than `at`, `bernoulli` draws each cell.
        at: probability in (0, 1) above which a cell sounds; lower gives more notes. None: the model's own thresholds,
            one for each track.
        in_training_key: leave phrases in the key they were trained in (C major / A minor) instead of moving
            each by the shift of a real one.
        first_sample: number of the first phrase, to make a long series in parts.
        given: tracks to which the others are made, in the training key; they come out as they are. For a generator that
            accompanies, and with `in_training_key`.
    Returns:
        planes [N, K, B, T, P] bool.
    Raises:
        UserError: `at` is not in (0, 1).
        ValueError: tracks are given to a generator that does not accompany, or in another key.
    """
    if at is not None and not 0 < at < 1:
        raise UserError(f"threshold must lie between 0 and 1: got {at}")
    if given is not None and not (model.accompanies and in_training_key):
        raise ValueError("tracks can be given to a generator that accompanies, in its training key")
    model = copy.deepcopy(model).cpu().double().eval()
    rolls = []
    for first in range(first_sample, first_sample + n_samples, _BATCH):
        samples = range(first, min(first + _BATCH, first_sample + n_samples))
        part = None if given is None else given[first - first_sample : samples.stop - first_sample]
        logits = logits_of(model, samples, seed, part)
        thresholds = model.thresholds if at is None else torch.stack([torch.full_like(model.thresholds[0], at), model.thresholds[1]])
        roll = binarize(logits, model.layout, method, thresholds, seed, first)
        if part is not None:
            roll = Roll(*map(partial(_replaced, part.tracks), roll, part.roll))
        if model.facts.key_shifts and not in_training_key:
            roll = transpose(roll, _key_shifts(model, samples, seed), model.spec)
        rolls.append(roll)
    if not rolls:
        empty = torch.zeros(0, model.spec.n_tracks, model.n_bars, model.spec.steps_per_bar, model.spec.n_pitches) > 0
        return Roll(empty, empty.clone())
    return Roll(*(torch.cat(planes) for planes in zip(*rolls)))


def sample_packed(
    model: Generator,
    n_samples: int,
    seed: int,
    in_training_key: bool = False,
    given: GivenRoll | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Roll:
    """`sample` by threshold, as bits: takes little memory however many phrases are asked for.

    Args:
        progress: called with the number of phrases done, and in all.
    Returns:
        packed planes [N, K, B, T, ceil(P / 8)] uint8.
    """
    spec = model.spec
    shape = (n_samples, spec.n_tracks, model.n_bars, spec.steps_per_bar, -(-spec.n_pitches // 8))
    packed = Roll(*(torch.empty(shape, dtype=torch.uint8) for _ in Roll._fields))
    for first in range(0, n_samples, _BATCH):
        n = min(_BATCH, n_samples - first)
        part = None if given is None else given[first : first + n]
        made = sample(model, n, seed, in_training_key=in_training_key, first_sample=first, given=part)
        for plane, own in zip(packed, made):
            plane[first : first + n] = pack(own)
        if progress is not None:
            progress(first + n, n_samples)
    return packed


@torch.no_grad()
def logits_of(model: Generator, samples: range, seed: int, given: GivenRoll | None = None) -> RollLogits:
    """What a generator gives for the latents of some samples' numbers, in its own precision."""
    dtype = next(model.parameters()).dtype
    told = _as_features(given, len(samples), model, dtype) if model.accompanies else None
    return model(latents(model, samples, seed).to(dtype), told)


def _as_features(given: GivenRoll | None, n: int, model: Generator, dtype: torch.dtype) -> Given:
    """What a generator that accompanies is told; that nothing is given is told too."""
    if given is None:
        shape = (n, model.n_bars, model.spec.steps_per_bar, model.layout.n_features)
        return Given(torch.zeros(shape, dtype=dtype), torch.zeros(n, model.spec.n_tracks, dtype=torch.bool))
    return Given(model.layout.crop(given.roll).to(dtype), given.tracks)


def _replaced(tracks: Tensor, made: Tensor, given: Tensor) -> Tensor:
    return torch.where(tracks[:, :, None, None, None], given, made)


def latents(model: Generator, samples: range, seed: int) -> Tensor:
    """[N, *latent_shape] float64, standard normal: one row for each sample's number."""
    return torch.stack([
        torch.randn(model.latent_shape, dtype=torch.float64, generator=generator_for(seed, "latents", i))
        for i in samples
    ])


def binarize(
    logits: RollLogits,
    layout: Layout,
    method: Method,
    thresholds: Tensor | None = None,
    seed: int = 0,
    first_sample: int = 0,
) -> Roll:
    """Logits to a roll, frames first: a start is where the onset is likely or nothing sounded before.

    Args:
        logits: planes [N, K, B, T, P].
        layout: says which tracks play one note at a time.
        method: as in `sample`.
        thresholds: [2, K] in (0, 1), of each track's frame and onset probabilities, for the method `threshold`; 0.5 without.
        seed: of the Bernoulli draws.
        first_sample: number of the first sample, which decides its place in the random stream.
    Returns:
        planes [N, K, B, T, P] bool.
    """
    if thresholds is None:
        thresholds = torch.full((2, len(layout.heads)), 0.5, dtype=torch.float64)
    cuts = thresholds.to(logits.frame.dtype).logit()[..., None, None, None]    # [2, K, 1, 1, 1]
    frame_logits = logits.frame.clone()
    for k, head in enumerate(layout.heads):
        if head == "mono":
            convert = _hazards if method == "bernoulli" else winner
            frame_logits[:, k] = convert(frame_logits[:, k])
    if method == "threshold":
        frame, onset = threshold(frame_logits - cuts[0]), threshold(logits.onset - cuts[1])
    else:
        offset = first_sample * logits.frame[0].numel()
        frame = bernoulli(frame_logits, derived_seed(seed, "frames"), offset)
        onset = bernoulli(logits.onset, derived_seed(seed, "onsets"), offset)
    for k, head in enumerate(layout.heads):
        if head == "mono" and method == "bernoulli":
            frame[:, k] &= frame[:, k].cumsum(-1) == 1
    return Roll(frame, frame & (onset | ~sounding_before(frame)))


def sounding_before(frame: Tensor) -> Tensor:
    """Whether each cell's pitch sounds at the step before, across bar lines: [N, K, B, T, P] bool -> the same."""
    sounding = frame.flatten(2, 3)    # [N, K, B * T, P]
    before = torch.zeros_like(sounding)
    before[:, :, 1:] = sounding[:, :, :-1]
    return before.view_as(frame)


def winner(logits: Tensor) -> Tensor:
    """Log-odds of one pitch or none -> the likeliest pitch's against the rest, -inf for all others. [..., P]."""
    p = logits.sigmoid()
    best, pitch = p.max(-1, keepdim=True)
    rest = (1 - p.sum(-1, keepdim=True)).clamp(min=1e-12)
    return torch.full_like(p, -torch.inf).scatter(-1, pitch, (best / rest).log())


def _hazards(logits: Tensor) -> Tensor:
    """Log-odds of one pitch or none -> log-odds of each pitch given that no lower one was drawn. [..., P].

    The first success of independent draws with these odds is a draw from the original distribution, so a track
    that plays one note at a time is sampled by the same Bernoulli op as any other.
    """
    p = logits.sigmoid()
    left = 1 - p.cumsum(-1) + p    # not drawn below this pitch
    return torch.logit((p / left.clamp(min=1e-12)).clamp(0, 1))


def _key_shifts(model: Generator, samples: range, seed: int) -> Tensor:
    """[N] semitones, drawn from how far the training phrases lay from C major / A minor."""
    weights = torch.tensor(model.facts.key_shifts, dtype=torch.float64)
    draws = [torch.multinomial(weights, 1, generator=generator_for(seed, "key", i)) for i in samples]
    return torch.cat(draws) + LOWEST_SHIFT
