"""Bars of a song as a roll: each note at its place, and nothing too large."""

import numpy as np
import pytest

from musegan.data.events import Signature, SongError
from musegan.data.excerpt import MAX_TRACKS, excerpt, first_bars
from musegan.ops import notes
from musegan.roll import Track
from tests.data.test_facts import song


def placed(shown) -> list[list[int]]:
    """Notes as track, pitch, first and last step."""
    return notes(shown.roll.map(lambda plane: plane[None]))[:, 1:].tolist()


def test_notes_lie_at_their_twelfths():
    shown = excerpt(song([(0, 0, 480, 60), (0, 1920 + 160, 1920 + 480, 64)]), 1, 2)
    assert placed(shown) == [[0, 60, 0, 12], [0, 64, 48 + 4, 48 + 12]]
    assert shown.bar_numbers == [1, 2] and not shown.other_bars


def test_silent_bars_of_the_range_are_shown():
    shown = excerpt(song([(0, 1920, 2400, 60), (0, 6 * 1920, 6 * 1920 + 1, 60)]), 1, 4)
    assert shown.bar_numbers == [1, 2, 3, 4]
    assert placed(shown) == [[0, 60, 48, 60]]


def test_a_note_from_before_goes_on_and_a_drum_does_not():
    tracks = (Track("pad"), Track("kit", is_drum=True))
    shown = excerpt(song([(0, 0, 3 * 1920, 60), (1, 0, 3 * 1920, 36)], tracks), 2, 3)
    assert placed(shown) == [[0, 60, 0, 96]]


def test_a_drum_just_before_the_bar_line_is_on_it():
    kit = (Track("kit", is_drum=True),)
    early = song([(0, 1920 - 3, 1930, 36), (0, 2 * 1920 - 3, 3850, 38)], kit)
    assert placed(excerpt(early, 2, 2)) == [[0, 36, 0, 1]]
    with pytest.raises(SongError, match="is silent in bar 1"):
        excerpt(early, 1, 1)


def test_bars_of_the_metre_of_most():
    changing = song([(0, 0, 480, 60), (0, 1920, 2400, 62), (0, 1920 + 1440, 3600, 64)],
                    signatures=(Signature(0, 4, 4), Signature(1920, 6, 8)))
    shown = excerpt(changing, 1, 3)
    assert (shown.spec.beats_per_bar, shown.spec.beat_unit, shown.spec.steps_per_beat) == (6, 8, 6)
    assert (shown.bar_numbers, shown.other_bars) == ([2, 3], [1])
    assert placed(shown) == [[0, 62, 0, 12], [0, 64, 36, 42]]


@pytest.mark.parametrize("ticks, signature, steps",
                         [(4, (4, 4), 4), (480, (4, 4), 12), (96, (13, 32), 3), (5, (6, 8), 5), (4, (2, 2), 8)])
def test_twelve_steps_a_quarter_or_what_the_ticks_allow(ticks, signature, steps):
    plain = song([(0, 0, 4 * ticks, 60)], signatures=(Signature(0, *signature),), ticks_per_quarter=ticks)
    assert excerpt(plain, 1, 1).spec.steps_per_beat == steps


def test_names_are_unlike_and_fit():
    tracks = (Track("same"), Track("same"), Track(""), Track("a\x1b[31m" + "long" * 50), Track("", is_drum=True))
    shown = excerpt(song([(k, 0, 480, 60) for k in range(5)], tracks), 1, 1)
    names = [track.name for track in shown.spec.tracks]
    assert names[:3] == ["1 same", "2 same", "3 Acoustic Grand Piano"] and names[4] == "5 drums"
    assert len(names[3]) < 30 and "\x1b" not in names[3]


def test_more_tracks_than_fit_are_left_out_and_those_that_sound_come_first():
    n = MAX_TRACKS + 36
    tracks = tuple(Track(f"t{k}") for k in range(n))
    many = song([(k, 0 if k % 2 else 1920, 480 if k % 2 else 2400, 60) for k in range(n)], tracks)
    shown = excerpt(many, 1, 1)
    assert shown.n_other_tracks == n - n // 2
    assert {track.name.split()[1] for track in shown.spec.tracks} == {f"t{k}" for k in range(1, n, 2)}


def test_the_first_bars_that_sound():
    assert first_bars(song([(0, 30 * 1920, 90 * 1920, 60)])) == (31, 46)
    assert first_bars(song([(0, 1920, 5 * 1920, 60)])) == (2, 5)
    assert first_bars(song([(0, 0, 3000 * 480, 60)], signatures=(Signature(0, 255, 1),))) == (1, 1)


def test_too_much_for_a_picture():
    long = song([(0, 0, 3000 * 1920, 60)])
    with pytest.raises(SongError, match="bars 1 to 65 are too many for one picture: 65 bars"):
        excerpt(long, 1, 65)
    with pytest.raises(SongError, match="has 3000 bars, not bars 2999 to 3001"):
        excerpt(long, 2999, 3001)
    with pytest.raises(SongError, match="1,275 quarter notes"):
        excerpt(song([(0, 0, 3000 * 480, 60)], signatures=(Signature(0, 255, 4),)), 1, 5)


def test_bars_that_no_signature_can_name():
    odd = song([(0, 0, 480, 60)], signatures=(Signature(0, 4, 4), Signature(100, 4, 4)))
    with pytest.raises(SongError, match="bar 1 cannot be drawn"):
        excerpt(odd, 1, 1)
    assert excerpt(odd, 1, 2).other_bars == [1]


def test_onsets_of_notes_struck_again_stay():
    shown = excerpt(song([(0, 0, 240, 60), (0, 240, 480, 60)]), 1, 1)
    assert np.flatnonzero(shown.roll.onset[0, 0, :, 60].numpy()).tolist() == [0, 6]
