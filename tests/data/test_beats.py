"""Beat annotations, and songs moved onto them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musegan.data.beats import TICKS_PER_QUARTER, Beats, on_beats, parse_beats
from musegan.data.events import Notes, Song, SongError, TempoMap, bar_lines
from musegan.data.midi import load_midi
from musegan.roll import Track
from tests.data.songs import midi

TICKS_PER_SECOND = 96_000    # of a performance: a quarter note at 60 bpm, so that a tick is a hundredth of a ms


def performed(start_seconds, length_seconds=0.1) -> Song:
    """A song of notes at given times; its bars and tempo say nothing about the music."""
    start = np.round(np.asarray(start_seconds) * TICKS_PER_SECOND).astype(np.int64)
    end = start + np.round(np.asarray(length_seconds) * TICKS_PER_SECOND).astype(np.int64)
    n = len(start)
    return Song(
        ticks_per_quarter=TICKS_PER_SECOND,
        tracks=(Track("piano"),),
        notes=Notes(np.zeros(n, np.int64), start, end, 60 + np.arange(n) % 12, np.full(n, 90)),
        tempo=TempoMap(np.zeros(1, np.int64), np.array([60.0])),
        downbeats=bar_lines((), int(end.max()), TICKS_PER_SECOND),
        name="take 2",
    )


def beats_of(seconds, beats_per_bar=4, first=0) -> Beats:
    return Beats(np.asarray(seconds, float), (np.arange(len(seconds)) - first) % beats_per_bar == 0)


def test_columns_of_pop909():
    """beat_midi.txt marks downbeats of 2/4 and of 4/4; beat_audio.txt counts the beats of the bar."""
    beats = parse_beats("0.0553 1.0 1.0\n0.7 0.0 0.0\n1.4 1.0 0.0\n2.1 0.0 0.0\n2.8 1.0 1.0\n")
    np.testing.assert_array_equal(beats.seconds, [0.0553, 0.7, 1.4, 2.1, 2.8])
    assert beats.is_downbeat.tolist() == [True, False, False, False, True]
    beats = parse_beats(b"1.5\t3.0\n2.0\t4.0\n2.66\t1.0\n3.3\t2.0\n")
    assert beats.is_downbeat.tolist() == [False, False, True, False]


def test_plain_seconds_commas_and_comments():
    assert parse_beats("# by hand\n0.5\n1\n1.5 # here\n\n2\n", 3).is_downbeat.tolist() == [True, False, False, True]
    beats = parse_beats("\ufeff-0.5, 2\r\n0.25,1\r\n".encode())
    assert beats.seconds.tolist() == [-0.5, 0.25] and beats.is_downbeat.tolist() == [False, True]


@pytest.mark.parametrize(("content", "reason"), [
    ("", "has 0 beats: must be 2 to"),
    ("1.0\n", "has 1 beats"),
    ("\n".join(map(str, range(20_000))), "has 20000 beats"),
    ("1.0\n1.0\n", "must ascend: 1 s in line 2 comes after 1 s"),
    ("1.0 1\n2.0 2 3\n", "line 2 has 3 columns, not 2"),
    ("1.0\nnan\n", "line 2 is not finite"),
    ("1.0\ntwo\n", "line 2 is 'two'"),
    ("1.0 0\n2.0 0\n", "no beat is marked as a downbeat"),
    (b"MThd\xff\xfe", "not text"),
    ("0\n1e300\n", "beats must be 6e-08 to 60000 s apart: got 1e\\+300 to 1e\\+300 s"),
    ("0\n5e-324\n", "beats must be"),
])
def test_what_is_no_list_of_beats(content, reason):
    with pytest.raises(SongError, match=reason):
        parse_beats(content)


def test_rubato_is_straightened():
    """Quarters and eighths played from 60 bpm to 150 and back come out as written."""
    length = 60 / np.concatenate([np.linspace(60, 150, 10), np.linspace(150, 60, 10)])
    seconds = np.append(0, np.cumsum(length)) + 1.0
    eighths = (seconds[:-1, None] + length[:, None] * [0, 0.5]).ravel()
    song = on_beats(performed(eighths, np.repeat(length / 2, 2)), beats_of(seconds, 3))
    np.testing.assert_array_equal(song.notes.start, np.arange(40) * 480)
    np.testing.assert_array_equal(song.notes.end, np.arange(1, 41) * 480)
    np.testing.assert_array_equal(song.downbeats, np.arange(8) * 3 * 960)
    np.testing.assert_allclose(song.seconds(song.notes.start) + 1.0, eighths, atol=1e-5)
    assert (song.name, song.tracks, song.notes.pitch[:3].tolist()) == ("take 2", (Track("piano"),), [60, 61, 62])


def test_pop909():
    """A signature of 1/4, notes off the grid of the file: the annotation gives bars of four beats."""
    quarter = 60 / 93.7
    file = midi([(0, False, [(round((0.31 + i * quarter) * 960), 300, 60) for i in range(16)])], 480, ((0, 120.0),),
                ((0, 1, 4),))
    text = "".join(f"{0.31 + i * quarter} {float(i % 2 == 0)} {float(i % 4 == 2)}\n" for i in range(17))
    song = on_beats(load_midi(file), parse_beats(text))
    np.testing.assert_array_equal(song.downbeats // 960, [0, 2, 6, 10, 14, 18])
    assert np.abs(song.notes.start - np.arange(16) * 960).max() <= 1
    np.testing.assert_allclose(song.tempo.bpm, 93.7)
    assert song.signatures == ()


def test_a_note_just_before_a_beat_stays_there():
    song = on_beats(performed([0.99, 1.98, 2.96, 4.01]), beats_of([1, 2, 3, 4]))
    assert song.notes.start.tolist() == [0, 960 - 19, 2 * 960 - 38, 3 * 960 + 10]    # but for the first, not before tick 0


def test_a_pick_up_before_the_first_beat():
    """Half a beat before an annotation that starts with a downbeat: one beat is put before it, a bar of its own."""
    song = on_beats(performed([0.75, 1.0, 1.5]), beats_of([1, 1.5, 2, 2.5, 3]))
    assert song.notes.start.tolist() == [480, 960, 1920]
    assert song.downbeats.tolist() == [0, 960, 5 * 960]
    assert song.tempo.tick[0] == 0 and song.seconds(np.array([960]))[0] == pytest.approx(0.5)


def test_after_the_last_beat_bars_go_on_as_before():
    song = on_beats(performed([0.0, 2.5, 9.0], 0.25), beats_of([0, 0.5, 1, 1.5, 2, 2.5], 3))
    assert song.notes.start.tolist() == [0, 5 * 960, 18 * 960]
    assert (np.diff(song.downbeats) == 3 * 960).all() and song.downbeats[-1] == 21 * 960


def test_bars_end_with_the_music():
    song = on_beats(performed([0.0, 0.5], 0.5), beats_of(np.arange(40) * 0.5))
    assert song.downbeats.tolist() == [0, 4 * 960]
    song = on_beats(performed([0.0], 2.0), beats_of(np.arange(40) * 0.5))    # to the bar line exactly
    assert song.downbeats.tolist() == [0, 4 * 960]


def test_one_downbeat_only():
    song = on_beats(performed([0.0, 3.0]), beats_of([0, 0.5, 1, 1.5], 4, first=2))
    assert song.downbeats.tolist() == [0, 2 * 960, 6 * 960, 10 * 960]


def test_beats_much_shorter_than_the_song_are_refused():
    with pytest.raises(SongError, match="too long"):
        on_beats(performed([0.0, 100.0]), beats_of([0, 0.001]))


def test_beats_long_after_the_song_are_refused():
    with pytest.raises(SongError, match="too long"):
        on_beats(performed([0.0, 100.0]), beats_of([1e7, 1e7 + 0.1]))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(0.2, 2.0), min_size=2, max_size=40),
    st.lists(st.tuples(st.floats(-3, 45), st.floats(0, 4)), min_size=1, max_size=40),
    st.floats(8, 10),
)
def test_any_tempo_curve_round_trips(lengths, notes, first):
    """Notes laid out along random beats come back within half a tick, and half a tick of the performance, in order."""
    seconds = np.append(0, np.cumsum(lengths)) + first
    at = np.array([start for start, _ in notes])
    until = at + [length for _, length in notes]

    def to_seconds(beat):
        before = np.clip(np.floor(beat).astype(int), 0, len(lengths) - 1)
        return seconds[before] + (beat - before) * np.array(lengths)[before]

    start = to_seconds(at)
    song = on_beats(performed(start, to_seconds(until) - start), beats_of(seconds))
    shift = round(float(song.notes.start[-1] / 960 - at[-1]))
    assert 0 <= shift <= 3
    tolerance = 0.5 + 1.5 / TICKS_PER_SECOND / min(lengths) * TICKS_PER_QUARTER
    early = np.maximum(at, -shift)    # a note within a 24th of a beat before the first starts on it
    assert np.abs(song.notes.start - (early + shift) * 960).max() <= tolerance
    assert np.abs(at - early).max() <= 1 / 24 + 1e-3
    assert np.abs(song.notes.end - np.maximum(until + shift, early + shift) * 960).max() <= tolerance
    assert (np.diff(song.notes.start)[np.diff(at) >= 0] >= 0).all()
    assert song.downbeats[0] == 0 and (np.diff(song.downbeats) > 0).all()
    assert song.downbeats[-2] < song.notes.end.max() or len(song.downbeats) == 2
    assert song.downbeats[-1] >= song.notes.end.max()
