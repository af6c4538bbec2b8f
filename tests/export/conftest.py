"""Phrases by hand, for every exporter."""

import pytest
import torch

from musegan.ops.notes import roll_from_notes
from musegan.roll import PRESETS, Roll, RollSpec, Track


def phrase(spec: RollSpec, notes: list[tuple[int, int, int, int]], n_bars: int) -> Roll:
    """One phrase [K, B, T, P] of notes (track, MIDI pitch, start_step, end_step)."""
    rows = [[0, track, pitch - spec.lowest_pitch, start, end] for track, pitch, start, end in notes]
    table = torch.tensor(rows, dtype=torch.int64).view(-1, 5)
    roll = roll_from_notes(table, 1, spec.n_tracks, n_bars, spec.steps_per_bar, spec.n_pitches)
    return roll.map(lambda plane: plane[0])


@pytest.fixture(name="phrase")
def phrase_fixture():
    """The function `phrase`."""
    return phrase


@pytest.fixture
def band():
    """(spec, notes, roll): two bars of lpd5 with a beat, a struck-again bass, chords and silent strings."""
    spec = RollSpec(PRESETS["lpd5"])
    notes = [(0, 36, step, step + 1) for step in (0, 8, 16, 24)]
    notes += [(0, 38, step, step + 1) for step in (4, 12, 20, 28)]
    notes += [(0, 42, step, step + 1) for step in range(0, 30, 2)]
    notes += [(1, pitch, 0, 16) for pitch in (60, 64, 67)] + [(1, 72, 4, 6)]
    notes += [(2, pitch, 16, 24) for pitch in (53, 57, 60)]
    notes += [(3, 36, step, step + 2) for step in range(0, 16, 2)] + [(3, 41, 16, 29)]
    return spec, sorted(notes, key=lambda note: (note[0], note[2], note[1])), phrase(spec, notes, 2)


@pytest.fixture
def waltz():
    """(spec, notes, roll): three tracks in 3/4 at 12 steps a beat over all MIDI pitches."""
    tracks = (Track("flute", program=73), Track("kit", is_drum=True), Track("cello", program=42))
    spec = RollSpec(tracks, steps_per_beat=12, beats_per_bar=3, lowest_pitch=0, n_pitches=128)
    notes = [(0, 127, 0, 7), (0, 60, 7, 8), (0, 60, 8, 108), (1, 35, 5, 6), (1, 81, 107, 108), (2, 0, 12, 36)]
    return spec, notes, phrase(spec, notes, 3)


@pytest.fixture
def silence():
    """(spec, notes, roll): four bars of lpd5 without a note."""
    spec = RollSpec(PRESETS["lpd5"])
    return spec, [], phrase(spec, [], 4)
