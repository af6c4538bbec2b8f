"""From files of music to a packed data set on disk, and the report of what became of each file.

The files are taken in blocks. A block's bars go into shards of its own in a work folder beside the data set, and
lastly its report, which says that it is done: so a run that was ended goes on with the blocks that are missing, and
blocks can be made in any order, by any number of processes. When all are there, their pieces are gone through
once more in order, duplicates are left out, and the shards of the data set are written: the same bytes, however it came
about.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from musegan import __version__
from musegan.data.bars import Bars, check_tracks, cut_bars
from musegan.data.beats import on_beats, parse_beats
from musegan.data.events import Signature, Song, SongError, bar_lines
from musegan.data.grid import Grid, quantisation_error, regrid
from musegan.data.packed import SHARD_PATTERN, DatasetError, Duplicates, Piece, ShardWriter, pack, read_pieces
from musegan.data.processes import RunBlocks, run_in_processes
from musegan.data.reading import read_songs
from musegan.data.report import Report, kind_of_reason
from musegan.data.sources import MIDI_SUFFIXES, Source, find_sources, fingerprint
from musegan.data.tracks import Preset
from musegan.errors import UserError
from musegan.files import atomic_write, is_temporary
from musegan.roll import RollSpec

try:
    import fcntl
except ImportError:    # not on Windows
    fcntl = None

REPORT_NAME = "report.json"
PAGE_NAME = "report.html"
_LARGEST_BLOCK = 512    # files
_SMALLEST_BLOCK = 16
_PLAN_NAME = "plan.json"


@dataclass(frozen=True)
class Rules:
    """How files become bars, and which are left out."""

    preset: Preset
    """Tracks, metre, steps and pitches."""
    min_tracks: int = 1
    """Pieces in which fewer tracks of the roll sound are left out."""
    max_silence: int | None = 2
    """Longer runs of silent bars are left out; None keeps them."""
    duplicates: Duplicates = "drop"
    """Pieces that are the same as an earlier one: `drop` leaves them out, also transposed; `exact` only in the same key."""
    beats: str = ""
    """File beside each MIDI file that says where its beats are; {stem} in it stands for the name of the MIDI file."""
    ignore_signatures: bool = False
    """Count bars in the metre of the preset from the start, whatever the file's time signatures and downbeats say."""
    regrid: bool = True
    """Move MIDI files whose notes do not lie on their beat to the one they lie on."""

    def __post_init__(self):
        if not 1 <= self.min_tracks <= self.preset.spec.n_tracks:
            raise UserError(f"min_tracks must be 1 to the {self.preset.spec.n_tracks} tracks: got {self.min_tracks}")


def prepare(
    inputs: list[Path],
    out: Path,
    rules: Rules,
    overwrite: bool = False,
    jobs: int = 1,
    part: tuple[int, int] = (1, 1),
    progress: Callable[[int, int], None] | None = None,
    run_blocks: RunBlocks = run_in_processes,
) -> Report:
    """Makes a packed data set of files of music.

    A file that cannot be used is left out with its reason in the report and never stops the rest. The data set is
    made in `<out>.partial`, which stays when the work is cut off, for the same call to go on with, and takes its place at
    `out` when it is whole; the same input gives the same bytes.

    Args:
        inputs: files, folders (searched through), zips; see `musegan.data.sources`.
        out: the folder to make.
        rules: how files become bars.
        overwrite: replace `out` where it is a data set already, and what is left of an earlier call with other input.
        jobs: processes at most.
        part: (3, 100) does the third of a hundred parts of the work, into `<out>/part-003-of-100`.
        progress: called with the number of files done and the number in all.
        run_blocks: does the blocks.
    Raises:
        UserError: an input is missing or holds no music, nothing is left to write, or `out` cannot be written, or
            is something that must not be replaced.
    """
    number, n_parts = part
    if not 1 <= number <= n_parts:
        raise UserError(f"the part must be 1 to {n_parts}: got {number}")
    out = Path(out).resolve() if Path(out).is_symlink() else Path(out)
    if n_parts > 1 and any(out.glob(SHARD_PATTERN)):
        raise UserError(f"{out} is a whole data set already: name another folder for the parts")
    out = part_folder(out, part)
    _check_replaceable(out, overwrite)
    sources = find_sources([Path(path) for path in inputs])
    blocks = dict(list(enumerate(_blocks(sources)))[number - 1 :: n_parts])
    work = out.absolute().with_name(f"{out.name}.partial")
    plan = {"musegan": __version__, "files": fingerprint(sources, rules.beats), "rules": asdict(rules), "part": part}
    with _alone(work):
        _begin(work, plan, overwrite)
        report = _make(work, blocks, rules, _origin(sources, rules, n_parts), jobs, progress, run_blocks)
        if not report.pieces and n_parts == 1:
            shutil.rmtree(work, ignore_errors=True)
            raise UserError(f"no bars are left of {_counted(report.n_files, 'file')}: {_top_reasons(report)}")
        _check_replaceable(out, overwrite)    # something may have come meanwhile
        _put_in_place(work / "dataset", out)
        shutil.rmtree(work, ignore_errors=True)
    return report


