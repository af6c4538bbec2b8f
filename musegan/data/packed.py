"""Packed data sets: safetensors shards of bit-packed bars, written whole and read through a memory map.

A data set is a folder of `shard-00000.safetensors`, ... Each shard can be understood without the others:

| tensor | | |
|---|---|---|
| frame, onset | uint8 [bars, K, T, ceil(P/8)] | `np.packbits` along the pitches, first pitch in the highest bit |
| tempo_bpm | float32 [bars] | mean tempo of each bar, in quarter notes a minute |
| run_offsets | int64 [R + 1] | run r is bars run_offsets[r] to run_offsets[r + 1], which follow each other in a piece |
| run_pieces | int64 [R] | index of its piece in the header's list |
| run_first_bar | int64 [R] | number of its first bar in the piece, from 0 |
| digests | uint8 [pieces, 16] | pieces with the same digest count as one: the first that is read is used |

The header's one metadata entry, "musegan", is JSON: format, version, spec, pieces, and origin, a digest of what parts
of one data set have in common. (One entry, because safetensors
writes several in random order, and equal music must give equal files.)

A data set made in parts, on several machines, is a folder of `part-003-of-100` and so on, each a data set of its own.
`dataset.py` reads what this module writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from musegan.data.bars import Bars
from musegan.errors import UserError
from musegan.files import atomic_write
from musegan.ops import notes
from musegan.roll import Roll, RollSpec

SHARD_PATTERN = "shard-*.safetensors"
MAX_SHARD_BARS = 1 << 14    # 29 MB at 5 tracks of 16 steps, 87 MB at 48
_FORMAT, _VERSION, _KEY = "musegan-bars", 2, "musegan"
_DIGEST_BYTES = 16
_DATA = ("frame", "onset", "tempo_bpm")    # of each bar
Duplicates = Literal["drop", "exact", "keep"]


class DatasetError(UserError):
    """A data set that cannot be used; names the file and the reason."""


class Piece(NamedTuple):
    """The packed bars of one piece, ready to be written; arrays as in a shard."""

    name: str
    frame: np.ndarray
    onset: np.ndarray
    tempo_bpm: np.ndarray
    run_offsets: np.ndarray
    run_first_bar: np.ndarray
    digest: bytes
    """Of the music, whatever its name and tempo."""
    lowest: int
    """Index of its lowest pitch, drums apart; -1 without pitches. What the digest of a transposed piece does not tell."""


def pack(name: str, parts: list[Bars], spec: RollSpec, duplicates: Duplicates = "drop") -> Piece:
    """Makes a piece of the bars of its songs, one at least, in order.

    Args:
        duplicates: which pieces shall have the same digest: `drop`, those that are the same or transposed; `exact`,
            those that are the same; `keep`, those of the same name only.
    """
    frame, onset, tempo_bpm = (_joined([getattr(bars, key) for bars in parts]) for key in _DATA)
    # Songs of one piece do not follow each other: a bar number is left out between them.
    first = accumulate((int(bars.bar_numbers[-1]) + 2 for bars in parts[:-1]), initial=0)
    numbers = _joined([bars.bar_numbers + start for bars, start in zip(parts, first)])
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    offsets = np.concatenate([[0], breaks, [len(numbers)]])
    if duplicates == "keep":
        digest, lowest = hashlib.sha256(name.encode()).digest()[:_DIGEST_BYTES], -1
    else:
        used = np.flatnonzero(np.logical_or.reduce([bars.sounding.any(0) for bars in parts]))
        digest, lowest = _digest(frame, onset, used, offsets, spec, duplicates == "drop")
    return Piece(name, frame, onset, tempo_bpm, offsets, numbers[offsets[:-1]], digest, lowest)


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _digest(
    frame: np.ndarray, onset: np.ndarray, used: np.ndarray, run_offsets: np.ndarray, spec: RollSpec, transposed: bool
) -> tuple[bytes, int]:
    """A digest of the notes of the `used` tracks, counted from the lowest pitch if `transposed`; and that pitch's index."""
    planes = (torch.from_numpy(np.ascontiguousarray(plane.swapaxes(0, 1)[used])[None]) for plane in (frame, onset))
    table = notes(Roll(*planes), spec.n_pitches).numpy()[:, 1:].astype(np.int32)    # [n, 4] track, pitch, start, end
    table[:, 0] = used[table[:, 0]]
    pitched = ~np.array([track.is_drum for track in spec.tracks])[table[:, 0]]
    lowest = int(table[pitched, 1].min()) if pitched.any() else -1
    if transposed and lowest > 0:
        table[:, 1] -= lowest * pitched
    digest = hashlib.sha256(np.ascontiguousarray(table))
    digest.update(run_offsets.tobytes())
    return digest.digest()[:_DIGEST_BYTES], lowest


