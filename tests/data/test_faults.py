"""Faults of the released MuseGAN code and of pypianoroll 1.0.4 that music going in or out must not meet here."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pretty_midi
import pypianoroll
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musegan.data.bars import cut_bars
from musegan.data.pianorolls import from_multitrack
from musegan.keys import key_shifts, transpose
from musegan.data.midi import load_midi, read_midi
from musegan.data.dataset import PackedDataset
from musegan.data.preparation import Rules, prepare
from musegan.data.tracks import PRESETS, Feed, Preset
from musegan.ops.notes import notes, roll_from_notes
from musegan.resources import dataset_path
from musegan.roll import Roll, RollSpec, Track
from tests.data.smf import FOUR_FOUR, chunk, midi_file, note, program, tempo

SPEC = RollSpec((Track("drums", is_drum=True), Track("piano")), lowest_pitch=48, n_pitches=24)
BAND = read_midi(dataset_path("freedoom") / "phase1-e1m4.mid", 24, name="band")


def phrase(*rows: tuple[int, int, int, int]) -> Roll:
    """Two bars of track, pitch index, start_step and end_step."""
    return roll_from_notes(torch.tensor([(0, *row) for row in rows]), 1, 2, 2, 16, 24)


def rows(roll: Roll) -> list[tuple[int, ...]]:
    return [tuple(row[1:]) for row in notes(roll).tolist()]


NOTES = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 23), st.integers(0, 31), st.integers(1, 8)), min_size=1)


@given(NOTES, st.integers(-30, 30))
@settings(max_examples=60, deadline=None)
def test_transposition_moves_pitch_and_nothing_else(found, semitones):
    """MuseGAN v3 `random_transpose` shifts time, not pitch; `np.roll` brings what leaves the range back on the other
    side; and drums must stay."""
    roll = phrase(*((k, p, a, a + 1 if k == 0 else min(a + n, 32)) for k, p, a, n in found))
    moved = transpose(roll, torch.tensor([semitones]), SPEC)
    expected = [(k, p + semitones * (k == 1), a, b) for k, p, a, b in rows(roll)]
    assert sorted(rows(moved)) == sorted(row for row in expected if 0 <= row[1] < 24)


def test_a_data_set_is_transposed_like_a_roll(tmp_path):
    """The same fault, where a packed data set moves the phrases that it reads."""
    prepare([dataset_path("freedoom") / "phase1-e1m4.mid"], tmp_path / "set", Rules(PRESETS["lpd5"]))
    dataset = PackedDataset.open(tmp_path / "set")
    starts = dataset.phrase_starts(4)
    semitones = torch.arange(len(starts)) % 60 - 30
    plain = dataset.roll(starts, 4)
    for one, other in zip(dataset.roll(starts, 4, semitones=semitones), transpose(plain, semitones, dataset.spec)):
        assert torch.equal(one, other)


def test_octaves_are_one_pitch_class():
    """`reshape(-1, 12, n)` of every release sums neighbouring semitones: C in three octaves counts as three classes."""
    three_octaves = phrase(*((1, 12 * octave + tone, 0, 4) for octave in (0, 1) for tone in (0, 4, 7)))
    assert key_shifts(three_octaves.frame, SPEC).tolist() == [0]    # C major, from C to C
    assert key_shifts(transpose(three_octaves, torch.tensor([2]), SPEC).frame, SPEC).tolist() == [2]


def test_an_onset_is_where_a_note_starts():
    """v2 takes `np.diff` of bools, which is XOR: where a note ends counts as an onset too."""
    file = midi_file(chunk([FOUR_FOUR, *note(480, 1440, 60)]))
    bars = cut_bars(load_midi(file), Preset(RollSpec((Track("piano"),)), (Feed(),)))
    onset = np.unpackbits(bars.onset, axis=-1)[:, 0, :, 60 - 24].ravel()
    assert np.flatnonzero(onset).tolist() == [4]
    assert notes(phrase((1, 5, 4, 12)).frame)[:, 3:].tolist() == [[4, 12]]    # a rising edge


def test_a_held_note_is_one_note():
    """v3 `n_pitches_used` counts active cells: one held pitch gives 48."""
    assert len(notes(phrase((1, 5, 0, 32)))) == 1


def test_tempo_has_a_number_for_each_step_at_any_resolution():
    """pypianoroll's `read(resolution=12)` gives 24 tempos a beat."""
    file = midi_file(chunk([FOUR_FOUR, *note(0, 3840, 60), (960, tempo(60))]))
    for resolution in (1, 4, 12, 24, 28):
        multitrack = read_midi(file, resolution)
        assert len(multitrack.tempo) == len(multitrack.downbeat) == len(multitrack.tracks[0]) == 8 * resolution
        assert multitrack.tempo.round().tolist() == [120] * 2 * resolution + [60] * 6 * resolution
    other = pypianoroll.from_pretty_midi(pretty_midi.PrettyMIDI(io.BytesIO(file)), resolution=12)
    assert len(other.tempo) == 2 * len(other.tracks[0])    # the fault is there still: see docs/reading-midi.md


