"""The distance between sets of phrases tells apart what it should."""

import math

import pytest
import torch

from musegan.metrics.distance import bar_overlap, distance, histograms
from musegan.roll import PRESETS, Roll, RollSpec
from tests.models.test_layout import random_roll

SPEC = RollSpec(PRESETS["lpd5"])


def measure(roll, other):
    return distance(histograms(roll, SPEC), histograms(other, SPEC))


def silence(n=4, bars=2):
    frame = torch.zeros(n, 5, bars, 16, 84, dtype=torch.bool)
    return Roll(frame, frame.clone())


def test_a_set_is_at_no_distance_from_itself():
    roll = random_roll(SPEC)
    assert measure(roll, roll) == 0


def test_order_of_phrases_does_not_matter():
    roll = random_roll(SPEC, n=6)
    assert measure(roll, roll.map(lambda plane: plane.flip(0))) == 0


def test_another_density_is_farther_than_another_draw():
    roll, again, dense = (random_roll(SPEC, n=40, seed=s, density=d) for s, d in ((0, 0.02), (1, 0.02), (2, 0.1)))
    assert measure(roll, again) < measure(roll, dense) / 2


def test_one_note_counts_where_it_is():
    roll = silence(n=1)
    roll.frame[0, 1, 1, 4:7, 36] = True    # piano, bar 2, beat 2, C4 for three steps
    roll.onset[0, 1, 1, 4, 36] = True
    counts = histograms(roll, SPEC)
    assert counts["piano: pitch"].nonzero().tolist() == [[36]]
    assert counts["piano: position"].nonzero().tolist() == [[4]]
    assert counts["piano: length"].nonzero().tolist() == [[2]]
    assert counts["pitch class"].nonzero().tolist() == [[(36 + 24) % 12]]
    assert counts["piano: notes"].tolist()[:2] == [1, 1]    # a silent bar, and one with a note
    assert counts["tracks"].tolist() == [1, 1, 0, 0, 0, 0]
    assert counts["piano: sounding"].tolist()[:2] == [29, 3]


def test_silence_on_one_side_counts_as_far():
    roll = random_roll(SPEC)
    assert measure(silence(), roll) > 0.9
    assert measure(silence(), silence()) == 0


def test_nothing_at_all_is_not_a_number():
    empty = silence(n=0)
    assert math.isnan(measure(empty, empty))


def test_overlap_against_its_definition():
    onset = torch.zeros(1, 3, 16, 84, dtype=torch.bool)
    onset[0, 0, 0, [1, 2, 3]] = onset[0, 1, 0, [2, 3, 4]] = True
    assert bar_overlap(onset)[0].tolist() == [pytest.approx(2 / 4), 0.0]
    assert bar_overlap(torch.zeros_like(onset))[0].tolist() == [1.0, 1.0]