class ShardWriter:
    """Writes pieces into the shards of a folder; a piece is never divided.

    Args:
        folder: where the shards go.
        stem: what their names begin with.
        sync, origin: see `write_shard`.
    Raises (from `add` and `close`):
        UserError: a shard cannot be written.
    """

    def __init__(self, folder: Path, spec: RollSpec, stem: str = "shard", sync: bool = True, origin: str = ""):
        self.folder, self.spec, self.stem, self.sync, self.origin = folder, spec, stem, sync, origin
        self.n_shards = 0
        self._pieces: list[Piece] = []
        self._n_bars = 0

    def add(self, piece: Piece) -> None:
        """Takes a piece; writes a shard first if it would grow over `MAX_SHARD_BARS`."""
        if self._n_bars + len(piece.frame) > MAX_SHARD_BARS:
            self.close()
        self._pieces.append(piece)
        self._n_bars += len(piece.frame)

    def close(self) -> None:
        """Writes the shard that has begun, if there is one."""
        if not self._pieces:
            return
        path = self.folder / f"{self.stem}-{self.n_shards:05d}.safetensors"
        write_shard(path, self.spec, self._pieces, self.sync, self.origin)
        self.n_shards += 1
        self._pieces, self._n_bars = [], 0


def write_shard(path: Path, spec: RollSpec, pieces: list[Piece], sync: bool = True, origin: str = "") -> None:
    """Writes one shard, whole or not at all. The same pieces give the same bytes.

    Args:
        sync: see `atomic_write`.
        origin: the same in all parts of a data set.

    Raises:
        UserError: the file cannot be written.
    """
    first_bars = np.cumsum([0] + [len(piece.frame) for piece in pieces])
    offsets = [piece.run_offsets[:-1] + first for piece, first in zip(pieces, first_bars)]
    tensors = {name: np.concatenate([getattr(p, name) for p in pieces]) for name in _DATA}
    tensors["run_offsets"] = np.append(np.concatenate(offsets), first_bars[-1]).astype(np.int64)
    tensors["run_pieces"] = np.repeat(np.arange(len(pieces)), [len(piece.run_first_bar) for piece in pieces])
    tensors["run_first_bar"] = np.concatenate([piece.run_first_bar for piece in pieces]).astype(np.int64)
    digests = np.frombuffer(b"".join(piece.digest for piece in pieces), np.uint8)
    tensors["digests"] = digests.reshape(len(pieces), _DIGEST_BYTES)
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "spec": json.loads(spec.to_json()),
        "pieces": [piece.name for piece in pieces],
        "origin": origin,
    }
    with atomic_write(path, sync) as temporary:
        try:
            save_file(tensors, temporary, metadata={_KEY: json.dumps(header, separators=(",", ":"))})
        except SafetensorError as err:    # what the system refuses, the disk being full for one
            raise UserError(f"cannot write {path}: {err}") from err


