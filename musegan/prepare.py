"""The command `prepare`: MIDI files, multitracks, arrays, scores, folders and zips -> a packed data set."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from musegan.cli import run
from musegan.data.cluster import run_on_ray
from musegan.data.dataset import PackedDataset
from musegan.data.preparation import PAGE_NAME, Rules, part_folder, prepare
from musegan.data.processes import run_in_processes
from musegan.data.report import Report
from musegan.data.tracks import PRESETS, Preset, load_preset

_MAX_RANGES = 6    # of bars, named for one file and reason
_MAX_ROWS = 40    # of a table on screen
_GRID = {
    "steps_per_beat": "time steps in a beat",
    "beats_per_bar": "beats in a bar: bars of another metre are left out",
    "beat_unit": "the note that is a beat: 4 a quarter note, 8 an eighth",
    "lowest_pitch": "MIDI pitch of the first pitch kept",
    "n_pitches": "number of pitches",
}


def main(argv: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        argv: command line without the program's name; `sys.argv[1:]` where None.
    Raises:
        UserError: see `musegan.data.preparation.prepare`.
        SystemExit: wrong usage, with code 2.
    """
    args = _parser().parse_args(argv)
    rules = Rules(
        preset=_preset(args),
        min_tracks=args.min_tracks,
        max_silence=None if args.max_silence < 0 else args.max_silence,
        duplicates=args.duplicates,
        beats=args.beats,
        ignore_signatures=args.ignore_signatures,
        regrid=not args.no_regrid,
    )
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("reading")

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        try:
            run_blocks = run_on_ray if args.ray else run_in_processes
            report = prepare(args.inputs, args.out, rules, args.overwrite, args.jobs, args.shard, show, run_blocks)
        except KeyboardInterrupt:
            progress.console.print("stopped; the same command goes on where it was")
            raise
    print_report(report, Console())
    folder = part_folder(args.out, args.shard)
    print(f"wrote {folder}")
    if args.report:
        from musegan.pages.dataset import write_page    # matplotlib takes a while

        write_page(folder / PAGE_NAME, report, PackedDataset.open(folder) if report.pieces else None)
        print(f"wrote {folder / PAGE_NAME}")


def _preset(args: argparse.Namespace) -> Preset:
    preset = load_preset(args.spec) if args.spec else PRESETS[args.preset or "lpd5"]
    return preset.with_spec(**{name: getattr(args, name) for name in _GRID if getattr(args, name) is not None})


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"must be such as 3/100: got {text!r}")
    return int(found[1]), int(found[2])


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 1 on: got {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="musegan prepare",
        description="Turn music into a packed data set.",
        epilog="A file that cannot be used is left out with its reason; report.json in DATASET lists them all. A call that "
        "was cut off goes on where it was when it is given again.",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        metavar="INPUT",
        help="folder, zip, or file: MIDI, pypianoroll .npz, array of phrases (.npz, .npy), MusicXML, kern; or "
        "music21:bach for the chorales",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DATASET", help="folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace DATASET if it is a data set already")
    parser.add_argument("--report", action="store_true", help="write report.html into DATASET: counts, histograms, rolls")

    bars = parser.add_argument_group("bars")
    tracks = bars.add_mutually_exclusive_group()
    tracks.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        help="lpd5: drums, piano, guitar, bass, strings by General MIDI family; satb: four voices in order; drums: "
        "drums alone, 12 steps a beat (default: lpd5)",
    )
    tracks.add_argument("--spec", type=Path, metavar="YAML", help="tracks, metre and grid of your own")
    for name, text in _GRID.items():
        default = getattr(PRESETS["lpd5"].spec, name)
        option = "--" + name.replace("_", "-")
        bars.add_argument(option, type=int, metavar="N", help=f"{text} (default: the preset's; lpd5: {default})")
    bars.add_argument(
        "--beats",
        default="",
        metavar="NAME",
        help="beat annotation beside each MIDI file, such as beat_midi.txt or {stem}.beats: its notes are put on those "
        "beats",
    )
    bars.add_argument("--ignore-signatures", action="store_true", help="count bars from the start, whatever the files say")
    bars.add_argument("--no-regrid", action="store_true", help="leave MIDI files on a grid that does not fit their notes")

    filters = parser.add_argument_group("what is left out")
    filters.add_argument(
        "--min-tracks", type=_positive, default=1, metavar="N", help="pieces in which fewer tracks sound (default: 1)"
    )
    filters.add_argument(
        "--max-silence",
        type=int,
        default=2,
        metavar="BARS",
        help="longer silences within a piece, -1 for none (default: 2)",
    )
    filters.add_argument(
        "--duplicates",
        choices=("drop", "exact", "keep"),
        default="drop",
        help="pieces that are the same as an earlier one: drop, also where transposed; exact: only in the same key; keep "
        "them (default: drop)",
    )

    scale = parser.add_argument_group("scale")
    scale.add_argument(
        "--jobs", type=_positive, default=os.cpu_count() or 1, metavar="N", help="processes at most (default: all cores)"
    )
    scale.add_argument(
        "--shard",
        type=_shard,
        default=(1, 1),
        metavar="K/N",
        help="do the K-th of N parts of the work, one on each machine; DATASET is whole when it holds all parts",
    )
    scale.add_argument(
        "--ray",
        action="store_true",
        help="do the work as a Ray Data job, on the cluster of RAY_ADDRESS or on this machine (needs the extra ray)",
    )
    return parser


