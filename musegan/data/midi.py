"""MIDI files as `pypianoroll.Multitrack`: symusic parses, numpy draws.

Steps are rounded half up. A resolution that is an *odd* multiple of a coarser one (`RollSpec.multitrack_resolution`) may be
rounded to the coarser one later: rounding twice is then the same as rounding once, because no fine step lies
half-way between two coarse ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import symusic
from pypianoroll import Multitrack, StandardTrack

from musegan.errors import UserError

MAX_FILE_BYTES = 32 << 20
MAX_BEATS = 1 << 14    # quarter notes: over two hours at 120 bpm
MAX_CELLS = 1 << 28    # steps * 128 pitches * tracks, one byte each: 16 tracks of 4,600 beats at 28 steps a beat
DEFAULT_TEMPO_BPM = 120.0    # where a file names none (MIDI 1.0)
_N_PITCHES = 128


class MidiError(UserError):
    """A MIDI file that cannot be read; the message is the reason, without the file's name."""


def load_score(source: Path | bytes) -> symusic.Score:
    """Parses a MIDI file, with times in ticks.

    Args:
        source: a path, or the bytes of a file.
    Returns:
        A score with at least one note, no event before tick 0.
    Raises:
        MidiError: unreadable, too big, not MIDI, damaged, or without notes.
    """
    if isinstance(source, Path):
        try:
            with open(source, "rb") as file:
                source = file.read(MAX_FILE_BYTES + 1)
        except OSError as err:
            raise MidiError(f"cannot be read: {err.strerror}") from err
    if len(source) > MAX_FILE_BYTES:
        raise MidiError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
    if not source.startswith(b"MThd"):
        raise MidiError("not a MIDI file: does not begin with MThd")
    try:
        score = symusic.Score.from_midi(source)
    except (RuntimeError, ValueError, MemoryError) as err:
        reason = str(err).removeprefix("MiniMidi: ").removesuffix(": iostream error")
        raise MidiError(f"damaged MIDI: {reason}") from err
    if score.ticks_per_quarter < 1:
        raise MidiError("damaged MIDI: not counted in ticks per quarter note")
    if not any(len(track.notes) for track in score.tracks):
        raise MidiError("has no notes")
    if min(track.notes.numpy()["time"].min() for track in score.tracks if len(track.notes)) < 0:
        raise MidiError("damaged MIDI: times overflow")
    return score


def note_arrays(track: symusic.Track) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A track's notes as int64 arrays: start and end in ticks, pitch, velocity in [1, 127]."""
    notes = track.notes.numpy()
    columns = ("time", "duration", "pitch", "velocity")
    start, duration, pitch, velocity = (notes[key].astype(np.int64) for key in columns)
    valid = (pitch >= 0) & (pitch < _N_PITCHES)
    end = start + np.maximum(duration, 0)
    return start[valid], end[valid], pitch[valid], velocity[valid].clip(1, 127)


def tempo_map(score: symusic.Score) -> tuple[np.ndarray, np.ndarray]:
    """The tempo map: ascending ticks from 0 (int64), and the tempo in bpm from each on (float64, positive)."""
    tempos = score.tempos.numpy()
    tick, microseconds = tempos["time"].astype(np.int64), tempos["mspq"].astype(np.float64)
    valid = (tick >= 0) & (microseconds > 0)
    tick, bpm = tick[valid], 60e6 / microseconds[valid]
    order = np.argsort(tick, kind="stable")
    tick, bpm = tick[order], bpm[order]
    if not len(tick) or tick[0] > 0:
        tick, bpm = np.append(0, tick), np.append(DEFAULT_TEMPO_BPM, bpm)
    return tick, bpm


def seconds(score: symusic.Score, ticks: np.ndarray) -> np.ndarray:
    """Times of `ticks` in seconds from tick 0 (float64), along the tempo map."""
    change, bpm = tempo_map(score)
    per_tick = 60 / (bpm * score.ticks_per_quarter)
    at_change = np.append(0, np.cumsum(np.diff(change) * per_tick[:-1]))
    segment = np.searchsorted(change, ticks, side="right") - 1
    return at_change[segment] + (ticks - change[segment]) * per_tick[segment]


