"""Halves of the real data, split by piece: what every distance is measured against, and what chance alone makes of it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from musegan.errors import UserError
from musegan.evaluation.corpus import Corpus
from musegan.seeding import generator_for

N_SPLITS = 100
MIN_PHRASES = 10    # compared; histograms of fewer say nothing


class Splits(NamedTuple):
    """S ways to divide the real pieces in two, and phrases for every row of a report.

    In split s the phrases `first[s]`, of one half of the pieces, stand for a perfect model: as many as are taken of every
    row. All are compared with the phrases `second[s]`, of the other half.
    """

    first: Tensor
    """[S, n] int64 indices of real phrases."""
    second: Tensor
    """[S, N] bool, over all real phrases."""
    n: int
    """Phrases of each row."""


def split(corpus: Corpus, n: int, seed: int, n_splits: int = N_SPLITS) -> Splits:
    """Divides a corpus.

    Args:
        n: phrases of each row; fewer are taken where half of the corpus has fewer.
    Raises:
        UserError: one piece only, or fewer than `MIN_PHRASES` phrases in a half or in `n`.
    """
    _, number = corpus.piece.unique(return_inverse=True)
    n_pieces = corpus.n_pieces
    if n_pieces < 2:
        raise UserError(f"real music of two pieces at least is needed, to see how far apart real pieces are: got {n_pieces}")
    halves = []
    for s in range(n_splits):
        order = torch.randperm(n_pieces, generator=generator_for(seed, "split", s))
        second = torch.ones(n_pieces, dtype=torch.bool)
        second[order[: n_pieces // 2]] = False
        halves.append(second[number])
    second = torch.stack(halves)
    smallest = int(torch.minimum((~second).sum(1), second.sum(1)).min())
    n = min(n, smallest)
    if n < MIN_PHRASES:
        raise UserError(
            f"too few phrases to compare: {n}, at least {MIN_PHRASES} are needed of what is generated and in each half "
            f"of the real pieces ({len(corpus)} phrases of {n_pieces} pieces)"
        )
    first = torch.stack([choose(torch.nonzero(~half).squeeze(1), n, seed, "first", s) for s, half in enumerate(second)])
    return Splits(first, second, n)


def choose(index: Tensor, n: int, seed: int, *purpose: str | int) -> Tensor:
    """`n` of some indices, or all where there are fewer, at random and in ascending order."""
    order = torch.randperm(len(index), generator=generator_for(seed, *purpose))
    return index[order[:n]].sort().values


def weights(index: Tensor, size: int) -> Tensor:
    """[S, size] float64, 1 where an index of [S, n] points."""
    return torch.zeros(len(index), size, dtype=torch.float64).scatter_(1, index, 1.0)
