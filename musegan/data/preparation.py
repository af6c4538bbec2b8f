"""From MIDI to a packed data set on disk, and the report of what became of each file."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from musegan import __version__
from musegan.data.bars import Bars, cut_bars
from musegan.data.grid import Grid, quantisation_error, regrid
from musegan.data.midi import MidiError, load_score, to_multitrack
from musegan.data.packed import SHARD_PATTERN, ShardWriter, pack
from musegan.data.sources import Source, find_sources
from musegan.data.tracks import PRESETS, TrackError
from musegan.errors import UserError
from musegan.files import atomic_write
from musegan.roll import RollSpec

REPORT_NAME = "report.json"
OFF_GRID_STEPS = 1 / 8
_ERROR_BINS = 1000    # of the histogram of quantisation errors over [0, 0.5] steps


@dataclass
class Report:
    """What `prepare` read, kept and left out; `report.json` holds the same."""

    n_files: int = 0
    """MIDI files found."""
    pieces: dict[str, int] = field(default_factory=dict)
    """Bars kept of each file that gave any."""
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
    """Silent bars left out before the first and after the last note of a file."""
    rejected_files: dict[str, str] = field(default_factory=dict)
    """Reason by name."""
    rejected_bars: list[tuple[str, str, int, int]] = field(default_factory=list)
    """Name of the file, reason, first and last bar counted from 1."""
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

    def _share_of_notes(self, count: int) -> float:
        total = self.error_histogram.sum()
        return float(count / total) if total else float("nan")

    def to_json(self) -> str:
        """The report as JSON, the same for the same input."""
        fields = asdict(self) | {
            "musegan": __version__,
            "n_bars": self.n_bars,
            "median_error_steps": self.median_error_steps,
            "off_grid_share": self.off_grid_share,
            "off_grid_share_before": self.off_grid_share_before,
            "dropped_notes": dict(sorted(self.dropped_notes.items())),
            "regridded": {name: grid._asdict() for name, grid in self.regridded.items()},
        }
        del fields["error_histogram"]
        return json.dumps(fields, indent=1)


def prepare(
    inputs: list[Path],
    out: Path,
    spec: RollSpec,
    preset: str = "lpd5",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Makes a packed data set of MIDI files.

    A file that cannot be used is left out with its reason in the report and never stops the rest. The data set is
    written beside `out` and takes its place when it is whole; the same input gives the same bytes.

    Args:
        inputs: MIDI files, folders (searched through), zips.
        out: the folder to make.
        spec: of the data set; its tracks must be those of the preset.
        preset: a key of `musegan.data.tracks.PRESETS`.
        overwrite: replace `out` where it is a data set already.
        progress: called after each file with the number done and the number in all.
    Raises:
        UserError: an input is missing or holds no MIDI, nothing is left to write, or `out` cannot be written, or
            is something that must not be replaced.
        ValueError: `spec` does not have the tracks of the preset.
    """
    if spec.tracks != PRESETS[preset].tracks:
        raise ValueError(f"spec must have the tracks of preset {preset!r}: got {[track.name for track in spec.tracks]}")
    sources = find_sources([Path(path) for path in inputs])
    report = Report(n_files=len(sources), sounding_bars={track.name: 0 for track in spec.tracks})
    with _folder_for(Path(out), overwrite) as folder:
        writer = ShardWriter(folder, spec)
        digests: dict[bytes, str] = {}
        for done, source in enumerate(sources, 1):
            try:
                bars = _read(source, spec, preset, report)
                piece = pack(source.name, bars)
                if (twin := digests.setdefault(piece.digest(), source.name)) != source.name:
                    raise MidiError(f"the same music as {twin}")
                writer.add(piece)
                _count_bars(report, source.name, bars, spec)
            except (MidiError, TrackError) as err:
                report.rejected_files[source.name] = str(err)
            if progress is not None:
                progress(done, len(sources))
        if not report.pieces:
            raise UserError(f"no bars are left of {len(sources)} files: {_top_reasons(report)}")
        writer.close()
        with atomic_write(folder / REPORT_NAME) as temporary:
            temporary.write_text(report.to_json() + "\n")
    return report


def _read(source: Source, spec: RollSpec, preset: str, report: Report) -> Bars:
    """Reads one file and counts its notes.

    Raises:
        MidiError, TrackError: it cannot be used, or no bar of it can.
    """
    score = load_score(source.read())
    moved, grid = regrid(score)
    bars = cut_bars(to_multitrack(moved, spec.multitrack_resolution, source.name), PRESETS[preset], spec)
    report.rejected_bars += [(source.name, *run) for run in bars.rejected]
    report.n_silent_bars += bars.n_silent_bars
    report.n_notes += bars.n_notes
    report.n_out_of_range += bars.n_out_of_range
    report.n_merged += bars.n_merged
    report.dropped_notes += bars.dropped_notes
    error = quantisation_error(moved, spec.steps_per_beat)
    np.add.at(report.error_histogram, np.ceil(error * 2 * _ERROR_BINS - 1e-9).astype(int), 1)
    report.n_off_grid_before += int((quantisation_error(score, spec.steps_per_beat) > OFF_GRID_STEPS).sum())
    if grid.found_bpm is not None:
        report.regridded[source.name] = grid
    if not len(bars.frame):
        raise MidiError(bars.rejected[0][0] if bars.rejected else "silent in every track of the roll")
    return bars


def _count_bars(report: Report, name: str, bars: Bars, spec: RollSpec) -> None:
    report.pieces[name] = len(bars.frame)
    sounding = bars.frame.any((2, 3)).sum(0)
    for track, count in zip(spec.tracks, sounding.tolist()):
        report.sounding_bars[track.name] += count


def _top_reasons(report: Report) -> str:
    reasons = Counter(report.rejected_files.values()).most_common(3)
    return "; ".join(f"{count} {'file' if count == 1 else 'files'}: {reason}" for reason, count in reasons)


@contextlib.contextmanager
def _folder_for(out: Path, overwrite: bool) -> Iterator[Path]:
    """A new folder that takes the place of `out` if all goes well, and is gone otherwise.

    Raises:
        UserError: `out` is a file, a folder with other things in it, a data set and `overwrite` is False, or cannot
            be written.
    """
    _check_replaceable(out, overwrite)
    out = out.absolute()
    mark = secrets.token_hex(4)
    temporary, old = out.with_name(f".{out.name}-{mark}"), out.with_name(f".{out.name}-{mark}-old")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _sync_folder(temporary)
        if out.exists():
            out.rename(old)
        temporary.rename(out)
        _sync_folder(out.parent)
    except OSError as err:
        raise UserError(f"cannot write {out}: {err.strerror or err}") from err
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        for leftover in (temporary, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _check_replaceable(out: Path, overwrite: bool) -> None:
    try:
        entries = list(out.iterdir())
    except FileNotFoundError:
        return
    except OSError as err:
        raise UserError(f"cannot write {out}: {err.strerror}") from err
    others = [entry for entry in entries if not entry.match(SHARD_PATTERN) and entry.name != REPORT_NAME]
    if others:
        raise UserError(f"{out} holds other things than a data set, e.g. {others[0].name}: name a new folder")
    if entries and not overwrite:
        raise UserError(f"{out} is a data set already: name another folder, or replace it with --overwrite")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
