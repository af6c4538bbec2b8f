"""Arrays in .npz and .npy files, read in parts and without trust: no pickle, and no size is believed unchecked.

A zip's directory is read by `zipfile`, an array's header by `numpy.lib.format`; what lies between is read here, because
`numpy.load` gives only whole arrays and takes what a header claims before it looks at what there is.
"""

from __future__ import annotations

import io
import math
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from musegan.data.events import SongError

MAX_WHOLE_BYTES = 8 << 20    # a smaller file is read at once
PART_BYTES = 1 << 18    # of a file, read at a time
MAX_HEADER_BYTES = 1 << 13    # of an array; numpy's own limit is about the same
_MAGIC = b"\x93NUMPY"
_HEADERS = {    # by version; 3 differs from 2 only in that a header may hold more than ASCII, which no plain dtype does
    1: ("<H", np.lib.format.read_array_header_1_0),
    2: ("<I", np.lib.format.read_array_header_2_0),
    3: ("<I", np.lib.format.read_array_header_2_0),
}
_PLAIN_HEADER = re.compile(    # as numpy writes it; its own parser, for all others, is 20 times slower
    rb"\{'descr': '([<|][biuf]\d)', 'fortran_order': (True|False), 'shape': \(([\d, ]{0,120})\), \} *\n"
)
_LOCAL = struct.Struct("<4s22xHH")    # of a zip entry: signature, lengths of its name and of the extra field
_DIRECTORY = (OSError, EOFError, RuntimeError, ValueError, NotImplementedError, zipfile.BadZipFile, struct.error)


