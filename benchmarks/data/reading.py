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

from musegan.data.events import Notes, Song, SongError, steady_tempo
from musegan.data.pianorolls import to_multitrack
from musegan.data.midi import load_midi
from musegan.roll import N_MIDI_PITCHES, Track

RESOLUTION = 24    # the only one at which pypianoroll's tempo has the right length
CELLS = {
    "notes": "notes are paired with other ends, or not read",
    "start": "the first beat is guessed, or that of a late signature",
    "metre": "steps divide the beat of 6/8 or 2/2, or what a signature leaves of one",
    "seconds": "steps are equal in seconds where the tempo changes in a beat",
    "onsets": "onsets half-way between steps go to the even one",
    "ends": "note ends are cut down to a step",
    "vanish": "notes that then have no step are gone",
    "drawing": "gaps before notes that are gone",
    "unexplained": "unexplained",
}
"""What changes cells, in the order in which it is undone."""
FACTS = {
    "tracks": "tracks have other names, programs or order",
    "summed": "overlapping notes: velocities are added, modulo 256",
    "downbeats_none": "no signature: no downbeats",
    "downbeats_last": "no downbeats after the last signature but step 0",
    "tempo_elsewhere": "tempo is only read from the first track",
    "tempo_order": "tempo sequence is repeated 24 times, not each beat's",
    "tempo_mean": "tempo is the mean of each beat, or counts beats of 6/8",
    "length": "ends with the last event's beat, not with a bar",
}
"""What else differs."""


@dataclass
class Difference:
    """Of one file."""

    n_cells: int = 0
    """Cells that sound in musegan's roll."""
    n_notes: int = 0
    """Notes that musegan reads."""
    cells: Counter[str] = field(default_factory=Counter)
    """How many change, by the keys of `CELLS`."""
    facts: Counter[str] = field(default_factory=Counter)
    """By the keys of `FACTS`: cells that are summed, else 1 where it holds."""
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
    difference = Difference(_n_sounding(ours), len(song.notes.start))
    stages = [("", ours), *_stages(song, midi, resolution), ("unexplained", theirs)]
    rolls = [_rolls(stage) for _, stage in stages]
    for (name, _), before, after in zip(stages[1:], rolls, rolls[1:]):
        difference.cells[name] = _n_different(before, after)
    difference.facts = _facts(song, ours, midi, theirs)
    if "drawing" in difference.cells:
        difference.facts["summed"] = sum(int((track.pianoroll > _ONE).sum()) for track in stages[-2][1].tracks)
    return difference


def _stages(song: Song, midi: PrettyMIDI, resolution: int) -> Iterator[tuple[str, Multitrack]]:
    """Multitracks from musegan's to pypianoroll's, with what is new in each."""
    notes, tracks = _notes(midi), tuple(Track(part.name, part.program, part.is_drum) for part in midi.instruments)
    if not len(notes.start):
        return
    yield "notes", to_multitrack(replace(song, tracks=tracks, notes=notes), resolution)
    first, on, off = _positions(midi, resolution)
    notes = notes.take(np.concatenate([[note.end for note in part.notes] for part in midi.instruments]) > first)
    is_drum = np.array([track.is_drum for track in tracks])[notes.track]

    def drawn(start: np.ndarray, end: np.ndarray, which: np.ndarray | slice = slice(None)) -> Multitrack:
        own = notes._replace(start=start.astype(np.int64), end=end.astype(np.int64)).take(which)
        bar = np.array([0, max(int(own.end.max()), 1)])
        return to_multitrack(Song(resolution, tracks, own, steady_tempo(), bar), resolution)

    half_up = [np.floor(np.round(position, 6) + 0.5) for position in (on, off)]    # halves are halves
    yield _grid(midi, first), drawn(*half_up)
    start, end = np.round(on), np.floor(off)
    yield "onsets", drawn(start, half_up[1])
    yield "ends", drawn(start, end)
    yield "vanish", drawn(start, end, is_drum | (end > start))
    yield "drawing", _drawn_their_way(notes._replace(start=start.astype(np.int64), end=end.astype(np.int64)), tracks)


def _grid(midi: PrettyMIDI, first: float) -> str:
    """Which of three things makes a file's beats differ from quarter notes."""
    signatures = midi.time_signature_changes
    if first > 0 or not signatures:
        return "start"
    for signature in signatures:
        is_compound = signature.numerator % 3 == 0 and signature.numerator > 3
        if signature.denominator != 4 or is_compound or midi.time_to_tick(signature.time) % midi.resolution:
            return "metre"
    return "seconds"


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


_ONE = 1 << 20    # more than the sum of a cell's velocities; a cell counts its notes in these


