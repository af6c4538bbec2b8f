"""From a multitrack at a fine resolution to the bars of a roll, both planes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from pypianoroll import Multitrack

from musegan.data.tracks import Preset, assign
from musegan.roll import RollSpec


@dataclass
class Bars:
    """The bars of one piece, and what was left out on the way."""

    frame: np.ndarray
    """[bars, K, T, P] bool, True while a note sounds."""
    onset: np.ndarray
    """[bars, K, T, P] bool, True where one starts; never without `frame`, and equal to it for drums."""
    tempo_bpm: np.ndarray
    """[bars] float32, mean tempo: the beats of the bar over its minutes."""
    bar_numbers: np.ndarray
    """[bars] int64, ascending, counted from 0 in the file; a step other than 1 is where a run ends."""
    rejected: list[tuple[str, int, int]] = field(default_factory=list)
    """Bars of another length in runs: reason, first and last bar counted from 1."""
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


def track_notes(pianoroll: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The notes of a piano-roll, by pitch and start.

    A gap of one step is the mark of a note struck again (`to_multitrack`), so the note before it is taken to last
    until then.

    Args:
        pianoroll: [steps, 128], nonzero while a note sounds.
    Returns:
        start_step, end_step (half-open), pitch: three [n] int64.
    """
    sounds = np.zeros((len(pianoroll) + 2, 128), bool)
    sounds[1:-1] = pianoroll != 0
    step, pitch = np.divmod(np.flatnonzero(sounds[1:] != sounds[:-1]), 128)
    order = np.argsort(pitch, kind="stable")    # along each pitch, starts and ends take turns
    pitch, start, end = pitch[order][::2], step[order][::2], step[order][1::2]
    restruck = (pitch[1:] == pitch[:-1]) & (start[1:] == end[:-1] + 1)
    end[:-1][restruck] += 1
    return start, end, pitch


def cut_bars(multitrack: Multitrack, preset: Preset, spec: RollSpec) -> Bars:
    """Cuts a multitrack into the bars that have the metre of a spec.

    Steps are counted from the downbeat of their bar and rounded half up, so a note just before a bar line starts on
    it. A note lasts a step at least. Bars that sound in no track are left out before the first and after the last
    that do, and kept between.

    Args:
        multitrack: from `read_midi`; its resolution must be an odd multiple of `spec.steps_per_beat`.
        preset: which tracks feed those of `spec`.
    Raises:
        TrackError: the tracks that the preset wants are not there.
        ValueError: the resolution does not fit.
    """
    timeline = _Timeline(multitrack, spec)
    shape = (spec.n_tracks, timeline.n_steps, spec.n_pitches)
    frame, onset = np.zeros(shape, bool), np.zeros(shape, bool)
    sources, dropped = assign(multitrack, preset)
    n_notes = n_out_of_range = n_merged = 0
    for k, tracks in enumerate(sources):
        if not tracks:
            continue
        start, end, pitch = (np.concatenate(columns) for columns in zip(*(track_notes(t.pianoroll) for t in tracks)))
        pitch = pitch - spec.lowest_pitch
        inside = (pitch >= 0) & (pitch < spec.n_pitches)
        start, end, pitch = timeline.steps(start[inside]), timeline.steps(end[inside]), pitch[inside]
        end = start + 1 if spec.tracks[k].is_drum else np.maximum(end, start + 1)
        _draw(start, end, pitch, frame[k], onset[k])
        n_notes += len(inside)
        n_out_of_range += int((~inside).sum())
        n_merged += len(start) - int(onset[k].sum())

    sounding = np.flatnonzero(np.logical_or.reduceat(frame.any((0, 2)), timeline.bar_starts))
    first, stop = (int(sounding[0]), int(sounding[-1]) + 1) if len(sounding) else (0, 0)
    kept = first + np.flatnonzero(timeline.fits[first:stop])
    steps = timeline.bar_starts[kept, None] + np.arange(spec.steps_per_bar)    # [bars, T]
    return Bars(
        frame=frame[:, steps].swapaxes(0, 1),
        onset=onset[:, steps].swapaxes(0, 1),
        tempo_bpm=timeline.mean_tempo(multitrack)[kept],
        bar_numbers=kept,
        rejected=timeline.rejected(first, stop),
        dropped_notes=sum((Counter({name: len(track_notes(t.pianoroll)[0])}) for name, t in dropped), Counter()),
        n_notes=n_notes,
        n_out_of_range=n_out_of_range,
        n_merged=n_merged,
        n_silent_bars=max(timeline.n_bars - (stop - first), 0),
    )


