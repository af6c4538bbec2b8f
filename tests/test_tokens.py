"""Tokens of melodies: exact both ways, in both encodings; the grammar holds what is written, and refuses what is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musegan.tokens import BEGIN, END, FIRST_PITCH, REST, Vocabulary

P, T = 12, 8
GRID, EVENTS = Vocabulary("grid", P, T), Vocabulary("events", P, T)
HOLD = FIRST_PITCH + P


def lasting(n_steps):
    """The token of a length in steps."""
    return FIRST_PITCH + P + n_steps - 1


@st.composite
def lines(draw):
    """A line and how many steps it lasts: rests and notes of up to three bars, some struck again at once."""
    notes, now = [], 0
    for gap, length, pitch in draw(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 3 * T), st.integers(0, P - 1)))):
        notes.append((pitch, now + gap, now + gap + length))
        now += gap + length
    return np.array(notes, np.int64).reshape(-1, 3), now + draw(st.integers(0, 20))


@pytest.mark.parametrize("vocabulary", [GRID, EVENTS], ids=["grid", "events"])
@given(lines())
def test_there_and_back(vocabulary, line):
    notes, n_steps = line
    tokens = vocabulary.encode(notes, n_steps)
    np.testing.assert_array_equal(vocabulary.decode(tokens), notes)
    np.testing.assert_array_equal(vocabulary.decode([BEGIN, *tokens, END]), notes)
    assert int(vocabulary.lasting[tokens].sum()) == n_steps
    if vocabulary is GRID:
        assert len(tokens) == n_steps


@pytest.mark.parametrize("vocabulary", [GRID, EVENTS], ids=["grid", "events"])
@given(st.data())
def test_what_may_follow_is_what_can_be_read(vocabulary, data):
    """Any walk through the grammar is a melody, which is written in as many steps."""
    tokens = [BEGIN]
    for _ in range(data.draw(st.integers(0, 30))):
        may_follow = [t for t in np.flatnonzero(vocabulary.follows[tokens[-1]]).tolist() if t != END]
        tokens.append(data.draw(st.sampled_from(may_follow)))
    line = vocabulary.decode(tokens)
    assert (line[1:, 1] >= line[:-1, 2]).all() and (line[:, 1] < line[:, 2]).all()
    assert line[:, 2].max(initial=0) <= int(vocabulary.lasting[tokens].sum())


def test_written_by_hand():
    """A rest of 2 steps, a note of 3, the same struck again for a bar and a step."""
    line = np.array([[4, 2, 5], [4, 5, 5 + T + 1]])
    assert GRID.encode(line, 16).tolist() == [REST] * 2 + [7, HOLD, HOLD, 7] + [HOLD] * 8 + [REST] * 2
    assert EVENTS.encode(line, 16).tolist() == [
        REST, lasting(2), 7, lasting(3), 7, lasting(T), lasting(1), REST, lasting(2)]
    assert (GRID.size, EVENTS.size) == (3 + P + 1, 3 + P + T)


@pytest.mark.parametrize("vocabulary, tokens, message", [
    (GRID, [HOLD], f"token {HOLD} may not come after {BEGIN}, at 0"),
    (GRID, [5, REST, HOLD], "may not come after 2, at 2"),
    (GRID, [5, END, 5], "may not come after 1, at 2"),
    (EVENTS, [5, 6], "may not come after 5, at 1"),
    (EVENTS, [5, lasting(3), lasting(2)], "at 2"),
    (EVENTS, [lasting(3)], "at 0"),
    (GRID, [HOLD + 1], "tokens must be 0 to 15: got 16 to 16"),
])
def test_what_is_no_melody_is_refused(vocabulary, tokens, message):
    with pytest.raises(ValueError, match=message):
        vocabulary.decode(tokens)


@pytest.mark.parametrize("arguments, message", [
    (("words", P, T), "encoding must be grid or events: got 'words'"),
    (("grid", 200, T), "n_pitches must be a whole number, 1 to 128: got 200"),
    (("grid", P, True), "steps_per_bar must be a whole number"),
])
def test_vocabularies_that_there_are_not(arguments, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(*arguments)
