"""Beat annotations: where the beats of a performance are, and songs moved onto them.

Such files come with data sets whose notes lie off any grid, among them POP909 (Wang et al. 2020, "POP909: A Pop-song
Dataset for Music Arrangement Generation"): beat_midi.txt and beat_audio.txt beside each song.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from musegan.data.events import BPM_RANGE, MAX_QUARTERS, Song, SongError, TempoMap, check_length

TICKS_PER_QUARTER = 960    # of a song on beats; a beat is a quarter note
EARLY_BEATS = 1 / 24    # half a step of the finest grid in use, 12 steps in a beat


class Beats(NamedTuple):
    """The beats of a performance."""

    seconds: np.ndarray
    """[n] float64, ascending, n > 1."""
    is_downbeat: np.ndarray
    """[n] bool, True where a bar starts; one at least."""


def parse_beats(content: str | bytes, beats_per_bar: int = 4) -> Beats:
    """Reads beat annotations: a beat a line, its time in seconds first, "#" before comments.

    A downbeat is where the last of the line's columns is 1. Such is POP909's beat_midi.txt (seconds, downbeat of 2/4,
    downbeat of 4/4) and its beat_audio.txt (seconds, number of the beat in the bar). In a plain list of seconds, the
    first beat is a downbeat, and every `beats_per_bar`-th after it.

    Args:
        content: columns parted by white space or commas.
        beats_per_bar: of a plain list.
    Raises:
        SongError: not such a list, fewer than two beats, more than a song may have, or too close or far apart for any tempo.
    """
    if isinstance(content, bytes):
        try:
            content = content.decode("utf-8-sig")
        except UnicodeDecodeError as err:
            raise SongError("not a list of beats: not text") from err
    rows: list[list[float]] = []
    for number, line in enumerate(content.splitlines(), 1):
        columns = line.partition("#")[0].replace(",", " ").split()
        if not columns:
            continue
        try:
            row = [float(column) for column in columns]
        except ValueError:
            raise SongError(f"not a list of beats: line {number} is {line.strip()[:40]!r}") from None
        if rows and len(row) != len(rows[0]):
            raise SongError(f"not a list of beats: line {number} has {len(row)} columns, not {len(rows[0])}")
        if not np.isfinite(row).all():
            raise SongError(f"not a list of beats: line {number} is not finite")
        if rows and row[0] <= rows[-1][0]:
            raise SongError(f"beats must ascend: {row[0]:g} s in line {number} comes after {rows[-1][0]:g} s")
        rows.append(row)
    if not 2 <= len(rows) <= MAX_QUARTERS:
        raise SongError(f"has {len(rows)} beats: must be 2 to {MAX_QUARTERS:,}")
    table = np.array(rows)
    gaps, shortest, longest = np.diff(table[:, 0]), 60 / BPM_RANGE[1], 60 / BPM_RANGE[0]
    if gaps.min() < shortest or gaps.max() > longest:
        raise SongError(f"beats must be {shortest:g} to {longest:g} s apart: got {gaps.min():g} to {gaps.max():g} s")
    is_downbeat = table[:, -1] == 1 if table.shape[1] > 1 else np.arange(len(table)) % beats_per_bar == 0
    if not is_downbeat.any():
        raise SongError("no beat is marked as a downbeat: the last column is never 1")
    return Beats(table[:, 0], is_downbeat)


def on_beats(song: Song, beats: Beats) -> Song:
    """Moves a song's notes onto annotated beats.

    Each time is put between the beats around it, in proportion; before the first and after the last beat they go on
    as the nearest two do. Nothing is rounded but to the nearest tick, so that a note played just before a beat still
    is, and rounds to the beat later. Notes before the first beat are in beats added before it, but for those within
    `EARLY_BEATS` of it, which start on it.

    Returns:
        The notes in the same order, 960 ticks a beat. Bars start at the annotated downbeats, go on after the last as
        long as the bar before (four beats where there is none), and what comes before the first downbeat is a bar of
        its own. Tempos are the beats', from beat to beat. No signatures.
    Raises:
        SongError: too long.
    """
    ticks = [_ticks(song.seconds(times), beats.seconds) for times in (song.notes.start, song.notes.end)]
    early = max(0, -int(np.floor(ticks[0].min() + EARLY_BEATS * TICKS_PER_QUARTER)))
    n_before = -(-early // TICKS_PER_QUARTER)    # beats added before the first
    check_length(n_before + max(0, ticks[1].max() / TICKS_PER_QUARTER))    # also where all notes are long before the beats
    start = np.maximum(np.floor(ticks[0] + 0.5).astype(np.int64) + n_before * TICKS_PER_QUARTER, 0)
    end = np.maximum(np.floor(ticks[1] + 0.5).astype(np.int64) + n_before * TICKS_PER_QUARTER, start)
    beat_ticks = (np.arange(len(beats.seconds) - 1) + n_before) * TICKS_PER_QUARTER
    beat_ticks[0] = 0    # the first beat's tempo holds before it too
    return Song(
        ticks_per_quarter=TICKS_PER_QUARTER,
        tracks=song.tracks,
        notes=song.notes._replace(start=start, end=end),
        tempo=TempoMap(beat_ticks, 60 / np.diff(beats.seconds)),
        downbeats=_downbeats(np.flatnonzero(beats.is_downbeat) + n_before, max(int(end.max()), 1)),
        name=song.name,
    )


def _ticks(seconds: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """Where times lie in ticks from the first beat (float64, negative before it)."""
    before = np.clip(np.searchsorted(beats, seconds, side="right") - 1, 0, len(beats) - 2)
    within = (seconds - beats[before]) / (beats[before + 1] - beats[before])
    return (before + within) * TICKS_PER_QUARTER


def _downbeats(beat: np.ndarray, last: int) -> np.ndarray:
    """Where bars start in ticks, given the downbeats' places in beats; see `Song.downbeats`."""
    length = int(beat[-1] - beat[-2]) if len(beat) > 1 else 4
    n_more = max(0, -(-(last // TICKS_PER_QUARTER + 1 - int(beat[-1])) // length))
    beat = np.concatenate([[0], beat, beat[-1] + length * np.arange(1, n_more + 1)])
    ticks = np.unique(beat).astype(np.int64) * TICKS_PER_QUARTER
    return ticks[: int(np.searchsorted(ticks, last)) + 1]
