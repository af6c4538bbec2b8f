"""From note events to bars of two planes."""

from dataclasses import replace

import numpy as np
import pytest

from musegan.data.bars import check_tracks, cut_bars
from musegan.data.events import SongError
from musegan.data.pianorolls import track_notes
from musegan.data.midi import load_midi
from musegan.data.tracks import PRESETS, Feed, Preset
from musegan.roll import RollSpec, Track
from tests.data.songs import midi, scale, song_of, unpacked

LPD5 = PRESETS["lpd5"]
DRUMS, PIANO = 0, 1


def cut_song(song, preset=LPD5, max_silence=None):
    """The bars of a song, with planes [bars, K, T, P] bool."""
    bars = cut_bars(song, preset, max_silence)
    return replace(bars, frame=unpacked(bars.frame, preset.spec), onset=unpacked(bars.onset, preset.spec))


def cut(tracks, max_silence=None, spec=None, **kwargs):
    return cut_song(load_midi(midi(tracks, **kwargs)), LPD5.with_spec(**(spec or {})), max_silence)


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


@pytest.mark.parametrize("steps_per_beat", [4, 5, 12])
@pytest.mark.parametrize("ticks_per_quarter", [1, 96, 480, 89])
def test_a_start_is_rounded_half_up(steps_per_beat, ticks_per_quarter):
    """A note on each tick of a beat, a bar apart: each lies in the step nearest to it, half up."""
    tick = np.arange(ticks_per_quarter)
    notes = [(int(t) * (4 * ticks_per_quarter + 1), 1, 36) for t in tick]
    bars = cut([(0, True, notes)], spec={"steps_per_beat": steps_per_beat}, ticks_per_quarter=ticks_per_quarter)
    step = [step for step, _ in cells(bars.onset[:, DRUMS])]
    start = np.array([start for start, _, _ in notes])
    assert step == ((2 * start * steps_per_beat + ticks_per_quarter) // (2 * ticks_per_quarter)).tolist()


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
    bars = cut([(0, False, scale(3))], spec={"beats_per_bar": 3}, signatures=(signature,))
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


def test_steps_count_from_the_downbeat_of_their_bar():
    """A signature change at tick 700 starts a bar between two steps: what follows is rounded from there, half up."""
    notes = [(700 + tick, 20, 60 + i) for i, tick in enumerate((0, 59, 60, 179, 180, 1919, 1920))]
    bars = cut([(0, False, notes)], signatures=((0, 4, 4), (700, 4, 4)))
    assert bars.bar_numbers.tolist() == [1, 2]
    onsets = {pitch - 60: step for step, pitch in cells(bars.onset[:, PIANO])}
    assert onsets == {0: 0, 1: 0, 2: 1, 3: 1, 4: 2, 5: 16, 6: 16}


def test_a_note_just_before_a_bar_line_starts_on_it_even_from_a_broken_bar():
    """The first bar is cut at tick 700, in the midst of its sixth step, which counts as a whole one."""
    bars = cut([(0, False, [(690, 500, 60), (655, 30, 62)])], signatures=((0, 4, 4), (700, 4, 4)))
    assert bars.bar_numbers.tolist() == [1]
    # Tick 690 is 5.75 steps from the start, the sixth step, which the broken bar does not have.
    assert cells(bars.onset[:, PIANO]) == [(0, 60)]
    assert cells(bars.frame[:, PIANO]) == [(step, 60) for step in range(4)]
    assert bars.rejected == [("1.45833 quarter notes in a bar, not 4", 1, 1)]


def test_a_note_held_over_a_bar_that_is_left_out_goes_on_without_onset():
    signatures = ((0, 4, 4), (1920, 3, 4), (1920 + 1440, 4, 4))
    bars = cut([(0, False, [(960, 4000, 60)])], signatures=signatures)
    assert bars.bar_numbers.tolist() == [0, 2] and bars.run_offsets.tolist() == [0, 1, 2]
    assert cells(bars.onset[:, PIANO]) == [(8, 60)]
    # It ends at tick 4960, 13.33 steps into the third bar.
    assert cells(bars.frame[:, PIANO]) == [(step, 60) for step in range(8, 16 + 13)]


def test_overlapping_notes_keep_two_onsets_and_last_to_the_later_end():
    long_first = song_of((Track(""),), [(0, 0, 1920, 60), (0, 480, 960, 60)], [0, 1920])
    long_last = song_of((Track(""),), [(0, 480, 1920, 60), (0, 0, 960, 60)], [0, 1920])
    for song in (long_first, long_last):
        bars = cut_song(song)
        assert cells(bars.onset[:, PIANO]) == [(0, 60), (4, 60)]
        assert cells(bars.frame[:, PIANO]) == [(step, 60) for step in range(16)]


@pytest.mark.parametrize("max_silence, breaks, kept", [(None, [], 8), (3, [], 8), (2, [1], 5), (0, [1], 5)])
def test_a_long_silence_is_left_out_and_breaks_the_run(max_silence, breaks, kept):
    """Bars 0 and 4 to 7 sound."""
    notes = [(0, 480, 60), *((bar * 1920, 480, 60) for bar in range(4, 8))]
    bars = cut([(0, False, notes)], max_silence)
    assert len(bars.frame) == kept and bars.run_offsets.tolist() == [0, *breaks, kept]
    assert bars.bar_numbers.tolist() == ([0, 4, 5, 6, 7] if breaks else list(range(8)))
    reason = f"silence of more than {max_silence} bars"
    assert bars.rejected == ([(reason, 2, 4)] if breaks else [])


def test_a_silence_is_counted_up_to_a_bar_of_another_metre():
    """Two silent bars, a bar of 3/4, two silent bars: no silence of more than two."""
    signatures = ((0, 4, 4), (3 * 1920, 3, 4), (3 * 1920 + 1440, 4, 4))
    bars = cut([(0, False, [(0, 480, 60), (5 * 1920 + 1440, 480, 60)])], 2, signatures=signatures)
    assert bars.bar_numbers.tolist() == [0, 1, 2, 4, 5, 6]
    bars = cut([(0, False, [(0, 480, 60), (5 * 1920 + 1440, 480, 60)])], 1, signatures=signatures)
    assert bars.bar_numbers.tolist() == [0, 6]


def test_sounding_tells_the_tracks_of_each_bar():
    bars = cut([(0, False, [(0, 2400, 60)]), (33, False, [(2 * 1920, 10, 40)]), (0, True, [(0, 10, 36)])])
    assert bars.sounding.tolist() == [
        [True, True, False, False, False],
        [False, True, False, False, False],
        [False, False, False, True, False],
    ]
    assert np.array_equal(bars.sounding, bars.frame.any((2, 3)))


@pytest.mark.parametrize("numerator, denominator, ticks_per_quarter", [(7, 8, 480), (7, 8, 89), (5, 16, 30)])
def test_bars_whose_length_is_no_whole_number_of_ticks_fit(numerator, denominator, ticks_per_quarter):
    """7/8 of 89 ticks are 311.5: bars of 312 and of 311 ticks, and each eighth note is in its place in either."""
    preset = LPD5.with_spec(steps_per_beat=2, beats_per_bar=numerator, beat_unit=denominator)
    eighths = [round(i * 4 * ticks_per_quarter / denominator) for i in range(4 * numerator)]
    file = midi([(0, True, [(tick, 1, 36) for tick in eighths])], ticks_per_quarter,
                signatures=((0, numerator, denominator),))
    bars = cut_song(load_midi(file), preset)
    assert bars.rejected == [] and len(bars.frame) == 4
    assert [step for step, _ in cells(bars.onset[:, DRUMS])] == [2 * i for i in range(4 * numerator)]


def test_the_order_of_a_track_counts_tracks_with_notes():
    voices = (Track("silent"), Track("high"), Track("kit", is_drum=True), Track("low"))
    song = song_of(voices, [(1, 0, 480, 72), (2, 0, 10, 36), (3, 0, 480, 48)], [0, 1920])
    preset = Preset(RollSpec((Track("one"), Track("two"))), (Feed(order=1), Feed(order=2)))
    bars = cut_song(song, preset)
    assert cells(bars.onset[:, 0]) == [(0, 72)] and cells(bars.onset[:, 1]) == [(0, 48)]
    assert bars.dropped_notes == {"drums": 1}


def test_a_song_needs_bars_and_tracks():
    spec = LPD5.spec
    one = cut([(0, False, scale(1))])
    check_tracks(one, spec, 1)
    with pytest.raises(SongError, match="sounds in 1 of 5 tracks, fewer than 2"):
        check_tracks(one, spec, 2)
    with pytest.raises(SongError, match="silent in every track of the roll"):
        check_tracks(cut([(120, False, scale(1))]), spec, 1)
    with pytest.raises(SongError, match="3 quarter notes in a bar, not 4"):
        check_tracks(cut([(0, False, scale(1))], signatures=((0, 3, 4),)), spec, 1)
    with pytest.raises(SongError, match="3 quarter notes in a bar, not 4"):    # not the one of its pick-up
        check_tracks(cut([(0, False, scale(2))], signatures=((0, 1, 4), (480, 3, 4))), spec, 1)
