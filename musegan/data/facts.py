"""Facts of a song as plain values: its length, tempo, metre, grid and tracks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pretty_midi

from musegan.data.events import Notes, Song, SongError
from musegan.data.grid import own_fit, quantisation_error, regrid
from musegan.data.report import OFF_GRID_STEPS
from musegan.data.tracks import family
from musegan.roll import Track

GRIDS = (4, 12)    # steps in a quarter note
NOTE_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
BEAT_UNITS = (4, 8, 16, 32)


class Metre(NamedTuple):
    """Bars in a row that are alike."""

    first_bar: int
    """Counted from 1."""
    n_bars: int
    quarters: float
    """Quarter notes in each bar."""
    signature: tuple[int, int] | None
    """Time signature that is in force; None where the file gives none."""

    @property
    def is_whole(self) -> bool:
        """Whether the bars are as long as their signature says; True without one."""
        return self.signature is None or math.isclose(self.quarters, 4 * self.signature[0] / self.signature[1])

    @property
    def beats(self) -> tuple[int, int] | None:
        """Beats in a bar and the note that is one, as `RollSpec` has them; None for a bar that no signature can name."""
        if self.signature is not None and self.is_whole and self.signature[1] in (1, 2, *BEAT_UNITS):
            return self.signature
        counts = ((self.quarters * unit / 4, unit) for unit in BEAT_UNITS)
        return next(((int(count), unit) for count, unit in counts if count == int(count)), None)

    def __str__(self) -> str:
        name = f"{self.signature[0]}/{self.signature[1]}" if self.signature else ""
        length = f"{self.quarters:g} quarter {'note' if self.quarters == 1 else 'notes'}"
        return name if name and self.is_whole else ", ".join(filter(None, (name, length)))


def pitch_name(pitch: int) -> str:
    """E.g. "C4" for MIDI pitch 60."""
    return f"{NOTE_NAMES[pitch % 12]}{pitch // 12 - 1}"


def drum_name(pitch: int) -> str:
    """The General MIDI percussion instrument of a pitch, or the pitch's own name where there is none."""
    return pretty_midi.note_number_to_drum_name(pitch) or pitch_name(pitch)


def program_name(track: Track) -> str:
    """The General MIDI instrument of a track, or "drums"."""
    return "drums" if track.is_drum else pretty_midi.program_to_instrument_name(track.program)


def bar_of(song: Song, ticks: np.ndarray) -> np.ndarray:
    """Bars, counted from 0, in which ticks lie; what is after the last lies in the last."""
    n_bars = len(song.downbeats) - 1
    return np.clip(np.searchsorted(song.downbeats, ticks, side="right") - 1, 0, n_bars - 1)


def metres(song: Song) -> list[Metre]:
    """The bars of a song from the first to the last, those in a row that are alike together."""
    heeded = (s for s in song.signatures if s.denominator > 0 and 16 * s.numerator >= s.denominator)    # as `bar_lines` does
    signatures = sorted(heeded, key=lambda signature: signature.tick)
    in_force = np.searchsorted([s.tick for s in signatures], song.downbeats[:-1], side="right") - 1
    found: list[Metre] = []
    for bar, (length, index) in enumerate(zip(np.diff(song.downbeats).tolist(), in_force.tolist()), 1):
        signature = tuple(signatures[index][1:]) if index >= 0 else None
        quarters = length / song.ticks_per_quarter
        if signature is not None:
            nominal = 4 * signature[0] / signature[1]
            if abs(nominal * song.ticks_per_quarter - length) < 1:    # bars end on whole ticks
                quarters = nominal
        if found and found[-1][2:] == (quarters, signature):
            found[-1] = found[-1]._replace(n_bars=found[-1].n_bars + 1)
        else:
            found.append(Metre(bar, 1, quarters, signature))
    return found


