"""The command `prepare`: MIDI files, folders and zips -> a packed data set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from musegan.cli import run
from musegan.data.preparation import Report, prepare
from musegan.data.tracks import PRESETS
from musegan.roll import RollSpec

_MAX_RANGES = 6    # of bars, named for one file and reason


def main(argv: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        argv: command line without the program's name; `sys.argv[1:]` where None.
    Raises:
        UserError: see `musegan.data.preparation.prepare`.
        SystemExit: wrong usage, with code 2.
    """
    args = _parser().parse_args(argv)
    spec = RollSpec(
        PRESETS[args.preset].tracks, args.steps_per_beat, args.beats_per_bar, args.lowest_pitch, args.n_pitches
    )
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("reading")

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        report = prepare(args.inputs, args.out, spec, args.preset, args.overwrite, show)
    print_report(report, Console())
    print(f"wrote {args.out}")


def _parser() -> argparse.ArgumentParser:
    spec = RollSpec(PRESETS["lpd5"].tracks)
    parser = argparse.ArgumentParser(
        prog="musegan prepare",
        description="Turn MIDI files into a packed data set.",
        epilog="A file that cannot be used is left out with its reason; report.json in DATASET lists them all.",
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="MIDI file, folder or zip")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DATASET", help="folder to make")
    parser.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        default="lpd5",
        help="lpd5: drums, piano, guitar, bass, strings by General MIDI family; satb: four voices in order "
        "(default: %(default)s)",
    )
    numbers = {
        "steps_per_beat": "time steps in a quarter note",
        "beats_per_bar": "quarter notes in a bar: bars of another metre are left out",
        "lowest_pitch": "MIDI pitch of the first pitch kept",
        "n_pitches": "number of pitches",
    }
    for name, text in numbers.items():
        parser.add_argument(
            "--" + name.replace("_", "-"),
            type=int,
            default=getattr(spec, name),
            metavar="N",
            help=f"{text} (default: %(default)s)",
        )
    parser.add_argument("--overwrite", action="store_true", help="replace DATASET if it is a data set already")
    return parser


def print_report(report: Report, console: Console) -> None:
    """Prints what was read, kept and left out, and why."""
    console.print(_summary(report))
    tracks = Table("track", "bars in which it sounds", title="Tracks")
    for name, count in report.sounding_bars.items():
        tracks.add_row(name, f"{count / report.n_bars:.1%}")
    console.print(tracks)
    if report.regridded:
        moved = Table("file", "tempo found", "fit before", "after", title="Moved to the beat their notes lie on")
        for name, grid in report.regridded.items():
            moved.add_row(escape(name), f"{grid.found_bpm:.1f} bpm", f"{grid.fit:.2f}", f"{grid.found_fit:.2f}")
        console.print(moved)
    left_out = [(name, "all", reason) for name, reason in report.rejected_files.items()] + [
        (name, bars, reason) for (name, reason), bars in _bar_ranges(report).items()
    ]
    if left_out:
        table = Table("file", "bars", "reason", title="Left out")
        for row in sorted(left_out):
            table.add_row(*map(escape, row))
        console.print(table)


def _summary(report: Report) -> Table:
    table = Table(title="Data set", show_header=False)
    dropped = ", ".join(f"{count:,} {name}" for name, count in report.dropped_notes.most_common())
    rows = {
        "files used": f"{len(report.pieces)} of {report.n_files}",
        "bars kept": f"{report.n_bars:,}",
        "silent bars cut at start and end": f"{report.n_silent_bars:,}",
        "notes": f"{report.n_notes:,}",
        "notes outside the pitch range": f"{report.n_out_of_range:,}",
        "notes merged with another in the same step": f"{report.n_merged:,}",
        "notes of tracks not used": dropped or "0",
        "distance of notes from their step": f"median {report.median_error_steps:.3f} steps",
        "notes over 1/8 step away": f"{report.off_grid_share:.1%}",
    }
    if report.regridded:
        rows["notes over 1/8 step away"] += f" ({report.off_grid_share_before:.1%} before files were moved)"
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _bar_ranges(report: Report) -> dict[tuple[str, str], str]:
    """Bars left out, as text such as "1-2, 5, ...", by file and reason; without files rejected as a whole."""
    ranges: dict[tuple[str, str], list[str]] = {}
    for name, reason, first, last in report.rejected_bars:
        if name not in report.rejected_files:
            ranges.setdefault((name, reason), []).append(f"{first}-{last}" if last > first else f"{first}")
    for parts in ranges.values():
        if len(parts) > _MAX_RANGES:
            parts[_MAX_RANGES:] = [f"and {len(parts) - _MAX_RANGES} more"]
    return {key: ", ".join(parts) for key, parts in ranges.items()}


if __name__ == "__main__":
    sys.exit(run(main))
