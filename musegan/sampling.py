"""A model and a request in, rolls out: used by every way to generate."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from musegan.decoding import Decoding, Method, binarize, scores
from musegan.keys import LOWEST_SHIFT, Key, in_scale, key_shifts, nearest_shift, transpose
from musegan.latents import draw, n_bars_of
from musegan.models import Generator, Given, RollLogits
from musegan.ops import pack
from musegan.roll import Roll, RollSpec
from musegan.seeding import derived_seed, generator_for

_BATCH = 64     # phrases of the training's length made at a time; does not change any of them
_N_REFERENCE = 64    # phrases by which a density is set


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


def sample(
    model: Generator,
    n_samples: int,
    seed: int,
    method: Method = "threshold",
    at: float | None = None,
    in_training_key: bool = False,
    first_sample: int = 0,
    given: GivenRoll | None = None,
    key: Key | None = None,
    only_scale: bool = False,
    **notes,
) -> Roll:
    """Makes phrases. Sample i depends on the seed and on i, not on how many are asked for.

    Args:
        model: a trained generator.
        n_samples: N.
        seed: any integer.
        method, at: see `Decoding`.
        in_training_key: leave phrases in the key they were trained in (C major / A minor) instead of moving
            each by the shift of a real one.
        first_sample: number of the first phrase, to make a long series in parts.
        given: tracks to which the others are made, in the training key; they come out as they are. For a generator that
            accompanies, and with `in_training_key`. In any key and of any length: `musegan.accompaniment.accompany`.
        key, only_scale: see `in_key`.
        notes: the other fields of `Decoding`: density, min_steps, max_gap_steps, max_pitches.
    Returns:
        planes [N, K, B, T, P] bool.
    Raises:
        UserError: see `Decoding`.
        ValueError: tracks are given to a generator that does not accompany, or in another key.
    """
    decoding = Decoding(method, at, **notes)
    if given is not None and not (model.accompanies and in_training_key):
        raise ValueError("tracks can be given to a generator that accompanies, in its training key")
    numbers = range(first_sample, first_sample + n_samples)
    roll = render(model, draw(model, numbers, seed), seed, numbers, decoding, given)
    return roll if in_training_key else in_key(model, roll, seed, numbers, key, only_scale)


@torch.no_grad()
def render(
    model: Generator,
    latents: Tensor,
    seed: int,
    numbers: Sequence[int] | None = None,
    decoding: Decoding = Decoding(),
    given: GivenRoll | None = None,
) -> Roll:
    """Latents to rolls: what every way to generate goes through.

    Runs in float64: what differs between thread counts, batch sizes and machines is then far too small to
    move a cell across its threshold.

    Args:
        model: a trained generator.
        latents: [N, ...] of it; see `musegan.latents`.
        seed: of the Bernoulli draws.
        numbers: [N] which part of the random stream each phrase has; by default 0 to N - 1. Phrases of one number share
            their draws, so that what does not depend on their latents is the same.
        decoding: how logits become notes.
        given: [N] tracks to which the others are made, in the training key; they come out as they are.
    Returns:
        planes [N, K, B, T, P] bool, in the key the model was trained in.
    """
    model = exact(model)
    numbers = range(len(latents)) if numbers is None else numbers
    n_bars, spec = n_bars_of(model, latents), model.spec
    if not len(latents):
        empty = torch.zeros(0, spec.n_tracks, n_bars, spec.steps_per_bar, spec.n_pitches, dtype=torch.bool)
        return Roll(empty, empty.clone())
    thresholds = thresholds_of(model, decoding, None if given is None else given.tracks)
    thresholds = thresholds.expand(len(latents), -1, -1)    # [N, 2, K]
    size = max(_BATCH * model.n_bars // n_bars, 1)
    rolls = []
    for first in range(0, len(latents), size):
        rows = slice(first, first + size)
        part = None if given is None else given[rows]
        logits = logits_from(model, latents[rows], part)
        roll = _binarized(logits, model, decoding.method, thresholds[rows], seed, numbers[rows])
        roll = decoding.cleaned(roll, logits.frame, spec)
        if part is not None:
            roll = Roll(*map(partial(_replaced, part.tracks), roll, part.roll))
        rolls.append(roll)
    return Roll(*(torch.cat(planes) for planes in zip(*rolls)))


def in_key(
    model: Generator, roll: Roll, seed: int, numbers: Sequence[int], key: Key | None = None, only_scale: bool = False
) -> Roll:
    """Moves phrases from the key that the model makes to the one they shall be in; drums never move.

    A model trained on music moved to C major / A minor makes these two keys; what another makes is moved by the key that
    it is found in. Whether a phrase is major or minor stays: told to be in A minor, one in major comes out in C major.

    Args:
        roll: planes [N, K, B, T, P] as `render` makes them.
        seed, numbers: of the phrases; without `key`, each is moved by the shift of a real phrase that is drawn by them.
        key: where they shall lie.
        only_scale: leave out notes that are not in the scale of the key; see `musegan.keys.in_scale`.
    """
    if key is None and not only_scale and not model.facts.key_shifts:
        return roll
    normal = bool(model.facts.key_shifts)
    found = torch.zeros(len(roll.frame), dtype=torch.int64) if normal else key_shifts(roll.frame, model.spec)
    if key is not None:
        wanted = torch.full_like(found, key.shift)
    else:
        wanted = drawn_shifts(model, numbers, seed) if normal else found
    roll = transpose(roll, nearest_shift(wanted - found), model.spec)
    return in_scale(roll, wanted, model.spec) if only_scale else roll


def exact(model: Generator) -> Generator:
    """The model on the CPU, in float64 and in evaluation mode: itself, or a copy."""
    parameter = next(model.parameters())
    if parameter.dtype == torch.float64 and parameter.device.type == "cpu" and not model.training:
        return model
    return copy.deepcopy(model).cpu().double().eval()


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

    def make(first: int, n: int) -> Roll:
        part = None if given is None else given[first : first + n]
        return sample(model, n, seed, in_training_key=in_training_key, first_sample=first, given=part)

    return packed_parts(make, n_samples, model.spec, model.n_bars, progress)


def packed_parts(
    make: Callable[[int, int], Roll],
    n_samples: int,
    spec: RollSpec,
    n_bars: int,
    progress: Callable[[int, int], None] | None = None,
) -> Roll:
    """Phrases that are made a few at a time, as bits.

    Args:
        make: the number of the first one and how many -> planes [n, K, B, T, P] bool.
        n_samples: N.
        spec, n_bars: of the phrases.
        progress: called with the number of phrases done, and in all.
    Returns:
        packed planes [N, K, B, T, ceil(P / 8)] uint8.
    """
    shape = (n_samples, spec.n_tracks, n_bars, spec.steps_per_bar, -(-spec.n_pitches // 8))
    packed = Roll(*(torch.empty(shape, dtype=torch.uint8) for _ in Roll._fields))
    for first in range(0, n_samples, _BATCH):
        n = min(_BATCH, n_samples - first)
        for plane, own in zip(packed, make(first, n)):
            plane[first : first + n] = pack(own)
        if progress is not None:
            progress(first + n, n_samples)
    return packed


def logits_of(model: Generator, samples: Sequence[int], seed: int, given: GivenRoll | None = None) -> RollLogits:
    """What a generator gives for the latents of some samples' numbers, in its own precision and on its device."""
    return logits_from(model, draw(model, samples, seed), given)


