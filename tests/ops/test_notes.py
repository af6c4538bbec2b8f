"""Notes of a roll, and back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from musegan.ops.notes import notes, roll_from_notes
from musegan.roll import Roll

SHAPES = st.tuples(*[st.integers(1, 2)] * 3, st.integers(1, 5), st.integers(1, 3))    # N, K, B, T, P


@st.composite
def rolls(draw):
    shape = draw(SHAPES)
    frame = torch.from_numpy(draw(hnp.arrays(bool, shape)))
    onset = torch.from_numpy(draw(hnp.arrays(bool, shape)))
    return Roll(frame, onset & frame)


def line(frame: str, onset: str = "") -> Roll:
    """One track of one pitch in one bar: `x` is True, anything else False."""
    onset = onset.ljust(len(frame))
    return Roll(*(torch.tensor([c == "x" for c in text]).view(1, 1, 1, -1, 1) for text in (frame, onset)))


def spans(roll: Roll) -> list[tuple[int, int]]:
    return [tuple(row) for row in notes(roll)[:, 3:].tolist()]


def notes_by_loop(roll: Roll) -> list[list[int]]:
    """The definition, one cell at a time."""
    frame, onset = roll.map(lambda plane: plane.flatten(2, 3).tolist())
    found = []
    for n, tracks in enumerate(frame):
        for k, steps in enumerate(tracks):
            for p in range(roll.frame.shape[-1]):
                start = None
                for s in range(len(steps) + 1):
                    sounds = s < len(steps) and steps[s][p]
                    strikes = sounds and (onset[n][k][s][p] or s == 0 or not steps[s - 1][p])
                    if start is not None and (strikes or not sounds):
                        found.append([n, k, p, start, s])
                        start = None
                    if strikes:
                        start = s
    return sorted(found, key=lambda note: (note[0], note[1], note[3], note[2]))


def test_a_held_note_is_one_note():
    assert spans(line(" xxx ", " x   ")) == [(1, 4)]


def test_a_note_struck_again_is_two():
    assert spans(line("xxxx", "x x ")) == [(0, 2), (2, 4)]


def test_without_onsets_a_rising_frame_starts_a_note():
    assert spans(line("xx x")) == [(0, 2), (3, 4)]


def test_a_note_goes_on_over_the_bar_line():
    frame = torch.ones(1, 1, 2, 4, 1, dtype=torch.bool)
    onset = torch.zeros_like(frame)
    onset[0, 0, 0, 1] = True
    assert spans(Roll(frame, onset)) == [(0, 1), (1, 8)]


def test_order_is_sample_track_start_pitch():
    frame = torch.ones(2, 2, 1, 1, 2, dtype=torch.bool)
    assert notes(Roll(frame, frame))[:, :3].tolist() == [[n, k, p] for n in (0, 1) for k in (0, 1) for p in (0, 1)]


@settings(max_examples=80, deadline=None)
@given(rolls())
def test_notes_equal_the_definition(roll):
    assert notes(roll).tolist() == notes_by_loop(roll)


@settings(max_examples=80, deadline=None)
@given(rolls())
def test_roll_to_notes_and_back(roll):
    n_samples, n_tracks, n_bars, steps_per_bar, n_pitches = roll.frame.shape
    found = notes(roll)
    again = roll_from_notes(found, n_samples, n_tracks, n_bars, steps_per_bar, n_pitches)
    assert torch.equal(again.frame, roll.frame)
    assert bool((again.onset >= roll.onset).all())
    assert torch.equal(notes(again), found)
    shuffled = found[torch.randperm(len(found))]
    assert torch.equal(roll_from_notes(shuffled, *roll.frame.shape).onset, again.onset)


def test_notes_of_a_view_that_is_not_contiguous():
    generator = torch.Generator().manual_seed(0)
    frame = torch.rand(3, 2, 6, 4, 2, generator=generator) < 0.5
    roll = Roll(frame.permute(4, 1, 3, 2, 0), torch.zeros(2, 2, 4, 6, 3, dtype=torch.bool))
    assert notes(roll).tolist() == notes_by_loop(roll)


@pytest.mark.parametrize("shape", [(0, 5, 4, 16, 84), (2, 5, 0, 16, 84), (2, 5, 4, 16, 84)])
def test_silence_has_no_notes(shape):
    silence = torch.zeros(shape, dtype=torch.bool)
    found = notes(Roll(silence, silence))
    assert found.shape == (0, 5) and found.dtype == torch.int64
    assert torch.equal(roll_from_notes(found, *shape).frame, silence)


def test_a_later_note_cuts_an_earlier_one():
    roll = roll_from_notes(torch.tensor([[0, 0, 0, 0, 4], [0, 0, 0, 2, 6]]), 1, 1, 1, 8, 1)
    assert spans(roll) == [(0, 2), (2, 6)]


def test_onsets_without_frame_are_refused():
    with pytest.raises(ValueError, match="an onset must sound"):
        notes(line("  ", "x"))


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ([0, 0, 0, 2, 2], "end_step must be after start_step"),
        ([0, 0, 0, 2, 9], "end_step must be 0 to 8: got 9"),
        ([1, 0, 0, 0, 1], "sample must be 0 to 0: got 1"),
        ([0, 0, -1, 0, 1], "pitch_index must be 0 to 0: got -1"),
        ([0, 0, 0, 1], r"expected \[n, 5\], got \[1, 4\]"),
    ],
)
def test_notes_that_do_not_fit_are_refused(note, message):
    with pytest.raises(ValueError, match=message):
        roll_from_notes(torch.tensor([note]), 1, 1, 2, 4, 1)


def test_notes_that_are_not_integers_are_refused():
    with pytest.raises(TypeError, match="must be integers"):
        roll_from_notes(torch.zeros(1, 5), 1, 1, 1, 4, 1)
