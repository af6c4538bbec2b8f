"""A piece of music as note events: what every reader gives, and what bars are cut from.

Events hold what a piano-roll loses: which of two notes on one pitch is which, how loud each is, and times finer than
any step. `to_multitrack` and `from_multitrack` go to pypianoroll's piano-rolls and back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pypianoroll import Multitrack, StandardTrack
from pypianoroll import Track as PypianorollTrack

from musegan.errors import UserError
from musegan.roll import N_MIDI_PITCHES, Track

MAX_QUARTERS = 1 << 14    # over two hours at 120 bpm
MAX_CELLS = 1 << 28    # steps * 128 pitches * tracks of a multitrack, a byte each: 16 tracks of 4,600 quarters at 28
MAX_NOTES = 1 << 20
MAX_TRACKS = 1 << 10
MAX_RESOLUTION = (1 << 15) - 1    # ticks in a quarter note; the most that MIDI has
_MANY_CELLS = 1 << 22
BPM_RANGE = (1e-3, 1e9)    # MIDI: 3.6 to 60 million
DEFAULT_TEMPO_BPM = 120.0    # where a file names none (MIDI 1.0)


class SongError(UserError):
    """A file that cannot be used as music; the message is the reason, without the file's name."""


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
    """[bars + 1] int64 ticks, ascending from 0: where bars start, and lastly the end of the one in which the last note ends."""
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
            raise SongError("has no notes")
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
    changes = {0: 4 * ticks_per_quarter}
    for tick, numerator, denominator in signatures:
        if denominator > 0 and 0 <= tick < length_ticks and 16 * numerator >= denominator:
            changes[tick] = 4 * ticks_per_quarter * numerator / denominator
    starts = sorted(changes)
    parts = [np.arange(start, stop, changes[start]) for start, stop in zip(starts, [*starts[1:], length_ticks])]
    parts.append(parts[-1][-1:] + changes[starts[-1]])
    return np.unique(np.floor(np.concatenate(parts) + 0.5).astype(np.int64))


def round_half_up(numerator: np.ndarray, denominator: int) -> np.ndarray:
    """Nearest integers to numerator / denominator (integers), halves up."""
    return (2 * numerator + denominator) // (2 * denominator)


def to_multitrack(song: Song, resolution: int, name: str = "") -> Multitrack:
    """Draws a song into pypianoroll's piano-rolls.

    A note's first step is a rising edge: where one is struck again while it sounds or just as it ends, the step
    before is cleared. A drum note is one step long, and so is a note that ends where it starts.

    Args:
        song: from any reader.
        resolution: steps in a quarter note.
        name: the multitrack's name.
    Returns:
        Tracks with notes, as `StandardTrack` (velocities [steps, 128] uint8); `tempo` [steps] float64 in bpm and
        `downbeat` [steps] bool; steps end with a bar. (One axis, as `Multitrack.validate` asks.)
    Raises:
        SongError: more than `MAX_CELLS` cells.
    """
    scale = (resolution, song.ticks_per_quarter)
    downbeats = np.unique(round_half_up(song.downbeats * scale[0], scale[1]))
    is_drum = np.array([track.is_drum for track in song.tracks])[song.notes.track]
    start, end = (round_half_up(ticks * scale[0], scale[1]) for ticks in (song.notes.start, song.notes.end))
    end = np.where(is_drum, start + 1, np.maximum(end, start + 1))
    n_steps = max(int(downbeats[-1]), int(end.max()))
    sounding = np.unique(song.notes.track).tolist()
    if n_steps * len(sounding) * N_MIDI_PITCHES > MAX_CELLS:
        raise SongError(f"too long: {n_steps / resolution:,.0f} quarter notes (tracks: {len(sounding)})")
    downbeat = np.zeros(n_steps, bool)
    downbeat[downbeats[downbeats < n_steps][: len(downbeats) - 1]] = True
    change = round_half_up(song.tempo.tick * scale[0], scale[1])
    order = np.argsort(song.notes.track, kind="stable")
    notes = song.notes._replace(start=start, end=end).take(order)
    borders = np.searchsorted(notes.track, [*sounding, len(song.tracks)]).tolist()
    tracks = []
    for k, first, stop in zip(sounding, borders, borders[1:]):
        track = song.tracks[k]
        pianoroll = _draw(notes.take(slice(first, stop)), n_steps)
        tracks.append(StandardTrack(track.name, track.program, track.is_drum, pianoroll))
    return Multitrack(
        name=name,
        resolution=resolution,
        tempo=song.tempo.bpm[np.searchsorted(change, np.arange(n_steps), side="right") - 1],
        downbeat=downbeat,
        tracks=tracks,
    )


