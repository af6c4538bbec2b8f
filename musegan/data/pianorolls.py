"""Songs as pypianoroll's piano-rolls, and back: `to_multitrack`, `from_multitrack`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from musegan.data.events import (
    BPM_RANGE,
    DEFAULT_VELOCITY,
    NoNotes,
    Notes,
    Song,
    SongError,
    TempoMap,
    bar_lines,
    check_length,
    check_size,
    round_half_up,
    steady_tempo,
)
from musegan.roll import N_MIDI_PITCHES, Track

if TYPE_CHECKING:
    import pypianoroll
    from pypianoroll import Multitrack

MAX_CELLS = 1 << 28    # steps * 128 pitches * tracks of a multitrack, a byte each: 16 tracks of 4,600 quarters at 28
MAX_RESOLUTION = (1 << 15) - 1    # ticks in a quarter note; the most that MIDI has
_MANY_CELLS = 1 << 22
FINE_RESOLUTION = 12    # steps in a quarter note from which a gap of one step is shorter than any rest that is written


def to_multitrack(song: Song, resolution: int, name: str = "") -> Multitrack:
    """Draws a song into pypianoroll's piano-rolls.

    A pitched note's first step is a rising edge: where one is struck again while it sounds or just as it ends, the
    step before is cleared. (So a note of one step that is struck again in the next is gone: resolution should be at
    least 24, see `RollSpec.multitrack_resolution`.) A drum note is one step long, and so is a note that ends where it
    starts.

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
    from pypianoroll import Multitrack, StandardTrack    # brings matplotlib: 90 MB that a process reading bars does without

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
        pianoroll = _draw(notes.take(slice(first, stop)), n_steps, track.is_drum)
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

    Drums: from `FINE_RESOLUTION` on a run of steps is one stroke (a stroke may be drawn as long as a step of a coarser
    grid), below it every step is one.

    Args:
        multitrack: of any tracks of pypianoroll (`StandardTrack`, `BinaryTrack`, ...).
    Raises:
        SongError: a piano-roll is not [steps, 128], a tempo or the resolution is out of range, no notes, too many,
            or too long.
    """
    if not 1 <= multitrack.resolution <= MAX_RESOLUTION:
        raise SongError(f"damaged: {multitrack.resolution} steps in a quarter note")
    tracks, parts = [], []
    resolution = int(multitrack.resolution)
    for track in multitrack.tracks:
        pianoroll = track.pianoroll
        if pianoroll.ndim != 2 or pianoroll.shape[1] != N_MIDI_PITCHES:
            raise SongError(f"a piano-roll must be [steps, 128]: got {list(pianoroll.shape)}")
        start, end, pitch = track_notes(pianoroll, strokes=bool(track.is_drum) and resolution < FINE_RESOLUTION)
        velocity = pianoroll[start, pitch]
        parts.append(Notes(np.full(len(start), len(tracks)), start, end, pitch, velocities(velocity)))
        tracks.append(_track(track))
    n_steps = max((len(track.pianoroll) for track in multitrack.tracks), default=0)
    return song_of_steps(resolution, tracks, parts, n_steps, multitrack.tempo, multitrack.downbeat)


def song_of_steps(
    resolution: int,
    tracks: list[Track],
    parts: list[Notes],
    n_steps: int,
    tempo: np.ndarray | None,
    downbeat: np.ndarray | None,
) -> Song:
    """A song from what a multitrack holds; see `from_multitrack`.

    Args:
        parts: the notes of each track, in steps.
        n_steps: length of the piano-rolls.
        tempo: [steps] or [steps, 1] bpm, of any length.
        downbeat: [steps] or [steps, 1], of any length, nonzero where a bar starts.
    """
    if not parts:
        raise SongError("has no tracks")
    notes = Notes(*map(np.concatenate, zip(*parts)))
    if not len(notes.start):
        raise NoNotes
    check_length(n_steps / resolution)
    return Song(
        ticks_per_quarter=resolution,
        tracks=tuple(tracks),
        notes=notes,
        tempo=_tempo(tempo, resolution),
        downbeats=_downbeats(downbeat, int(notes.end.max()), n_steps, resolution),
    )


def velocities(values: np.ndarray) -> np.ndarray:
    """MIDI velocities (int64, 1 to 127) of a piano-roll's nonzero values; of bools, `DEFAULT_VELOCITY`."""
    if values.dtype == bool:
        return np.full(len(values), DEFAULT_VELOCITY)
    return values.clip(1, 127).astype(np.int64)