def print_report(report: Report, console: Console) -> None:
    """Prints what was read, kept and left out, and why."""
    console.print(_summary(report))
    tracks = Table("track", "bars in which it sounds", title="Tracks")
    for name, count in report.sounding_bars.items():
        tracks.add_row(name, f"{count / max(report.n_bars, 1):.1%}")
    console.print(tracks)
    if report.regridded:
        moved = Table("file", "tempo found", "fit before", "after", title="Moved to the beat their notes lie on")
        for name, grid in report.regridded.items():
            moved.add_row(escape(name), f"{grid.found_bpm:.1f} bpm", f"{grid.fit:.2f}", f"{grid.found_fit:.2f}")
        console.print(moved)
    for title, noun, counts in (
        ("Files and pieces left out", "files", report.reasons()),
        ("Songs left out of pieces of several", "songs", report.rejected_songs),
        ("Bars left out", "bars", report.bar_reasons()),
    ):
        if counts:
            table = Table("reason", noun, title=title)
            for reason, count in counts.most_common():
                table.add_row(escape(reason), f"{count:,}")
            console.print(table)
    left_out = sorted(
        [(name, "all", reason) for name, reason in report.rejected_files.items()]
        + [(name, bars, reason) for (name, reason), bars in _bar_ranges(report).items()]
    )
    if left_out:
        table = Table("file", "bars", "reason", title="Left out, one by one")
        for row in left_out[:_MAX_ROWS]:
            table.add_row(*map(escape, row))
        console.print(table)
    if len(left_out) > _MAX_ROWS:
        console.print(f"and {len(left_out) - _MAX_ROWS:,} more: report.json lists them all")


def _summary(report: Report) -> Table:
    table = Table(title="Data set", show_header=False)
    dropped = ", ".join(f"{count:,} {name}" for name, count in report.dropped_notes.most_common())
    rows = {
        "files": f"{report.n_files:,}",
        "pieces": f"{len(report.pieces):,}",
        "bars kept": f"{report.n_bars:,}",
        "silent bars cut at start and end": f"{report.n_silent_bars:,}",
        "notes read": f"{report.n_notes:,}",
        "notes outside the pitch range": f"{report.n_out_of_range:,}",
        "notes merged with another in the same step": f"{report.n_merged:,}",
        "notes of tracks not used": dropped or "0",
    }
    if report.error_histogram.any():
        rows["distance of notes from their step"] = f"median {report.median_error_steps:.3f} steps"
        rows["notes over 1/8 step away"] = f"{report.off_grid_share:.1%}"
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