def test_pypianoroll_writes_what_we_give_it(tmp_path):
    """pypianoroll's `write` and `to_pretty_midi` raise TypeError on its own `read`, whose tempo has two axes."""
    assert BAND.tempo.ndim == BAND.downbeat.ndim == 1 and BAND.validate() is BAND
    pypianoroll.write(tmp_path / "band.mid", BAND)
    with pytest.raises(TypeError):
        pypianoroll.write(tmp_path / "theirs.mid", pypianoroll.read(dataset_path("freedoom") / "phase1-e1m4.mid"))
    again = read_midi(tmp_path / "band.mid", 24)
    for ours, back in zip(BAND.tracks, again.tracks):
        length = min(len(ours), len(back))
        starts = [np.diff((t.pianoroll[:length] > 0).astype(np.int8), axis=0, prepend=0) > 0 for t in (ours, back)]
        assert np.array_equal(*starts)


def test_pypianoroll_keeps_and_loads_what_we_give_it(tmp_path):
    """Beside `write`: `save`, `load` and back to notes."""
    pypianoroll.save(tmp_path / "band.npz", BAND)
    song, again = (from_multitrack(m) for m in (BAND, pypianoroll.load(tmp_path / "band.npz")))
    for one, other in zip(song.notes, again.notes):
        assert np.array_equal(one, other)
    assert again.tracks == song.tracks and np.array_equal(again.downbeats, song.downbeats)


def test_a_drum_note_is_a_step_and_drums_stay_apart():
    """pypianoroll draws a drum note one step long, whatever its length; so do we, in every step and at any grid, and a
    stroke in the next step does not erase it."""
    strokes = [event for step in range(16) for event in note(120 * step, 120 * step + 960, 42, channel=9)]
    file = midi_file(chunk([FOUR_FOUR, *strokes]))
    for resolution in (4, 12, 24, 28):
        roll = read_midi(file, resolution).tracks[0].pianoroll[:, 42]
        assert np.flatnonzero(roll).tolist() == list(range(0, 4 * resolution, resolution // 4))
    bars = cut_bars(load_midi(file), PRESETS["drums"].with_spec(steps_per_beat=4))
    assert np.array_equal(bars.frame, bars.onset) and np.bitwise_count(bars.onset).sum() == 16


@given(st.lists(st.tuples(st.integers(1, 127), st.integers(0, 3), st.integers(1, 8)), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_velocities_never_wrap(found):
    """pypianoroll's mode "max" sums: 200 is no velocity of MIDI, and three notes of 86 + 85 + 85 = 256 are silent."""
    events = [e for v, start, length in found for e in note(240 * start, 240 * (start + length), 60, v)]
    roll = read_midi(midi_file(chunk([FOUR_FOUR, *events])), 24).tracks[0].pianoroll
    assert roll.max() <= 127 and set(np.unique(roll)) - {0} <= {v for v, _, _ in found}
    sounding = np.zeros(len(roll), bool)
    for _, start, length in found:
        sounding[12 * start : 12 * (start + length)] = True
    gaps = {12 * start - 1 for _, start, _ in found if start}
    assert set(np.flatnonzero((roll[:, 60] > 0) != sounding)) <= gaps


def test_tracks_that_merge_do_not_wrap():
    """The same, where several tracks of a file feed one track of a roll."""
    parts = [chunk([(0, program(k, k)), *note(0, 1920, 60, 127, channel=k)]) for k in range(5)]
    bars = cut_bars(load_midi(midi_file(chunk([FOUR_FOUR]), *parts)), PRESETS["lpd5"])
    frame = np.unpackbits(bars.frame, axis=-1)[0, 1, :, 60 - 24]
    assert frame.all() and bars.n_merged == 4


def test_bars_that_are_empty_are_told_apart_from_bars_that_sound():
    """v3 `empty_bar_rate` gives the rate of bars that sound; muspy counts a note as sounding in the bar after it."""
    file = midi_file(chunk([FOUR_FOUR, *note(0, 1920, 60), *note(3840, 4000, 60)]))
    bars = cut_bars(load_midi(file), Preset(RollSpec((Track("piano"), Track("drums", is_drum=True))), (Feed(), Feed())))
    assert bars.sounding.tolist() == [[True, False], [False, False], [True, False]]


def test_a_track_can_rest():
    """Common PyTorch ports take the argmax over pitches, so that every track sounds in every step."""
    file = midi_file(chunk([FOUR_FOUR, *note(0, 480, 60), *note(1440, 1920, 60)]))
    bars = cut_bars(load_midi(file), Preset(RollSpec((Track("piano"),)), (Feed(),)))
    assert np.unpackbits(bars.frame, axis=-1).sum((0, 1, 3)).tolist() == [1] * 4 + [0] * 8 + [1] * 4


def test_a_name_without_suffix_is_one_file():
    """pypianoroll's `save` to a name that does not end in .npz writes two; so we save by way of memory."""
    with tempfile.TemporaryDirectory() as folder:
        pypianoroll.save(Path(folder, "song"), BAND)
        assert len(list(Path(folder).iterdir())) == 2    # if this fails, the detour in export/npz.py can go
