"""What was copied: the nearest phrases and melodies of the training data, beside the same of other real music."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from musegan.evaluation.corpus import Corpus
from musegan.evaluation.splits import choose
from musegan.metrics.melody import melodies, nearest_melody
from musegan.metrics.music import Music
from musegan.metrics.originality import Index, Nearest, near_duplicates

MAX_QUERIES = 1000    # phrases of each side that are looked for
MAX_MELODIES = 150    # of each track and side that are looked for
MAX_CORPUS_MELODIES = 1000    # among which
LONG_MELODY = 128    # notes; of longer ones fewer are looked for, as warping takes time by the square of the length
N_SHOWN = 4    # pairs of the most similar phrases

Say = Callable[[str], None]


class Spread(NamedTuple):
    """Numbers of single phrases; NaN where there are none."""

    n: int
    """Phrases with a value."""
    median: float
    extreme: float
    """The 95th percentile of similarities, the 5th of distances: what the closest twentieth reaches."""
    closest: float


class Pair(NamedTuple):
    """A generated phrase and the nearest of the corpus."""

    generated: int
    """Index in its corpus."""
    nearest: int
    semitones: int
    """By which the generated one's pitched tracks must move."""
    similarity: float


class MelodyRow(NamedTuple):
    """Warping distance of a track's melodies from the nearest of the corpus, semitones a note."""

    track: str
    generated: Spread
    real: Spread


class Originality(NamedTuple):
    """How near the generated phrases are to real ones, and to each other."""

    corpus: str
    """`train`, or `real` where no training data was given."""
    n_corpus: int
    """Phrases that were searched, all of them exactly."""
    generated: Spread
    """Similarity of generated phrases to the nearest of the corpus, in any key: 1 has all note starts in common."""
    real: Spread
    """The same of real phrases; where the corpus is the real music itself, to the nearest of another piece."""
    copied: float
    """Share of the generated phrases that have a similarity of 0.9 or more."""
    copied_real: float
    duplicates: float
    """Share of the generated phrases that are so similar to another generated one, among as many phrases of either side."""
    duplicates_real: float
    """Share of the real phrases that are so similar to one of another real piece."""
    closest: list[Pair]
    melodies: list[MelodyRow]


def originality(
    real: Corpus, generated: Corpus, train: Corpus | None, seed: int, say: Say = lambda line: None
) -> Originality:
    """Searches.

    Args:
        real, generated, train: of one spec and length. Phrases of `real` must not be of `train`, or they find themselves.
    """
    corpus = real if train is None else train
    say("looking for the nearest phrases")
    index = Index.of((_music(part) for part in corpus.chunks()), corpus.piece)
    sides = []
    for name, side in (("generated", generated), ("real", real)):
        chosen = choose(torch.arange(len(side)), MAX_QUERIES, seed, "originality", name)
        sides.append((chosen, side.take(chosen)))
    (chosen, queries), (_, real_queries) = sides
    same = real_queries.piece if train is None else None    # a real phrase is not compared with its own piece
    nearest, nearest_real = index.nearest(_music(queries)), index.nearest(_music(real_queries), same)
    say("looking for duplicates")
    n = min(len(generated), len(real))    # the more phrases, the likelier has one its like
    duplicates = _duplicates(generated, n, seed, "generated")
    duplicates_real = _duplicates(real, n, seed, "real")
    say("warping melodies")
    return Originality(
        corpus="real" if train is None else "train",
        n_corpus=len(corpus),
        generated=_similarities(nearest),
        real=_similarities(nearest_real),
        copied=near_duplicates(nearest),
        copied_real=near_duplicates(nearest_real),
        duplicates=duplicates,
        duplicates_real=duplicates_real,
        closest=_closest(nearest, chosen),
        melodies=_melodies(real, generated, corpus, train is None, seed),
    )


def _duplicates(side: Corpus, n: int, seed: int, name: str) -> float:
    """Of `n` phrases, the share that is as similar as copies are to another of them, of another piece."""
    among = side.take(choose(torch.arange(len(side)), n, seed, "duplicates", name))
    queries = among.take(choose(torch.arange(n), MAX_QUERIES, seed, "duplicate queries", name))
    index = Index.of((_music(part) for part in among.chunks()), among.piece)
    return near_duplicates(index.nearest(_music(queries), queries.piece))


def _music(corpus: Corpus) -> Music:
    return Music(corpus.roll, corpus.spec)


def _similarities(nearest: Nearest) -> Spread:
    return _spread(nearest.similarity, 0.95, torch.max)


def _spread(values: Tensor, extreme: float, closest: Callable) -> Spread:
    values = values[~values.isnan()]
    if not len(values):
        return Spread(0, *[float("nan")] * 3)
    return Spread(len(values), float(values.median()), float(values.quantile(extreme)), float(closest(values)))


def _closest(nearest: Nearest, chosen: Tensor) -> list[Pair]:
    order = nearest.similarity.nan_to_num(-1).argsort(descending=True, stable=True)
    return [
        Pair(int(chosen[i]), int(nearest.phrase[i]), int(nearest.semitones[i]), float(nearest.similarity[i]))
        for i in order[:N_SHOWN].tolist()
        if nearest.phrase[i] >= 0
    ]


def _share_of_melodies(corpus: list[np.ndarray]) -> float:
    """Which share of the melodies to take on both sides, so that long ones take no more time than those of `LONG_MELODY`."""
    squares = [len(melody) ** 2 for melody in corpus]
    return min(1.0, LONG_MELODY / max(sum(squares) / max(len(squares), 1), 1.0) ** 0.5)


def _melodies(real: Corpus, generated: Corpus, corpus: Corpus, same: bool, seed: int) -> list[MelodyRow]:
    """Of each pitched track. Where the corpus is the real music, a real melody is not compared with its own piece."""
    rows = []
    for k, track in enumerate(real.spec.tracks):
        if track.is_drum:
            continue
        music, piece = {}, {}
        for name, side, most in (
            ("corpus", corpus, MAX_CORPUS_MELODIES), ("generated", generated, MAX_MELODIES), ("real", real, MAX_MELODIES),
        ):    # fmt: skip
            sounds = torch.nonzero(side.roll.frame[:, k].flatten(1).any(1)).squeeze(1)
            part = side.take(choose(sounds, most, seed, "melodies", name, k))
            music[name], piece[name] = melodies(_music(part), k), part.piece
        share = _share_of_melodies(music["corpus"])
        if share < 1:    # phrases are in random order
            for name, found in music.items():
                n = max(int(share * len(found)), 1)
                music[name], piece[name] = found[:n], piece[name][:n]
        found = nearest_melody(music["generated"], music["corpus"], seed=seed)
        groups = (piece["real"], piece["corpus"]) if same else (None, None)
        found_real = nearest_melody(music["real"], music["corpus"], *groups, seed=seed)
        rows.append(MelodyRow(track.name, *(_spread(each.distance, 0.05, torch.min) for each in (found, found_real))))
    return rows
