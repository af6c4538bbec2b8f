"""How `read_midi` and pypianoroll's `read` differ on a folder of MIDI files: `python -m benchmarks.data.reading FOLDER`.

From musegan's roll to pypianoroll's in steps: each does one more thing as pypianoroll 1.0.4 does it, and the cells that
change are that thing's. The last step must give pypianoroll's roll, cell for cell; what is left over is unexplained.
`docs/reading-midi.md` has the results, and who is right.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pypianoroll
from pretty_midi import PrettyMIDI
from pypianoroll import Multitrack
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table

from musegan.data.events import Notes, Song, SongError, steady_tempo, to_multitrack
from musegan.data.midi import load_midi
from musegan.roll import N_MIDI_PITCHES, Track

RESOLUTION = 24    # the only one at which pypianoroll's tempo has the right length
STAGES = {
    "notes": "which notes there are: paired, dropped, named",
    "grid": "beats from the first signature on, of its lower number",
    "onsets": "onsets half-way between steps",
    "ends": "note ends cut down to a step",
    "vanish": "notes that then have no step left out",
    "drawing": "overlapping notes: sums, and gaps",
}
FACTS = {
    "tracks": "tracks differ in number, name, program or drums",
    "length": "length differs",
    "downbeats": "downbeats differ",
    "tempo": "tempo differs",
    "velocity": "a velocity above 127, or wrapped at 256",
}


@dataclass
class Difference:
    """Of one file."""

    n_cells: int = 0
    """Cells that sound in musegan's roll."""
    n_notes: int = 0
    """Notes that musegan reads."""
    cells: Counter[str] = field(default_factory=Counter)
    """Cells that change, by the key of `STAGES`; "unexplained" for what is left over."""
    facts: set[str] = field(default_factory=set)
    """Keys of `FACTS` that hold."""
    refused: str = ""
    """Who cannot read the file, and why."""


def compare(path: Path, resolution: int = RESOLUTION) -> Difference:
    """Reads a file both ways."""
    song = theirs = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            song = load_midi(path)
            midi = PrettyMIDI(str(path))
            theirs = pypianoroll.from_pretty_midi(midi, resolution=resolution)
        except SongError as err:
            return Difference(refused=f"musegan: {err}")
        except Exception as err:    # pypianoroll and mido document none of what they raise
            return Difference(refused=f"pypianoroll: {type(err).__name__}: {err}")
    ours = to_multitrack(song, resolution)
    difference = Difference(_n_sounding(ours), len(song.notes.start), facts=_facts(ours, theirs))
    rolls = [_rolls(ours), *(_rolls(stage) for stage in _stages(song, midi, resolution))]
    for name, before, after in zip(STAGES, rolls, rolls[1:]):
        difference.cells[name] = _n_different(before, after)
    difference.cells["unexplained"] = _n_different(rolls[-1], _rolls(theirs))
    return difference


def _stages(song: Song, midi: PrettyMIDI, resolution: int) -> Iterator[Multitrack]:
    """Multitracks from musegan's to pypianoroll's, in the order of `STAGES`."""
    tracks = tuple(Track(part.name, part.program, part.is_drum) for part in midi.instruments)
    notes = _notes(midi)
    if not len(notes.start):
        return
    song = replace(song, tracks=tracks, notes=notes)
    yield to_multitrack(song, resolution)
    first, on, off = _positions(midi, resolution)
    notes = notes.take(np.concatenate([[note.end for note in part.notes] for part in midi.instruments]) > first)
    clean = [np.round(values, 6) for values in (on, off)]    # halves are halves

    def drawn(start: np.ndarray, end: np.ndarray, which: np.ndarray | slice = slice(None)) -> Multitrack:
        own = notes._replace(start=start.astype(np.int64), end=end.astype(np.int64)).take(which)
        return to_multitrack(Song(resolution, tracks, own, steady_tempo(), np.array([0, max(int(own.end.max()), 1)])), resolution)

    yield drawn(*(np.floor(values + 0.5) for values in clean))
    start = np.round(on)
    yield drawn(start, np.floor(clean[1] + 0.5))
    yield drawn(start, np.floor(off))
    is_drum = np.array([track.is_drum for track in tracks])[notes.track]
    lasting = is_drum | (np.floor(off) > start)
    yield drawn(start, np.floor(off), lasting)
    yield _drawn_their_way(notes._replace(start=start.astype(np.int64), end=np.floor(off).astype(np.int64)), tracks, resolution)


def _notes(midi: PrettyMIDI) -> Notes:
    """The notes as pretty_midi pairs them, in ticks."""
    rows = [
        (index, midi.time_to_tick(note.start), midi.time_to_tick(note.end), note.pitch, note.velocity)
        for index, part in enumerate(midi.instruments)
        for note in part.notes
    ]
    return Notes(*np.array(rows, np.int64).reshape(-1, 5).T)


def _positions(midi: PrettyMIDI, resolution: int) -> tuple[float, np.ndarray, np.ndarray]:
    """The first beat in seconds, and where notes that end after it start and end, in steps before rounding."""
    first = midi.time_signature_changes[0].time if midi.time_signature_changes else midi.estimate_beat_start()
    beats = np.sort(midi.get_beats(first))
    longer = np.append(beats, 2 * beats[-1] - beats[-2])
    positions = []
    for key in ("start", "end"):
        times = np.array([getattr(note, key) for part in midi.instruments for note in part.notes if note.end > first])
        beat = np.searchsorted(beats, times) - 1
        positions.append((beat + (times - beats[beat]) / (longer[beat + 1] - beats[beat])) * resolution)
    return first, *positions


