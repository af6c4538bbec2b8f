"""The phrases of a run: parts of different pieces, and a line that says so where there are too few."""

import dataclasses

import pytest

from musegan.config import DataConfig
from musegan.errors import UserError
from musegan.training.splits import split

TWO_BARS = DataConfig(n_bars=2, validation_share=0.3, min_tracks=1)


def pieces(phrases):
    return set(phrases.dataset.piece_of(phrases.starts).tolist())


def test_no_piece_is_in_two_parts(songs):
    parts = split(dataclasses.replace(TWO_BARS, test_share=0.3), songs)
    found = [pieces(part) for part in parts]
    assert all(found) and len(set.union(*found)) == sum(map(len, found))
    # The test pieces are those that `evaluate --held-out` of the same share takes.
    assert found[2] == pieces(split(TWO_BARS, songs).validation)


def test_without_a_share_there_is_no_test_part(songs):
    training, validation, test = split(TWO_BARS, songs)
    assert test is None and pieces(training) | pieces(validation) == set(range(len(songs.pieces)))


def test_shares_that_leave_nothing_to_train_on():
    with pytest.raises(UserError, match="test_share must lie in .*: got 0.7"):
        DataConfig(validation_share=0.3, test_share=0.7)
