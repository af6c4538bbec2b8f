"""pypianoroll's .npz multitracks as songs: of release 1, and the old form that the Lakh Pianoroll Dataset is in.

Source: `save` and `load` of pypianoroll 0.1 to 1.0.4. Both forms hold `info.json` (the old one says `beat_resolution`
where the new one says `resolution`) and for each track the four parts of a `scipy.sparse.csc_matrix` [steps, 128];
`tempo` and `downbeat` may be missing, [steps], or [steps, 1], and of another length than the piano-rolls. A track of
LPD-5 without notes is [0, 128]. Notes come straight from the sparse parts; nothing as large as a piano-roll is made.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from musegan.data.events import Notes, Song, SongError
from musegan.data.npz import Npz
from musegan.data.pianorolls import (
    FINE_RESOLUTION,
    MAX_CELLS,
    MAX_RESOLUTION,
    runs,
    song_of_steps,
    track_notes,
    velocities,
)
from musegan.roll import N_MIDI_PITCHES, Track

INFO = "info.json"
MAX_INFO_BYTES = 1 << 20
MAX_FILE_BYTES = 256 << 20    # of all arrays of a multitrack together, unpacked


def load_multitrack(source: Path | bytes | Npz) -> Song:
    """Reads a multitrack; a tick is a step. See `from_multitrack` for what becomes of piano-rolls, tempo and downbeats.

    Args:
        source: a path, the bytes of a file, or a file that is open.
    Raises:
        SongError: unreadable, not such a file, damaged, without notes, or absurdly long or large.
    """
    if not isinstance(source, Npz):
        with Npz(source) as file:
            return load_multitrack(file)
    info = _info(source)
    resolution = _resolution(info)
    budget = _Budget(source)
    tracks, parts, length = [], [], 0
    while str(len(tracks)) in info:
        index = len(tracks)
        track = _track(info[str(index)])
        notes, n_steps = _notes(budget, f"pianoroll_{index}", track.is_drum and resolution < FINE_RESOLUTION)
        length = max(length, n_steps)
        tracks.append(track)
        parts.append(notes._replace(track=np.full(len(notes.start), index)))
        if length * N_MIDI_PITCHES * len(tracks) > MAX_CELLS:
            raise SongError(f"too long: {length / resolution:,.0f} quarter notes (tracks: {len(tracks)})")
    tempo, downbeat = (budget.array(name) if name in source else None for name in ("tempo", "downbeat"))
    return song_of_steps(resolution, tracks, parts, length, tempo, downbeat)


class _Budget:
    """Reads arrays of numbers as long as they stay below `MAX_FILE_BYTES` together."""

    def __init__(self, file: Npz):
        self.file = file
        self._left = MAX_FILE_BYTES

    def array(self, name: str) -> np.ndarray:
        values = self.file.array(name, self._left)
        self._left -= values.nbytes
        if values.dtype.kind == "U":
            raise SongError(f"{name} must hold numbers: got text")
        return values


def _info(file: Npz) -> dict:
    try:
        info = json.loads(file.content(INFO, MAX_INFO_BYTES))
    except SongError:
        raise
    except (ValueError, RecursionError) as err:
        raise SongError(f"damaged: {INFO} is no JSON") from err
    if not isinstance(info, dict):
        raise SongError(f"damaged: {INFO} is no table")
    return info


def _resolution(info: dict) -> int:
    value = info.get("resolution")
    value = info.get("beat_resolution") if value is None else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= MAX_RESOLUTION or value % 1:
        raise SongError(f"resolution must be 1 to {MAX_RESOLUTION:,} steps a quarter note: got {str(value)[:40]}")
    return int(value)


def _track(entry: object) -> Track:
    if not isinstance(entry, dict):
        raise SongError(f"damaged: {INFO} has no table for a track")
    name, program = entry.get("name"), entry.get("program")
    name = name.encode(errors="replace").decode() if isinstance(name, str) else ""    # JSON can hold half characters
    program = program if isinstance(program, int) and 0 <= program < 128 else 0
    return Track(name, int(program), entry.get("is_drum") in (True, 1))


def _notes(budget: _Budget, name: str, strokes: bool) -> tuple[Notes, int]:
    """Notes of a track (of track 0), and the length of its piano-roll in steps."""
    if name in budget.file:
        start, end, pitch, values, n_steps = _dense_notes(budget.array(name), strokes)
    else:
        start, end, pitch, values, n_steps = _sparse_notes(budget, name, strokes)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise SongError(f"damaged: {name} holds values that are no numbers")
    return Notes(start, start, end, pitch, velocities(values)), n_steps


def _dense_notes(pianoroll: np.ndarray, strokes: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    _check_shape(pianoroll.shape)
    start, end, pitch = track_notes(pianoroll, strokes)
    return start, end, pitch, pianoroll[start, pitch], len(pianoroll)


def _sparse_notes(
    budget: _Budget, name: str, strokes: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    parts = [budget.array(f"{name}_csc_{part}") for part in ("data", "indices", "indptr", "shape")]
    values, steps, offsets, shape = parts
    if any(array.ndim != 1 for array in parts):
        raise SongError(f"damaged: {name} has parts of more than one axis")
    if any(array.dtype.kind not in "iu" for array in (steps, offsets, shape)):
        raise SongError(f"damaged: {name} has places that are no integers")
    _check_shape(shape.tolist())
    n_steps = int(shape[0])
    steps, offsets = steps.astype(np.int64), offsets.astype(np.int64)
    lengths = np.diff(offsets)
    fit = len(lengths) == N_MIDI_PITCHES and offsets[0] == 0 and offsets[-1] == len(steps) == len(values)
    if not fit or (lengths < 0).any():
        raise SongError(f"damaged: {name} has parts that do not fit together")
    if not len(steps):
        return steps, steps, steps, values, n_steps
    if steps.min() < 0 or steps.max() >= n_steps:
        raise SongError(f"damaged: {name} has notes outside its {n_steps:,} steps")
    line = n_steps + 2
    cells = np.repeat(np.arange(N_MIDI_PITCHES) * line, lengths) + steps
    if not values.all():
        cells, values = cells[values != 0], values[values != 0]
    gaps = np.diff(cells)
    if (gaps <= 0).any():    # scipy sorts a matrix on demand only
        order = np.argsort(cells, kind="stable")
        cells, values = cells[order], values[order]
        if not np.diff(cells).all():
            raise SongError(f"damaged: {name} has a cell twice")
    first, end = runs(cells, strokes=np.ones(len(cells), bool) if strokes else None)
    pitch, start = np.divmod(cells[first], line)
    return start, end - pitch * line, pitch, values[first], n_steps


def _check_shape(shape: list[int] | tuple[int, ...]) -> None:
    if len(shape) != 2 or shape[1] != N_MIDI_PITCHES or shape[0] < 0:
        raise SongError(f"a piano-roll must be [steps, 128]: got {list(shape)[:8]}")
    if shape[0] * N_MIDI_PITCHES > MAX_CELLS:
        raise SongError(f"too long: {shape[0]:,} steps")
