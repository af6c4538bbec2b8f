"""Where MIDI comes from: files, folders and zips, one after the other."""

from __future__ import annotations

import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from musegan.data.midi import MAX_FILE_BYTES, MidiError
from musegan.errors import UserError

MIDI_SUFFIXES = (".mid", ".midi", ".smf")
MAX_ZIP_BYTES = 4 << 30    # unpacked, of one zip


class Source(NamedTuple):
    """A file that should be MIDI."""

    name: str
    """Relative to the input it was found in, with "/"; unique."""
    read: Callable[[], Path | bytes]
    """Gives what `load_score` takes; raises MidiError."""


def find_sources(inputs: list[Path]) -> list[Source]:
    """Lists the MIDI files of files, folders (and the folders in them) and zips, in a fixed order.

    Raises:
        UserError: an input does not exist, or there is no MIDI file in any.
    """
    for path in inputs:
        if not path.exists():
            raise UserError(f"no such file or folder: {path}")
    sources: list[Source] = []
    seen: set[str] = set()
    for source in (source for path in inputs for source in _sources(path)):
        name, number = source.name, 2
        while name in seen:
            name, number = f"{source.name} ({number})", number + 1
        seen.add(name)
        sources.append(source._replace(name=name))
    if not sources:
        places = ", ".join(map(str, inputs))
        raise UserError(f"no MIDI files in {places}: looked for {', '.join(MIDI_SUFFIXES)} and .zip")
    return sources


def _sources(path: Path) -> Iterator[Source]:
    if not path.is_dir():
        if path.suffix.lower() not in (*MIDI_SUFFIXES, ".zip"):
            reason = f"its name ends in none of {', '.join(MIDI_SUFFIXES)}, .zip"
            yield Source(_clean(path.name), lambda: _refuse(reason))
        yield from _file_sources(path, path.name)
        return
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in sorted(files):
            file = Path(folder, name)
            if file.suffix.lower() in (*MIDI_SUFFIXES, ".zip"):
                yield from _file_sources(file, file.relative_to(path).as_posix())


def _file_sources(path: Path, name: str) -> Iterator[Source]:
    name = _clean(name)
    if path.suffix.lower() == ".zip":
        yield from _zip_sources(path, name)
    elif path.suffix.lower() in MIDI_SUFFIXES:
        yield Source(name, lambda: path)


def _zip_sources(path: Path, name: str) -> Iterator[Source]:
    try:
        archive = zipfile.ZipFile(path)    # stays open for its entries
        entries = [entry for entry in archive.infolist() if entry.filename.lower().endswith(MIDI_SUFFIXES)]
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as err:
        reason = f"not a readable zip: {err}"
        yield Source(name, lambda: _refuse(reason))
        return
    total = 0
    for entry in sorted(entries, key=lambda entry: entry.filename):
        total += entry.file_size
        entry_name = f"{name}/{_clean(entry.filename)}"
        if total > MAX_ZIP_BYTES:
            yield Source(entry_name, lambda: _refuse(f"beyond the first {MAX_ZIP_BYTES >> 30} GiB of its zip"))
        else:
            yield Source(entry_name, lambda entry=entry: _read_entry(archive, entry))


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of a zip's entry, at most one more than `load_score` takes, whatever the zip claims."""
    if entry.file_size > MAX_FILE_BYTES:
        raise MidiError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        with archive.open(entry) as file:
            return file.read(MAX_FILE_BYTES + 1)
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as err:
        raise MidiError(f"cannot be unpacked: {err}") from err


def _refuse(reason: str) -> bytes:
    raise MidiError(reason)


def _clean(name: str) -> str:
    """A name for lists and tables: no drive, root, "..", backslash or control character."""
    name = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "?", name.replace("\\", "/"))
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))