def _track(track: pypianoroll.Track) -> Track:
    program = int(track.program) if 0 <= int(track.program or 0) < 128 else 0
    return Track(str(track.name or ""), program, bool(track.is_drum))


def _tempo(per_step: np.ndarray | None, resolution: int) -> TempoMap:
    if per_step is None or not per_step.size:
        return steady_tempo()
    bpm = np.asarray(per_step, np.float64).ravel()
    if not ((bpm >= BPM_RANGE[0]) & (bpm <= BPM_RANGE[1])).all():
        raise SongError(f"damaged: a tempo is not positive, or not in {BPM_RANGE[0]:g} to {BPM_RANGE[1]:g} bpm")
    # pypianoroll, where it parses MIDI, writes the tempos of all beats 24 times in a row instead of each 24 times.
    n_beats, rest = divmod(len(bpm), 24)
    if not rest and (bpm[n_beats:] == bpm[:-n_beats]).all():
        bpm = np.repeat(bpm[:n_beats], resolution)
    # Computed from times, so that equal tempos differ in the last digits.
    change = np.append(0, np.flatnonzero(np.abs(np.diff(bpm)) > 1e-9 * bpm[1:]) + 1)
    return TempoMap(change, bpm[change])


def _downbeats(downbeat: np.ndarray | None, last: int, n_steps: int, resolution: int) -> np.ndarray:
    steps = np.zeros(0, np.int64) if downbeat is None else np.flatnonzero(np.asarray(downbeat).ravel())
    end = max(last, n_steps)
    steps = steps[steps < end]
    if not len(steps):
        return bar_lines((), last, resolution)
    # The last bar ends with the piano-roll. One that would be longer than the bar before it goes on in bars as long
    # as that: pypianoroll marks no downbeat after the last change of the time signature, and only the first without.
    length = int(steps[-1] - steps[-2]) if len(steps) > 1 else 4 * resolution
    if end - steps[-1] > length:
        steps = np.append(steps, np.arange(steps[-1] + length, end + length, length))
        end = int(steps[-1])
    return np.unique(np.concatenate([[0], steps, [end]])).astype(np.int64)


def runs(
    cells: np.ndarray, joins_gaps: bool = True, strokes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Notes of the sounding cells of piano-rolls that are laid end to end, with two silent cells between any two lines.

    Args:
        cells: [n] integers, strictly ascending.
        joins_gaps: takes a gap of one cell as the mark of a note struck again, so that the note before lasts until
            then.
        strokes: [n] bool, True for cells that are notes of their own, one cell long.
    Returns:
        Index in `cells` of each note's first one, and one past the last cell of each (half-open).
    """
    step = np.diff(cells)
    breaks = step > 1
    if strokes is not None:
        breaks |= strokes[1:]
    last = np.flatnonzero(breaks)
    first = np.append(0, last + 1)[: len(cells)]
    end = cells[np.append(last, len(cells) - 1)[: len(cells)]] + 1
    if joins_gaps:
        joined = step[last] == 2
        if strokes is not None:
            joined &= ~strokes[last]
        end[:-1] += joined
    return first, end


def track_notes(pianoroll: np.ndarray, strokes: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The notes of a piano-roll, by pitch and start.

    A gap of one step is the mark of a note struck again (`to_multitrack`), so the note before it is taken to last
    until then.

    Args:
        pianoroll: [steps, 128], nonzero while a note sounds.
        strokes: takes every cell as a note of its own.
    Returns:
        start_step, end_step (half-open), pitch: three [n] int64.
    Raises:
        SongError: more than `MAX_NOTES`.
    """
    if strokes:
        check_size(int(np.count_nonzero(pianoroll)), 1)
        pitch, start = np.nonzero(pianoroll.T)
        return start, start + 1, pitch
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


def _draw(notes: Notes, n_steps: int, is_drum: bool) -> np.ndarray:
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
    if not is_drum:    # of which every step is a stroke
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