def from_multitrack(multitrack: Multitrack) -> Song:
    """The notes of pypianoroll's piano-rolls; a tick is a step.

    A gap of one step is the mark of a note struck again (`to_multitrack`), so the note before it is taken to last
    until then. Where there are no downbeats, bars are 4/4 from the start; steps before the first downbeat are a bar
    of their own.

    Args:
        multitrack: of any tracks of pypianoroll (`StandardTrack`, `BinaryTrack`, ...).
    Raises:
        SongError: a piano-roll is not [steps, 128], a tempo or the resolution is out of range, no notes, too many,
            or too long.
    """
    if not 1 <= multitrack.resolution <= MAX_RESOLUTION:
        raise SongError(f"damaged: {multitrack.resolution} steps in a quarter note")
    tracks, parts = [], []
    for track in multitrack.tracks:
        pianoroll = track.pianoroll
        if pianoroll.ndim != 2 or pianoroll.shape[1] != N_MIDI_PITCHES:
            raise SongError(f"a piano-roll must be [steps, 128]: got {list(pianoroll.shape)}")
        start, end, pitch = track_notes(pianoroll)
        velocity = pianoroll[start, pitch]
        velocity = np.full(len(start), 90) if velocity.dtype == bool else velocity.astype(np.int64).clip(1, 127)
        parts.append(Notes(np.full(len(start), len(tracks)), start, end, pitch, velocity))
        tracks.append(_track(track))
    if not parts:
        raise SongError("has no tracks")
    notes = Notes(*map(np.concatenate, zip(*parts)))
    if not len(notes.start):
        raise SongError("has no notes")
    n_steps = max(len(track.pianoroll) for track in multitrack.tracks)
    return Song(
        ticks_per_quarter=int(multitrack.resolution),
        tracks=tuple(tracks),
        notes=notes,
        tempo=_tempo(multitrack.tempo),
        downbeats=_downbeats(multitrack.downbeat, int(notes.end.max()), n_steps, int(multitrack.resolution)),
    )


def _track(track: PypianorollTrack) -> Track:
    program = int(track.program) if 0 <= int(track.program or 0) < 128 else 0
    return Track(str(track.name or ""), program, bool(track.is_drum))


def _tempo(per_step: np.ndarray | None) -> TempoMap:
    if per_step is None or not per_step.size:
        return steady_tempo()
    bpm = np.asarray(per_step, np.float64).ravel()
    if not ((bpm >= BPM_RANGE[0]) & (bpm <= BPM_RANGE[1])).all():
        raise SongError(f"damaged: a tempo is not positive, or not in {BPM_RANGE[0]:g} to {BPM_RANGE[1]:g} bpm")
    change = np.append(0, np.flatnonzero(np.diff(bpm)) + 1)
    return TempoMap(change, bpm[change])


def _downbeats(downbeat: np.ndarray | None, last: int, n_steps: int, resolution: int) -> np.ndarray:
    steps = np.zeros(0, np.int64) if downbeat is None else np.flatnonzero(np.asarray(downbeat).ravel())
    if not len(steps):
        return bar_lines((), last, resolution)
    # The last bar ends with the piano-roll; one that would be longer than the bar before it goes on as that did.
    length = int(steps[-1] - steps[-2]) if len(steps) > 1 else 4 * resolution
    end = max(last, n_steps)
    if end - steps[-1] > length:
        steps = np.append(steps, np.arange(steps[-1] + length, end, length))
    return np.unique(np.concatenate([[0], steps, [max(end, int(steps[-1]) + 1)]])).astype(np.int64)


def track_notes(pianoroll: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The notes of a piano-roll, by pitch and start.

    A gap of one step is the mark of a note struck again (`to_multitrack`), so the note before it is taken to last
    until then.

    Args:
        pianoroll: [steps, 128], nonzero while a note sounds.
    Returns:
        start_step, end_step (half-open), pitch: three [n] int64.
    Raises:
        SongError: more than `MAX_NOTES`.
    """
    sounds = np.zeros((len(pianoroll) + 2, N_MIDI_PITCHES), bool)
    sounds[1:-1] = pianoroll != 0
    edges = sounds[1:] != sounds[:-1]
    check_size(int(np.count_nonzero(edges)) // 2, 1)    # places take eight times the memory
    step, pitch = np.divmod(np.flatnonzero(edges), N_MIDI_PITCHES)
    order = np.argsort(pitch, kind="stable")    # along each pitch, starts and ends take turns
    pitch, start, end = pitch[order][::2], step[order][::2], step[order][1::2]
    restruck = (pitch[1:] == pitch[:-1]) & (start[1:] == end[:-1] + 1)
    end[:-1][restruck] += 1
    return start, end, pitch


def _draw(notes: Notes, n_steps: int) -> np.ndarray:
    """Velocities [n_steps, 128] uint8 of one track's notes in steps; see `to_multitrack`."""
    roll = np.zeros((n_steps, N_MIDI_PITCHES), np.uint8)
    _, start, end, pitch, velocity = notes.take(np.lexsort((notes.velocity, notes.start, notes.pitch)))
    # Steps of all pitches on one line, so that each note's successor on its pitch is the next in the arrays.
    line = n_steps + 2
    start, end = start + pitch * line, end + pitch * line
    # A pitch sounds until the last of its overlapping notes ends; of two that start together the louder stays.
    end = np.maximum.accumulate(end)
    last = np.append(start[1:] != start[:-1], True)
    start, end, velocity = start[last], end[last], velocity[last]
    end[:-1] = np.minimum(end[:-1], start[1:] - 1)
    length = np.maximum(end - start, 0)
    if length.sum() > _MANY_CELLS:    # then their places would take far more memory than the roll
        gap = start - np.append(0, (start + length)[:-1])
        runs = np.append(np.stack([gap, length], 1).ravel(), N_MIDI_PITCHES * line - start[-1] - length[-1])
        values = np.append(np.stack([np.zeros_like(velocity), velocity], 1).ravel(), 0).astype(np.uint8)
        return np.ascontiguousarray(np.repeat(values, runs).reshape(N_MIDI_PITCHES, line)[:, :n_steps].T)
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    pitch, step = np.divmod(np.repeat(start, length) + within, line)
    roll[step, pitch] = np.repeat(velocity, length)
    return roll
