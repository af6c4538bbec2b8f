"""Tokens of melodies and bands: exact both ways; the grammar holds what is written, and refuses the rest."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from musegan.errors import UserError
from musegan.roll import RollSpec, Track
from musegan.tokens import BEGIN, END, FIRST_NOTE, FIRST_PITCH, REST, LineVocabulary, TrackVocabulary, vocabulary_of

P, T = 12, 8
GRID, EVENTS = LineVocabulary(P, T, "grid"), LineVocabulary(P, T, "events")
BAND = TrackVocabulary(P, T, (True, False, False))    # drums and two more
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


@st.composite
def bands(draw):
    """Notes of three tracks in any order, none over another in its voice, and how many steps they last."""
    n_steps, notes = draw(st.integers(1, 4 * T)), []
    for voice in draw(st.sets(st.integers(0, 3 * P - 1), max_size=6)):
        times = sorted(draw(st.sets(st.integers(0, n_steps), min_size=2, max_size=8)))
        for start, end in zip(times, times[1:]):
            if draw(st.booleans()):
                notes.append((voice, start, start + 1 if voice < P else end))
    return np.array(draw(st.permutations(notes)), np.int64).reshape(-1, 3), n_steps


@given(bands())
def test_bands_there_and_back(band):
    notes, n_steps = band
    tokens = BAND.encode(notes, n_steps)
    in_order = notes[np.lexsort((notes[:, 0], notes[:, 1]))]
    np.testing.assert_array_equal(BAND.decode(tokens), in_order)
    np.testing.assert_array_equal(BAND.decode([BEGIN, *tokens, END] if len(tokens) else [BEGIN]), in_order)
    assert int(BAND.lasting[tokens].sum()) == n_steps


@pytest.mark.parametrize("vocabulary", [GRID, EVENTS, BAND], ids=["grid", "events", "tracks"])
@given(st.data())
def test_any_walk_through_the_grammar_is_music_of_so_many_steps(vocabulary, data):
    """Whatever is chosen of what is allowed, it ends at its time and not before, and is written as it was chosen."""
    n_steps, tokens, place = data.draw(st.integers(1, 2 * T + 3)), [], vocabulary.begin(1)
    n_begun = data.draw(st.integers(0, n_steps)) if vocabulary is BAND else 0    # silent ones, and may be more
    while place.elapsed < n_steps:
        allowed = vocabulary.allowed(place, n_steps, n_begun)[0]
        assert allowed.any() and not allowed[[BEGIN, END]].any()
        tokens.append(data.draw(st.sampled_from(torch.nonzero(allowed).squeeze(1).tolist()[::-1])))
        place = vocabulary.after(place, torch.tensor(tokens[-1:]))
    assert torch.nonzero(vocabulary.allowed(place, n_steps)[0]).tolist() == [[END]]
    notes = vocabulary.decode(tokens)
    assert (notes[:, 1] < notes[:, 2]).all() and notes[:, 2].max(initial=0) <= n_steps
    assert notes[:, 1].min(initial=n_steps) >= n_begun
    assert int(vocabulary.lasting[tokens].sum()) == n_steps
    if vocabulary is GRID or vocabulary is BAND and not _is_cut(tokens):
        assert vocabulary.encode(notes, n_steps).tolist() == tokens


def _is_cut(tokens):
    """Whether a note of a band is struck again before the length that it was given is over."""
    ends, now = {}, 0
    for token in tokens:
        now += int(BAND.lasting[token])
        if BAND.voice[token] >= 0:
            latest = int(BAND.voice[token])
            if ends.get(latest, 0) > now:
                return True
            ends[latest] = now
        if BAND.length[token]:
            ends[latest] += int(BAND.length[token])
    return False


@given(bands())
def test_what_nothing_starts_in_may_be_left_open(band):
    """The same notes and, of the way from the last of them to the end, nothing."""
    notes, n_steps = band
    tokens = BAND.encode(notes, n_steps)
    rest = BAND.open_ended(tokens)
    assert tokens[: len(rest)].tolist() == rest.tolist() and BAND.decode(rest).tolist() == BAND.decode(tokens).tolist()
    assert int(BAND.lasting[rest].sum()) == notes[:, 1].max(initial=0)
    assert GRID.open_ended(np.array([REST, 5])).tolist() == [REST, 5]


def test_a_band_by_hand():
    """A hit and two notes at once, one of them held over the other's second start; then a bar and two steps of nothing."""
    length, shift = FIRST_NOTE + 3 * P - 1, FIRST_NOTE + 3 * P + T - 1    # of no steps
    notes = np.array([[P + 5, 0, T + 3], [3, 0, 1], [2 * P + 1, 0, 2], [2 * P + 1, 2, 4]])
    tokens = [FIRST_NOTE + 3, FIRST_NOTE + P + 5, length + T, length + 3, FIRST_NOTE + 2 * P + 1, length + 2, shift + 2,
              FIRST_NOTE + 2 * P + 1, length + 2, shift + T, shift + 2]
    assert BAND.encode(notes, T + 4).tolist() == tokens
    assert BAND.decode(tokens).tolist() == notes[[1, 0, 2, 3]].tolist()
    assert BAND.size == FIRST_NOTE + 3 * P + 2 * T
    assert BAND.pitch[tokens].tolist() == [-1, 5, -1, -1, 1, -1, -1, 1, -1, -1, -1]    # of drums, none to be moved
    again = [FIRST_NOTE + P, length + 8, shift + 2, FIRST_NOTE + P, length + 1, shift + 6]
    assert BAND.decode(again).tolist() == [[P, 0, 2], [P, 2, 3]]    # struck again, the first ends


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
    (BAND, [FIRST_NOTE + P, FIRST_NOTE + P + 1], "at 1"),    # a pitch without a length
    (BAND, [FIRST_NOTE, BAND.size - T - 1], "at 1"),    # a hit with one
    (BAND, [FIRST_NOTE + 3, FIRST_NOTE + 3], "notes of one step must come in order: token 5, at 1, does not"),
    (BAND, [FIRST_NOTE + 3, END], "at 1"),    # before its step is over
])
def test_what_is_no_music_is_refused(vocabulary, tokens, message):
    with pytest.raises(ValueError, match=message):
        vocabulary.decode(tokens)


