"""Some bars of a song as a roll that has each of its tracks, to be looked at."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from musegan.data.bars import Bars, cut_bars
from musegan.data.events import Song, SongError, steady_tempo
from musegan.data.facts import bar_of, metres, program_name
from musegan.data.tracks import Feed, Preset
from musegan.ops import unpack
from musegan.roll import N_MIDI_PITCHES, Roll, RollSpec, Track

MAX_BARS = 64    # that can be told apart side by side
MAX_TRACKS = 64
MAX_QUARTERS = 1024    # the longest bar there is, 255/1, is a little shorter
DEFAULT_BARS = 16
STEPS_PER_QUARTER = 12
_MAX_NAME = 24    # characters


class Excerpt(NamedTuple):
    """Bars of one metre."""

    roll: Roll
    """Planes [K, B, T, P] bool; drums, as everywhere, have onsets only."""
    spec: RollSpec
    bar_numbers: list[int]
    """[B] in the song, counted from 1."""
    other_bars: list[int]
    """Bars within the range that have another metre and are left out."""
    n_other_tracks: int
    """Tracks left out, because there are more than `MAX_TRACKS`."""


def first_bars(song: Song, n_bars: int = DEFAULT_BARS) -> tuple[int, int]:
    """The bar in which the first note starts, from 1, and the last of the bars from there that an excerpt may have."""
    first = int(bar_of(song, song.notes.start.min()))
    longest = song.downbeats[first] + MAX_QUARTERS * song.ticks_per_quarter
    last = min(first + n_bars, int(np.searchsorted(song.downbeats, longest, side="right")) - 1, len(song.downbeats) - 1)
    return first + 1, max(last, first + 1)


def excerpt(song: Song, first_bar: int, last_bar: int) -> Excerpt:
    """Draws some bars of a song, those that have the metre of most.

    Args:
        first_bar, last_bar: counted from 1, both shown.
    Raises:
        SongError: there are no such bars, too many, bars that no time signature can name, or nothing sounds in them.
    """
    n_bars = len(song.downbeats) - 1
    where = f"bar {first_bar}" if first_bar == last_bar else f"bars {first_bar} to {last_bar}"
    if not 1 <= first_bar <= last_bar <= n_bars:
        raise SongError(f"has {n_bars} {'bar' if n_bars == 1 else 'bars'}, not {where}")
    lines = song.downbeats[first_bar - 1 : last_bar + 1]
    quarters = (lines[-1] - lines[0]) / song.ticks_per_quarter
    if last_bar - first_bar >= MAX_BARS or quarters > MAX_QUARTERS:
        raise SongError(
            f"{where} are too many for one picture: {last_bar - first_bar + 1} bars, {quarters:,.0f} quarter notes; "
            f"at most {MAX_BARS} bars and {MAX_QUARTERS:,} quarter notes"
        )
    n_beats, beat_unit, bar_ticks = _metre(song, first_bar, last_bar, where)
    fits = np.diff(lines) == bar_ticks
    part, n_other_tracks = _part(song, lines, where)
    spec = RollSpec(
        tracks=tuple(replace(track, name=_label(k, track)) for k, track in enumerate(part.tracks, 1)),
        steps_per_beat=_steps_per_quarter(song, beat_unit) * 4 // beat_unit,
        beats_per_bar=n_beats,
        beat_unit=beat_unit,
        lowest_pitch=0,
        n_pitches=N_MIDI_PITCHES,
    )
    bars = cut_bars(part, Preset(spec, _feeds(part.tracks)))
    return Excerpt(
        roll=_roll(bars, np.flatnonzero(fits), spec),
        spec=spec,
        bar_numbers=(np.flatnonzero(fits) + first_bar).tolist(),
        other_bars=(np.flatnonzero(~fits) + first_bar).tolist(),
        n_other_tracks=n_other_tracks,
    )


def _metre(song: Song, first_bar: int, last_bar: int, where: str) -> tuple[int, int, int]:
    """Beats in a bar, the note that is one, and ticks in a bar, of most bars; of the first of these, where it is a draw."""
    counts: Counter[tuple[int, int, int]] = Counter()
    for run in metres(song):
        n_bars = min(last_bar, run.first_bar + run.n_bars - 1) - max(first_bar, run.first_bar) + 1
        if n_bars > 0 and run.beats is not None:
            bar_ticks = run.quarters * song.ticks_per_quarter
            if bar_ticks == int(bar_ticks):
                counts[(*run.beats, int(bar_ticks))] += n_bars
    if not counts:
        raise SongError(f"{where} cannot be drawn: the bars' length is no whole number of ticks, or no time signature's")
    return counts.most_common(1)[0][0]


def _steps_per_quarter(song: Song, beat_unit: int) -> int:
    """`STEPS_PER_QUARTER` or what ticks there are, or the next more that makes whole steps of a beat."""
    return math.lcm(min(STEPS_PER_QUARTER, song.ticks_per_quarter), max(beat_unit // 4, 1))


def _part(song: Song, lines: np.ndarray, where: str) -> tuple[Song, int]:
    """The song between its first and last of some bar lines, and how many tracks are left out."""
    notes, start, stop = song.notes, int(lines[0]), int(lines[-1])
    near = song.ticks_per_quarter / (2 * STEPS_PER_QUARTER)    # so near before a bar line, a note is meant to be on it
    is_drum = np.array([track.is_drum for track in song.tracks])[notes.track]
    notes = notes.take((notes.start < stop - near) & ((notes.start >= start - near) | (~is_drum & (notes.end > start))))
    tracks = np.arange(len(song.tracks))
    if len(tracks) > MAX_TRACKS:
        tracks = np.unique(notes.track)[:MAX_TRACKS]
        notes = notes.take(np.isin(notes.track, tracks))
    if not len(notes.start):
        raise SongError(f"is silent in {where}")
    notes = notes._replace(
        track=np.searchsorted(tracks, notes.track),
        start=np.maximum(notes.start - start, 0),
        end=np.clip(notes.end, start, stop) - start,
    )
    part = replace(
        song,
        tracks=tuple(song.tracks[k] for k in tracks.tolist()),
        notes=notes,
        tempo=steady_tempo(),
        downbeats=lines - start,
        signatures=(),
    )
    return part, len(song.tracks) - len(tracks)


def _feeds(tracks: tuple[Track, ...]) -> tuple[Feed, ...]:
    """Each of a song's tracks for itself."""
    counts: Counter[bool] = Counter()
    feeds = []
    for track in tracks:
        counts[track.is_drum] += 1
        feeds.append(Feed(order=counts[track.is_drum]))
    return tuple(feeds)


def _label(number: int, track: Track) -> str:
    """A name that fits beside a lane, and that no other track has."""
    name = "".join(c if c.isprintable() else " " for c in track.name).strip() or program_name(track)
    return f"{number} {name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + '…'}"


def _roll(bars: Bars, wanted: np.ndarray, spec: RollSpec) -> Roll:
    """The wanted bars of an excerpt, of which the outer silent ones were not cut: planes [K, B, T, P] bool."""
    cut = np.isin(bars.bar_numbers, wanted)    # a note may round up into a bar after the last
    place = np.searchsorted(wanted, bars.bar_numbers[cut])
    planes = []
    for plane in (bars.frame, bars.onset):
        whole = np.zeros((len(wanted), *plane.shape[1:]), np.uint8)
        whole[place] = plane[cut]
        planes.append(unpack(torch.from_numpy(whole).transpose(0, 1).contiguous(), spec.n_pitches, torch.bool))
    return Roll(*planes)