def part_folder(out: Path, part: tuple[int, int]) -> Path:
    """Where a part of a data set lies, which is the data set itself if it is the only one; see `prepare`."""
    number, n_parts = part
    return Path(out) / f"part-{number:03d}-of-{n_parts:03d}" if n_parts > 1 else Path(out)


def _make(
    work: Path,
    blocks: dict[int, list[Source]],
    rules: Rules,
    origin: str,
    jobs: int,
    progress: Callable[[int, int], None] | None,
    run_blocks: RunBlocks,
) -> Report:
    """Does the blocks that are missing, and makes the data set of all of them in `work/dataset`."""
    todo = {index: block for index, block in blocks.items() if not _is_done(work, index)}
    n_files = sum(map(len, blocks.values()))
    n_done = n_files - sum(map(len, todo.values()))
    for n_more in run_blocks(functools.partial(prepare_block, work, rules), todo, jobs):
        n_done += n_more
        if progress is not None:
            progress(n_done, n_files)
    return _finish(work, list(blocks), rules, origin)


def _origin(sources: list[Source], rules: Rules, n_parts: int) -> str:
    """What parts that belong together have in common: the names of all files, the rules, and their number."""
    names = [(source.name, source.entry) for source in sources]
    return hashlib.sha256(repr((names, asdict(rules), n_parts)).encode()).hexdigest()[:32]


def prepare_block(work: Path, rules: Rules, index: int, sources: list[Source]) -> int:
    """Makes the shards and, lastly, the report of one block of files; returns their number.

    Raises:
        UserError: they cannot be written.
    """
    spec = rules.preset.spec
    report = Report(n_files=len(sources))
    writer = ShardWriter(work, spec, f"block-{index:06d}", sync=False)    # what power loss spoils is made again
    facts = {}    # by name of a piece, what the second pass needs: lowest pitch, bars in which each track sounds
    for source in sources:
        try:
            for name, parts in _pieces(source, rules, report):
                piece = pack(name, parts, spec, rules.duplicates)
                writer.add(piece)
                sounding = np.concatenate([bars.sounding for bars in parts])
                facts[name] = (piece.lowest, len(sounding), sounding.sum(0).tolist())
        except SongError as err:
            report.rejected_files[source.name] = str(err)
    writer.close()
    with atomic_write(_block_report(work, index), sync=False) as temporary:
        sizes = [path.stat().st_size for path in map(functools.partial(_block_shard, work, index), range(writer.n_shards))]
        temporary.write_text(json.dumps({"report": report.raw(), "facts": facts, "shards": sizes}))
    return len(sources)


