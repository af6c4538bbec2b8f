"""Naive rows: real phrases, spoilt in one way each, that an evaluation must tell from real ones.

| row | what is kept | what is spoilt |
|---|---|---|
| re-paired | each track as it is | tracks are of different pieces, so that they do not fit each other |
| bars shuffled | each bar as it is | the order of the bars in each phrase |
| transposed apart | each track's rhythm and shape | pitched tracks move each by its own number of semitones |
| Bernoulli | how often each cell sounds and starts | each cell is drawn by itself |
| replay | everything: phrases of the training data | nothing is new |
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from musegan.evaluation.corpus import Corpus
from musegan.keys import transpose_tracks
from musegan.ops import bernoulli
from musegan.roll import Roll
from musegan.seeding import derived_seed, generator_for

RE_PAIRED, SHUFFLED, TRANSPOSED, BERNOULLI, REPLAY = ROWS = (
    "re-paired", "bars shuffled", "transposed apart", "Bernoulli", "replay",
)    # fmt: skip
LOWEST_MOVE, HIGHEST_MOVE = -6, 5    # semitones of `transposed_apart`


def re_paired(corpus: Corpus, seed: int) -> Corpus:
    """Track k of phrase n comes from a phrase of another piece, for every k but the first.

    Where there are too few pieces for that, from one of the same.
    """
    order = _blocks_of_pieces(corpus, seed)
    n, n_tracks = len(corpus), corpus.spec.n_tracks
    place = torch.empty(n, dtype=torch.int64)
    place[order] = torch.arange(n)
    roll = corpus.roll.map(torch.clone)
    for k in range(1, n_tracks):
        # Of phrases in the order of their pieces, one that is k / K of the whole set away.
        source = order[(place + k * n // n_tracks) % max(n, 1)]
        for plane, original in zip(roll, corpus.roll):
            plane[:, k] = original[source, k]
    return Corpus(roll, corpus.piece, corpus.spec)


def bars_shuffled(corpus: Corpus, seed: int) -> Iterator[Corpus]:
    """The bars of each phrase in a random order that is not the true one. One bar stays as it is."""
    for number, part in enumerate(corpus.chunks()):
        draws = torch.rand(len(part), part.n_bars, generator=generator_for(seed, SHUFFLED, number))
        order = draws.argsort(1)
        same = (order == torch.arange(part.n_bars)).all(1)
        order[same] = order[same].roll(1, 1)
        index = order[:, None, :, None, None]
        yield Corpus(part.roll.map(lambda plane: plane.take_along_dim(index, 2)), part.piece, part.spec)


def transposed_apart(corpus: Corpus, seed: int) -> Iterator[Corpus]:
    """Each pitched track of each phrase moves by -6 to 5 semitones, each as likely; what leaves the pitches is cut."""
    for number, part in enumerate(corpus.chunks()):
        rng = generator_for(seed, TRANSPOSED, number)
        moves = torch.randint(LOWEST_MOVE, HIGHEST_MOVE + 1, (len(part), part.spec.n_tracks), generator=rng)
        yield Corpus.of_roll(transpose_tracks(part.unpacked(), moves, part.spec), part.spec, part.piece)


def bernoulli_cells(corpus: Corpus, seed: int) -> Iterator[Corpus]:
    """Each cell sounds, and starts where it sounds, as often as at its place in the real phrases, but by itself."""
    sounding, starting = (_mean(corpus, plane) for plane in Roll._fields)    # [K, B, T, P]
    share = starting / sounding.clamp(min=1 / max(len(corpus), 1))
    first = 0
    for part in corpus.chunks():
        frame, onset = (
            bernoulli(p.logit().float().expand(len(part), *p.shape), derived_seed(seed, BERNOULLI, name), first)
            for name, p in (("frame", sounding), ("onset", share.clamp(0, 1)))
        )
        yield Corpus.of_roll(Roll(frame, frame & onset), part.spec, part.piece)
        first += len(part) * sounding.numel()


def _blocks_of_pieces(corpus: Corpus, seed: int) -> Tensor:
    """Indices of the phrases, those of a piece together, the pieces in random order."""
    _, number = corpus.piece.unique(return_inverse=True)
    rank = torch.randperm(int(number.max()) + 1 if len(number) else 0, generator=generator_for(seed, RE_PAIRED))
    return rank[number].argsort(stable=True)


def _mean(corpus: Corpus, plane: str) -> Tensor:
    """[K, B, T, P] float64, in which share of the phrases each cell is set."""
    total = sum(getattr(part.unpacked(), plane).sum(0, dtype=torch.float64) for part in corpus.chunks())
    return total / len(corpus)
