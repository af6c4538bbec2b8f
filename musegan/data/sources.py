"""Where music comes from: files, folders and zips, one after the other. Nothing is read or unpacked to find it."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import posixpath
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from musegan.data.events import SongError
from musegan.errors import UserError

MIDI_SUFFIXES = (".mid", ".midi", ".smf")
ARRAY_SUFFIXES = (".npz", ".npy")
SCORE_SUFFIXES = (".musicxml", ".mxl", ".xml", ".krn")
MUSIC_SUFFIXES = (*MIDI_SUFFIXES, *ARRAY_SUFFIXES, *SCORE_SUFFIXES)
MAX_FILE_BYTES = 32 << 20    # of a file in a zip, unpacked; arrays, which are read in parts, may have more
MAX_ZIP_BYTES = 16 << 30    # unpacked, of one zip
UNPACKING_ERRORS = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)
"""What a damaged zip makes `zipfile` raise."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)    # of bzip2 and LZMA, zipfile unpacks any amount at once
CORPUS_PREFIX = "music21:"


class Source(NamedTuple):
    """A file of music, or what should be one."""

    name: str
    """Relative to the input it was found in, with "/"; unique."""
    path: str
    """Of the file, or of the zip that holds it."""
    entry: str = ""
    """Its name in the zip; empty for a file of its own."""
    problem: str = ""
    """Why it cannot be read, where that is known already."""

    @property
    def suffix(self) -> str:
        """Lower case, e.g. ".mid"."""
        return _suffix(self.entry or self.path)

    def read(self) -> bytes:
        """The whole content, of a file in a zip at most one byte more than `MAX_FILE_BYTES`, whatever the zip claims.

        Raises:
            SongError: it cannot be read or unpacked, or is too large.
        """
        return self._read(self.entry)

    def beside(self, name: str) -> bytes:
        """The content of another file in the same folder (of the same zip); see `read`."""
        return self._read(name if not self.entry else posixpath.join(posixpath.dirname(self.entry), name), name)

    def _read(self, entry: str, beside: str = "") -> bytes:
        if self.problem:
            raise SongError(self.problem)
        try:
            if not self.entry:
                path = Path(self.path).parent / beside if beside else Path(self.path)
                check_regular(path)
                with open(path, "rb") as file:    # room for the most that there may be costs more than to read
                    content = file.read(min(os.fstat(file.fileno()).st_size, MAX_FILE_BYTES) + 1)
            else:
                archive = open_zip(self.path)
                info = archive.getinfo(entry)
                if info.file_size > MAX_FILE_BYTES:
                    raise SongError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
                if info.compress_type not in _METHODS:
                    method = zipfile.compressor_names.get(info.compress_type, f"method {info.compress_type}")
                    raise SongError(f"packed by {method}, not deflate")
                with archive.open(entry) as file:
                    content = file.read(MAX_FILE_BYTES + 1)
        except KeyError:
            raise SongError(f"there is no {beside} beside it") from None
        except FileNotFoundError as err:
            raise SongError(f"there is no {beside} beside it" if beside else f"cannot be read: {err.strerror}") from err
        except SongError:
            raise
        except UNPACKING_ERRORS as err:
            raise SongError(f"cannot be {'unpacked' if self.entry else 'read'}: {_reason(err)}") from err
        if len(content) > MAX_FILE_BYTES:
            raise SongError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
        return content


@functools.lru_cache(maxsize=2)
def open_zip(path: str) -> zipfile.ZipFile:
    """A zip, kept open for its other entries."""
    return zipfile.ZipFile(path)


def find_sources(inputs: list[Path]) -> list[Source]:
    """Lists the files of music of files, folders (and the folders in them) and zips, in a fixed order.

    An input "music21:bach" stands for a composer in the corpus that music21 ships: any of its folders that has scores.

    Raises:
        UserError: an input does not exist, or there is no music in any.
    """
    for path in inputs:
        if not path.exists() and not str(path).startswith(CORPUS_PREFIX):
            raise UserError(f"no such file or folder: {path}")
    open_zip.cache_clear()    # a zip may have been written anew
    sources: list[Source] = []
    seen: set[str] = set()
    numbers: dict[str, int] = {}    # the last that was given to a name
    for source in (source for path in inputs for source in _sources(path)):
        name, number = source.name, numbers.get(source.name, 1)
        while name in seen:
            number += 1
            name = f"{source.name} ({number})"
        numbers[source.name] = number
        seen.add(name)
        sources.append(source._replace(name=name))
    if not sources:
        places = ", ".join(map(str, inputs))
        raise UserError(f"no music in {places}: looked for {', '.join(MUSIC_SUFFIXES)} and .zip")
    return sources


