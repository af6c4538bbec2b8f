"""Music made for tests: MIDI files, and songs as note events."""

from __future__ import annotations

import numpy as np
import symusic

from musegan.data.bars import Bars
from musegan.data.events import Notes, Song, steady_tempo
from musegan.roll import RollSpec, Track

Note = tuple[int, int, int]
"""Start and length in ticks, pitch."""


def midi(
    tracks: list[tuple[int, bool, list[Note]]],
    ticks_per_quarter: int = 480,
    tempos: tuple[tuple[int, float], ...] = ((0, 120.0),),
    signatures: tuple[tuple[int, int, int], ...] = ((0, 4, 4),),
    names: tuple[str, ...] = (),
) -> bytes:
    """A MIDI file.

    Args:
        tracks: program, is_drum, notes.
        tempos: tick, bpm.
        signatures: tick, numerator, denominator.
        names: of the tracks, as many as have one.
    """
    score = symusic.Score(ticks_per_quarter)
    for tick, bpm in tempos:
        score.tempos.append(symusic.Tempo(tick, bpm))
    for tick, numerator, denominator in signatures:
        score.time_signatures.append(symusic.TimeSignature(tick, numerator, denominator))
    for k, (program, is_drum, notes) in enumerate(tracks):
        track = symusic.Track(names[k] if k < len(names) else "", program, is_drum)
        for start, length, pitch in notes:
            track.notes.append(symusic.Note(start, length, pitch, 90))
        score.tracks.append(track)
    return score.dumps_midi()


def scale(n_bars: int = 4, ticks_per_quarter: int = 480) -> list[Note]:
    """Quarter notes, four in a bar, rising from middle C."""
    return [(i * ticks_per_quarter, ticks_per_quarter // 2, 60 + i % 12) for i in range(4 * n_bars)]


def moved(notes: list[Note], semitones: int) -> list[Note]:
    """The notes transposed."""
    return [(start, length, pitch + semitones) for start, length, pitch in notes]


def sixteenths(bpm: float, n_notes: int, seconds_per_tick: float, rng: np.random.Generator) -> list[Note]:
    """Random sixteenths of a steady beat, on whatever ticks they fall; the first at tick 0."""
    step = np.sort(rng.choice(np.arange(1, 3 * n_notes), n_notes - 1, replace=False))
    ticks = np.round(np.append(0, step) * 15 / bpm / seconds_per_tick).astype(int)
    return [(int(tick), 20, int(rng.integers(40, 80))) for tick in ticks]


def song_of(
    tracks: tuple[Track, ...],
    notes: list[tuple[int, int, int, int]],
    downbeats: list[int],
    ticks_per_quarter: int = 480,
    bpm: float = 120.0,
) -> Song:
    """A song of notes (track, start and end tick, pitch), each as loud."""
    table = np.array(notes, np.int64).reshape(-1, 4)
    columns = Notes(*table.T, np.full(len(table), 90))
    return Song(ticks_per_quarter, tracks, columns, steady_tempo(bpm), np.array(downbeats, np.int64))


def unpacked(plane: np.ndarray, spec: RollSpec) -> np.ndarray:
    """A packed plane as bool [..., P]."""
    return np.unpackbits(plane, axis=-1, count=spec.n_pitches).astype(bool)


def bars_of(frame: np.ndarray, onset: np.ndarray, bar_numbers: list[int], bpm: float | np.ndarray = 120.0) -> Bars:
    """Bars of planes [bars, K, T, P] bool."""
    return Bars(
        frame=np.packbits(frame, axis=-1),
        onset=np.packbits(onset, axis=-1),
        tempo_bpm=np.full(len(frame), bpm, np.float32),
        bar_numbers=np.array(bar_numbers, np.int64),
        sounding=frame.any((2, 3)),
    )
