"""MIDI files made for tests."""

from __future__ import annotations

import numpy as np
import symusic

Note = tuple[int, int, int]
"""Start and length in ticks, pitch."""


def midi(
    tracks: list[tuple[int, bool, list[Note]]],
    ticks_per_quarter: int = 480,
    tempos: tuple[tuple[int, float], ...] = ((0, 120.0),),
    signatures: tuple[tuple[int, int, int], ...] = ((0, 4, 4),),
) -> bytes:
    """A MIDI file.

    Args:
        tracks: program, is_drum, notes.
        tempos: tick, bpm.
        signatures: tick, numerator, denominator.
    """
    score = symusic.Score(ticks_per_quarter)
    for tick, bpm in tempos:
        score.tempos.append(symusic.Tempo(tick, bpm))
    for tick, numerator, denominator in signatures:
        score.time_signatures.append(symusic.TimeSignature(tick, numerator, denominator))
    for program, is_drum, notes in tracks:
        track = symusic.Track("", program, is_drum)
        for start, length, pitch in notes:
            track.notes.append(symusic.Note(start, length, pitch, 90))
        score.tracks.append(track)
    return score.dumps_midi()


def scale(n_bars: int = 4, ticks_per_quarter: int = 480) -> list[Note]:
    """Quarter notes, four in a bar, rising from middle C."""
    return [(i * ticks_per_quarter, ticks_per_quarter // 2, 60 + i % 12) for i in range(4 * n_bars)]


def sixteenths(bpm: float, n_notes: int, seconds_per_tick: float, rng: np.random.Generator) -> list[Note]:
    """Random sixteenths of a steady beat, on whatever ticks they fall; the first at tick 0."""
    step = np.sort(rng.choice(np.arange(1, 3 * n_notes), n_notes - 1, replace=False))
    ticks = np.round(np.append(0, step) * 15 / bpm / seconds_per_tick).astype(int)
    return [(int(tick), 20, int(rng.integers(40, 80))) for tick in ticks]