@torch.no_grad()
def logits_from(model: Generator, latents: Tensor, given: GivenRoll | None = None) -> RollLogits:
    """What a generator gives for latents [N, ...], in its own precision and on its device.

    Args:
        given: for a generator that accompanies.
    """
    like = next(model.parameters())
    if given is not None:
        given = Given(model.layout.crop(given.roll).to(like), given.tracks.to(like.device))
    return model(latents.to(like), given)


def _replaced(tracks: Tensor, made: Tensor, given: Tensor) -> Tensor:
    return torch.where(tracks[:, :, None, None, None], given, made)


@torch.no_grad()
def thresholds_of(model: Generator, decoding: Decoding, tracks: Tensor | None = None) -> Tensor:
    """Of each track's frame and onset probabilities.

    For a density other than 1, each track's is moved to where so many times as many cells of some phrases of the model,
    to which nothing is given, lie above it, and as far in log-odds where tracks are given. They are the same phrases for
    every request, so that no phrase depends on those made with it.

    Args:
        tracks: [N, K] bool, which are given.
    Returns:
        [N, 2, K] float64 in (0, 1); [2, K] without tracks, and of a model that takes none.
    """
    frame, onset = model.thresholds_for(tracks).unbind(-2)    # [N, K] or [K] each
    alone = model.thresholds[0].double()    # [K], with nothing given
    if decoding.at is not None:
        frame, alone = (torch.full_like(each, decoding.at) for each in (frame, alone))
    if decoding.density != 1:
        moved = frame.logit() + _moves(model, alone.logit(), decoding.density)
        frame = moved.sigmoid().clamp(max=1 - 2**-53)    # at 1 nothing would sound
    return torch.stack([frame, onset], dim=-2)


def _moves(model: Generator, cuts: Tensor, density: float) -> Tensor:
    """How far cuts [K] move, in log-odds, for a density: [K] float64."""
    moves = torch.zeros_like(cuts)
    logits = logits_of(model, range(_N_REFERENCE), derived_seed(0, "density"))
    for k, head in enumerate(model.layout.heads):
        found = scores(logits.frame[:, k], head, float(model.steadiness[k]))    # [N, B, T, P]
        found = found[torch.isfinite(found)].double().sort(descending=True).values
        n_above = int((found > cuts[k]).sum())
        wanted = round(min(density * n_above, len(found) - 1))
        if n_above and wanted != n_above:    # what lies above the next lower score
            moves[k] = found[wanted] - cuts[k]
    return moves


def _binarized(
    logits: RollLogits, model: Generator, method: Method, thresholds: Tensor, seed: int, numbers: Sequence[int]
) -> Roll:
    """`binarize` of phrases with any numbers: those that follow each other share a call."""
    if method == "threshold":
        return binarize(logits, model.layout, method, thresholds, steadiness=model.steadiness.tolist())
    breaks = [i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1]
    rolls = [
        binarize(RollLogits(*(plane[a:b] for plane in logits)), model.layout, method, seed=seed, first_sample=numbers[a])
        for a, b in zip([0, *breaks], [*breaks, len(numbers)])
    ]
    return Roll(*(torch.cat(planes) for planes in zip(*rolls)))


def drawn_shifts(model: Generator, samples: Sequence[int], seed: int) -> Tensor:
    """[N] semitones, drawn from how far the training phrases lay from C major / A minor."""
    weights = torch.tensor(model.facts.key_shifts, dtype=torch.float64)
    draws = [int(torch.multinomial(weights, 1, generator=generator_for(seed, "key", i))) for i in samples]
    return torch.tensor(draws, dtype=torch.int64) + LOWEST_SHIFT