def song_facts(song: Song, can_move: bool = True) -> dict[str, Any]:
    """What there is to know of a song, as JSON values.

    Args:
        can_move: whether `prepare` would move it to another beat, as it does MIDI files.
    """
    bpm = song.tempo.bpm[song.tempo.tick < song.length_ticks]
    return {
        "name": song.name,
        "length_bars": len(song.downbeats) - 1,
        "length_quarters": song.length_ticks / song.ticks_per_quarter,
        "length_seconds": float(song.seconds(np.array([song.length_ticks]))[0]),
        "ticks_per_quarter": song.ticks_per_quarter,
        "tempo": {
            "lowest_bpm": float(bpm.min()),
            "highest_bpm": float(bpm.max()),
            "n_changes": int((np.diff(bpm) != 0).sum()),
        },
        "metres": [
            {
                "first_bar": metre.first_bar,
                "n_bars": metre.n_bars,
                "signature": f"{metre.signature[0]}/{metre.signature[1]}" if metre.signature else None,
                "quarters_per_bar": metre.quarters,
            }
            for metre in metres(song)
        ],
        "grid": _grid_facts(song, can_move),
        "n_notes": len(song.notes.start),
        "tracks": [_track_facts(song, k) for k in range(len(song.tracks))],
    }


def _grid_facts(song: Song, can_move: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"fit": own_fit(song), "moves_to_bpm": None, "moves_to_fit": None, "problem": None}
    if can_move:
        try:
            _, grid = regrid(song)
            found |= {"moves_to_bpm": grid.found_bpm, "moves_to_fit": grid.found_fit}
        except SongError as err:
            found["problem"] = str(err)
    return found


def _track_facts(song: Song, index: int) -> dict[str, Any]:
    track, notes = song.tracks[index], song.notes.take(song.notes.track == index)
    n_notes = len(notes.start)
    errors = {str(steps): quantisation_error(replace(song, notes=notes), steps) for steps in GRIDS if n_notes}
    return {
        "number": index + 1,
        "name": track.name,
        "is_drum": track.is_drum,
        "program": None if track.is_drum else track.program,
        "program_name": program_name(track),
        "family": family(track),
        "n_notes": n_notes,
        "lowest_pitch": int(notes.pitch.min()) if n_notes else None,
        "highest_pitch": int(notes.pitch.max()) if n_notes else None,
        "polyphony": _polyphony(notes),
        "n_bars": _bars_sounding(song, notes, track.is_drum),
        "off_grid_share": {steps: float((error > OFF_GRID_STEPS).mean()) for steps, error in errors.items()},
    }


def _polyphony(notes: Notes) -> int:
    """Most notes that sound at one time; one ends before another starts on the same tick."""
    ticks = np.concatenate([notes.start, np.maximum(notes.end, notes.start + 1)])
    change = np.repeat([1, -1], len(notes.start))
    return int(np.cumsum(change[np.lexsort((change, ticks))]).max(initial=0))


def _bars_sounding(song: Song, notes: Notes, is_drum: bool) -> int:
    """Bars in which a note sounds, or starts where they are drums."""
    first = bar_of(song, notes.start)
    last = first if is_drum else np.maximum(bar_of(song, notes.end - 1), first)
    n_bars = len(song.downbeats) - 1
    change = np.bincount(first, minlength=n_bars + 1) - np.bincount(last + 1, minlength=n_bars + 1)
    return int((np.cumsum(change) > 0).sum())


def event_rows(song: Song, bars: tuple[int, int] | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """The notes of a song by start, track and pitch, as JSON values.

    Args:
        bars: only those that start in these bars, first and last, counted from 1.
        limit: the first so many.
    Returns:
        Each with its place as bar, beat (both from 1) and tick (from 0), and its length in beats of its bar.
    """
    bar = bar_of(song, song.notes.start)
    chosen = np.lexsort((song.notes.pitch, song.notes.track, song.notes.start))
    if bars is not None:
        chosen = chosen[(bar[chosen] >= bars[0] - 1) & (bar[chosen] < bars[1])]
    runs = metres(song)
    first_bars = np.array([run.first_bar for run in runs])
    rows = []
    for i in chosen[:limit].tolist():
        track, start, end, pitch, velocity = (int(column[i]) for column in song.notes)
        beats = runs[int(np.searchsorted(first_bars, bar[i] + 1, side="right")) - 1].beats
        beat_ticks = song.ticks_per_quarter * 4 / beats[1] if beats else song.ticks_per_quarter
        beat, tick = divmod(start - int(song.downbeats[bar[i]]), beat_ticks)
        rows.append(
            {
                "track": track + 1,
                "bar": int(bar[i]) + 1,
                "beat": int(beat) + 1,
                "tick": int(tick),
                "pitch": pitch,
                "name": drum_name(pitch) if song.tracks[track].is_drum else pitch_name(pitch),
                "length_beats": (end - start) / beat_ticks,
                "velocity": velocity,
            }
        )
    return rows