def _drawn_their_way(notes: Notes, tracks: tuple[Track, ...], resolution: int) -> Multitrack:
    """`from_pretty_midi`'s loop, in numbers that do not wrap."""
    n_steps = int(notes.end.max()) + 2
    rolls = np.zeros((len(tracks), n_steps, N_MIDI_PITCHES), np.int64)
    for k, start, end, pitch, velocity in zip(*(column.tolist() for column in notes)):
        line = rolls[k, :, pitch]
        if tracks[k].is_drum:
            line[start] = velocity
            continue
        if start > 0 and line[start - 1]:
            line[start - 1] = 0
        line[start : end - (line[end] > 0)] += velocity
    return Multitrack(resolution=resolution, tracks=[
        pypianoroll.Track(track.name, track.program, track.is_drum, roll) for track, roll in zip(tracks, rolls)
    ])    # fmt: skip


Rolls = dict[tuple, np.ndarray]


def _rolls(multitrack: Multitrack) -> Rolls:
    """Sounding cells by (program, is_drum, how many such tracks came before)."""
    seen: Counter[tuple] = Counter()
    rolls = {}
    for track in multitrack.tracks:
        key = (track.program, track.is_drum)
        if (sounding := track.pianoroll > 0).any():
            rolls[*key, seen[key]] = sounding
            seen[key] += 1
    return rolls


def _n_different(a: Rolls, b: Rolls) -> int:
    total = 0
    for key in a.keys() | b.keys():
        one, other = (rolls.get(key, np.zeros((0, N_MIDI_PITCHES), bool)) for rolls in (a, b))
        common = min(len(one), len(other))
        total += int((one[:common] != other[:common]).sum() + one[common:].sum() + other[common:].sum())
    return total


def _n_sounding(multitrack: Multitrack) -> int:
    return sum(int((track.pianoroll > 0).sum()) for track in multitrack.tracks)


def _facts(ours: Multitrack, theirs: Multitrack) -> set[str]:
    def downbeats(multitrack: Multitrack) -> list[int]:
        return [] if multitrack.downbeat is None else np.flatnonzero(multitrack.downbeat).tolist()

    common = min(len(ours.tempo), len(theirs.tempo))
    n_steps = [len(multitrack.tracks[0].pianoroll) if multitrack.tracks else 0 for multitrack in (ours, theirs)]
    kinds = [[(t.name, t.program, t.is_drum) for t in multitrack.tracks] for multitrack in (ours, theirs)]
    found = {
        "tracks": kinds[0] != kinds[1],
        "length": n_steps[0] != n_steps[1],
        "downbeats": downbeats(ours) != downbeats(theirs),
        "tempo": not np.allclose(ours.tempo[:common], theirs.tempo.ravel()[:common], rtol=1e-3),
        "velocity": any(int(track.pianoroll.max(initial=0)) > 127 for track in theirs.tracks),
    }
    return {name for name, holds in found.items() if holds}


def table(title: str, found: list[Difference]) -> Table:
    """All the differences of a folder."""
    read = [difference for difference in found if not difference.refused]
    n_cells = sum(difference.n_cells for difference in read)
    result = Table("pypianoroll differs in", title=title)
    for column in ("files", "cells", "% of cells"):
        result.add_column(column, justify="right")
    result.add_row("all that both read", f"{len(read):,}", f"{n_cells:,}", "100")
    result.add_section()
    for name, words in (STAGES | {"unexplained": "unexplained"}).items():
        cells = sum(difference.cells[name] for difference in read)
        files = sum(difference.cells[name] > 0 for difference in read)
        result.add_row(words, f"{files:,}", f"{cells:,}", f"{100 * cells / max(n_cells, 1):.3g}")
    result.add_section()
    for name, words in FACTS.items():
        result.add_row(words, f"{sum(name in difference.facts for difference in read):,}", "", "")
    for reason, count in Counter(difference.refused for difference in found if difference.refused).most_common(8):
        result.add_row(reason, f"{count:,}", "", "")
    return result


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data.reading", description=__doc__)
    parser.add_argument("folder", type=Path, help="with MIDI files, also in folders within")
    parser.add_argument("--files", action="store_true", help="a line for each file that differs")
    arguments = parser.parse_args(argv)
    paths = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in (".mid", ".midi"))
    if not paths:
        parser.error(f"no MIDI files in {arguments.folder}")
    console = Console()
    found = []
    for path in progress(paths, "reading both ways", console=console, transient=True):
        found.append(compare(path))
        if arguments.files and (found[-1].facts or found[-1].cells.total() or found[-1].refused):
            cells = " ".join(f"{name}={n}" for name, n in found[-1].cells.items() if n)
            facts = ",".join(sorted(found[-1].facts))
            console.print(f"{path.relative_to(arguments.folder)} {cells} [{facts}] {found[-1].refused}", markup=False, highlight=False)
    console.print(table(arguments.folder.name, found))


if __name__ == "__main__":
    main()
