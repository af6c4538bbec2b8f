"""The command `inspect`: what a file of music, or a packed data set, holds; and a picture of some of its bars."""

from __future__ import annotations

import argparse
import json
import re
import sys
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from musegan.cli import run
from musegan.data.events import Song, SongError
from musegan.data.excerpt import excerpt, first_bars
from musegan.data.facts import event_rows, pitch_name, song_facts
from musegan.data.dataset import PackedDataset
from musegan.data.reading import read_songs
from musegan.data.sources import ARRAY_SUFFIXES, CORPUS_PREFIX, MIDI_SUFFIXES, Source, find_sources
from musegan.errors import UserError

_MAX_COUNTED = 2000    # songs of one file that are read for its summary
_MAX_METRES = 8    # changes of metre named on screen
_WIDE = 140    # columns of a page that is no terminal


def main(argv: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        argv: command line without the program's name; `sys.argv[1:]` where None.
    Raises:
        UserError: the file cannot be read, or has no such song or bars.
        SystemExit: wrong usage, with code 2.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    if args.file.is_dir():
        if args.png or args.events or args.bars or args.song:
            parser.error("--png, --bars, --events and --song are for a file of music, not for a data set")
        facts = _dataset_facts(args.file)
        if args.json:
            print(json.dumps(facts, indent=1))
        else:
            _show_dataset(facts, _console())
        return
    source = _source(args.file)
    try:
        song, n_songs, whole = _song(source, args.song or 1)
        facts = {
            "file": str(args.file),
            "kind": _kind(source),
            "n_songs": n_songs,
            **({"all_songs": whole} if whole else {}),
            "song": args.song or 1,
            **song_facts(song, can_move=source.suffix in MIDI_SUFFIXES),
        }
        if args.events:
            facts["events"] = event_rows(song, args.bars, args.limit or None)
        if args.json:
            print(json.dumps(facts, indent=1))
        else:
            _show_song(facts, _console())
        if args.png:
            _draw(song, args.bars, args.png, source.name, file=sys.stderr if args.json else sys.stdout)
    except SongError as err:
        raise UserError(f"{args.file}: {err}") from err


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="musegan inspect", description="Show what a file of music or a data set holds.")
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="MIDI, pypianoroll .npz, array of phrases, MusicXML or kern; one of these in a zip (more.zip/song.mid); or "
        "the folder of a data set",
    )
    parser.add_argument("--song", type=_number(1), metavar="N", help="which song of a file that holds several (default: 1)")
    parser.add_argument("--png", type=Path, metavar="OUT.png", help="draw some bars into a picture")
    parser.add_argument(
        "--bars", type=_bars, metavar="A-B", help="bars to draw or to list (default: draw the first 16 that sound, list all)"
    )
    parser.add_argument("--events", action="store_true", help="list the notes too")
    parser.add_argument("--limit", type=_number(0), default=100, metavar="N", help="notes to list, 0 for all (default: 100)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _number(least: int):
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a number from {least} on: got {text!r}")
        return int(text)

    return parse


def _bars(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last:
        raise argparse.ArgumentTypeError(f"must be such as 17-32: got {text!r}")
    return first, last


def _source(path: Path) -> Source:
    """The one file of music at a path, which may lead into a zip.

    Raises:
        UserError: there is none, or there are several.
    """
    archive = next((parent for parent in path.parents if parent.suffix.lower() == ".zip" and parent.is_file()), None)
    if archive is not None:
        name = f"{archive.name}/{path.relative_to(archive).as_posix()}"
        sources = [source for source in find_sources([archive]) if source.name == name]
        if not sources:
            raise UserError(f"no file of music {path.relative_to(archive)} in {archive}")
    else:
        sources = find_sources([path])
        if len(sources) > 1:
            inside = sources[0].name.removeprefix(f"{path.name}/")
            one = sources[0].path if str(path).startswith(CORPUS_PREFIX) else path / inside
            raise UserError(f"{path} holds {len(sources):,} files of music: name one, such as {one}")
    if sources[0].problem:
        raise UserError(f"{path}: {sources[0].problem}")
    return sources[0]


def _kind(source: Source) -> str:
    if source.suffix in MIDI_SUFFIXES:
        return "MIDI"
    if source.suffix in ARRAY_SUFFIXES:
        return "arrays"
    return "kern" if source.suffix == ".krn" else "MusicXML"


def _song(source: Source, number: int) -> tuple[Song, int | None, dict[str, Any]]:
    """A song of a file, counted from 1; how many the file holds, None for too many to count; and facts of all of them.

    Raises:
        SongError: the file cannot be read, or has fewer.
    """
    wanted, names, n_bars, n_notes, seconds, n_songs = None, set(), 0, 0, 0.0, 0
    songs: Iterator[Song] = read_songs(source)
    for song in islice(songs, max(number, _MAX_COUNTED)):
        n_songs += 1
        if n_songs == number:
            wanted = song
        names.add(song.name)
        n_bars += len(song.downbeats) - 1
        n_notes += len(song.notes.start)
        seconds += float(song.seconds(song.downbeats[-1:])[0])
    if wanted is None:
        raise SongError(f"has {n_songs:,} {'song' if n_songs == 1 else 'songs'}, not {number:,}")
    if n_songs == 1:
        return wanted, 1, {}
    whole = {"n_songs": n_songs, "n_names": len(names), "n_bars": n_bars, "n_notes": n_notes, "seconds": seconds}
    return wanted, n_songs if next(songs, None) is None else None, whole


def _dataset_facts(folder: Path) -> dict[str, Any]:
    dataset = PackedDataset.open(folder)
    spec = dataset.spec
    tempo = dataset.tempo_bpm[dataset.phrase_starts(1)]
    return {
        "file": str(folder),
        "kind": "data set",
        "spec": json.loads(spec.to_json()),
        "n_pieces": len(dataset.pieces),
        "n_duplicates": dataset.n_duplicates,
        "n_bars": dataset.n_bars,
        "seconds": float((60 * spec.quarters_per_bar / tempo.to(torch.float64)).sum()),
        "tempo": {"lowest_bpm": float(tempo.min()), "highest_bpm": float(tempo.max())},
    }


def _draw(song: Song, bars: tuple[int, int] | None, out: Path, name: str, file) -> None:
    """Draws the bars, the first that sound where None, and says what is not on the picture."""
    from musegan.export import write_png    # matplotlib takes a while

    first, last = bars or first_bars(song)
    shown = excerpt(song, first, last)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")    # names are in any script
        write_png(out, shown.roll, shown.spec, [_clean(name)], bar_numbers=[shown.bar_numbers])
    if shown.other_bars:
        print(
            f"not drawn, for they are not in {shown.spec.beats_per_bar}/{shown.spec.beat_unit} as the others: "
            f"bars {_ranges(shown.other_bars)}",
            file=file,
        )
    if shown.n_other_tracks:
        print(f"not drawn: {shown.n_other_tracks:,} tracks more than {len(shown.spec.tracks)}", file=file)
    print(f"wrote {out}", file=file)


def _ranges(numbers: list[int]) -> str:
    """E.g. "3, 5-8"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=max(console.width, _WIDE))


def _clean(text: str) -> str:
    """What a stranger wrote, without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _show(text: str) -> str:
    return escape(_clean(text))


def _minutes(seconds: float) -> str:
    """As m:ss, from two hours on as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 120 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _range(low: float, high: float) -> str:
    return f"{low:.4g}" if f"{low:.4g}" == f"{high:.4g}" else f"{low:.4g} to {high:.4g}"


def _rows(console: Console, title: str, rows: dict[str, str]) -> None:
    table = Table(show_header=False, box=None, title=title, title_justify="left")
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    console.print()


def _show_song(facts: dict[str, Any], console: Console) -> None:
    whole = facts.get("all_songs")
    if whole:
        more = "" if facts["n_songs"] else "; there are more, which were not read"
        rows = {
            "kind": facts["kind"],
            "songs": f"{whole['n_songs']:,} of {whole['n_names']:,} {'name' if whole['n_names'] == 1 else 'names'}{more}",
            "length": f"{whole['n_bars']:,} bars, {_minutes(whole['seconds'])}",
            "notes": f"{whole['n_notes']:,}",
        }
        _rows(console, _show(facts["file"]), rows)
    n_changes = facts["tempo"]["n_changes"]
    rows = {
        "kind": facts["kind"],
        "length": f"{_count(facts['length_bars'], 'bar')}, {_quarters(facts['length_quarters'])}, "
        + _minutes(facts["length_seconds"]),
        "tempo": f"{_range(facts['tempo']['lowest_bpm'], facts['tempo']['highest_bpm'])} bpm"
        + (f", {_count(n_changes, 'change')}" if n_changes else ""),
        "metre": _metre_text(facts["metres"]),
        "ticks in a quarter note": f"{facts['ticks_per_quarter']}",
        "notes on the beat": _grid_text(facts["grid"]),
        "notes": f"{facts['n_notes']:,}",
    }
    name = f" {_show(facts['name'])}" if facts["name"] else ""
    _rows(console, f"Song {facts['song']}{name}" if whole else _show(facts["file"]), rows)
    table = Table("", "track", "instrument", "notes", "pitches", "at once", "bars", "off 4", "off 12")
    for track in facts["tracks"]:
        table.add_row(*_track_row(track))
    console.print(table)
    console.print("at once: most notes that sound together. "
                  "off 4, off 12: notes over 1/8 step from 4 or 12 steps a quarter note.")
    if "events" in facts:
        _show_events(facts, console)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _quarters(number: float) -> str:
    return f"{number:,.6g} quarter {'note' if number == 1 else 'notes'}"


def _metre_text(metres: list[dict[str, Any]]) -> str:
    parts = []
    for metre in metres[:_MAX_METRES]:
        signature, quarters = metre["signature"], metre["quarters_per_bar"]
        text = signature or ""
        if signature is None or 4 * int(signature.split("/")[0]) / int(signature.split("/")[1]) != quarters:
            length = f"{_quarters(quarters)} a bar"
            text = f"{text}, {length}" if text else f"{length} (no time signature)"
        parts.append(text if len(metres) == 1 else f"bar {metre['first_bar']}: {text}")
    if len(metres) > _MAX_METRES:
        parts.append(f"and {len(metres) - _MAX_METRES:,} changes more")
    return "\n".join(parts)


def _grid_text(grid: dict[str, Any]) -> str:
    text = f"fit {grid['fit']:.2f} of 1"
    if grid["moves_to_bpm"] is not None:
        other = f"at {grid['moves_to_bpm']:.1f} bpm (fit {grid['moves_to_fit']:.2f})"
        return f"{text}; they lie on another, {other}: prepare moves them"
    return f"{text}; prepare leaves the file out: {grid['problem']}" if grid["problem"] else text


def _track_row(track: dict[str, Any]) -> list[str]:
    pitches = ""
    if track["n_notes"]:
        low, high = track["lowest_pitch"], track["highest_pitch"]
        pitches = f"{low} to {high}" if track["is_drum"] else f"{pitch_name(low)} to {pitch_name(high)} ({low} to {high})"
    instrument = "drums" if track["is_drum"] else f"{track['program']} {track['program_name']} ({track['family']})"
    return [
        str(track["number"]),
        _show(track["name"]),
        instrument,
        f"{track['n_notes']:,}",
        pitches,
        str(track["polyphony"]),
        f"{track['n_bars']:,}",
        *(f"{share:.0%}" for share in track["off_grid_share"].values()),
    ]


def _show_events(facts: dict[str, Any], console: Console) -> None:
    table = Table("track", "bar.beat.tick", "pitch", "", "beats", "velocity")
    for row in facts["events"]:
        place = f"{row['bar']}.{row['beat']}.{row['tick']}"
        length, velocity = f"{row['length_beats']:.4g}", str(row["velocity"])
        table.add_row(str(row["track"]), place, str(row["pitch"]), row["name"], length, velocity)
    console.print(table)


def _show_dataset(facts: dict[str, Any], console: Console) -> None:
    spec = facts["spec"]
    top = spec["lowest_pitch"] + spec["n_pitches"] - 1
    more = f" ({facts['n_duplicates']:,} more are the same as another)" if facts["n_duplicates"] else ""
    rows = {
        "kind": facts["kind"],
        "pieces": f"{facts['n_pieces']:,}{more}",
        "bars": f"{facts['n_bars']:,}, {_minutes(facts['seconds'])}",
        "metre": f"{spec['beats_per_bar']}/{spec['beat_unit']}, {_count(spec['steps_per_beat'], 'step')} a beat",
        "pitches": f"{pitch_name(spec['lowest_pitch'])} to {pitch_name(top)} ({spec['lowest_pitch']} to {top})",
        "tempo": f"{_range(facts['tempo']['lowest_bpm'], facts['tempo']['highest_bpm'])} bpm",
    }
    _rows(console, _show(facts["file"]), rows)
    table = Table("track", "program")
    for track in spec["tracks"]:
        table.add_row(_show(track["name"]), "drums" if track["is_drum"] else str(track["program"]))
    console.print(table)


if __name__ == "__main__":
    sys.exit(run(main))