class Header(NamedTuple):
    """What an array is, as its header says."""

    dtype: np.dtype
    """Bool, integers, floats or text."""
    shape: tuple[int, ...]
    fortran_order: bool
    """True where the first axis runs fastest."""

    @property
    def n_bytes(self) -> int:
        """Of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


class Stream:
    """The unpacked bytes of an array or other member, from first to last; `copy` goes on from the same place twice."""

    def __init__(
        self, file: Npz, name: str, start: int, packed_bytes: int, n_bytes: int, deflated: bool, crc: int | None
    ):
        """Args: where the packed bytes lie in `file`, how many they are, unpacked too, and their checksum."""
        self._file, self._name = file, name
        self._position, self._end = start, start + packed_bytes
        self.left = n_bytes
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS) if deflated else None
        self._tail = b""
        self._crc, self._expected = 0, crc

    def copy(self) -> Stream:
        """A stream that is read on its own from here on."""
        twin = Stream.__new__(Stream)
        twin.__dict__.update(self.__dict__)
        if self._inflate is not None:
            twin._inflate = self._inflate.copy()
        return twin

    def read(self, n_bytes: int) -> bytes:
        """The next `n_bytes`.

        Raises:
            SongError: there are fewer, or at the end: there are more, or the checksum is wrong.
        """
        if n_bytes > self.left:
            raise SongError(f"damaged: {self._name} ends early")
        parts, wanted = [], n_bytes
        while wanted:
            part = self._next(wanted)
            if not part:
                raise SongError(f"damaged: {self._name} ends early")
            parts.append(part)
            wanted -= len(part)
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        self.left -= n_bytes
        if self._expected is not None:
            self._crc = zlib.crc32(content, self._crc)
            if not self.left and (self._crc != self._expected or self._next(1)):
                raise SongError(f"damaged: {self._name} is not what its checksum says")
        return content

    def _next(self, wanted: int) -> bytes:
        """At most `wanted` bytes, none only at the end."""
        while True:
            if not self._tail:
                size = min(self._end - self._position, PART_BYTES if self._inflate else wanted)
                self._tail = self._file.read_at(self._position, size)
                self._position += len(self._tail)
            if self._inflate is None:
                part, self._tail = self._tail, b""
                return part
            if self._inflate.eof:
                return b""
            more = bool(self._tail)
            try:
                part = self._inflate.decompress(self._tail, wanted)
            except zlib.error as err:
                raise SongError(f"damaged: {self._name} cannot be unpacked") from err
            self._tail = self._inflate.unconsumed_tail
            if part or not more:
                return part


class Npz:
    """The members of an .npz file, or of an .npy file, which is one array named ""; a context manager.

    A member's name is that of numpy: without ".npy".
    """

    def __init__(self, source: Path | bytes):
        """Opens a file, or its content.

        Raises:
            SongError: it cannot be read, or is neither a zip nor an array.
        """
        try:
            file = open(source, "rb") if isinstance(source, Path) else io.BytesIO(source)
        except OSError as err:
            raise SongError(f"cannot be read: {err.strerror}") from err
        try:
            self._size = file.seek(0, io.SEEK_END)
            file.seek(0)
            if self._size <= MAX_WHOLE_BYTES and isinstance(source, Path):
                with file:
                    file = io.BytesIO(file.read())
            self._file = file
            self._entries = self._directory()
        except _DIRECTORY as err:
            file.close()
            reason = err.strerror if isinstance(err, OSError) and err.strerror else err
            raise SongError(f"cannot be read as arrays: {reason}") from err
        except SongError:
            file.close()
            raise

    def __enter__(self) -> Npz:
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    @property
    def names(self) -> list[str]:
        """Of the members, in the file's order."""
        return list(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def stream(self, name: str) -> Stream:
        """The bytes of a member.

        Raises:
            SongError: there is none of that name, or it is encrypted or packed in a way that numpy does not.
        """
        entry = self._entries.get(name, False)
        if entry is False:
            raise SongError(f"damaged: there is no {name}")
        if entry is None:
            return Stream(self, "the array", 0, self._size, self._size, False, None)
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise SongError(f"{name} is encrypted or packed in a way that numpy does not")
        local = self.read_at(entry.header_offset, _LOCAL.size)
        if len(local) < _LOCAL.size or not local.startswith(b"PK\3\4"):
            raise SongError(f"damaged: {name} is not where the zip says")
        _, n_name, n_extra = _LOCAL.unpack(local)
        start = entry.header_offset + _LOCAL.size + n_name + n_extra
        deflated = entry.compress_type == zipfile.ZIP_DEFLATED
        return Stream(self, name, start, entry.compress_size, entry.file_size, deflated, entry.CRC)

    def content(self, name: str, max_bytes: int) -> bytes:
        """All bytes of a member that is no array.

        Raises:
            SongError: more than `max_bytes`, or damaged.
        """
        stream = self.stream(name)
        if stream.left > max_bytes:
            raise SongError(f"{name} is larger than {max_bytes:,} bytes")
        return stream.read(stream.left)

    def open(self, name: str) -> tuple[Header, Stream]:
        """The header of an array, and the stream of its values: exactly as many as the header says.

        Raises:
            SongError: no array, of pickled objects, or not as many bytes as its header says.
        """
        stream = self.stream(name)
        header = _header(name, stream.read)
        _check_size(name, header, stream.left)
        return header, stream

    def array(self, name: str, max_bytes: int) -> np.ndarray:
        """A whole array, read-only.

        Raises:
            SongError: see `open`; or it takes more than `max_bytes`.
        """
        stream = self.stream(name)
        if stream.left > max_bytes:
            raise SongError(f"{name or 'the array'} is larger than {max_bytes:,} bytes")
        content = stream.read(stream.left)    # at once: most arrays are small
        file = io.BytesIO(content)
        header = _header(name, file.read)
        start = file.tell()
        _check_size(name, header, len(content) - start)
        values = np.frombuffer(content, header.dtype, math.prod(header.shape), min(start, len(content) - 1))
        return values.reshape(header.shape, order="F" if header.fortran_order else "C")

    def read_at(self, position: int, n_bytes: int) -> bytes:
        """Bytes of the file itself; fewer where it ends, none outside it."""
        if not 0 <= position < self._size:
            return b""
        try:
            self._file.seek(position)
            return self._file.read(min(n_bytes, self._size - position))
        except OSError as err:
            raise SongError(f"cannot be read: {err.strerror}") from err

    def _directory(self) -> dict[str, zipfile.ZipInfo | None]:
        if self.read_at(0, len(_MAGIC)) == _MAGIC:
            return {"": None}
        entries = zipfile.ZipFile(self._file).infolist()
        return {_name(entry.filename): entry for entry in entries}


def _name(filename: str) -> str:
    """What a member is called, fit to be told in one line."""
    name = filename.removesuffix(".npy")
    return name if name.isprintable() else "".join(c if c.isprintable() else "?" for c in name)


def _header(name: str, read: Callable[[int], bytes]) -> Header:
    """Reads the header of an array, and nothing after it."""
    name = name or "the array"
    try:
        start = read(8)
        if not start.startswith(_MAGIC) or start[6] not in _HEADERS:
            raise ValueError("no array")
        form, parse = _HEADERS[start[6]]
        length = read(struct.calcsize(form))
        (size,) = struct.unpack(form, length)
        if size > MAX_HEADER_BYTES:
            raise ValueError("too long")
        text = read(size)
        if plain := _PLAIN_HEADER.fullmatch(text):
            dtype, order, shape = plain.groups()
            shape = tuple(int(n) for n in shape.split(b",") if n.strip())
            header = Header(np.dtype(dtype.decode()), shape, order == b"True")
        else:
            shape, fortran_order, dtype = parse(io.BytesIO(length + text))
            header = Header(dtype, shape, fortran_order)
    except SongError:
        raise
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError, struct.error) as err:
        raise SongError(f"damaged: {name} has no header of an array") from err
    if header.dtype.hasobject:
        raise SongError(f"{name} holds pickled objects, which are never read")
    if header.dtype.kind not in "biufU":
        raise SongError(f"{name} must hold numbers or text: got {str(header.dtype)[:40]}")
    return header


def _check_size(name: str, header: Header, n_bytes: int) -> None:
    if min(header.shape, default=0) < 0 or header.n_bytes != n_bytes:
        raise SongError(f"damaged: {name or 'the array'} tells of {header.n_bytes:,} bytes, there are {n_bytes:,}")
