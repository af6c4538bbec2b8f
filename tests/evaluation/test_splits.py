"""Halves of the real data: by piece, of the right size, decided by the seed."""

import pytest
import torch

from musegan.errors import UserError
from musegan.evaluation.splits import choose, split, weights
from tests.evaluation.music import scales


def test_halves_have_no_piece_in_common():
    corpus = scales(n=100)
    splits = split(corpus, n=30, seed=0, n_splits=20)
    for first, second in zip(splits.first, splits.second):
        assert not set(corpus.piece[first].tolist()) & set(corpus.piece[second].tolist())
        assert len(corpus.piece[second].unique()) == 5
        assert len(first.unique()) == 30 == splits.n


def test_no_more_phrases_than_half_of_the_pieces_has():
    assert split(scales(n=100), n=1000, seed=0, n_splits=5).n == 50


def test_the_seed_decides():
    corpus = scales(n=100)
    first, again, other = (split(corpus, 20, seed, n_splits=5) for seed in (0, 0, 1))
    assert torch.equal(first.first, again.first) and torch.equal(first.second, again.second)
    assert not torch.equal(first.first, other.first)


def test_splits_differ():
    splits = split(scales(n=100), 20, 0, n_splits=10)
    assert len(splits.second.unique(dim=0)) > 5


def test_one_piece_is_too_few():
    corpus = scales(n=40)
    with pytest.raises(UserError, match="two pieces at least is needed.*got 1"):
        split(corpus.take(corpus.piece == 3), 20, 0)


def test_few_phrases_are_too_few():
    with pytest.raises(UserError, match="too few phrases to compare: 3, at least 10"):
        split(scales(n=100), 3, 0)
    with pytest.raises(UserError, match="too few phrases to compare"):
        split(scales(n=12), 100, 0)


def test_a_choice_is_of_what_is_there():
    index = torch.tensor([3, 5, 8, 13])
    assert choose(index, 10, 0, "all").tolist() == [3, 5, 8, 13]
    drawn = [choose(index, 2, seed, "some") for seed in range(50)]
    assert all(len(d) == 2 and d[0] < d[1] for d in drawn)
    assert len({tuple(d.tolist()) for d in drawn}) == 6


def test_weights_mark_what_is_chosen():
    assert weights(torch.tensor([[0, 2], [1, 2]]), 4).tolist() == [[1, 0, 1, 0], [0, 1, 1, 0]]
