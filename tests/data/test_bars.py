"""From a multitrack to bars of two planes."""

import numpy as np
import pytest

from musegan.data.bars import cut_bars, track_notes
from musegan.data.midi import load_score, read_midi, to_multitrack
from musegan.data.tracks import PRESETS
from musegan.roll import RollSpec
from tests.data.songs import midi, scale

LPD5 = PRESETS["lpd5"]
DRUMS, PIANO = 0, 1


def cut(tracks, steps_per_beat=4, beats_per_bar=4, **kwargs):
    spec = RollSpec(LPD5.tracks, steps_per_beat, beats_per_bar)
    return cut_bars(read_midi(midi(tracks, **kwargs), spec.multitrack_resolution), LPD5, spec)


def cells(plane):
    """Steps from the first bar on and MIDI pitches of the cells of a track [bars, T, P]."""
    step, pitch = np.nonzero(plane.reshape(-1, plane.shape[-1]))
    return list(zip(step.tolist(), (pitch + 24).tolist()))


def test_track_notes_reads_the_mark_of_a_note_struck_again():
    roll = np.zeros((12, 128), np.uint8)
    roll[[0, 1, 3, 4, 7], 60] = 90
    roll[11, 61] = 90
    assert [column.tolist() for column in track_notes(roll)] == [[0, 3, 7, 11], [3, 5, 8, 12], [60, 60, 60, 61]]


def test_a_note_has_one_onset_and_sounds_through_the_bar_line():
    bars = cut([(0, False, [(3 * 480, 960, 60)])])
    assert bars.frame.shape == (2, 5, 16, 84)
    assert cells(bars.onset[:, PIANO]) == [(12, 60)]
    assert cells(bars.frame[:, PIANO]) == [(step, 60) for step in range(12, 20)]


def test_a_note_struck_again_has_two_onsets_and_no_hole():
    bars = cut([(0, False, [(0, 240, 60), (240, 240, 60)])])
    assert cells(bars.onset[:, PIANO]) == [(0, 60), (2, 60)]
    assert cells(bars.frame[:, PIANO]) == [(0, 60), (1, 60), (2, 60), (3, 60)]


@pytest.mark.parametrize("late", range(-13, 14))
def test_no_hole_before_a_note_struck_again_late(late):
    """Wherever the second note lies within its step, the first lasts until it."""
    bars = cut([(0, False, [(0, 240 + late * 4, 60), (240 + late * 4, 240, 60)])])
    assert cells(bars.onset[:, PIANO]) == [(0, 60), (2, 60)]
    assert bars.frame[0, PIANO, :4, 60 - 24].all()


def test_drums_have_onsets_only():
    bars = cut([(0, True, [(0, 960, 36), (480, 10, 38)])])
    assert cells(bars.frame[:, DRUMS]) == cells(bars.onset[:, DRUMS]) == [(0, 36), (4, 38)]


def test_two_strokes_in_one_step_are_merged_and_counted():
    bars = cut([(0, False, [(0, 30, 60), (40, 30, 60), (480, 30, 60)])])
    assert cells(bars.onset[:, PIANO]) == [(0, 60), (4, 60)] and bars.n_merged == 1


def test_a_short_note_lasts_a_step_and_stays_short():
    bars = cut([(0, False, [(0, 5, 60), (480, 170, 62)])])
    assert cells(bars.frame[:, PIANO]) == [(0, 60), (4, 62)]


def test_tracks_of_one_family_are_merged():
    bars = cut([(0, False, [(0, 480, 60)]), (19, False, [(0, 960, 64)]), (100, False, scale())])
    assert cells(bars.onset[:, PIANO]) == [(0, 60), (0, 64)]
    assert bars.dropped_notes == {"synth effects": 16} and bars.n_notes == 2


def test_pitches_outside_the_range_are_counted():
    bars = cut([(0, False, [(0, 480, pitch) for pitch in (23, 24, 107, 108, 127)])])
    assert cells(bars.onset[:, PIANO]) == [(0, 24), (0, 107)] and bars.n_out_of_range == 3


