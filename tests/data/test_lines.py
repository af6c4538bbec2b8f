"""One line of phrases: the highest of the tracks that are asked for, from planes or bits, and back to planes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from musegan.data.lines import line_spec, lines_of, roll_of_lines, skyline
from musegan.errors import UserError
from musegan.ops import notes, pack, roll_from_notes
from musegan.roll import Roll, RollSpec, Track

BAND = RollSpec((Track("drums", is_drum=True), Track("piano"), Track("bass", 33)), n_pitches=52, lowest_pitch=36)


def test_skyline_by_hand():
    """A higher note cuts a lower one, which does not come back; a lower one beneath a higher one is not heard."""
    table = np.array([[60, 0, 8], [72, 2, 4], [65, 3, 6], [62, 6, 7], [62, 7, 9], [50, 7, 20]])
    assert skyline(table).tolist() == [[60, 0, 2], [72, 2, 4], [62, 6, 7], [62, 7, 9]]


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 30), st.integers(1, 12)), max_size=20))
def test_skyline_is_one_note_at_a_time_and_holds_each_highest_start(found):
    table = np.array([(pitch, start, start + length) for pitch, start, length in found], np.int64).reshape(-1, 3)
    line = skyline(table)
    assert (line[1:, 1] >= line[:-1, 2]).all() and (line[:, 1] < line[:, 2]).all()
    for pitch, start in line[:, :2].tolist():
        assert pitch == table[table[:, 1] == start, 0].max()
    if len(table):
        highest = table[table[:, 0] == table[:, 0].max()]
        assert set(highest[:, 1].tolist()) <= set(line[:, 1].tolist())
    np.testing.assert_array_equal(skyline(line), line)


def phrases():
    """Three of one bar: a chord over a bass that goes on alone, a drum on each step; nothing but drums; a bass that rises over
    the piano."""
    table = [(0, 0, 2, t, t + 1) for t in range(16)] + [(1, 0, 50, 0, 4)]
    table += [(0, 1, pitch, 0, 4) for pitch in (24, 28, 31)] + [(0, 1, 26, 8, 12), (0, 2, 19, 0, 16)]
    table += [(2, 1, 30, 0, 8), (2, 2, 40, 4, 6)]
    return roll_from_notes(torch.tensor(table), 3, 3, 1, 16, 52)


@pytest.mark.parametrize("track, lines", [
    ("lead", [[[31, 0, 4], [26, 8, 12]], [], [[30, 0, 4], [40, 4, 6]]]),    # a lower note that goes on does not come back
    ("piano", [[[31, 0, 4], [26, 8, 12]], [], [[30, 0, 8]]]),
    ("bass", [[[19, 0, 16]], [], [[40, 4, 6]]]),
])
def test_the_highest_note_of_the_tracks_that_are_asked_for(track, lines):
    assert [line.tolist() for line in lines_of(phrases(), BAND, track)] == lines
    assert [line.tolist() for line in lines_of(phrases().map(pack), BAND, track)] == lines


def test_a_note_that_began_before_the_phrase_begins_with_it():
    roll = phrases()
    roll.onset[0, 1, :, :4] = False
    assert lines_of(roll, BAND, "piano")[0].tolist() == [[31, 0, 4], [26, 8, 12]]


@pytest.mark.parametrize("packed", [False, True])
def test_lines_as_planes(packed):
    lines = lines_of(phrases(), BAND, "lead")
    roll = roll_of_lines(lines, 1, line_spec(BAND, "lead"), packed)
    assert roll.frame.shape == (3, 1, 1, 16, 7 if packed else 52)
    assert notes(roll, 52).tolist() == [
        [0, 0, 31, 0, 4], [0, 0, 26, 8, 12], [2, 0, 30, 0, 4], [2, 0, 40, 4, 6]]


def test_no_phrases_have_no_lines():
    empty = phrases().map(lambda plane: plane[:0])
    assert lines_of(empty, BAND, "lead") == []
    assert roll_of_lines([], 2, line_spec(BAND, "lead")).frame.shape == (0, 1, 2, 16, 52)


def test_what_a_line_is_called():
    assert line_spec(BAND, "lead") == RollSpec((Track("lead"),), n_pitches=52, lowest_pitch=36)
    assert line_spec(BAND, "bass").tracks == (Track("bass", 33),)


@pytest.mark.parametrize("name", ["drums", "flute"])
def test_tracks_without_a_line(name):
    with pytest.raises(UserError, match=f"no pitched track named '{name}'; there are lead, piano, bass"):
        line_spec(BAND, name)
    with pytest.raises(UserError, match="no pitched track"):
        lines_of(Roll(*torch.zeros(2, 1, 3, 1, 16, 52, dtype=torch.bool)), BAND, name)