def _drawn_their_way(notes: Notes, tracks: tuple[Track, ...]) -> Multitrack:
    """`from_pretty_midi`'s loop: velocities modulo 256, plus `_ONE` for each note after the first."""
    n_steps = int(notes.end.max()) + 2
    rolls = np.zeros((len(tracks), n_steps, N_MIDI_PITCHES), np.uint8)
    counts = np.zeros(rolls.shape, np.int64)
    for k, start, end, pitch, velocity in zip(*(column.tolist() for column in notes)):
        line, count = rolls[k, :, pitch], counts[k, :, pitch]
        if tracks[k].is_drum:
            line[start] = velocity
            continue
        if start > 0:
            line[start - 1] = count[start - 1] = 0
        end -= int(line[end] > 0)
        line[start:end] += np.uint8(velocity)
        count[start:end] += 1
    marked = rolls + np.maximum(counts - 1, 0) * _ONE * (rolls > 0)
    return Multitrack(tracks=[
        pypianoroll.Track(track.name, track.program, track.is_drum, roll) for track, roll in zip(tracks, marked)
    ])    # fmt: skip


Rolls = dict[tuple, np.ndarray]


def _rolls(multitrack: Multitrack) -> Rolls:
    """Sounding cells by (program, is_drum, how many such tracks came before)."""
    seen: Counter[tuple] = Counter()
    rolls = {}
    for track in multitrack.tracks:
        key = (track.program, track.is_drum)
        if (sounding := track.pianoroll > 0).any():
            rolls[(*key, seen[key])] = sounding
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


def _facts(song: Song, ours: Multitrack, midi: PrettyMIDI, theirs: Multitrack) -> Counter[str]:
    kinds = [[(track.name, track.program, track.is_drum) for track in roll.tracks] for roll in (ours, theirs)]
    found = {"tracks": kinds[0] != kinds[1], "length": _n_steps(ours) != _n_steps(theirs)}
    if theirs.downbeat is None:
        found["downbeats_none"] = True
    elif np.flatnonzero(ours.downbeat).tolist() != np.flatnonzero(theirs.downbeat).tolist():
        found["downbeats_last"] = True
    own_map, their_map = (_without_repetition(ticks, bpm) for ticks, bpm in (
        (song.tempo.tick, song.tempo.bpm),
        ([midi.time_to_tick(seconds) for seconds in midi.get_tempo_changes()[0]], midi.get_tempo_changes()[1]),
    ))    # fmt: skip
    per_step = theirs.tempo.ravel()
    in_order = np.repeat(per_step[: len(per_step) // 24], 24)
    found["tempo_elsewhere"] = own_map != their_map
    found["tempo_order"] = not np.allclose(per_step[: len(in_order)], in_order)
    common = min(len(ours.tempo), len(in_order))
    found["tempo_mean"] = own_map == their_map and not np.allclose(ours.tempo[:common], in_order[:common], rtol=1e-3)
    return Counter({name: 1 for name, holds in found.items() if holds})


def _without_repetition(ticks: np.ndarray | list, bpm: np.ndarray) -> list[tuple[int, float]]:
    at_tick = dict(zip(map(int, ticks), np.round(bpm, 2).tolist()))    # the last one of a tick
    kept: list[tuple[int, float]] = []
    for tick, tempo in at_tick.items():
        if not kept or kept[-1][1] != tempo:
            kept.append((tick, tempo))
    return kept


def _n_steps(multitrack: Multitrack) -> int:
    return max((len(track.pianoroll) for track in multitrack.tracks), default=0)


def table(title: str, found: list[Difference]) -> Table:
    """All the differences of a folder."""
    read = [difference for difference in found if not difference.refused]
    n_cells = sum(difference.n_cells for difference in read)
    result = Table("pypianoroll differs in", title=title)
    for column in ("files", "cells", "% of cells"):
        result.add_column(column, justify="right")
    result.add_row("all that both read", f"{len(read):,}", f"{n_cells:,}", "100")
    result.add_row("equal in every cell", f"{sum(not difference.cells.total() for difference in read):,}", "", "")
    result.add_section()
    for names, kind in ((CELLS, "cells"), (FACTS, "facts")):
        for name, words in names.items():
            counts = [getattr(difference, kind)[name] for difference in read]
            row = [words, f"{sum(count > 0 for count in counts):,}"]
            if kind == "cells" or name == "summed":
                row += [f"{sum(counts):,}", f"{100 * sum(counts) / max(n_cells, 1):.2g}"]
            result.add_row(*row)
        result.add_section()
    for reason, count in Counter(difference.refused for difference in found if difference.refused).most_common(8):
        result.add_row(reason, f"{count:,}", "", "")
    return result


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data.reading", description=__doc__)
    parser.add_argument("folder", type=Path, help="with MIDI files, also in folders within")
    parser.add_argument("--files", action="store_true", help="a line for each file")
    arguments = parser.parse_args(argv)
    paths = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in (".mid", ".midi"))
    if not paths:
        parser.error(f"no MIDI files in {arguments.folder}")
    console = Console()
    found = []
    for path in progress(paths, "reading both ways", console=console, transient=True):
        found.append(compare(path))
        if arguments.files:
            counts = {name: count for name, count in (found[-1].cells + found[-1].facts).items() if count}
            told = found[-1].refused or " ".join(f"{name}={count}" for name, count in counts.items()) or "equal"
            print(f"{path.relative_to(arguments.folder)}: {told}")
    console.print(table(arguments.folder.name, found))


if __name__ == "__main__":
    main()
