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
    fine_per_step, rest = divmod(multitrack.resolution, spec.steps_per_beat)
    if rest or fine_per_step % 2 == 0:
        raise ValueError(
            f"resolution must be an odd multiple of steps_per_beat: got {multitrack.resolution}, {spec.steps_per_beat}"
        )
    downbeats = np.flatnonzero(multitrack.downbeat)
    lengths = np.diff(downbeats, append=len(multitrack.downbeat))
    # All bars one after the other in steps of the roll; one of another metre may end in a broken step.
    bar_steps = -(-lengths // fine_per_step)
    bar_starts = np.cumsum(bar_steps) - bar_steps

    def to_steps(fine: np.ndarray) -> np.ndarray:
        bar = np.searchsorted(downbeats, fine, side="right") - 1
        return bar_starts[bar] + np.minimum((fine - downbeats[bar] + fine_per_step // 2) // fine_per_step, bar_steps[bar])

    sources, dropped = assign(multitrack, preset)
    # One bar more than there are, for notes that round up to the end.
    n_steps = int(bar_steps.sum())
    line = np.zeros((2, spec.n_tracks, n_steps + spec.steps_per_bar, spec.n_pitches), bool)
    n_notes = n_out_of_range = n_merged = 0
    for k, tracks in enumerate(sources):
        if not tracks:
            continue
        start, end, pitch = (np.concatenate(columns) for columns in zip(*(track_notes(t.pianoroll) for t in tracks)))
        pitch = pitch - spec.lowest_pitch
        valid = (pitch >= 0) & (pitch < spec.n_pitches)
        start, end, pitch = to_steps(start[valid]), to_steps(end[valid]), pitch[valid]
        end = start + 1 if spec.tracks[k].is_drum else np.maximum(end, start + 1)
        _draw(start, end, pitch, *line[:, k])
        n_notes += len(valid)
        n_out_of_range += int((~valid).sum())
        n_merged += len(start) - int(line[1, k].sum())
XXXdef _draw(start: np.ndarray, end: np.ndarray, pitch: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Frame and onset planes [steps, P] bool of notes in steps."""
    onset = np.zeros(shape, bool)
    onset[start, pitch] = True
    # +1 where a note starts, -1 where it ends; the running sum is how many sound.
    changes = np.zeros((shape[0] + 1, shape[1]), np.int32)
    np.add.at(changes, (start, pitch), 1)
    np.add.at(changes, (end, pitch), -1)
    return np.cumsum(changes, axis=0, dtype=np.int32, out=changes)[:-1] > 0, onset


def _mean_tempo(multitrack: Multitrack, downbeats: np.ndarray) -> np.ndarray:
    """[bars] float32 bpm: each step of a bar lasts 1 / tempo, and means are of times."""
    lengths = np.diff(downbeats, append=len(multitrack.downbeat))
    return (lengths / np.add.reduceat(1 / multitrack.tempo.ravel(), downbeats)).astype(np.float32)


def _rejected(quarter_notes: np.ndarray, fits: np.ndarray, wanted: int) -> list[tuple[str, int, int]]:
    """The bars that do not fit, in runs of equal length; see `Bars.rejected`."""
    borders = np.flatnonzero(np.diff(quarter_notes)) + 1
    runs = zip([0, *borders], [*borders, len(fits)])
    return [
        (f"{quarter_notes[first]:g} quarter notes in a bar, not {wanted}", int(first) + 1, int(stop))
        for first, stop in runs
        if not fits[first]
    ]


def _trimmed(bars: Bars, sounding: np.ndarray) -> Bars:
    """Without the bars before the first and after the last bar of the file that sounds."""
    where = np.flatnonzero(sounding)
    first, last = (where[0], where[-1]) if len(where) else (len(sounding), -1)
    keep = (bars.bar_numbers >= first) & (bars.bar_numbers <= last)
    bars.n_silent_bars = int((~keep).sum())
    for name in ("frame", "onset", "tempo_bpm", "bar_numbers"):
        setattr(bars, name, getattr(bars, name)[keep])
    return bars