def read_pieces(path: Path) -> Iterator[Piece]:
    """The pieces of a shard, as they were written (but for `lowest`, which is -1). Their arrays are mapped, not read.

    Raises:
        DatasetError: it is corrupt, of another version, or its tensors do not fit each other; names file and reason.
    """
    shard = read_shard(path)
    columns = [getattr(shard, name).numpy() for name in _DATA]
    offsets, first_bar, digests = shard.run_offsets.numpy(), shard.run_first_bar.numpy(), shard.digests.numpy()
    runs = np.searchsorted(shard.run_pieces.numpy(), np.arange(len(shard.pieces) + 1))
    for index, name in enumerate(shard.pieces):
        own = slice(runs[index], runs[index + 1] + 1)
        bars = slice(offsets[own.start], offsets[own.stop - 1])
        run_offsets = offsets[own] - offsets[own.start]
        rows = (column[bars] for column in columns)
        yield Piece(name, *rows, run_offsets, first_bar[own.start : own.stop - 1], digests[index].tobytes(), -1)


class Shard(NamedTuple):
    """A shard's tensors, mapped from its file, and its header; see the head of this module."""

    frame: Tensor
    onset: Tensor
    tempo_bpm: Tensor
    run_offsets: Tensor
    run_pieces: Tensor
    run_first_bar: Tensor
    digests: Tensor
    spec: RollSpec
    pieces: list[str]
    origin: str


def read_shard(path: Path) -> Shard:
    """Maps a shard and checks all but the music itself.

    Raises:
        DatasetError: it is corrupt, of another version, or its tensors do not fit each other; names file and reason.
    """
    names = Shard._fields[:7]
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "null"))
            if not isinstance(header, dict) or header.get("format") != _FORMAT:
                raise ValueError("not a shard of a musegan data set")
            if header.get("version") != _VERSION:
                raise ValueError(
                    f"version {header.get('version')} of the format; this musegan reads {_VERSION}: make it again"
                )
            if missing := set(names) - set(file.keys()):
                raise ValueError(f"no tensor {min(missing)!r}")
            tensors = [file.get_tensor(name) for name in names]
        spec = RollSpec.from_json(json.dumps(header.get("spec")))
        shard = Shard(*tensors, spec, header.get("pieces"), header.get("origin"))
        _check_shard(shard)
    except (OSError, ValueError, RecursionError, SafetensorError) as err:
        raise DatasetError(f"{path}: {err}") from err
    return shard


def _check_shard(shard: Shard) -> None:
    spec, pieces = shard.spec, shard.pieces
    if not isinstance(pieces, list) or not all(isinstance(name, str) for name in pieces):
        raise ValueError("the list of pieces is damaged")
    if not isinstance(shard.origin, str):
        raise ValueError("the origin is damaged")
    n_bars, n_runs = len(shard.frame), len(shard.run_pieces)
    bar = [n_bars, spec.n_tracks, spec.steps_per_bar, -(-spec.n_pitches // 8)]
    expected = {
        "frame": (torch.uint8, bar),
        "onset": (torch.uint8, bar),
        "tempo_bpm": (torch.float32, [n_bars]),
        "run_offsets": (torch.int64, [n_runs + 1]),
        "run_pieces": (torch.int64, [n_runs]),
        "run_first_bar": (torch.int64, [n_runs]),
        "digests": (torch.uint8, [len(pieces), _DIGEST_BYTES]),
    }
    for name, (dtype, shape) in expected.items():
        tensor = getattr(shard, name)
        if tensor.dtype != dtype or list(tensor.shape) != shape:
            raise ValueError(f"{name}: expected {dtype} {shape}, got {tensor.dtype} {list(tensor.shape)}")
    offsets = shard.run_offsets
    if offsets[0] != 0 or offsets[-1] != n_bars or bool((offsets.diff() <= 0).any()):
        raise ValueError(f"run_offsets must rise from 0 to the {n_bars} bars")
    if bool(((shard.run_pieces < 0) | (shard.run_pieces >= len(pieces))).any()):
        raise ValueError(f"run_pieces must be below the {len(pieces)} pieces")
    if bool((shard.run_pieces.diff() < 0).any()):
        raise ValueError("run_pieces must ascend")
    if not bool((torch.isfinite(shard.tempo_bpm) & (shard.tempo_bpm > 0)).all()):
        raise ValueError("tempo_bpm must be positive")
