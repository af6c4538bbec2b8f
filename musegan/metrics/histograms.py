"""Histograms of what notes do, and how far those of two sets of phrases lie apart.

`histograms` counts phrase by phrase, so that any selection of phrases has its histograms without counting anew.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from musegan.keys import shifts_of_weights
from musegan.metrics.music import Music
from musegan.metrics.pairs import chord_types
from musegan.metrics.structure import bar_similarity
from musegan.metrics.tracks import KICKS, SNARES
from musegan.roll import RollSpec

FAMILIES = (
    "pitch", "pitch class", "length", "position", "interval", "chord type", "notes", "repetition",
)    # fmt: skip
"""What `distance` is a mean of, each family with its histograms of all tracks."""
ORDERED = ("pitch", "length", "position", "interval", "notes", "repetition")
"""Families whose bins have an order, so that it matters how far something was moved."""
MAX_INTERVAL = 12    # semitones; farther ones count as one more
MAX_NOTES = 32    # in a bar, counted together from here on
_REPETITION_BINS = 10


def histograms(music: Music) -> dict[str, Tensor]:
    """Counts of each phrase by name, `family: track`: [N, bins] int32.

    | family | of | bins |
    |---|---|---|
    | pitch | each track's notes | [P] |
    | pitch class | each pitched track's notes, from the tonic (C major / A minor) of the phrase's key | [12] |
    | length | each pitched track's notes, in steps | [2 T], the last: longer |
    | position | the step of the bar where each track's notes start | [T] |
    | interval | each pitched track's skyline: semitones to its next note | [27], -13 (farther down) to 13 |
    | chord type | the beats of all pitched tracks together | [26], `pairs.chord_type_names` |
    | notes | each track's bars, by how many notes start | [33], the last: more |
    | repetition | each track's neighbouring bars with notes, by their similarity | [11], tenths; the last: equal |
    | beat | the beat of the bar where each track's notes start; not in `FAMILIES` | [beats] |
    | kick, snare | the step of the bar where drum tracks' bass and snare drums start; not in `FAMILIES` | [T] |
    """
    spec, n_tracks = music.spec, music.n_tracks
    steps, pitch_index = music.steps_per_bar, music.pitch - spec.lowest_pitch
    pitched, drums = music.pitched, ~music.pitched
    position = music.start % steps
    lengths = (music.end - music.start - 1).clamp(max=2 * steps - 1)
    first, second = music.steps_of_melody
    leaps = (music.pitch[second] - music.pitch[first]).clamp(-MAX_INTERVAL - 1, MAX_INTERVAL + 1) + MAX_INTERVAL + 1
    classes = (music.pitch - _tonics(music)[music.sample]) % 12
    similarity, counts = bar_similarity(music, 1)
    bins = (similarity[counts] * _REPETITION_BINS).long()
    voices = torch.arange(music.n * n_tracks).view(music.n, n_tracks, 1)
    by_track = {
        "pitch": _by_track(music, music.voice, pitch_index, spec.n_pitches),
        "pitch class": _by_track(music, music.voice[pitched], classes[pitched], 12),
        "length": _by_track(music, music.voice[pitched], lengths[pitched], 2 * steps),
        "position": _by_track(music, music.voice, position, steps),
        "interval": _by_track(music, music.voice[first], leaps, 2 * MAX_INTERVAL + 3),
        "notes": _by_track(music, *_notes_in_bars(music, voices), MAX_NOTES + 1),
        "repetition": _by_track(music, voices.expand_as(counts)[counts], bins, _REPETITION_BINS + 1),
    }
    by_track["beat"] = by_track["position"].unflatten(2, (-1, spec.steps_per_beat)).sum(3).int()
    for name, drum_pitches in (("kick", KICKS), ("snare", SNARES)):
        own = drums & torch.isin(music.pitch, torch.tensor(drum_pitches))
        by_track[name] = _by_track(music, music.voice[own], position[own], steps)
    result = {"chord type: all": chord_types(music).int()}
    for family, counted in by_track.items():
        for k, track in enumerate(spec.tracks):
            only_drums, never_drums = family in ("kick", "snare"), family in ("pitch class", "length", "interval")
            if track.is_drum and not never_drums or not track.is_drum and not only_drums:
                result[f"{family}: {track.name}"] = counted[:, k]
    return result


def bin_widths(family: str, spec: RollSpec) -> tuple[float, str]:
    """What one bin of an ordered family is wide, and the unit."""
    return {
        "pitch": (1.0, "semitones"),
        "length": (1 / spec.steps_per_beat, "beats"),
        "position": (1 / spec.steps_per_beat, "beats"),
        "interval": (1.0, "semitones"),
        "notes": (1.0, "notes"),
        "repetition": (1 / _REPETITION_BINS, ""),
    }[family]    # fmt: skip


def total_variation(a: Tensor, b: Tensor) -> Tensor:
    """Half the sum of differences of two histograms, each divided by its sum; in [0, 1].

    The overlapping area of the two, the sum of the lower of each pair of bars, is 1 minus this.

    Args:
        a, b: [..., bins] counts.
    Returns:
        [...] float64; 1 where one of them is empty, NaN where both are.
    """
    return (_shares(a) - _shares(b)).abs().sum(-1).div(2).where(_filled(a) & _filled(b), _one_sided(a, b))


def wasserstein(a: Tensor, b: Tensor) -> Tensor:
    """How many bins, on average, what is counted in `a` must be moved to lie as in `b`: [...] float64.

    NaN where one of them is empty.

    Args:
        a, b: [..., bins] counts, in the order of what they count.
    """
    moved = (_shares(a) - _shares(b)).cumsum(-1).abs().sum(-1)
    return moved.where(_filled(a) & _filled(b), torch.nan)


def family_distances(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Mean total variation of the histograms of each family.

    A histogram that is empty on one side counts as 1; one that is empty on both is left out.

    Args:
        a, b: counts [..., bins] by the names of `histograms`; the same names.
    Returns:
        [...] float64 by family; NaN for one that is empty on both sides.
    """
    return {
        family: torch.stack([total_variation(a[name], b[name]) for name in a if name.startswith(f"{family}: ")]).nanmean(0)
        for family in FAMILIES
        if any(name.startswith(f"{family}: ") for name in a)
    }


def distance(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Tensor:
    """DIST: the mean of `family_distances`, in [0, 1]; NaN where both sides are empty.

    Never quote it without that of two sets of real phrases, and the number of phrases: songs differ, and few phrases make
    rough histograms, so that this floor is far above 0.
    """
    return torch.stack(list(family_distances(a, b).values())).nanmean(0)


def _by_track(music: Music, voice: Tensor, values: Tensor, n_bins: int) -> Tensor:
    return music.counts(voice * n_bins + values, n_bins).int()


def _notes_in_bars(music: Music, voices: Tensor) -> tuple[Tensor, Tensor]:
    """Voice and number of notes of each bar."""
    started = music.starts.sum(3).long().clamp(max=MAX_NOTES)    # [N, K, B]
    return voices.expand_as(started).flatten(), started.flatten()


def _tonics(music: Music) -> Tensor:
    """[N] semitones of each phrase's key above C major / A minor, from how long each pitch class sounds."""
    weights = music.beat_chroma.sum((1, 2))    # [N, 12]
    return shifts_of_weights(weights)


def _shares(counts: Tensor) -> Tensor:
    counts = counts.double()
    return counts / counts.sum(-1, keepdim=True).clamp(min=1)


def _filled(counts: Tensor) -> Tensor:
    return counts.sum(-1) > 0


def _one_sided(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(_filled(a) | _filled(b), 1.0, torch.nan).double()
