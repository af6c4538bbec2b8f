"""Thresholds at which a generator's tracks sound, and start notes, as often as in its training data.

Where a generator is unsure, cells lie below one half and would be lost: tracks come out thin, drums above all. To given
tracks it is unsure of other cells than with nothing given, so that thresholds differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from musegan.decoding import sounding_before, winner
from musegan.models import Generator, Layout, PhraseEncoder, RollLogits
from musegan.roll import Roll
from musegan.sampling import GivenRoll, logits_from, logits_of

_RANGE = (0.1, 0.9)    # what is less likely, or more, is not decided by density
_GIVEN_RANGE = (0.001, 0.999)    # to given tracks generators are sure of silence where the data has none
_N_PHRASES = 256
_N_GIVEN = 128    # phrases to each given track, and to all but each


@torch.no_grad()
def calibrate(generator: Generator, seed: int, real: Roll | None = None) -> None:
    """Sets a generator's thresholds by phrases drawn from it; to one half where the data's densities are unknown, or binary
    neurons decide.

    Those to a given track are such that the others sound as often as in the real phrases in which this track sounds, and
    those to all other tracks likewise; where there are none, they are those with nothing given.

    Args:
        generator: in evaluation mode.
        seed: of the phrases.
        real: planes [N, K, B, T, P] bool of training phrases, in the training key, for a generator that accompanies.
    """
    facts, layout = generator.facts, generator.layout
    generator.thresholds.fill_(0.5)
    if generator.accompanies:
        generator.given_thresholds.fill_(0.5)
    if not facts.frame_density or generator.is_binary:
        return
    logits = logits_of(generator, range(_N_PHRASES), seed)
    generator.thresholds.copy_(_thresholds(logits, layout, facts.frame_density, facts.onset_density))
    if generator.accompanies:
        generator.given_thresholds[:] = generator.thresholds
        if real is not None:
            _calibrate_given(generator, seed, real)


@torch.no_grad()
def calibrate_reconstructions(decoder: Generator, encoder: PhraseEncoder, real: Roll) -> None:
    """Sets an encoder's thresholds such that reconstructions of phrases sound, and start notes, as often as these.

    Args:
        decoder, encoder: in evaluation mode.
        real: planes [N, K, B, T, P] bool that they were not trained on, in the training key: of others they are too sure.
    """
    like = next(encoder.parameters())
    logits = logits_from(decoder, encoder(decoder.layout.crop(real).to(like)).mean)
    frame_density, onset_density = _densities(real)
    encoder.thresholds.copy_(_thresholds(logits, decoder.layout, frame_density, onset_density))


def _densities(real: Roll) -> tuple[list[float], list[float]]:
    """[K] pitches of each track that sound at a step, and its share of sounding cells that start a note."""
    n_cells, n_onsets = (plane.sum((0, 2, 3, 4)) for plane in real)    # [K]
    n_steps = real.frame[:, 0, ..., 0].numel()
    return (n_cells / n_steps).tolist(), (n_onsets / n_cells.clamp(min=1)).tolist()


def _calibrate_given(generator: Generator, seed: int, real: Roll) -> None:
    """Sets the thresholds to each track that sounds in real phrases, and of each to all the others."""
    cells = real.frame.flatten(2).sum(2)    # [N, K]
    *alone, together = generator.given_thresholds
    for track, thresholds in enumerate(alone):
        given = torch.arange(len(alone)) == track
        phrases = cells[:, track].nonzero().squeeze(1)
        if len(phrases):
            thresholds.copy_(_thresholds_to(given, generator, seed, real, phrases))
        phrases = cells[:, ~given].any(1).nonzero().squeeze(1)
        if len(phrases):
            together[:, track] = _thresholds_to(~given, generator, seed, real, phrases)[:, track]


def _thresholds_to(given: Tensor, generator: Generator, seed: int, real: Roll, phrases: Tensor) -> Tensor:
    """[2, K] for tracks [K] bool of real phrases of some indices."""
    frame_density, onset_density = _densities(real.map(lambda plane: plane[phrases]))
    spread = phrases[torch.arange(_N_GIVEN) * len(phrases) // _N_GIVEN]    # phrases of a piece lie in a row
    given = GivenRoll(real.map(lambda plane: plane[spread]), given.expand(_N_GIVEN, -1))
    logits = logits_of(generator, range(_N_GIVEN), seed, given)
    return _thresholds(logits, generator.layout, frame_density, onset_density, _GIVEN_RANGE)


def _thresholds(
    logits: RollLogits,
    layout: Layout,
    frame_density: Sequence[float],
    onset_density: Sequence[float],
    limits: tuple[float, float] = _RANGE,
) -> Tensor:
    """[2, K] within limits, at which phrases sound, and start notes, as often as `Facts` says it of the data."""
    thresholds = torch.full((2, len(layout.heads)), 0.5)
    frame = torch.empty_like(logits.frame, dtype=torch.bool)
    for k, head in enumerate(layout.heads):
        scores = winner(logits.frame[:, k]) if head == "mono" else logits.frame[:, k]    # [N, B, T, P]
        wanted = frame_density[k] * scores[..., 0].numel()
        thresholds[0, k] = _threshold(scores.flatten(), wanted, limits)
        frame[:, k] = scores > thresholds[0, k].logit()
    before = sounding_before(frame)
    for k, density in enumerate(onset_density):
        if layout.columns[k].onset:
            held = frame[:, k] & before[:, k]
            wanted = density * frame[:, k].sum() - (frame[:, k] & ~before[:, k]).sum()
            thresholds[1, k] = _threshold(logits.onset[:, k][held], float(wanted), limits)
    return thresholds


def _threshold(scores: Tensor, wanted: float, limits: tuple[float, float]) -> Tensor:
    """The probability above which about `wanted` of the log-odds [n] lie, within limits."""
    if len(scores) == 0:
        return torch.tensor(0.5)
    n_above = min(max(round(wanted), 0), len(scores) - 1)
    cut = scores.kthvalue(len(scores) - n_above).values
    return cut.sigmoid().clamp(*limits)
