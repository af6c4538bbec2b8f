"""Melodies side by side: how far one must be bent to be another, by dynamic time warping.

A melody is the pitches at which its notes start, in order. How long they last is left out: warping would stretch them
anyway, and a melody played at half the speed, or with some notes struck twice, is at distance 0 from itself. So is one in
another key. For that reason no window bounds the warping either: the number of a note says little about its time.

Source: Sakoe and Chiba 1978 (dynamic time warping), computed by dtaidistance's C library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from dtaidistance import dtw
from torch import Tensor

from musegan.metrics.music import Music
from musegan.seeding import generator_for

MIN_NOTES = 4    # of which each differs from the one before: fewer are found in most music

_MOVES = (0, -1, 1, -2, 2)    # semitones from where two melodies' centres meet; the first of equals wins
_ABSOLUTE = {"inner_dist": "euclidean"}    # the difference of two pitches, not its square
_BLOCK = 32    # melodies compared with the corpus at a time


class NearestMelody(NamedTuple):
    """For each of n melodies the nearest of a corpus; of equals, the first of the corpus."""

    distance: Tensor
    """[n] float64, semitones a note, see `alignment`; NaN where there is none."""
    melody: Tensor
    """[n] int64, which melody of the corpus; -1 where there is none."""


class Alignment(NamedTuple):
    """How one melody is bent to be another."""

    path: np.ndarray
    """[m, 2] int64, pairs of notes that are held against each other, from both first ones to both last ones."""
    semitones: int
    """By how much the first melody is moved."""
    distance: float
    """Differences of pitch along the path, over the number of notes of the longer melody: semitones a note."""


def melodies(music: Music, track: int | None = None) -> list[np.ndarray]:
    """The melody of each phrase: the highest of the notes that start at each step.

    Args:
        track: which track; by default all pitched ones together.
    Returns:
        N arrays [notes] float64 of MIDI pitches; empty where no note starts.
    Raises:
        ValueError: there is no such track, or it is of drums.
    """
    chosen = music.pitched
    if track is not None:
        if not 0 <= track < music.n_tracks or music.is_drum[track]:
            pitched = torch.nonzero(~music.is_drum).squeeze(1).tolist()
            raise ValueError(f"track must be a pitched one, of {pitched}: got {track}")
        chosen = music.track == track
    place = (music.sample * music.n_steps + music.start)[chosen]
    highest = torch.full((music.n * music.n_steps,), -1).scatter_reduce_(0, place, music.pitch[chosen], "amax")
    highest = highest.view(music.n, music.n_steps).numpy()
    return [row[row >= 0].astype(np.float64) for row in highest]


def nearest_melody(
    queries: Sequence[np.ndarray],
    corpus: Sequence[np.ndarray],
    query_groups: Tensor | None = None,
    corpus_groups: Tensor | None = None,
    max_corpus: int = 2000,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> NearestMelody:
    """The nearest melody of a corpus for each of n melodies.

    A melody in which fewer than `MIN_NOTES` notes differ from the one before has no nearest, and is none.

    Args:
        queries: n melodies.
        corpus: melodies to look among.
        query_groups: [n] integers; no melody is compared with those of the corpus that have its own number.
        corpus_groups: [len(corpus)] integers.
        max_corpus: so many of the corpus are drawn if it has more; the nearest of more melodies are nearer, so compare
            distances only from corpora of one size.
        seed: which are drawn.
        progress: called with the number of melodies done, and of all that are long enough.
    Raises:
        ValueError: groups are given on one side only, or not one for each melody.
        dtaidistance.exceptions.CythonException: dtaidistance lacks its C library.
    """
    _check_groups(query_groups, len(queries), corpus_groups, len(corpus))
    asked = [i for i, melody in enumerate(queries) if _long_enough(melody)]
    drawn = _drawn([j for j, melody in enumerate(corpus) if _long_enough(melody)], max_corpus, seed)
    distance, melody = torch.full((len(queries),), torch.nan, dtype=torch.float64), torch.full((len(queries),), -1)
    among = [corpus[j] - _centre(corpus[j]) for j in drawn.tolist()]
    for begin in range(0, len(asked) if among else 0, _BLOCK):
        own = torch.tensor(asked[begin : begin + _BLOCK])
        apart = _distances([queries[i] - _centre(queries[i]) for i in own.tolist()], among)
        if query_groups is not None:
            apart[query_groups[own][:, None] == corpus_groups[drawn]] = torch.inf
        nearest = apart.min(1)
        found = nearest.values.isfinite()
        distance[own[found]], melody[own[found]] = nearest.values[found], drawn[nearest.indices[found]]
        if progress is not None:
            progress(begin + len(own), len(asked))
    return NearestMelody(distance, melody)


def alignment(first: np.ndarray, second: np.ndarray) -> Alignment:
    """How one melody is best bent to be another, e.g. for a picture of both.

    The first one is moved so that their centres meet, the medians of their different pitches (of an even number, the lower
    one), which neither warping nor another key changes, and from there by up to two semitones, as a few other notes may
    have changed the centres. Of all moves and all warpings the smallest sum of differences counts.

    Raises:
        ValueError: a melody has no note.
        dtaidistance.exceptions.CythonException: dtaidistance lacks its C library.
    """
    if not len(first) or not len(second):
        raise ValueError(f"melodies must have notes: got {len(first)} and {len(second)}")
    meet = _centre(second) - _centre(first)
    ways = [dtw.warping_paths_fast(first + (meet + move), second, **_ABSOLUTE) for move in _MOVES]
    best = min(range(len(_MOVES)), key=lambda i: ways[i][0])
    total, sums = ways[best]
    path = np.array(dtw.best_path(sums), dtype=np.int64)
    return Alignment(path, int(meet + _MOVES[best]), total / max(len(first), len(second)))


def _distances(queries: list[np.ndarray], corpus: list[np.ndarray]) -> Tensor:
    """Distances as `alignment` has them between melodies that are moved to their centres: [queries, corpus] float64."""
    moved = [query + move for move in _MOVES for query in queries]
    n_rows, n_all = len(moved), len(moved) + len(corpus)
    # Threads where the library has them; asked for where it has not, it would start processes instead.
    parallel = dtw.dtw_cc_omp is not None and bool(dtw.dtw_cc_omp.is_openmp_supported())
    sums = dtw.distance_matrix_fast(
        moved + corpus, block=((0, n_rows), (n_rows, n_all)), compact=True, parallel=parallel, **_ABSOLUTE
    )
    lengths = [torch.tensor([len(melody) for melody in side]) for side in (queries, corpus)]
    least = torch.from_numpy(np.array(sums)).view(len(_MOVES), len(queries), len(corpus)).amin(0)
    return least / torch.maximum(lengths[0][:, None], lengths[1])


def _centre(melody: np.ndarray) -> float:
    """The median of the different pitches, of an even number the lower one."""
    pitches = np.unique(melody)
    return float(pitches[(len(pitches) - 1) // 2])


def _long_enough(melody: np.ndarray) -> bool:
    return len(melody) > 0 and 1 + np.count_nonzero(np.diff(melody)) >= MIN_NOTES


def _drawn(usable: list[int], most: int, seed: int) -> Tensor:
    """At most so many of the indices, ascending: [m] int64."""
    order = torch.randperm(len(usable), generator=generator_for(seed, "melodies"))[:most]
    return torch.tensor(usable, dtype=torch.int64)[order.sort().values]


def _check_groups(query_groups: Tensor | None, n_queries: int, corpus_groups: Tensor | None, n_corpus: int) -> None:
    if (query_groups is None) != (corpus_groups is None):
        raise ValueError("groups must be given for melodies and corpus, or for neither")
    for name, groups, n in (("query_groups", query_groups, n_queries), ("corpus_groups", corpus_groups, n_corpus)):
        if groups is not None and groups.shape != (n,):
            raise ValueError(f"{name} must be one for each of {n} melodies: got {list(groups.shape)}")
