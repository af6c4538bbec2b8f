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
def jig():
    """(spec, notes, roll): two bars of 6/8 at 2 steps an eighth, that is 4 a quarter note."""
    spec = RollSpec((Track("kit", is_drum=True), Track("fiddle", program=40)), steps_per_beat=2, beats_per_bar=6,
                    beat_unit=8)
    notes = [(0, 36, step, step + 1) for step in (0, 6, 12, 18)]
    notes += [(1, 62, 0, 6), (1, 62, 6, 8), (1, 66, 8, 15), (1, 69, 21, 24)]
    return spec, notes, phrase(spec, notes, 2)


@pytest.fixture
def seven():
    """(spec, notes, roll): two bars of 7/8 at 2 steps an eighth, in groups of 2, 2 and 3 eighths."""
    spec = RollSpec((Track("kit", is_drum=True), Track("oud", program=105)), steps_per_beat=2, beats_per_bar=7, beat_unit=8)
    notes = [(0, 36, step, step + 1) for step in (0, 4, 8, 14, 18, 22)]
    notes += [(1, 50, 0, 14), (1, 57, 14, 15), (1, 57, 15, 28)]
    return spec, notes, phrase(spec, notes, 2)


@pytest.fixture
def march():
    """(spec, notes, roll): two bars of 2/2 at 8 steps a half note, that is 4 a quarter note."""
    spec = RollSpec((Track("snare", is_drum=True), Track("tuba", program=58)), steps_per_beat=8, beats_per_bar=2,
                    beat_unit=2)
    notes = [(0, 38, step, step + 1) for step in (0, 8, 16, 24)] + [(1, 36, 0, 8), (1, 43, 8, 16), (1, 36, 16, 32)]
    return spec, notes, phrase(spec, notes, 2)


@pytest.fixture
def silence():
    """(spec, notes, roll): four bars of lpd5 without a note."""
    spec = RollSpec(PRESETS["lpd5"])
    return spec, [], phrase(spec, [], 4)
