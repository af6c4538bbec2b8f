"""Counting pitches in packed bars."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musegan.data import counts
from musegan.data.counts import pitch_counts
from musegan.ops import pack


def by_the_definition(roll):
    """[bars, K, T, P] bool -> [bars, K, P]."""
    result = torch.zeros(roll.shape[0], roll.shape[1], roll.shape[3], dtype=torch.int32)
    for bar, track, _, pitch in roll.nonzero().tolist():
        result[bar, track, pitch] += 1
    return result


@given(st.integers(0, 3), st.integers(1, 2), st.integers(1, 50), st.integers(1, 20), st.sampled_from([0.1, 0.5, 1.0]))
@settings(max_examples=50, deadline=None)
def test_counts_are_the_numbers_of_steps(n_bars, n_tracks, n_steps, n_pitches, density):
    roll = torch.rand(n_bars, n_tracks, n_steps, n_pitches) < density
    assert torch.equal(pitch_counts(pack(roll), n_pitches), by_the_definition(roll))


@pytest.mark.parametrize("n_steps", [1, 2, 3, 255, 256, 300])
def test_a_pitch_that_always_sounds(n_steps):
    roll = torch.zeros(2, 1, n_steps, 84, dtype=torch.bool)
    roll[1, 0, :, 83] = True
    expected = torch.zeros(2, 1, 84, dtype=torch.int32)
    expected[1, 0, 83] = n_steps
    assert torch.equal(pitch_counts(pack(roll), 84), expected)


def test_no_steps():
    assert pitch_counts(torch.zeros(2, 1, 0, 3, dtype=torch.uint8), 20).tolist() == [[[0] * 20]] * 2


def test_chunks_are_put_together_in_order(monkeypatch):
    roll = torch.rand(7, 2, 5, 9) < 0.5
    monkeypatch.setattr(counts, "_CHUNK_BYTES", 3 * 2 * 5 * 2)    # three bars
    assert torch.equal(pitch_counts(pack(roll), 9), by_the_definition(roll))