def _pieces(source: Source, rules: Rules, report: Report) -> Iterator[tuple[str, list[Bars]]]:
    """The bars of each piece of a file: of its songs, or of those of one name; counts what is left out.

    Raises:
        SongError: the file cannot be used.
    """
    seen: set[str] = set()
    numbers: dict[str, int] = {}    # the last that was given to a name
    for song_name, songs in groupby(read_songs(source), key=lambda song: song.name):
        own = f"{source.name}/{song_name}" if song_name else source.name
        name, number = own, numbers.get(own, 1)
        while name in seen:    # a name that comes again, apart from where it came first
            number += 1
            name = f"{own} ({number})"
        numbers[own] = number
        seen.add(name)
        parts, reasons = [], []
        for song in songs:
            try:
                bars = _bars(song, source, name, rules, report)
                check_tracks(bars, rules.preset.spec, rules.min_tracks)
                parts.append(bars)
            except SongError as err:
                reasons.append(str(err))
        if parts:
            report.rejected_songs.update(map(kind_of_reason, reasons))
            yield name, parts
        else:
            report.rejected_files[name] = reasons[0]


def _bars(song: Song, source: Source, name: str, rules: Rules, report: Report) -> Bars:
    """Puts a song on its beat and cuts its bars."""
    spec, grid, moved = rules.preset.spec, Grid(1.0), song
    if source.suffix in MIDI_SUFFIXES:
        if rules.beats:
            moved = _on_annotated_beats(song, source, rules.beats, spec.beats_per_bar)
        elif rules.regrid:
            moved, grid = regrid(song)
    if rules.ignore_signatures:
        moved = _in_metre(moved, spec)
    bars = cut_bars(moved, rules.preset, rules.max_silence)
    before = quantisation_error(song, spec.steps_per_quarter)
    report.count_errors(quantisation_error(moved, spec.steps_per_quarter) if moved is not song else before, before)
    report.count_bars(name, bars)
    if grid.found_bpm is not None:
        report.regridded[name] = grid
    return bars


def _on_annotated_beats(song: Song, source: Source, pattern: str, beats_per_bar: int) -> Song:
    stem = Path(source.entry or source.path).stem
    return on_beats(song, parse_beats(source.beside(pattern.replace("{stem}", stem)), beats_per_bar))


def _in_metre(song: Song, spec: RollSpec) -> Song:
    """The song with bars of the spec's metre from its start."""
    signature = Signature(0, spec.beats_per_bar, spec.beat_unit)
    return replace(song, downbeats=bar_lines((signature,), song.length_ticks, song.ticks_per_quarter))


