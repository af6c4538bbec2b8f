"""Notes -> MIDI -> `prepare` -> roll -> the same notes, quantised."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musegan.data.dataset import PackedDataset
from musegan.data.preparation import Rules, prepare
from musegan.data.tracks import PRESETS
from musegan.ops.notes import notes
from tests.data.songs import midi

TICKS_PER_QUARTER = 480
N_BARS = 3


@st.composite
def melodies(draw, n_steps):
    """Start, length and pitch in steps; on a pitch, notes follow each other with or without a rest."""
    found = []
    for pitch in draw(st.lists(st.integers(24, 107), min_size=1, max_size=4, unique=True)):
        gaps_and_lengths = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 20)), min_size=1, max_size=8))
        step = 0
        for gap, length in gaps_and_lengths:
            if step + gap + length > n_steps:
                break
            found.append((step + gap, length, pitch))
            step += gap + length
    return found


def read_back(song, preset):
    """The notes of a song's one run of bars: track, start and length in steps from the file's start, pitch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "song.mid")
        path.write_bytes(song)
        prepare([path], Path(folder, "set"), Rules(preset, max_silence=None))
        dataset, spec = PackedDataset.open(Path(folder, "set")), preset.spec
        first_bar = int(dataset._shards[0].run_first_bar[0])
        roll = dataset.roll(torch.zeros(1, dtype=torch.int64), dataset.n_bars)
    shift = first_bar * spec.steps_per_bar
    return {(k, a + shift, b - a, p + spec.lowest_pitch) for _, k, p, a, b in notes(roll).tolist()}


@pytest.mark.parametrize("steps_per_beat", [4, 12])
@given(st.data())
@settings(max_examples=25, deadline=None)
def test_quantised_notes_come_back(steps_per_beat, data):
    preset = PRESETS["lpd5"].with_spec(steps_per_beat=steps_per_beat)
    spec = preset.spec
    n_steps = N_BARS * spec.steps_per_bar
    step_ticks = TICKS_PER_QUARTER // steps_per_beat
    wanted, tracks = set(), []
    for k, track in enumerate(spec.tracks):
        melody = data.draw(melodies(n_steps))
        if track.is_drum:
            melody = [(start, 1, pitch) for start, _, pitch in melody]
        wanted |= {(k, *note) for note in melody}
        ticks = [(start * step_ticks, length * step_ticks, pitch) for start, length, pitch in melody]
        tracks.append((track.program, track.is_drum, ticks))
    if not wanted:
        return
    assert read_back(midi(tracks, TICKS_PER_QUARTER), preset) == wanted


@pytest.mark.parametrize("steps_per_beat", [4, 12])
@given(st.data())
@settings(max_examples=25, deadline=None)
def test_notes_off_the_grid_come_back_on_the_nearest_step(steps_per_beat, data):
    """Starts and ends move by up to half a step; rests are so long that none is taken for a note struck again."""
    preset = PRESETS["lpd5"].with_spec(steps_per_beat=steps_per_beat)
    step_ticks = TICKS_PER_QUARTER // steps_per_beat
    half = step_ticks // 2
    melody = [note for note in data.draw(melodies(N_BARS * preset.spec.steps_per_bar)) if note[1] > 3]
    if not melody:
        return
    ticks = []
    for start, length, pitch in melody:
        early, late = data.draw(st.integers(-half, half - 1)), data.draw(st.integers(-half, half - 1))
        a, b = max(start * step_ticks + early, 0), (start + length - 2) * step_ticks + late
        ticks.append((a, b - a, pitch))
    wanted = {(1, start, length - 2, pitch) for start, length, pitch in melody}
    assert read_back(midi([(0, False, ticks)], TICKS_PER_QUARTER), preset) == wanted