@pytest.mark.parametrize("arguments, message", [
    ((P, T, "words"), "encoding must be grid or events: got 'words'"),
    ((200, T, "grid"), "n_pitches must be a whole number, 1 to 128: got 200"),
    ((P, True, "grid"), "steps_per_bar must be a whole number"),
])
def test_vocabularies_that_there_are_not(arguments, message):
    with pytest.raises(ValueError, match=message):
        LineVocabulary(*arguments)


def test_too_many_tracks():
    """As many as there may be are written as they are, in the windows' integers too; more are refused."""
    most = TrackVocabulary(128, T, (False,) * 127)
    notes = np.array([[127 * 128 - 1, 0, 2]])
    tokens = torch.tensor(most.encode(notes, T)).short()
    np.testing.assert_array_equal(most.decode(tokens.numpy()), notes)
    with pytest.raises(UserError, match="128 tracks of 128 pitches and 8 steps a bar take 16,402 tokens: at most 16,384"):
        TrackVocabulary(128, T, (False,) * 128)


def test_the_vocabulary_of_a_spec():
    lead, drums = Track("lead"), Track("drums", is_drum=True)
    assert vocabulary_of("events", RollSpec((lead,))) == LineVocabulary(84, 16, "events")
    assert vocabulary_of("tracks", RollSpec((drums, lead))) == TrackVocabulary(84, 16, (True, False))
    for tracks in ((lead, drums), (drums,)):
        with pytest.raises(ValueError, match="encoding grid is of one pitched track: got"):
            vocabulary_of("grid", RollSpec(tracks))
