"""Does a file's beat grid fit its notes, and where is the true beat if not?

Some files carry a tempo that has nothing to do with their music (converted from other formats, or recorded
without a metronome). How well a pulse fits is measured by the resultant |mean exp(2 pi i f t)| over the onset
times t: 1 when every onset lies on one grid of frequency f, about 1 / sqrt(n) when they lie anywhere.
Source: Mardia & Jupp 2000, Directional Statistics, section 2.3; tempo prior as in Ellis 2007, "Beat tracking by
dynamic programming".
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from musegan.data.events import Signature, Song, SongError, bar_lines, steady_tempo

PULSES_PER_BEAT = (1, 2, 3, 4, 6)    # beats, eighths, triplets, sixteenths, sixteenth triplets
MIN_OWN_FIT = 0.15    # human drumming to a metronome: nearly always more; ten converted files: 0.14 and less
MIN_FOUND_FIT = 0.8    # the ten: 0.89 and more
MIN_ONSETS_TO_MOVE = 64    # a steady beat fits fewer by chance
MIN_ONSETS_TO_REJECT = 128    # fewer may be a drum fill: loose, or in thirty-seconds
TEMPO_RANGE_BPM = (60.0, 200.0)
_TICKS_PER_BEAT = 960    # of a regridded score
_BIN_SECONDS = 0.004    # a sixteenth at 200 bpm is 75 ms
_MAX_SECONDS = 3600.0    # of music that is looked at


class Grid(NamedTuple):
    """How a file's notes lie on their grid."""

    fit: float
    """Best resultant of the file's own pulses, in [0, 1]."""
    found_bpm: float | None = None
    """The true tempo where the file was moved to another grid."""
    found_fit: float | None = None
    """The resultant of its sixteenths."""


def quantisation_error(song: Song, steps_per_quarter: int) -> np.ndarray:
    """How far each note of a song starts from its step: float64 in [0, 0.5] steps, every note of every track."""
    steps = song.notes.start * (steps_per_quarter / song.ticks_per_quarter)
    return np.abs(steps - np.rint(steps))


def resultant(times: np.ndarray, frequency: float) -> complex:
    """Mean of exp(2 pi i f t): its size is the fit of the pulse, its angle where the pulse falls.

    Args:
        times: [n] in any unit; 0 for none.
        frequency: pulses in that unit.
    """
    return complex(np.exp(2j * np.pi * frequency * times).mean()) if len(times) else 0j


def own_fit(song: Song) -> float:
    """The best resultant among the pulses of a song's own beat, in [0, 1]; each note counts, so a chord weighs more."""
    # Pulses divide the beat, so only the place within it matters.
    place = np.bincount(song.notes.start % song.ticks_per_quarter, minlength=song.ticks_per_quarter)
    return float(np.abs(place @ _pulses(song.ticks_per_quarter)).max() / len(song.notes.start))


@functools.lru_cache(maxsize=16)
def _pulses(ticks_per_quarter: int) -> np.ndarray:
    """[ticks, pulses] exp(2 pi i f t)."""
    turns = np.arange(ticks_per_quarter)[:, None] * np.array(PULSES_PER_BEAT) / ticks_per_quarter
    return np.exp(2j * np.pi * turns)


def find_tempo(times: np.ndarray) -> tuple[float, float]:
    """The steady tempo whose sixteenths fit onset times best.

    Args:
        times: [n] onsets in seconds, n > 0.
    Returns:
        Tempo in bpm, in [60, 200], and the resultant of its sixteenths. Where halves and doubles fit alike, the one
        whose eighths and beats are played too, and which is nearer to 120 bpm.
    """
    times = times[times < times[0] + _MAX_SECONDS] - times[0]
    # The spectrum of the onsets, with at least eight frequencies within the width of a peak.
    n_bins = 1 << int(np.ceil(np.log2(8 * (times[-1] / _BIN_SECONDS + 1))))
    bins = np.bincount((times / _BIN_SECONDS + 0.5).astype(np.int64), minlength=n_bins)
    fits = np.abs(np.fft.rfft(bins)) / len(times)
    spacing = 1 / (n_bins * _BIN_SECONDS)    # Hz
    beat = np.arange(np.ceil(TEMPO_RANGE_BPM[0] / 60 / spacing), TEMPO_RANGE_BPM[1] / 60 / spacing + 1, 0.25)
    at = [fits[np.round(pulses * beat).astype(int)] for pulses in (4, 2, 1)]
    prior = np.exp(-0.5 * np.log2(beat * spacing * 60 / 120) ** 2)
    best = beat[np.argmax((at[0] + 0.2 * (at[1] + at[2])) * prior)] * spacing
    near = best + np.linspace(-1, 1, 65) * spacing / 2
    exact = max(near, key=lambda frequency: abs(resultant(times, 4 * frequency)))
    return float(60 * exact), abs(resultant(times, 4 * exact))


def regrid(song: Song) -> tuple[Song, Grid]:
    """Moves a song whose notes do not lie on its beat to the beat on which they do.

    The first note starts a bar: true of all 49 songs in 4/4 of the embedded data set whose grid is right, where
    rules by accents (kick, snare, bass, long notes) found at most 47.

    Returns:
        The song itself where its grid fits, else a new one with a steady tempo, in the metre of the first signature.
    Raises:
        SongError: the grid does not fit, and no steady tempo does either.
    """
    n_onsets, fit = len(song.notes.start), own_fit(song)
    if fit >= MIN_OWN_FIT or n_onsets < MIN_ONSETS_TO_MOVE:
        return song, Grid(fit)
    times = song.seconds(np.sort(song.notes.start))
    bpm, found_fit = find_tempo(times)
    if found_fit < MIN_FOUND_FIT:
        if n_onsets < MIN_ONSETS_TO_REJECT:
            return song, Grid(fit)
        raise SongError(
            f"notes do not lie on the beat (fit {fit:.2f}) nor on any steady one "
            f"(at best {found_fit:.2f}, at {bpm:.1f} bpm)"
        )
    # The grid line nearest to the first note, in seconds.
    sixteenth = 15 / bpm
    phase = np.angle(resultant(times, 1 / sixteenth)) / (2 * np.pi) * sixteenth
    first = phase + np.round((times[0] - phase) / sixteenth) * sixteenth
    return _moved(song, first, bpm), Grid(fit, bpm, found_fit)


def _moved(song: Song, first: float, bpm: float) -> Song:
    """The song with its notes on a steady beat of `bpm` that starts `first` seconds after tick 0."""
    start, end = (
        np.maximum(np.round((song.seconds(ticks) - first) * bpm / 60 * _TICKS_PER_BEAT), 0).astype(np.int64)
        for ticks in (song.notes.start, song.notes.end)
    )
    signatures = tuple(Signature(0, *rest) for _, *rest in song.signatures[:1])
    return Song(
        ticks_per_quarter=_TICKS_PER_BEAT,
        tracks=song.tracks,
        notes=song.notes._replace(start=start, end=end),
        tempo=steady_tempo(bpm),
        downbeats=bar_lines(signatures, max(int(end.max()), 1), _TICKS_PER_BEAT),
        signatures=signatures,
        name=song.name,
    )