def fingerprint(sources: list[Source], beside: str = "") -> str:
    """Changes when files come, go, or are written anew.

    Args:
        sources: the files.
        beside: name of a file beside each that counts too; {stem} in it stands for the name of the source.
    """
    digest = hashlib.sha256()
    times: dict[Path, tuple[int, int]] = {}
    for source in sources:
        path = Path(source.path)
        files = [path]
        if beside and not source.entry:
            files.append(path.parent / beside.replace("{stem}", path.stem))
        for file in files:
            if file not in times:
                try:
                    status = os.stat(file)
                    times[file] = (status.st_size, status.st_mtime_ns)
                except OSError:
                    times[file] = (0, 0)
        digest.update(repr((source.name, source.entry, *(times[file] for file in files))).encode())
    return digest.hexdigest()


def _sources(path: Path) -> Iterator[Source]:
    if str(path).startswith(CORPUS_PREFIX) and not path.exists():
        yield from _corpus_sources(str(path).removeprefix(CORPUS_PREFIX))
        return
    if not path.is_dir():
        if path.suffix.lower() not in (*MUSIC_SUFFIXES, ".zip"):
            reason = f"its name ends in none of {', '.join(MUSIC_SUFFIXES)}, .zip"
            yield Source(_clean(path.name), str(path), problem=reason)
        yield from _file_sources(path, path.name)
        return
    unreadable: list[OSError] = []
    for folder, folders, files in os.walk(path, onerror=unreadable.append):
        folders.sort()
        for name in sorted(files):
            file = Path(folder, name)
            if not name.startswith("."):
                yield from _file_sources(file, file.relative_to(path).as_posix())
    for err in unreadable:
        name = Path(err.filename).relative_to(path).as_posix()
        yield Source(_clean(name), err.filename, problem=f"the folder cannot be read: {err.strerror}")


def _corpus_sources(composer: str) -> Iterator[Source]:
    """Scores in a folder of music21's corpus, named "bach/bwv66.6"; found without importing music21."""
    package = importlib.util.find_spec("music21")
    if package is None or not package.submodule_search_locations:
        raise UserError(f'{CORPUS_PREFIX}{composer} needs music21: pip install "musegan[scores]"')
    corpus = Path(package.submodule_search_locations[0], "corpus")
    scores: dict[str, list[Path]] = {}
    for path in sorted(corpus.glob("*/**/*")):
        if path.suffix.lower() in SCORE_SUFFIXES:
            scores.setdefault(path.relative_to(corpus).parts[0], []).append(path)
    if composer not in scores:
        raise UserError(f"no {composer!r} in music21's corpus: it has {', '.join(scores)}")
    for path in scores[composer]:
        yield Source(path.relative_to(corpus).with_suffix("").as_posix(), str(path))


def _file_sources(path: Path, name: str) -> Iterator[Source]:
    name, suffix = _clean(name), path.suffix.lower()
    if suffix == ".zip":
        yield from _zip_sources(path, name)
    elif suffix in MUSIC_SUFFIXES:
        yield Source(name, str(path))


def _zip_sources(path: Path, name: str) -> Iterator[Source]:
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if _is_music(entry.filename)]
    except SongError as err:
        yield Source(name, str(path), problem=str(err))
        return
    except UNPACKING_ERRORS as err:
        yield Source(name, str(path), problem=f"not a readable zip: {_reason(err)}")
        return
    total = 0
    for entry in sorted(entries, key=lambda entry: entry.filename):
        total += entry.file_size
        problem = f"beyond the first {MAX_ZIP_BYTES >> 30} GiB of its zip" if total > MAX_ZIP_BYTES else ""
        yield Source(f"{name}/{_clean(entry.filename)}", str(path), entry.filename, problem)


def _is_music(name: str) -> bool:
    """Not so for hidden files, which macOS adds to zips: __MACOSX/._song.mid."""
    return _suffix(name) in MUSIC_SUFFIXES and not posixpath.basename(_clean(name)).startswith(".")


def _suffix(name: str) -> str:
    return posixpath.splitext(name)[1].lower()


def check_regular(path: Path) -> None:
    """Raises SongError for what is there but no file: a pipe, for one, would be waited for."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return    # to open it will tell
    if not stat.S_ISREG(mode):
        raise SongError("not a regular file")


def _reason(err: Exception) -> str:
    """What an exception says, without the names of files that zipfile quotes."""
    text = err.strerror if isinstance(err, OSError) and err.strerror else str(err)
    return re.sub(r"( for file)? b?(['\"]).*\2", "", " ".join(text.split())) or type(err).__name__


def _clean(name: str) -> str:
    """A name for lists and tables: no drive, root, "..", backslash or control character."""
    name = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "?", name.replace("\\", "/"))
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))
