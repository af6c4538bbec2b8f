"""A piece of music as note events: what every reader gives, and what bars are cut from.

Events hold what a piano-roll loses: which of two notes on one pitch is which, how loud each is, and times finer than
any step. `pianorolls.py` goes to pypianoroll's piano-rolls and back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from musegan.errors import UserError
from musegan.roll import Track

MAX_QUARTERS = 1 << 14    # over two hours at 120 bpm
MAX_NOTES = 1 << 20
MAX_TRACKS = 1 << 10
BPM_RANGE = (1e-3, 1e9)    # MIDI: 3.6 to 60 million
DEFAULT_TEMPO_BPM = 120.0    # where a file names none (MIDI 1.0)
DEFAULT_VELOCITY = 90    # of notes that are told by frames alone


class SongError(UserError):
    """A file that cannot be used as music; the message is the reason, without the file's name."""


class NoNotes(SongError):
    """A file of music without a note."""

    def __init__(self) -> None:
        super().__init__("has no notes")


class Notes(NamedTuple):
    """Note events, in any order: five int64 arrays [n]."""

    track: np.ndarray
    """Index in `Song.tracks`."""
    start: np.ndarray
    """Tick of the onset, from 0."""
    end: np.ndarray
    """Tick of the release, at least `start`."""
    pitch: np.ndarray
    """MIDI pitch, 0 to 127."""
    velocity: np.ndarray
    """1 to 127."""

    def take(self, which: np.ndarray | slice) -> Notes:
        """The notes at some indices, or where a mask is True."""
        return Notes(*(column[which] for column in self))


class TempoMap(NamedTuple):
    """The tempo over a piece."""

    tick: np.ndarray
    """[m] int64, ascending from 0."""
    bpm: np.ndarray
    """[m] float64 quarter notes a minute from each tick on, positive."""


class Signature(NamedTuple):
    """A time signature."""

    tick: int
    numerator: int
    denominator: int


@dataclass(frozen=True)
class Song:
    """A piece as note events."""

    ticks_per_quarter: int
    """Ticks in a quarter note."""
    tracks: tuple[Track, ...]
    """Instruments; names may be empty and alike."""
    notes: Notes
    """Of all tracks, one at least."""
    tempo: TempoMap
    """From tick 0 on."""
    downbeats: np.ndarray
    """[bars + 1] int64 ticks, ascending from 0: where bars start, and lastly the end of the one in which the last note
    ends."""
    signatures: tuple[Signature, ...] = ()
    """Time signatures as the file gives them; empty where it gives none."""
    name: str = ""
    """Of the piece within its file, where a file holds several; else empty."""

    def __post_init__(self):
        """Checks the size, so that whatever reads a file need not.

        Raises:
            SongError: no notes, too many, too many tracks, or too long.
        """
        if not len(self.notes.start):
            raise NoNotes
        check_size(len(self.notes.start), len(self.tracks))
        check_length(self.length_ticks / self.ticks_per_quarter)

    @property
    def length_ticks(self) -> int:
        """Tick at which the last note ends, at least 1."""
        return max(int(self.notes.end.max()), 1)

    def seconds(self, ticks: np.ndarray) -> np.ndarray:
        """Times of `ticks` in seconds from tick 0 (float64), along the tempo map."""
        change, bpm = self.tempo
        per_tick = 60 / (bpm * self.ticks_per_quarter)
        if len(change) == 1:
            return ticks * per_tick[0]
        at_change = np.append(0, np.cumsum(np.diff(change) * per_tick[:-1]))
        segment = np.searchsorted(change, ticks, side="right") - 1
        return at_change[segment] + (ticks - change[segment]) * per_tick[segment]


def check_size(n_notes: int, n_tracks: int) -> None:
    """Raises SongError for more than `MAX_NOTES` or `MAX_TRACKS`."""
    if n_notes > MAX_NOTES:
        raise SongError(f"has {n_notes:,} notes, more than {MAX_NOTES:,}")
    if n_tracks > MAX_TRACKS:
        raise SongError(f"has {n_tracks:,} tracks, more than {MAX_TRACKS:,}")


def check_length(quarters: float) -> None:
    """Raises SongError for a piece longer than `MAX_QUARTERS`."""
    if quarters > MAX_QUARTERS:
        raise SongError(f"too long: {quarters:,.0f} quarter notes")


def steady_tempo(bpm: float = DEFAULT_TEMPO_BPM) -> TempoMap:
    """A tempo map of one tempo."""
    return TempoMap(np.zeros(1, np.int64), np.array([bpm]))


def bar_lines(signatures: tuple[Signature, ...], length_ticks: int, ticks_per_quarter: int) -> np.ndarray:
    """Where bars start under time signatures; see `Song.downbeats`.

    A signature that changes inside a bar starts a new bar there; 4/4 where none is given. Bars shorter than a
    sixteenth note, and signatures from the last note on, are passed over.

    Raises:
        SongError: longer than `MAX_QUARTERS`.
    """
    check_length(length_ticks / ticks_per_quarter)
    if not signatures:
        return np.arange(0, length_ticks + 4 * ticks_per_quarter, 4 * ticks_per_quarter)
    changes = {0: 4 * ticks_per_quarter}
    for tick, numerator, denominator in signatures:
        if denominator > 0 and 0 <= tick < length_ticks and 16 * numerator >= denominator:
            changes[tick] = 4 * ticks_per_quarter * numerator / denominator
    starts = sorted(changes)
    parts = [np.arange(start, stop, changes[start]) for start, stop in zip(starts, [*starts[1:], length_ticks])]
    parts.append(parts[-1][-1:] + changes[starts[-1]])
    lines = np.floor(np.concatenate(parts) + 0.5).astype(np.int64)
    return lines[np.append(True, lines[1:] > lines[:-1])]


def round_half_up(numerator: np.ndarray, denominator: int) -> np.ndarray:
    """Nearest integers to numerator / denominator (integers), halves up."""
    return (2 * numerator + denominator) // (2 * denominator)
