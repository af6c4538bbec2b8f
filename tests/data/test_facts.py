"""Facts of songs whose notes were counted by hand."""

import dataclasses

import numpy as np
import pytest

from musegan.data.events import Notes, Signature, Song, bar_lines, steady_tempo
from musegan.data.facts import Metre, event_rows, metres, pitch_name, song_facts
from musegan.data.midi import load_midi
from musegan.roll import Track
from tests.data.songs import midi


def song(notes, tracks=(Track("piano"),), signatures=(Signature(0, 4, 4),), ticks_per_quarter=480) -> Song:
    """A song of notes (track, start, end, pitch)."""
    track, start, end, pitch = np.array(notes, np.int64).T
    downbeats = bar_lines(signatures, max(int(end.max()), 1), ticks_per_quarter)
    return Song(ticks_per_quarter, tracks, Notes(track, start, end, pitch, np.full(len(start), 90)), steady_tempo(),
                downbeats, signatures)


@pytest.mark.parametrize("pitch, name", [(0, "C-1"), (60, "C4"), (61, "C#4"), (71, "B4"), (127, "G9")])
def test_c4_is_pitch_60(pitch, name):
    assert pitch_name(pitch) == name


def test_polyphony_counts_notes_that_overlap_and_not_those_that_follow():
    follow = song([(0, 0, 480, 60), (0, 480, 960, 60), (0, 960, 960, 62)])
    chord = song([(0, 0, 480, 60), (0, 0, 960, 64), (0, 479, 500, 67), (0, 480, 500, 60)])
    assert [song_facts(each)["tracks"][0]["polyphony"] for each in (follow, chord)] == [1, 3]


def test_bars_in_which_a_note_sounds_and_a_drum_is_struck():
    tracks = (Track("pad", 89), Track("kit", is_drum=True))
    held = song([(0, 1920, 4 * 1920, 60), (1, 0, 3 * 1920, 36), (1, 4 * 1920, 4 * 1920 + 1, 36)], tracks)
    facts = song_facts(held)
    assert facts["length_bars"] == 5
    assert [track["n_bars"] for track in facts["tracks"]] == [3, 2]


def test_off_the_grid_of_four_but_not_of_twelve_is_a_triplet():
    triplets = song([(0, 0, 10, 60), (0, 160, 170, 60), (0, 320, 330, 60), (0, 480, 490, 60)])
    assert song_facts(triplets)["tracks"][0]["off_grid_share"] == {"4": 0.5, "12": 0.0}


def test_a_track_without_notes_has_no_pitches():
    facts = song_facts(song([(0, 0, 480, 60)], (Track("piano"), Track("none", 40))))["tracks"][1]
    assert (facts["n_notes"], facts["lowest_pitch"], facts["polyphony"], facts["n_bars"]) == (0, None, 0, 0)


def test_signatures_stand_at_the_bars_where_they_start():
    changing = load_midi(midi([(0, False, [(i * 480, 400, 60) for i in range(4 + 4 + 3 + 3)])],
                              signatures=((0, 4, 4), (2 * 1920, 6, 8))))
    assert metres(changing) == [Metre(1, 2, 4.0, (4, 4)), Metre(3, 2, 3.0, (6, 8))]
    assert [str(metre) for metre in metres(changing)] == ["4/4", "6/8"]


def test_a_bar_that_the_next_signature_cuts_short_is_told_apart():
    cut = song([(0, 0, 5000, 60)], signatures=(Signature(0, 4, 4), Signature(1920 + 720, 3, 4)))
    assert [str(metre) for metre in metres(cut)] == ["4/4", "4/4, 1.5 quarter notes", "3/4"]
    assert [metre.beats for metre in metres(cut)] == [(4, 4), (3, 8), (3, 4)]


def test_bars_without_signature_are_known_by_their_length():
    plain = dataclasses.replace(song([(0, 0, 1920, 60)]), signatures=(), downbeats=np.array([0, 720, 1680, 2400]))
    assert metres(plain) == [Metre(1, 1, 1.5, None), Metre(2, 1, 2.0, None), Metre(3, 1, 1.5, None)]
    assert [metre.beats for metre in metres(plain)] == [(3, 8), (2, 4), (3, 8)]


def test_tempo_range_and_changes_leave_out_what_is_after_the_music():
    facts = song_facts(load_midi(midi([(0, False, [(0, 1920, 60)])],
                                      tempos=((0, 90.0), (480, 120.0), (960, 120.0), (9600, 300.0)))))
    assert facts["tempo"] == {"lowest_bpm": pytest.approx(90, abs=1e-3), "highest_bpm": pytest.approx(120, abs=1e-3),
                              "n_changes": 1}
    assert facts["length_seconds"] == pytest.approx(60 / 90 + 3 * 60 / 120, abs=1e-3)


def test_events_stand_at_bar_beat_and_tick_of_their_metre():
    eighths = song([(0, 1440 + 240 + 7, 1440 + 480, 61)], signatures=(Signature(0, 6, 8),))
    (row,) = event_rows(eighths)
    assert (row["bar"], row["beat"], row["tick"], row["name"]) == (2, 2, 7, "C#4")
    assert row["length_beats"] == pytest.approx(233 / 240)


def test_events_of_some_bars_up_to_a_limit():
    quarters = song([(0, i * 480, i * 480 + 480, 60) for i in range(16)])
    assert [row["bar"] for row in event_rows(quarters, bars=(2, 3))] == [2] * 4 + [3] * 4
    assert len(event_rows(quarters, limit=3)) == 3


def test_a_file_off_its_beat_is_said_to_move(tmp_path):
    from tests.data.songs import sixteenths

    notes = sixteenths(97.0, 200, 60 / 120 / 480, np.random.default_rng(0))
    grid = song_facts(load_midi(midi([(0, False, notes)])))["grid"]
    assert grid["moves_to_bpm"] == pytest.approx(97.0, abs=0.1) and grid["fit"] < 0.15
    assert song_facts(load_midi(midi([(0, False, notes)])), can_move=False)["grid"]["moves_to_bpm"] is None