def to_multitrack(score: symusic.Score, resolution: int, name: str = "") -> Multitrack:
    """Draws a score into piano-rolls.

    A note's first step is a rising edge: where one is struck again while it sounds or just as it ends, the step
    before is cleared. A drum note is one step long, and so is a note that ends where it starts.

    Args:
        score: from `load_score`.
        resolution: steps in a quarter note.
        name: the multitrack's name.
    Returns:
        Tracks with notes, as `StandardTrack` (velocities [steps, 128] uint8); `tempo` [steps] float64 in bpm and
        `downbeat` [steps] bool; steps end with a bar. (One axis, as `Multitrack.validate` asks.)
    Raises:
        MidiError: longer than `MAX_BEATS`, or more than `MAX_CELLS` cells.
    """
    tracks = [track for track in score.tracks if len(track.notes)]
    scale = (resolution, score.ticks_per_quarter)
    notes = [_quantised(track, *scale) for track in tracks]
    last = max((int(end.max()) for _, end, _, _ in notes if len(end)), default=1)
    _check_length(last, resolution, len(tracks))
    downbeats = _downbeats(score, last, resolution)
    n_steps = int(downbeats[-1])
    _check_length(n_steps, resolution, len(tracks))
    change, bpm = tempo_map(score)
    change = _round_half_up(change * resolution, score.ticks_per_quarter)
    downbeat = np.zeros(n_steps, bool)
    downbeat[downbeats[:-1]] = True
    return Multitrack(
        name=name,
        resolution=resolution,
        tempo=bpm[np.searchsorted(change, np.arange(n_steps), side="right") - 1],
        downbeat=downbeat,
        tracks=[
            StandardTrack(track.name, int(track.program), bool(track.is_drum), _draw(*arrays, n_steps))
            for track, arrays in zip(tracks, notes)
        ],
    )


def read_midi(source: Path | bytes, resolution: int, name: str = "") -> Multitrack:
    """Reads a MIDI file: `to_multitrack(load_score(source), resolution, name)`.

    Raises:
        MidiError: the file cannot be read, is no MIDI, is damaged, empty or absurdly long.
    """
    return to_multitrack(load_score(source), resolution, name)


def _check_length(n_steps: int, resolution: int, n_tracks: int) -> None:
    beats = n_steps / resolution
    if beats > MAX_BEATS or n_steps * n_tracks * _N_PITCHES > MAX_CELLS:
        raise MidiError(f"too long: {beats:,.0f} beats (tracks: {n_tracks})")


def _round_half_up(numerator: np.ndarray, denominator: int) -> np.ndarray:
    return (2 * numerator + denominator) // (2 * denominator)


def _quantised(track: symusic.Track, resolution: int, ticks_per_quarter: int) -> tuple[np.ndarray, ...]:
    """Notes in steps, at least one long; sorted by pitch and start."""
    start, end, pitch, velocity = note_arrays(track)
    start, end = (_round_half_up(ticks * resolution, ticks_per_quarter) for ticks in (start, end))
    end = start + 1 if track.is_drum else np.maximum(end, start + 1)
    order = np.lexsort((velocity, start, pitch))
    return start[order], end[order], pitch[order], velocity[order]


def _draw(start: np.ndarray, end: np.ndarray, pitch: np.ndarray, velocity: np.ndarray, n_steps: int) -> np.ndarray:
    """Velocities [n_steps, 128] uint8 of notes sorted by pitch and start; see `to_multitrack`."""
    roll = np.zeros((n_steps, _N_PITCHES), np.uint8)
    if not len(start):
        return roll
    # Steps of all pitches on one line, so that each note's successor on its pitch is the next in the arrays.
    line = n_steps + 2
    start, end = start + pitch * line, end + pitch * line
    # A pitch sounds until the last of its overlapping notes ends; of two that start together the louder stays.
    end = np.maximum.accumulate(end)
    last = np.append(start[1:] != start[:-1], True)
    start, end, velocity = start[last], end[last], velocity[last]
    end[:-1] = np.minimum(end[:-1], start[1:] - 1)
    length = np.maximum(end - start, 0)
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    pitch, step = np.divmod(np.repeat(start, length) + within, line)
    roll[step, pitch] = np.repeat(velocity, length)
    return roll


def _downbeats(score: symusic.Score, last_step: int, resolution: int) -> np.ndarray:
    """Steps at which bars start, from 0, and lastly the end of the bar that holds `last_step - 1`.

    A signature that changes inside a bar starts a new bar there; 4/4 where none is given.
    """
    signatures = score.time_signatures.numpy()
    columns = (signatures[key].astype(np.int64) for key in ("time", "numerator", "denominator"))
    changes = {0: 4 * resolution}
    for tick, numerator, denominator in zip(*columns):
        step = int(_round_half_up(tick * resolution, score.ticks_per_quarter))
        if denominator > 0 and 0 <= step < last_step and 4 * resolution * numerator >= denominator:
            changes[step] = 4 * resolution * int(numerator) / int(denominator)
    steps = []
    starts = sorted(changes)
    for start, stop in zip(starts, [*starts[1:], last_step]):
        steps.append(np.arange(start, stop, changes[start]))
    end = steps[-1][-1] + changes[starts[-1]]
    bars = np.floor(np.append(np.concatenate(steps), end) + 0.5).astype(np.int64)
    return np.unique(bars)
