"""What became of each file that a data set was made of: counts by reason, nothing lost silently."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from musegan import __version__
from musegan.data.bars import Bars
from musegan.data.grid import Grid
from musegan.roll import RollSpec

OFF_GRID_STEPS = 1 / 8
_ERROR_BINS = 1000    # of the histogram of quantisation errors over [0, 0.5] steps


@dataclass
class Report:
    """What `prepare` read, kept and left out; `report.json` holds the same."""

    n_files: int = 0
    """Files of music found."""
    n_songs: int = 0
    """Songs in them that could be read; an array of phrases holds many."""
    pieces: dict[str, int] = field(default_factory=dict)
    """Bars kept of each piece that gave any."""
    sounding_bars: dict[str, int] = field(default_factory=dict)
    """By track: kept bars in which it sounds."""
    n_notes: int = 0
    """Notes of the tracks that feed the roll, in bars kept or not."""
    dropped_notes: Counter[str] = field(default_factory=Counter)
    """Notes of tracks that feed none, by General MIDI family."""
    n_out_of_range: int = 0
    """Notes outside the pitch range."""
    n_merged: int = 0
    """Notes that start in the same step and pitch of a track as another."""
    n_silent_bars: int = 0
    """Silent bars left out before the first and after the last note of a song."""
    rejected_files: dict[str, str] = field(default_factory=dict)
    """Reason by name, of files and of pieces."""
    rejected_songs: Counter[str] = field(default_factory=Counter)
    """Songs left out of pieces of which other songs are kept, by kind of reason."""
    rejected_bars: list[tuple[str, str, int, int]] = field(default_factory=list)
    """Name of the piece, reason, first and last bar counted from 1."""
    regridded: dict[str, Grid] = field(default_factory=dict)
    """Files whose notes were moved to the beat they lie on."""
    n_off_grid_before: int = 0
    """Notes that started more than 1/8 step from the grid of their file, in files that were read."""
    error_histogram: np.ndarray = field(default_factory=lambda: np.zeros(_ERROR_BINS + 1, np.int64))
    """Notes by distance from their step, in 1000 bins over [0, 0.5] steps; all tracks."""

    @property
    def n_bars(self) -> int:
        """Bars kept."""
        return sum(self.pieces.values())

    @property
    def median_error_steps(self) -> float:
        """Median distance of a note from its step, in [0, 0.5] steps; NaN without notes."""
        total = np.cumsum(self.error_histogram)
        return float(np.searchsorted(total, total[-1] / 2) / _ERROR_BINS / 2) if total[-1] else float("nan")

    @property
    def off_grid_share(self) -> float:
        """Share of notes more than 1/8 step from their step; NaN without notes."""
        off = self.error_histogram[int(OFF_GRID_STEPS * 2 * _ERROR_BINS) + 1 :].sum()
        return self._share_of_notes(off)

    @property
    def off_grid_share_before(self) -> float:
        """The same before files were moved to the beat they lie on."""
        return self._share_of_notes(self.n_off_grid_before)

    def reasons(self) -> Counter[str]:
        """Files and pieces left out by kind of reason: what differs from one to the next is cut off."""
        return Counter(kind_of_reason(reason) for reason in self.rejected_files.values())

    def bar_reasons(self) -> Counter[str]:
        """Bars left out by reason, those of files left out as a whole too."""
        counts: Counter[str] = Counter()
        for _, reason, first, last in self.rejected_bars:
            counts[reason] += last - first + 1
        return counts

    def count_errors(self, error: np.ndarray, before: np.ndarray) -> None:
        """Counts the distances of a song's notes from their steps, before and after it was moved to its beat."""
        bins = np.ceil(error * 2 * _ERROR_BINS - 1e-9).astype(np.int64)
        self.error_histogram += np.bincount(bins, minlength=_ERROR_BINS + 1)
        self.n_off_grid_before += int((before > OFF_GRID_STEPS).sum())

    def count_bars(self, name: str, bars: Bars) -> None:
        """Counts what was left out of a song."""
        self.n_songs += 1
        self.rejected_bars += [(name, *run) for run in bars.rejected]
        self.n_silent_bars += bars.n_silent_bars
        self.n_notes += bars.n_notes
        self.n_out_of_range += bars.n_out_of_range
        self.n_merged += bars.n_merged
        self.dropped_notes += bars.dropped_notes

    def add_piece(self, name: str, n_bars: int, sounding_bars: list[int], spec: RollSpec) -> None:
        """Counts the kept bars of a piece, and by track those in which it sounds."""
        self.pieces[name] = n_bars
        for track, count in zip(spec.tracks, sounding_bars):
            self.sounding_bars[track.name] += count

    def merge(self, other: Report) -> None:
        """Adds the report of files that come after these, which counts no pieces yet."""
        for item in fields(self):
            mine, others = getattr(self, item.name), getattr(other, item.name)
            if isinstance(mine, Counter):
                mine.update(others)
            elif isinstance(mine, dict):
                mine.update(others)
            elif isinstance(mine, list):
                mine.extend(others)
            else:
                setattr(self, item.name, mine + others)

    def _share_of_notes(self, count: int) -> float:
        total = self.error_histogram.sum()
        return float(count / total) if total else float("nan")

    def raw(self) -> dict[str, Any]:
        """All fields as JSON values; `from_raw` is the inverse."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}    # asdict breaks a Counter
        values["error_histogram"] = self.error_histogram.tolist()
        values["regridded"] = {name: list(grid) for name, grid in self.regridded.items()}
        return values

    @classmethod
    def from_raw(cls, values: dict[str, Any]) -> Report:
        """Reads what `raw` made.

        Raises:
            LookupError, TypeError, ValueError: it is something else.
        """
        values = dict(values)
        values["error_histogram"] = np.array(values["error_histogram"], np.int64)
        values["regridded"] = {name: Grid(*grid) for name, grid in values["regridded"].items()}
        values["dropped_notes"] = Counter(values["dropped_notes"])
        values["rejected_songs"] = Counter(values["rejected_songs"])
        values["rejected_bars"] = [tuple(run) for run in values["rejected_bars"]]
        return cls(**values)

    def to_json(self) -> str:
        """The report for people and programs, the same for the same input."""
        values = self.raw() | {
            "musegan": __version__,
            "n_bars": self.n_bars,
            "median_error_steps": self.median_error_steps,
            "off_grid_share": self.off_grid_share,
            "off_grid_share_before": self.off_grid_share_before,
            "dropped_notes": dict(sorted(self.dropped_notes.items())),
            "reasons": dict(self.reasons().most_common()),
            "bar_reasons": dict(self.bar_reasons().most_common()),
            "regridded": {name: grid._asdict() for name, grid in self.regridded.items()},
        }
        del values["error_histogram"]
        values = {name: None if value != value else value for name, value in values.items()}    # JSON has no NaN
        return json.dumps(values, indent=1, allow_nan=False)


def kind_of_reason(reason: str) -> str:
    """A reason without what differs from file to file: the other's name, figures in brackets or in thousands."""
    if match := re.fullmatch(r"(the same music as) .*?(?:(, transposed) by [+-]\d+ semitones)?", reason):
        return f"{match[1]} another{match[2] or ''}"
    return re.sub(r"\d+(,\d{3})+", "...", re.sub(r" \([^()]*\)", "", reason))