class _Timeline:
    """A file's bars one after the other, in steps of the roll.

    A bar of another metre may end in a broken step, which counts as a whole one. After the last bar comes one more, for
    notes that round up to the end.
    """

    def __init__(self, multitrack: Multitrack, spec: RollSpec):
        self.fine_per_step, rest = divmod(multitrack.resolution, spec.steps_per_beat)
        if rest or self.fine_per_step % 2 == 0:
            raise ValueError(
                f"resolution must be an odd multiple of steps_per_beat: "
                f"got {multitrack.resolution}, {spec.steps_per_beat}"
            )
        self.downbeats = np.append(np.flatnonzero(multitrack.downbeat), len(multitrack.downbeat))
        lengths = np.append(np.diff(self.downbeats), spec.beats_per_bar * multitrack.resolution)
        self.beats_per_bar = spec.beats_per_bar
        self.n_bars = len(lengths) - 1
        self.quarter_notes = lengths[:-1] / multitrack.resolution
        fits = self.quarter_notes == spec.beats_per_bar
        self.fits = np.append(fits, fits[-1])
        self.bar_steps = -(-lengths // self.fine_per_step)
        self.bar_starts = np.cumsum(self.bar_steps) - self.bar_steps
        self.n_steps = int(self.bar_steps.sum())

    def steps(self, fine: np.ndarray) -> np.ndarray:
        """Steps of the roll nearest to fine steps, half up, counted from the downbeat of their bar."""
        bar = np.searchsorted(self.downbeats, fine, side="right") - 1
        within = (fine - self.downbeats[bar] + self.fine_per_step // 2) // self.fine_per_step
        return self.bar_starts[bar] + np.minimum(within, self.bar_steps[bar])

    def mean_tempo(self, multitrack: Multitrack) -> np.ndarray:
        """[bars + 1] float32 bpm: a fine step lasts 1 / tempo, and means are of times."""
        times = np.add.reduceat(1 / multitrack.tempo.ravel(), self.downbeats[:-1])
        tempo = np.diff(self.downbeats) / times
        return np.append(tempo, tempo[-1]).astype(np.float32)

    def rejected(self, first: int, stop: int) -> list[tuple[str, int, int]]:
        """The bars from `first` to `stop` that do not fit, in runs of equal length; see `Bars.rejected`."""
        lengths = self.quarter_notes[first:stop]
        borders = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(lengths)]
        return [
            (f"{lengths[a]:g} quarter notes in a bar, not {self.beats_per_bar}", first + a + 1, first + b)
            for a, b in zip(borders, borders[1:])
            if a < b and not self.fits[first + a]
        ]


def _draw(start: np.ndarray, end: np.ndarray, pitch: np.ndarray, frame: np.ndarray, onset: np.ndarray) -> None:
    """Draws notes in steps into the planes [steps, P] of a track."""
    onset[start, pitch] = True
    # +1 where a note starts, -1 where it ends; the running sum is how many sound.
    changes = np.zeros((len(frame) + 1, frame.shape[1]), np.int32)
    np.add.at(changes, (start, pitch), 1)
    np.add.at(changes, (end, pitch), -1)
    np.greater(np.cumsum(changes, axis=0, dtype=np.int32, out=changes)[:-1], 0, out=frame)
