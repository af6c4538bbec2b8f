"""The longest copied run: by hand, and beside a search that looks at every pair of places."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from musegan.metrics.copies import longest_copies


def line(*notes):
    return np.array(notes, np.int64).reshape(-1, 3)


def same(a, b):
    moved = [pitch - a[0][0] + b[0][0] for pitch, _, _ in a], a[0][1] - b[0][1]
    return all((pitch, start - moved[1], end - moved[1]) == tuple(other)
               for (pitch, (_, start, end)), other in zip(zip(moved[0], a), b))


def moves(notes):
    return sum(one != other for one, other in zip(notes[:, 0].tolist(), notes[1:, 0].tolist()))


def by_search(a, b, count=len):
    longest = 0
    for i in range(len(a)):
        for j in range(len(b)):
            for n in range(1, min(len(a) - i, len(b) - j) + 1):
                if same(a[i : i + n].tolist(), b[j : j + n].tolist()):
                    longest = max(longest, count(a[i : i + n]))
    return longest


@st.composite
def lines(draw):
    notes, now = [], 0
    for pitch, gap, length in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(1, 2)), max_size=10)):
        notes.append((pitch, now + gap, now + gap + length))
        now += gap + length
    return line(*notes)


@given(st.lists(lines(), max_size=3), st.lists(lines(), max_size=3))
def test_as_long_as_a_search_finds(queries, corpus):
    wanted = [max((by_search(query, other) for other in corpus), default=0) for query in queries]
    assert longest_copies(queries, corpus).tolist() == wanted
    wanted = [max((by_search(query, other, moves) for other in corpus), default=0) for query in queries]
    assert longest_copies(queries, corpus, moving=True).tolist() == wanted


def test_by_hand():
    tune = line((60, 0, 4), (62, 4, 6), (64, 6, 8), (60, 10, 12))
    fifth_up_a_bar_later = tune + [7, 16, 16]
    other_rest = line((60, 0, 4), (62, 4, 6), (64, 6, 8), (60, 9, 11))
    other_length = line((60, 0, 4), (62, 4, 6), (64, 6, 7), (60, 10, 12))
    assert longest_copies([tune] * 3, [fifth_up_a_bar_later]).tolist() == [4] * 3
    assert [longest_copies([tune], [each]).item() for each in (other_rest, other_length)] == [3, 2]
    assert longest_copies([tune], [tune[:2], tune[2:]]).item() == 2    # no run goes on from one melody into the next
    assert longest_copies([line(), tune], []).tolist() == [0, 0]


def test_a_note_struck_on_and_on_is_nobody_s():
    """Twenty notes on one pitch and two others, beside the same twenty: copied, but nothing moves; a tune moves."""
    struck = line(*[(60, t, t + 1) for t in range(20)], (62, 20, 21), (64, 21, 22))
    assert longest_copies([struck], [struck[:20]]).tolist() == [20]
    assert longest_copies([struck], [struck[:20]], moving=True).tolist() == [0]
    assert longest_copies([struck], [struck], moving=True).tolist() == [2]