@pytest.mark.parametrize("steps_per_beat", [4, 12])
@pytest.mark.parametrize("ticks_per_quarter", [96, 480, 89])
def test_rounding_twice_is_rounding_once(steps_per_beat, ticks_per_quarter):
    """A note on each tick of a beat, a bar apart: each lies in the step nearest to it, half up."""
    tick = np.arange(ticks_per_quarter)
    notes = [(int(t) * (4 * ticks_per_quarter + 1), 1, 36) for t in tick]
    bars = cut([(0, True, notes)], steps_per_beat, ticks_per_quarter=ticks_per_quarter)
    step = [step for step, _ in cells(bars.onset[:, DRUMS])]
    start = np.array([start for start, _, _ in notes])
    assert step == ((2 * start * steps_per_beat + ticks_per_quarter) // (2 * ticks_per_quarter)).tolist()


def test_a_resolution_that_would_round_twice_is_refused():
    song = to_multitrack(load_score(midi([(0, False, scale())])), 24)
    with pytest.raises(ValueError, match="odd multiple of steps_per_beat: got 24, 4"):
        cut_bars(song, LPD5, RollSpec(LPD5.tracks))


def test_only_bars_of_the_metre_are_kept_in_runs():
    signatures = ((0, 4, 4), (2 * 1920, 3, 4), (2 * 1920 + 3 * 1440, 2, 2), (4 * 1920 + 3 * 1440, 7, 8))
    bars = cut([(0, False, scale(12))], signatures=signatures)
    assert bars.bar_numbers.tolist() == [0, 1, 5, 6] and bars.run_offsets.tolist() == [0, 2, 4]
    assert bars.rejected[0] == ("3 quarter notes in a bar, not 4", 3, 5)
    assert bars.rejected[1][:2] == ("3.5 quarter notes in a bar, not 4", 8)
    first_of_run = 2 * 1920 + 3 * 1440    # tick, a quarter note of the scale starts there
    assert bars.onset[2, PIANO, 0, 60 + (first_of_run // 480) % 12 - 24]


@pytest.mark.parametrize("signature", [(0, 3, 4), (0, 6, 8)])
def test_three_quarter_notes(signature):
    bars = cut([(0, False, scale(3))], beats_per_bar=3, signatures=(signature,))
    assert bars.frame.shape == (4, 5, 12, 84) and not bars.rejected


def test_a_bar_cut_short_by_a_change_is_left_out_and_the_next_starts_there():
    bars = cut([(0, False, scale(4))], signatures=((0, 4, 4), (1920 + 700, 4, 4)))
    assert bars.bar_numbers.tolist() == [0, 2, 3, 4]
    assert bars.rejected[0][1:] == (2, 2)
    # Steps count from the downbeat at tick 2620: the quarter note at 2880 is 2.17 steps after it.
    assert bars.onset[1, PIANO].nonzero()[0].tolist()[0] == 2


def test_silent_bars_are_cut_at_the_ends_and_kept_between():
    bars = cut([(0, False, [(2 * 1920, 480, 60), (5 * 1920, 480, 60)]), (120, False, scale(9))])
    assert bars.bar_numbers.tolist() == [2, 3, 4, 5] and bars.n_silent_bars == 5
    assert bars.frame.any((1, 2, 3)).tolist() == [True, False, False, True]


def test_a_note_that_rounds_to_the_end_gets_a_bar():
    bars = cut([(0, False, [(0, 480, 60), (1910, 5, 62)])])
    assert bars.frame.shape[0] == 2 and cells(bars.onset[:, PIANO]) == [(0, 60), (16, 62)]
    assert bars.bar_numbers.tolist() == [0, 1] and not bars.rejected


def test_no_note_left_gives_no_bar():
    bars = cut([(120, False, scale())])
    assert bars.frame.shape == (0, 5, 16, 84) and bars.run_offsets.tolist() == [0]


def test_mean_tempo_is_beats_over_minutes():
    bars = cut([(0, False, scale(2))], tempos=((0, 60.0), (960, 120.0), (1920, 90.0)))
    assert bars.tempo_bpm.tolist() == pytest.approx([80, 90]) and bars.tempo_bpm.dtype == np.float32
