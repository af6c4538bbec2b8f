"""What tracks do together: tonal distance, chords, onsets that coincide.

Each function takes `Music` and returns a `Tally` with a column for each track or for each of `pairs`.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from musegan.metrics.music import Music, Tally
from musegan.roll import RollSpec

_RADII = (1.0, 1.0, 0.5)    # of the circles of fifths, minor thirds and major thirds
CHORD_TYPES = {
    "one pitch class": (0,),
    "semitone": (0, 1),
    "whole tone": (0, 2),
    "minor third": (0, 3),
    "major third": (0, 4),
    "fifth": (0, 7),
    "tritone": (0, 6),
    "major": (0, 4, 7),
    "minor": (0, 3, 7),
    "diminished": (0, 3, 6),
    "augmented": (0, 4, 8),
    "suspended": (0, 5, 7),
    "dominant seventh": (0, 4, 7, 10),
    "major seventh": (0, 4, 7, 11),
    "minor seventh": (0, 3, 7, 10),
    "half-diminished seventh": (0, 3, 6, 10),
    "diminished seventh": (0, 3, 6, 9),
    "suspended seventh": (0, 5, 7, 10),
    "added ninth": (0, 2, 4, 7),
    "minor added ninth": (0, 2, 3, 7),
    "major ninth": (0, 2, 4, 7, 11),
    "minor ninth": (0, 2, 3, 7, 10),
    "dominant ninth": (0, 2, 4, 7, 10),
}
"""Sets of pitch classes on a root, by name. An inversion is the same set, so a fourth is a "fifth", and a sixth chord
a seventh one."""
_OTHERS = ("three other pitch classes", "four other pitch classes", "five or more other pitch classes")
_TRIADS = ("major", "minor", "diminished", "augmented")


def pairs(spec: RollSpec, pitched: bool = False) -> list[tuple[int, int]]:
    """The pairs of tracks i < j, in the order of the columns; of pitched tracks only, where asked."""
    tracks = [k for k, track in enumerate(spec.tracks) if not (pitched and track.is_drum)]
    return [(i, j) for i in tracks for j in tracks if i < j]


def tonal_distance(music: Music, shuffled: bool = False) -> Tally:
    """Distance between the tonal centroids of two pitched tracks, over beats in which both sound; 0 to 8^0.5 (a tritone).

    The chroma of a beat, octaves folded, is divided by its sum. Noise comes out lower than music: what is closest to the
    data is best, not what is smallest. One column for each pair of pitched tracks.

    Args:
        shuffled: pair each track with the other one of the next phrase (of the last, the first): what chance gives.
    Source: Harte, Sandler and Gasser 2006; Dong et al. 2018, TD; with octaves folded, see `released.tonal_distance`.
    """
    chroma = music.beat_chroma    # [N, K, beats, 12]
    weight = chroma.sum(-1, keepdim=True)
    centroid = chroma / weight.clamp(min=1) @ _tonal_basis()    # [N, K, beats, 6]
    sounds = weight.squeeze(-1) > 0    # [N, K, beats]
    i, j = _columns(music.spec, pitched=True)
    second, second_sounds = centroid[:, j], sounds[:, j]
    if shuffled:
        second, second_sounds = second.roll(-1, 0), second_sounds.roll(-1, 0)
    both = sounds[:, i] & second_sounds    # [N, pairs, beats]
    distance = torch.linalg.vector_norm(centroid[:, i] - second, dim=-1)
    return Tally((distance * both).sum(-1), both.sum(-1).float())


def onset_coincidence(music: Music) -> Tally:
    """Of the steps at which notes of either track start, the share at which notes of both do, in [0, 1]; all pairs.

    Jaccard index of the two tracks' onset steps.
    """
    starts = music.starts.flatten(2) > 0    # [N, K, B * T]
    i, j = _columns(music.spec)
    both, either = starts[:, i] & starts[:, j], starts[:, i] | starts[:, j]
    return Tally(both.sum(-1).float(), either.sum(-1).float())


def chord_tone_rate(music: Music) -> Tally:
    """Share of a track's pitch classes that belong to the chord that the other tracks play in the beat, in [0, 1].

    The chord is the triad (major, minor, diminished, augmented) that has most of the other pitched tracks' classes; where
    several have as many, a class of any of them belongs. Beats in which the others play fewer than two classes do not count.
    One column for each track; not of drums.
    """
    classes = music.beat_classes    # [N, K, beats]; 0 for drums
    others = torch.zeros_like(classes)
    for k in range(music.n_tracks):
        for other in range(music.n_tracks):
            if other != k:
                others[:, k] |= classes[:, other]
    ones = _bit_counts()
    counts = (ones[others] >= 2) & ~music.is_drum[:, None]
    fits = ones[classes & _best_triads()[others]] * counts
    return Tally(fits.sum(-1).float(), (ones[classes] * counts).sum(-1).float())


def chord_type_names() -> list[str]:
    """Names of the chord types, in the order of `chord_types`."""
    return [*CHORD_TYPES, *_OTHERS]


def chord_types(music: Music) -> Tensor:
    """How many beats have each chord type, of all pitched tracks together: [N, types] int64. Silent beats
    do not count."""
    classes = torch.zeros(music.n, music.n_beats, dtype=torch.int64)
    for k in range(music.n_tracks):
        classes |= music.beat_classes[:, k]
    n_types = len(chord_type_names())
    sample, _ = torch.nonzero(classes, as_tuple=True)
    index = sample * n_types + _chord_table()[classes[classes > 0]]
    return torch.bincount(index, minlength=music.n * n_types).view(music.n, n_types)


def _columns(spec: RollSpec, pitched: bool = False) -> tuple[list[int], list[int]]:
    found = pairs(spec, pitched)
    return [i for i, _ in found], [j for _, j in found]


@cache
def _tonal_basis() -> Tensor:
    """[12, 6] where each pitch class lies on the three circles."""
    classes = torch.arange(12, dtype=torch.float64)
    angles = torch.stack([classes * (math.pi * 7 / 6), classes * (math.pi * 3 / 2), classes * (math.pi * 2 / 3)])
    circles = [radius * part for radius, angle in zip(_RADII, angles) for part in (angle.sin(), angle.cos())]
    return torch.stack(circles, 1).float()


def _set(classes: tuple[int, ...], root: int = 0) -> int:
    """Pitch classes as 12 bits."""
    return sum(1 << (root + c) % 12 for c in classes)


@cache
def _bit_counts() -> Tensor:
    return torch.tensor([s.bit_count() for s in range(1 << 12)])


@cache
def _chord_table() -> Tensor:
    """[4096] index of the chord type of each set of pitch classes."""
    table = len(CHORD_TYPES) + (_bit_counts() - 3).clamp(0, len(_OTHERS) - 1)
    for index, classes in enumerate(CHORD_TYPES.values()):
        for root in range(12):
            table[_set(classes, root)] = index
    return table


@cache
def _best_triads() -> Tensor:
    """[4096] all pitch classes of the triads that share most with a set."""
    triads = [_set(CHORD_TYPES[name], root) for name in _TRIADS for root in range(12)]
    table = []
    for s in range(1 << 12):
        shared = [(s & triad).bit_count() for triad in triads]
        union = 0
        for triad, n in zip(triads, shared):
            union |= triad if n == max(shared) else 0
        table.append(union)
    return torch.tensor(table)
