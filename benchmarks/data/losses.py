"""What a roll loses of a folder of MIDI files: `python -m benchmarks.data.losses FOLDER --steps 4 12`.

Songs are moved to their beat and sorted into tracks as `musegan prepare` does. `docs/representations.md` has the results.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table

from musegan.data.bars import cut_bars
from musegan.data.events import Song, SongError
from musegan.data.grid import quantisation_error, regrid
from musegan.data.midi import load_midi
from musegan.data.tracks import PRESETS, Preset, assign
from musegan.ops import notes
from musegan.roll import Roll

KINDS = ("pitched", "drums")
SHARES = {
    "merged": "start in the step and pitch of another: one onset",
    "frame": "of the onsets left, lost without the onset plane",
    "overlap": "struck while their pitch sounds: which ends when",
    "short": "shorter than a step: lengthened",
    "range": "outside the pitches",
}
"""What is counted, in notes."""


class Losses:
    """Sums over songs, for one grid."""

    def __init__(self, preset: Preset):
        self.preset = preset
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        """Of pitched notes and of drums: "notes", "onsets" in bars that are kept, and the keys of `SHARES`."""
        self.distance_steps: dict[str, list[np.ndarray]] = defaultdict(list)
        self.distance_ms: dict[str, list[np.ndarray]] = defaultdict(list)
        self.bars: Counter[str] = Counter()
        """Bars, and those in which the tempo changes."""
        self.tracks: Counter[str] = Counter()
        """Tracks of a roll that a song feeds, and those it feeds with several programs."""

    def add(self, song: Song) -> None:
        """Counts one song."""
        place = np.array([-1 if k is None else k for k in assign(song.tracks, self.preset)])
        is_drum = np.array([track.is_drum for track in song.tracks])
        for kind in KINDS:
            part = song.notes.take((place >= 0)[song.notes.track] & (is_drum[song.notes.track] == (kind == "drums")))
            if len(part.start):
                self._add_kind(kind, replace(song, notes=part), place)
        for k in set(place[np.unique(song.notes.track)].tolist()) - {-1}:
            programs = {(track.program, track.is_drum) for track, own in zip(song.tracks, place) if own == k}
            self.tracks.update(tracks=1, several=len(programs) > 1)
        inside = song.tempo.tick[(song.tempo.tick < song.downbeats[-1]) & (np.diff(song.tempo.bpm, prepend=0) != 0)]
        within = np.setdiff1d(inside, song.downbeats)
        changed = np.unique(np.searchsorted(song.downbeats, within, side="right"))
        self.bars.update(bars=len(song.downbeats) - 1, changing=len(changed))

    def _add_kind(self, kind: str, song: Song, place: np.ndarray) -> None:
        spec, own, counts = self.preset.spec, song.notes, self.counts[kind]
        bars = cut_bars(song, self.preset)
        planes = (torch.from_numpy(plane).transpose(0, 1).unsqueeze(0).contiguous() for plane in (bars.frame, bars.onset))
        roll = Roll(*planes)    # [1, K, bars, T, bytes]
        n_onsets = len(notes(roll, spec.n_pitches))
        line = (place[own.track] * 128 + own.pitch) * (int(own.end.max()) + 1)
        order = np.lexsort((own.end, line + own.start))
        ends = np.maximum.accumulate((line + own.end)[order])
        step_ticks = song.ticks_per_quarter / spec.steps_per_quarter
        counts.update(
            notes=bars.n_notes,
            onsets=n_onsets,
            merged=bars.n_merged,
            frame=n_onsets - len(notes(roll.frame, spec.n_pitches)),
            overlap=int(((line + own.start)[order][1:] < ends[:-1]).sum()),
            short=int((own.end - own.start < step_ticks).sum()),
            range=bars.n_out_of_range,
        )
        distance = quantisation_error(song, spec.steps_per_quarter)
        bpm = song.tempo.bpm[np.searchsorted(song.tempo.tick, own.start, side="right") - 1]
        self.distance_steps[kind].append(distance)
        self.distance_ms[kind].append(distance * 60_000 / (bpm * spec.steps_per_quarter))


def load_songs(folder: Path, console: Console) -> list[Song]:
    """The songs of a folder, on their beat; what cannot be read is left out."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".mid", ".midi"))
    songs = []
    for path in progress(paths, "reading", console=console, transient=True):
        try:
            songs.append(regrid(load_midi(path))[0])
        except SongError as err:
            console.print(f"left out: {path.name}: {err}", markup=False)
    return songs


def table(title: str, results: list[Losses]) -> Table:
    """The losses on several grids, side by side."""
    result = Table("", title=title)
    for losses in results:
        result.add_column(f"{losses.preset.spec.steps_per_beat} steps", justify="right")
    for kind in KINDS:
        if not results[0].counts[kind]["notes"]:
            continue
        result.add_section()
        result.add_row(f"[bold]{kind}: notes", *(f"{losses.counts[kind]['notes']:,}" for losses in results))
        for name, words in SHARES.items():
            if kind == "drums" and name in ("frame", "overlap", "short"):
                continue    # strokes have no length
            whole = "onsets" if name == "frame" else "notes"
            shares = (losses.counts[kind][name] / max(losses.counts[kind][whole], 1) for losses in results)
            result.add_row(words, *(f"{100 * share:.2f} %" for share in shares))
        for words, quantile in (("distance from the step, median", 50), ("95th percentile", 95)):
            result.add_row(words, *(
                f"{np.percentile(np.concatenate(losses.distance_steps[kind]), quantile):.3f} steps, "
                f"{np.percentile(np.concatenate(losses.distance_ms[kind]), quantile):.1f} ms"
                for losses in results
            ))    # fmt: skip
    result.add_section()
    for words, name, part, whole in (
        ("bars in which the tempo changes", "bars", "changing", "bars"),
        ("tracks of a roll fed by several programs", "tracks", "several", "tracks"),
    ):
        counts = [getattr(losses, name) for losses in results]
        result.add_row(words, *(f"{100 * count[part] / max(count[whole], 1):.1f} %" for count in counts))
    return result


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data.losses", description=__doc__)
    parser.add_argument("folder", type=Path, help="with MIDI files, also in folders within")
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 12], help="steps in a quarter note (default: 4 12)")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="lpd5", help="which tracks feed the roll's")
    arguments = parser.parse_args(argv)
    console = Console()
    songs = load_songs(arguments.folder, console)
    if not songs:
        parser.error(f"no MIDI files in {arguments.folder}")
    results = []
    for steps in arguments.steps:
        results.append(Losses(PRESETS[arguments.preset].with_spec(steps_per_beat=steps)))
        for song in songs:
            results[-1].add(song)
    console.print(table(f"{arguments.folder.name}: {len(songs):,} songs", results))


if __name__ == "__main__":
    main()
