"""Whether an accompaniment listens: how well the given track fits the others, and what happens when it is swapped.

An accompanist that does not listen makes the same whatever it is given, and what it makes fits another phrase's
track as well as its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from musegan.metrics.music import Music
from musegan.metrics.pairs import chord_tone_rate, onset_coincidence, pairs, tonal_distance
from musegan.roll import Roll, RollSpec, check_roll


class Fit(NamedTuple):
    """How a track fits the others; NaN where it cannot be said (the chord tones of drums)."""

    chord_tones: float
    """Share of its pitch classes that belong to the others' chord, see `pairs.chord_tone_rate`; more is closer."""
    tonal_distance: float
    """Mean over its pairs, see `pairs.tonal_distance`; less is closer."""
    onset_coincidence: float
    """Mean over its pairs, see `pairs.onset_coincidence`."""


class ConditionTest(NamedTuple):
    """What a track means to those that go with it."""

    own: Fit
    """With the track that they were made for."""
    swapped: Fit
    """The same, with that of the next phrase."""
    changed: float
    """Share of the phrases that came out otherwise when the given track was swapped; NaN where nothing was made anew."""
    change: float
    """Mean share of note starts in which the two outcomes differ (1 - Jaccard index), in [0, 1]."""


def fit(music: Music, track: int) -> Fit:
    """How a track fits the others in all phrases together."""
    def mean(tally, columns):
        total, count = (part[:, columns].double().sum().item() for part in tally)
        return total / count if count else float("nan")

    every = [c for c, pair in enumerate(pairs(music.spec)) if track in pair]
    pitched = [c for c, pair in enumerate(pairs(music.spec, pitched=True)) if track in pair]
    return Fit(
        chord_tones=mean(chord_tone_rate(music), [track]),
        tonal_distance=mean(tonal_distance(music), pitched),
        onset_coincidence=mean(onset_coincidence(music), every),
    )


def swapped(roll: Roll, track: int) -> Roll:
    """Phrases whose `track` is that of the next one (the last one's that of the first): bool or packed planes."""
    def swap(plane):
        plane = plane.clone()
        plane[:, track] = plane[:, track].roll(-1, 0)
        return plane

    return roll.map(swap)


def condition_test(
    roll: Roll, spec: RollSpec, track: int, accompany: Callable[[Roll], Roll] | None = None
) -> ConditionTest:
    """Tests phrases, or an accompanist.

    Args:
        roll: planes [N, K, B, T, P] bool, two phrases at least, in an order that puts different pieces next to each other.
            With `accompany` only the given track counts; without, all tracks are what was made for it.
        spec: of two tracks at least.
        track: the given one.
        accompany: phrases whose other tracks are silent to whole ones; the same input, the same output.
    Raises:
        ValueError, TypeError: see `check_roll`; fewer than two phrases or tracks; no such track; `accompany` changed the
            given track.
    """
    check_roll(roll, spec)
    if len(roll.frame) < 2 or spec.n_tracks < 2:
        raise ValueError(f"swapping needs two phrases and two tracks: got {len(roll.frame)} and {spec.n_tracks}")
    if not 0 <= track < spec.n_tracks:
        raise ValueError(f"track must be 0 to {spec.n_tracks - 1}: got {track}")
    changed = change = float("nan")
    if accompany is not None:
        given = roll.map(lambda plane: _alone(plane, track))
        roll, otherwise = (_accompanied(accompany, each, track) for each in (given, swapped(given, track)))
        a, b = (each.onset.index_fill(1, torch.tensor([track]), False).flatten(1) for each in (roll, otherwise))
        both, either = (a & b).sum(1), (a | b).sum(1)
        change = torch.where(either > 0, 1 - both / either.clamp(min=1), 0.0).double().mean().item()
        changed = (both != either).double().mean().item()
    own, other = (fit(Music(each, spec), track) for each in (roll, swapped(roll, track)))
    return ConditionTest(own, other, changed, change)


def _alone(plane, track: int):
    alone = torch.zeros_like(plane)
    alone[:, track] = plane[:, track]
    return alone


def _accompanied(accompany: Callable[[Roll], Roll], given: Roll, track: int) -> Roll:
    made = accompany(given)
    for plane, own in zip(made, given):
        if not torch.equal(plane[:, track], own[:, track]):
            raise ValueError("the given track must come out as it was: accompany changed it")
    return made
