"""The condition test tells an accompanist that listens from one that does not."""

import math

import pytest
import torch

from musegan.metrics.condition import condition_test, fit, swapped
from musegan.metrics.music import Music
from musegan.metrics.pairs import chord_tone_rate, onset_coincidence, tonal_distance
from musegan.roll import Roll, RollSpec, Track
from tests.metrics.examples import drawn, random_roll

DUO = RollSpec((Track("lead", 80), Track("chords", 0)))


def scales(n=12):
    """Phrase i: a broken major triad on a root of its own."""
    parts = []
    for i in range(n):
        root = 60 + 5 * i % 12
        parts.append(drawn(DUO, *((0, root + (0, 4, 7, 4)[j % 4], 4 * j, 4 * j + 4) for j in range(8))))
    return Roll(*(torch.cat(planes) for planes in zip(*parts)))


def triads(given):
    """A major triad on the lead's first note, an octave below: it listens."""
    made = given.map(torch.clone)
    for i, phrase in enumerate(given.onset[:, 0].flatten(1, 2)):
        root = int(phrase[0].nonzero()[0])
        for third in (0, 4, 7):
            made.frame[i, 1, :, :, root - 12 + third] = True
            made.onset[i, 1, :, 0, root - 12 + third] = True
    return made


def always_c(given):
    """The same chord whatever is given."""
    made = given.map(torch.clone)
    for pitch in (24, 28, 31):
        made.frame[:, 1, :, :, pitch] = made.onset[:, 1, :, :, pitch] = True
    return made


def test_who_listens_passes():
    test = condition_test(scales(), DUO, 0, triads)
    assert test.own.chord_tones == 1.0 > test.swapped.chord_tones + 0.3
    assert test.own.tonal_distance < test.swapped.tonal_distance - 0.3
    assert test.changed == 1.0 and test.change > 0.7


def test_who_does_not_listen_fails():
    test = condition_test(scales(), DUO, 0, always_c)
    assert test.changed == 0.0 == test.change
    assert test.own == test.swapped    # in a ring, every lead meets every chord once


def test_what_was_made_already_can_be_tested():
    made = triads(scales())
    test, asked = condition_test(made, DUO, 0), condition_test(scales(), DUO, 0, triads)
    assert (test.own, test.swapped) == (asked.own, asked.swapped)
    assert math.isnan(test.changed) and math.isnan(test.change)


def test_the_change_is_that_of_the_other_tracks():
    """Half of the phrases come out otherwise, in one of three starts: counted by hand."""
    given = Roll(*(torch.cat(planes) for planes in zip(drawn(DUO, (0, 60, 0, 4)), drawn(DUO, (0, 62, 0, 4)))))

    def accompany(given):
        made = given.map(torch.clone)
        made.onset[:, 1, 0, [0, 8], 30] = made.frame[:, 1, 0, [0, 8], 30] = True
        made.onset[:, 1, 1, 0, 31] = made.frame[:, 1, 1, 0, 31] = given.onset[:, 0, 0, 0, 36]    # only to a C
        return made

    test = condition_test(given, DUO, 0, accompany)
    assert test.changed == 1.0 and test.change == pytest.approx(1 / 3)


def test_fit_is_that_of_its_pairs():
    spec = RollSpec((Track("a"), Track("b"), Track("c"), Track("d", is_drum=True)))
    music = Music(random_roll(spec, seed=4), spec)
    found = fit(music, 1)
    assert found.chord_tones == pytest.approx(chord_tone_rate(music).value()[1].item())
    for name, tally, columns in (("tonal_distance", tonal_distance(music), [0, 2]),
                                 ("onset_coincidence", onset_coincidence(music), [0, 3, 4])):
        total, count = (sum(part[:, c].sum().item() for c in columns) for part in tally)
        assert getattr(found, name) == pytest.approx(total / count, rel=1e-5)
    drums = fit(music, 3)
    assert math.isnan(drums.chord_tones) and math.isnan(drums.tonal_distance) and 0 <= drums.onset_coincidence <= 1


def test_swapping_takes_the_next_phrase_s_track():
    roll = random_roll(DUO, seed=1)
    other = swapped(roll, 0)
    assert torch.equal(other.frame[0, 0], roll.frame[1, 0]) and torch.equal(other.frame[-1, 0], roll.frame[0, 0])
    assert torch.equal(other.onset[:, 1], roll.onset[:, 1])


def test_who_changes_the_given_track_is_refused():
    with pytest.raises(ValueError, match="the given track must come out as it was"):
        condition_test(scales(), DUO, 0, lambda given: given.map(torch.zeros_like))


def test_what_cannot_be_swapped_is_refused():
    with pytest.raises(ValueError, match="two phrases and two tracks: got 1 and 2"):
        condition_test(scales(1), DUO, 0)
    with pytest.raises(ValueError, match="track must be 0 to 1: got 2"):
        condition_test(scales(), DUO, 2)