def _blocks(sources: list[Source]) -> Iterator[list[Source]]:
    """Blocks of files, about 64 of them, as far as their size stays within bounds; a function of the number of files."""
    size = min(max(len(sources) // 64, _SMALLEST_BLOCK), _LARGEST_BLOCK)
    for first in range(0, len(sources), size):
        yield sources[first : first + size]


def _block_report(work: Path, index: int) -> Path:
    return work / f"block-{index:06d}.json"


def _block_shard(work: Path, index: int, shard: int) -> Path:
    return work / f"block-{index:06d}-{shard:05d}.safetensors"


def _is_done(work: Path, index: int) -> bool:
    """Whether a block's report is there, and its shards as large as that says: not so after a loss of power."""
    try:
        sizes = json.loads(_block_report(work, index).read_text())["shards"]
        return all(_block_shard(work, index, shard).stat().st_size == size for shard, size in enumerate(sizes))
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _begin(work: Path, plan: dict, overwrite: bool) -> None:
    """Makes the work folder, or finds that of an earlier call with the same plan.

    Raises:
        UserError: it cannot be written, or is of another plan.
    """
    text = json.dumps(plan, indent=1) + "\n"
    try:
        if work.exists():
            plan_file = work / _PLAN_NAME
            begun = plan_file.exists()    # else cut off before that, or not ours
            if begun and plan_file.read_text() == text:
                return
            if not begun and any(not entry.name.startswith(".") for entry in work.iterdir()):
                raise UserError(f"{work} is in the way: it holds other things than a data set that was begun")
            if begun and not overwrite:
                raise UserError(
                    f"{work} holds a data set begun with other files or settings: "
                    "go on with those, remove the folder, or replace it with --overwrite"
                )
            shutil.rmtree(work)
        work.mkdir(parents=True)
    except OSError as err:
        raise UserError(f"cannot write {work}: {err.strerror or err}") from err
    with atomic_write(work / _PLAN_NAME) as temporary:
        temporary.write_text(text)


def _finish(work: Path, blocks: list[int], rules: Rules, origin: str) -> Report:
    """Makes the data set of the blocks, in `work/dataset`.

    Raises:
        UserError: a block is damaged, which the next call then makes again; or the data set cannot be written.
    """
    spec = rules.preset.spec
    folder = work / "dataset"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    writer = ShardWriter(folder, spec, origin=origin)
    report = Report(sounding_bars={track.name: 0 for track in spec.tracks})
    first_of: dict[bytes, tuple[str, int]] = {}    # of pieces with one digest: name, lowest pitch
    for index in blocks:
        block = json.loads(_block_report(work, index).read_text())
        report.merge(Report.from_raw(block["report"]))
        for shard in range(len(block["shards"])):
            for piece in _sound_pieces(work, index, shard):
                lowest, n_bars, sounding = block["facts"][piece.name]
                first, its_lowest = first_of.setdefault(piece.digest, (piece.name, lowest))
                if first != piece.name:
                    moved = f", transposed by {lowest - its_lowest:+d} semitones" if lowest != its_lowest else ""
                    report.rejected_files[piece.name] = f"the same music as {first}{moved}"
                    continue
                writer.add(piece)
                report.add_piece(piece.name, n_bars, sounding, spec)
    writer.close()
    with atomic_write(folder / REPORT_NAME) as temporary:
        temporary.write_text(report.to_json() + "\n")
    return report


def _sound_pieces(work: Path, index: int, shard: int) -> Iterator[Piece]:
    """The pieces of a block's shard; one that is damaged counts as not made."""
    try:
        yield from read_pieces(_block_shard(work, index, shard))
    except DatasetError as err:
        _block_report(work, index).unlink()
        raise UserError(f"{err}; the same call makes it again") from err


def _top_reasons(report: Report) -> str:
    reasons = report.reasons().most_common(3)
    told = "; ".join(f"{_counted(count, 'file')}: {reason}" for reason, count in reasons)
    hint = " (other bars: --beats-per-bar; files with wrong signatures: --ignore-signatures)"
    return told + hint * any("in a bar, not" in reason for reason, _ in reasons)


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"


@contextlib.contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Keeps other calls away from a work folder.

    Raises:
        UserError: another call has it, or nothing can be written there.
    """
    lock = work.with_name(f".{work.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = open(lock, "w")
    except OSError as err:
        raise UserError(f"cannot write {work}: {err.strerror}") from err
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)    # gone with the process, however that ends
            except BlockingIOError:
                raise UserError(f"{work} is being worked on by another call") from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _put_in_place(folder: Path, out: Path) -> None:
    """Renames a folder to `out`; what was there is removed, or back in its place if that fails.

    Raises:
        UserError: it cannot be renamed.
    """
    out = out.absolute()
    old = out.with_name(f".{out.name}-{secrets.token_hex(4)}-old")
    try:
        _sync_folder(folder)
        if out.exists():
            out.rename(old)
        folder.rename(out)
        _sync_folder(out.parent)
    except OSError as err:
        raise UserError(f"cannot write {out}: {err.strerror or err}") from err
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(old, ignore_errors=True)


def _check_replaceable(out: Path, overwrite: bool) -> None:
    """Raises UserError where `out` is a file, a folder with other things in it, or a data set and `overwrite` is False."""
    try:
        entries = list(out.iterdir())
    except FileNotFoundError:
        return
    except OSError as err:
        raise UserError(f"cannot write {out}: {err.strerror}") from err
    own = (REPORT_NAME, PAGE_NAME)
    others = [
        entry
        for entry in entries
        if not entry.match(SHARD_PATTERN) and entry.name not in own and not is_temporary(entry.name)
    ]
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
