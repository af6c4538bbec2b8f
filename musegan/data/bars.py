"""From note events to the packed bars of a roll."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import torch

from musegan.data.events import Notes, Song, SongError, round_half_up
from musegan.data.tracks import Preset, assign, family
from musegan.ops import roll_from_notes
from musegan.roll import RollSpec


@dataclass
class Bars:
    """The bars of one song, and what was left out on the way."""

    frame: np.ndarray
    """[bars, K, T, ceil(P/8)] uint8, `np.packbits` of: True while a note sounds."""
    onset: np.ndarray
    """The same of: True where one starts; never without `frame`, and equal to it for drums."""
    tempo_bpm: np.ndarray
    """[bars] float32, mean tempo: the quarter notes of the bar over its minutes."""
    bar_numbers: np.ndarray
    """[bars] int64, ascending, counted from 0 in the song; a step other than 1 is where a run ends."""
    sounding: np.ndarray
    """[bars, K] bool, whether the track sounds in the bar."""
    rejected: list[tuple[str, int, int]] = field(default_factory=list)
    """Bars left out in runs: reason, first and last bar counted from 1."""
    dropped_notes: Counter[str] = field(default_factory=Counter)
    """Notes of tracks that feed no track of the roll, by family."""
    n_notes: int = 0
    """Notes of the tracks that feed the roll."""
    n_out_of_range: int = 0
    """How many of those lie outside the pitch range."""
    n_merged: int = 0
    """How many of those start in the same step and pitch of a track as another."""
    n_silent_bars: int = 0
    """Bars before the first and after the last one that sounds, left out."""

    @property
    def run_offsets(self) -> np.ndarray:
        """[R + 1] int64: run r is bars run_offsets[r] to run_offsets[r + 1]; [0] if there are no bars."""
        breaks = np.flatnonzero(np.diff(self.bar_numbers) != 1) + 1
        return np.concatenate([[0], breaks, [len(self.bar_numbers)]])[0 if len(self.bar_numbers) else 1 :]


def cut_bars(song: Song, preset: Preset, max_silence: int | None = None) -> Bars:
    """Cuts a song into the bars that have the metre of a preset's spec.

    Steps are counted from the downbeat of their bar and rounded half up, so a note just before a bar line starts on
    it. A note lasts a step at least, and one step in drums. Notes of one pitch and track that overlap sound together
    as one, with an onset for each. Bars that sound in no track are left out before the first and after the last
    that do, and kept between, up to `max_silence` in a row.

    Bars are compared by length alone: 3/4 and 6/8 are alike.

    Args:
        song: from any reader.
        preset: the spec, and which tracks feed its.
        max_silence: longer runs of silent bars are left out; None keeps them.
    """
    spec = preset.spec
    notes, counts = _notes_of_roll(song, preset)
    timeline = _Timeline(song, spec)
    table = np.zeros((len(notes.start), 5), np.int64)    # as `roll_from_notes` takes it
    start, end = table[:, 3], table[:, 4]
    table[:, 1], table[:, 2] = notes.track, notes.pitch
    start[:], end[:] = timeline.steps(notes.start), timeline.steps(notes.end)
    np.maximum(end, start + 1, out=end)
    for k, track in enumerate(spec.tracks):
        if track.is_drum:
            np.copyto(end, start + 1, where=notes.track == k)

    first, stop = timeline.bars_between(int(start.min()), int(end.max())) if len(start) else (0, 0)
    origin = int(timeline.bar_starts[first])
    n_steps = int(timeline.bar_starts[stop]) - origin
    table[:, 3:] -= origin
    planes = roll_from_notes(
        torch.from_numpy(table), 1, spec.n_tracks, 1, n_steps, spec.n_pitches, packed=True
    )    # [1, K, 1, steps, bytes]
    frame, onset = (plane.numpy()[0, :, 0] for plane in planes)    # [K, steps, bytes]
    n_merged = len(start) - _n_bits(onset)

    kept, rejected = first + np.flatnonzero(timeline.fits[first:stop]), timeline.rejected(first, stop)
    frame, onset = (_bars(plane, timeline, kept, first, stop, spec) for plane in (frame, onset))    # [bars, K, T, bytes]
    sounding = frame.any((2, 3))    # [bars, K]
    silent = _long_silences(sounding.any(1), kept, max_silence)
    if silent.any():
        rejected += _runs(kept[silent], f"silence of more than {max_silence} bars")
        frame, onset, kept, sounding = (values[~silent] for values in (frame, onset, kept, sounding))
    return Bars(
        frame=frame,
        onset=onset,
        tempo_bpm=timeline.mean_tempo(song)[kept],
        bar_numbers=kept,
        sounding=sounding,
        rejected=rejected,
        n_merged=n_merged,
        n_silent_bars=max(timeline.n_bars - (stop - first), 0),
        **counts,
    )


def _n_bits(plane: np.ndarray) -> int:
    """How many bits of a contiguous plane are set; eight bytes at a time where it can be."""
    flat = plane.reshape(-1)
    words = flat[: flat.size & ~7].view(np.uint64)
    return int(np.bitwise_count(words).sum()) + int(np.bitwise_count(flat[words.nbytes :]).sum())


def _notes_of_roll(song: Song, preset: Preset) -> tuple[Notes, dict]:
    """The notes that feed the roll, with its track and pitch indices; and counts for `Bars`."""
    per_track = np.bincount(song.notes.track)
    sounding = np.flatnonzero(per_track)
    tracks = [song.tracks[index] for index in sounding.tolist()]
    place = np.full(len(per_track), -1)
    place[sounding] = [-1 if k is None else k for k in assign(tracks, preset)]
    notes = song.notes._replace(track=place[song.notes.track])
    dropped: Counter[str] = Counter()
    for track, index in zip(tracks, sounding.tolist()):
        if place[index] < 0:
            dropped[family(track)] += int(per_track[index])
    if dropped:
        notes = notes.take(notes.track >= 0)
    n_notes = len(notes.start)
    notes = notes._replace(pitch=notes.pitch - preset.spec.lowest_pitch)
    inside = (notes.pitch >= 0) & (notes.pitch < preset.spec.n_pitches)
    if not inside.all():
        notes = notes.take(inside)
    counts = {"dropped_notes": dropped, "n_notes": n_notes, "n_out_of_range": n_notes - len(notes.start)}
    return notes, counts


def _bars(
    plane: np.ndarray, timeline: _Timeline, kept: np.ndarray, first: int, stop: int, spec: RollSpec
) -> np.ndarray:
    """The kept bars [bars, K, T, bytes] of a plane [K, steps, bytes] that holds bars `first` to `stop`."""
    if len(kept) == stop - first:
        bars = plane.reshape(spec.n_tracks, len(kept), spec.steps_per_bar, plane.shape[-1])
    else:
        steps = timeline.bar_starts[kept, None] - timeline.bar_starts[first] + np.arange(spec.steps_per_bar)
        bars = plane[:, steps]
    return np.ascontiguousarray(bars.swapaxes(0, 1))


def _long_silences(sounding: np.ndarray, bar_numbers: np.ndarray, max_silence: int | None) -> np.ndarray:
    """[bars] bool, True in runs of more than `max_silence` bars in a row that do not sound."""
    result = np.zeros(len(sounding), bool)
    if max_silence is None or sounding.all():
        return result
    silent = np.flatnonzero(~sounding)
    breaks = np.flatnonzero((np.diff(silent) != 1) | (np.diff(bar_numbers[silent]) != 1)) + 1
    for run in np.split(silent, breaks):
        result[run] = len(run) > max_silence
    return result


def _runs(bar_numbers: np.ndarray, reason: str) -> list[tuple[str, int, int]]:
    """Bars as `Bars.rejected` has them."""
    runs = np.split(bar_numbers, np.flatnonzero(np.diff(bar_numbers) != 1) + 1)
    return [(reason, int(run[0]) + 1, int(run[-1]) + 1) for run in runs]


class _Timeline:
    """A song's bars one after the other, in steps of the roll.

    A bar of another metre may end in a broken step, which counts as a whole one. After the last bar comes one more, for
    notes that round up to the end.
    """

    def __init__(self, song: Song, spec: RollSpec):
        self.steps_per_quarter, self.ticks_per_quarter = spec.steps_per_quarter, song.ticks_per_quarter
        self.downbeats = song.downbeats
        lengths = np.diff(self.downbeats)
        self.n_bars = len(lengths)
        self.quarters_per_bar = spec.quarters_per_bar
        bar_ticks = self.quarters_per_bar * song.ticks_per_quarter
        self.quarter_notes = lengths / song.ticks_per_quarter
        # Where a bar is no whole number of ticks, such as 7/8 of 89, a song's bars are one tick longer and shorter by turns.
        fits = np.abs(lengths - bar_ticks) < 1
        self.fits = np.append(fits, fits[-1])
        self.bars_begin_on_steps = bool((lengths == bar_ticks).all())
        if self.bars_begin_on_steps:
            self.bar_starts = np.arange(self.n_bars + 2) * spec.steps_per_bar    # with the end of the one more
            return
        broken_steps = -(-lengths * self.steps_per_quarter // song.ticks_per_quarter)
        self.bar_steps = np.append(np.where(fits, spec.steps_per_bar, broken_steps), spec.steps_per_bar)
        self.bar_starts = np.append(0, np.cumsum(self.bar_steps))    # [bars + 2]

    def steps(self, ticks: np.ndarray) -> np.ndarray:
        """Steps of the roll nearest to ticks, half up, counted from the downbeat of their bar."""
        if self.bars_begin_on_steps:
            steps = round_half_up(ticks * self.steps_per_quarter, self.ticks_per_quarter)
        else:
            bar = np.searchsorted(self.downbeats, ticks, side="right") - 1
            within = round_half_up((ticks - self.downbeats[bar]) * self.steps_per_quarter, self.ticks_per_quarter)
            steps = self.bar_starts[bar] + np.minimum(within, self.bar_steps[bar])
        return np.minimum(steps, self.bar_starts[-1])

    def bars_between(self, start_step: int, end_step: int) -> tuple[int, int]:
        """The bars that hold steps from `start_step` to `end_step`, half-open."""
        first, last = np.searchsorted(self.bar_starts, [start_step, end_step - 1], side="right") - 1
        return int(first), int(last) + 1

    def mean_tempo(self, song: Song) -> np.ndarray:
        """[bars + 1] float32 bpm."""
        if len(song.tempo.tick) == 1:
            return np.full(self.n_bars + 1, song.tempo.bpm[0], np.float32)
        tempo = self.quarter_notes * 60 / np.diff(song.seconds(self.downbeats))
        return np.append(tempo, tempo[-1]).astype(np.float32)

    def rejected(self, first: int, stop: int) -> list[tuple[str, int, int]]:
        """The bars from `first` to `stop` that do not fit, in runs of equal length; see `Bars.rejected`."""
        fits = self.fits[first:stop]
        if fits.all():
            return []
        lengths = self.quarter_notes[first:stop]
        borders = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(lengths)]
        return [
            (f"{lengths[a]:g} quarter note{'' if lengths[a] == 1 else 's'} in a bar, not {self.quarters_per_bar:g}",
             first + a + 1, first + b)
            for a, b in zip(borders, borders[1:])
            if a < b and not fits[a]
        ]


def check_tracks(bars: Bars, spec: RollSpec, min_tracks: int) -> None:
    """Raises SongError where nothing is left of a song, or too few of its tracks sound."""
    if not len(bars.frame):
        left_out: Counter[str] = Counter()
        for reason, first, last in bars.rejected:
            left_out[reason] += last - first + 1
        # What most bars are left out for: the first may be a pick-up.
        raise SongError(left_out.most_common(1)[0][0] if left_out else "silent in every track of the roll")
    n_sounding = int(bars.sounding.any(0).sum())
    if n_sounding < min_tracks:
        raise SongError(f"sounds in {n_sounding} of {spec.n_tracks} tracks, fewer than {min_tracks}")
