"""Thresholds at which a generator's tracks sound, and start notes, as often as in its training data, and as long.

Where a generator is unsure, cells lie below one half and would be lost: tracks come out thin, drums above all. To given
tracks it is unsure of other cells than with nothing given, so that thresholds differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from musegan.decoding import scores, sounding_before
from musegan.metrics.histograms import total_variation
from musegan.models import Facts, Generator, Layout, PhraseEncoder, RollLogits
from musegan.ops import notes
from musegan.roll import Roll
from musegan.sampling import GivenRoll, logits_from, logits_of

_RANGE = (0.1, 0.9)    # what is less likely, or more, is not decided by density
_GIVEN_RANGE = (0.001, 0.999)    # to given tracks generators are sure of silence where the data has none
_N_PHRASES = 256
_N_GIVEN = 128    # to each given track, and to all but each
_N_LENGTHS = 128    # whose notes are measured
_WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)    # of steadiness; more holds what should end


@torch.no_grad()
def calibrate(generator: Generator, seed: int, real: Roll | None = None) -> None:
    """Sets a generator's thresholds and steadiness by phrases drawn from it; to one half and 0 where the data's densities are
    unknown, or binary neurons decide.

    Those to a given track are such that the others sound as often as in the real phrases in which this track sounds, and
    those to all other tracks likewise; where there are none, they are those with nothing given.

    Args:
        generator: in evaluation mode.
        seed: of the phrases.
        real: planes [N, K, B, T, P] bool of training phrases, in the training key; without, steadiness is 0, and what is
            given counts as nothing.
    """
    facts, layout = generator.facts, generator.layout
    generator.thresholds.fill_(0.5)
    generator.steadiness.zero_()
    if generator.accompanies:
        generator.given_thresholds.fill_(0.5)
    if not facts.frame_density or generator.is_binary:
        return
    logits = logits_of(generator, range(_N_PHRASES), seed)
    if real is not None:
        some = RollLogits(*(plane[:_N_LENGTHS] for plane in logits))
        generator.steadiness.copy_(_steadiness(some, layout, facts, real))
    found = _thresholds(logits, layout, generator.steadiness, facts.frame_density, facts.onset_density)
    generator.thresholds.copy_(found)
    if generator.accompanies:
        generator.given_thresholds[:] = generator.thresholds
        if real is not None:
            _calibrate_given(generator, seed, real)


@torch.no_grad()
def calibrate_reconstructions(decoder: Generator, encoder: PhraseEncoder, real: Roll) -> None:
    """Sets an encoder's thresholds such that reconstructions of phrases sound, and start notes, as often as these.

    Each cell counts by itself: the decoder is surer of a phrase that was encoded than of a sample, and its notes last as long as
    they should. Steadiness that is right for samples loses notes of reconstructions (docs/experiments.md).

    Args:
        decoder, encoder: in evaluation mode.
        real: planes [N, K, B, T, P] bool that they were not trained on, in the training key: of others they are too sure.
    """
    like = next(encoder.parameters())
    logits = logits_from(decoder, encoder(decoder.layout.crop(real).to(like)).mean)
    frame_density, onset_density = _densities(real)
    steadiness = torch.zeros_like(decoder.steadiness)
    encoder.thresholds.copy_(_thresholds(logits, decoder.layout, steadiness, frame_density, onset_density))


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
    return _thresholds(logits, generator.layout, generator.steadiness, frame_density, onset_density, _GIVEN_RANGE)


def _thresholds(
    logits: RollLogits,
    layout: Layout,
    steadiness: Tensor,
    frame_density: Sequence[float],
    onset_density: Sequence[float],
    limits: tuple[float, float] = _RANGE,
) -> Tensor:
    """[2, K] within limits, at which phrases sound, and start notes, as often as `Facts` says it of the data."""
    found = [
        _track_thresholds(logits, layout, k, weight, frame_density[k], onset_density[k], limits)[0]
        for k, weight in enumerate(steadiness.tolist())
    ]
    return torch.stack(found, dim=1)


def _track_thresholds(
    logits: RollLogits,
    layout: Layout,
    track: int,
    steadiness: float,
    frame_density: float,
    onset_density: float,
    limits: tuple[float, float] = _RANGE,
) -> tuple[Tensor, Roll]:
    """A track's thresholds [2], and what they make: planes [N, 1, B, T, P] bool."""
    found = scores(logits.frame[:, track], layout.heads[track], steadiness)    # [N, B, T, P]
    at_frame = _threshold(found.flatten(), frame_density * found[..., 0].numel(), limits)
    frame = (found > at_frame.logit()).unsqueeze(1)    # [N, 1, B, T, P]
    before, at_onset = sounding_before(frame), at_frame.new_tensor(0.5)
    onset = frame & ~before
    if layout.columns[track].onset:
        held, onset_logits = frame & before, logits.onset[:, track : track + 1]
        at_onset = _threshold(onset_logits[held], float(onset_density * frame.sum() - onset.sum()), limits)
        onset = onset | held & (onset_logits > at_onset.logit())
    return torch.stack([at_frame, at_onset]), Roll(frame, onset)


def _steadiness(logits: RollLogits, layout: Layout, facts: Facts, real: Roll) -> Tensor:
    """[K] at which the lengths of notes are most like those of real phrases; 0 for drums, and where they have no notes."""
    best = torch.zeros(len(layout.heads))
    for k, track in enumerate(layout.spec.tracks):
        wanted = _lengths(real.map(lambda plane: plane[:, k : k + 1]))
        if track.is_drum or not wanted.any():
            continue
        distances = []
        for weight in _WEIGHTS:
            made = _track_thresholds(logits, layout, k, weight, facts.frame_density[k], facts.onset_density[k])[1]
            distances.append(float(total_variation(_lengths(made), wanted)))
        best[k] = _WEIGHTS[distances.index(min(distances))]
    return best


def _lengths(roll: Roll) -> Tensor:
    """[2 T] how many notes of planes [N, 1, B, T, P] last so many steps, the last: longer."""
    found, n_steps = notes(roll), 2 * roll.frame.shape[3]
    return torch.bincount((found[:, 4] - found[:, 3] - 1).clamp(max=n_steps - 1), minlength=n_steps).cpu()


def _threshold(log_odds: Tensor, wanted: float, limits: tuple[float, float]) -> Tensor:
    """The probability above which about `wanted` of the log-odds [n] lie, within limits."""
    if len(log_odds) == 0:
        return log_odds.new_tensor(0.5)
    n_above = min(max(round(wanted), 0), len(log_odds) - 1)
    cut = log_odds.kthvalue(len(log_odds) - n_above).values
    return cut.sigmoid().clamp(*limits)
