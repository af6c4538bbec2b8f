"""Packed data sets: safetensors shards of bit-packed bars, written whole and read through a memory map.

A data set is a folder of `shard-00000.safetensors`, ... Each shard can be understood without the others:

| tensor | | |
|---|---|---|
| frame, onset | uint8 [bars, K, T, ceil(P/8)] | `np.packbits` along the pitches, first pitch in the highest bit |
| tempo_bpm | float32 [bars] | mean tempo of each bar |
| run_offsets | int64 [R + 1] | run r is bars run_offsets[r] to run_offsets[r + 1], which follow each other in a piece |
| run_pieces | int64 [R] | index of its piece in the header's list |
| run_first_bar | int64 [R] | number of its first bar in the file, from 0 |

The header's one metadata entry, "musegan", is JSON: format, version, spec, pieces. (One entry, because safetensors
writes several in random order, and equal music must give equal files.)
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from musegan.data.bars import Bars
from musegan.errors import UserError
from musegan.files import atomic_write
from musegan.ops import gather_phrases
from musegan.roll import Roll, RollSpec

SHARD_PATTERN = "shard-*.safetensors"
MAX_SHARD_BARS = 1 << 15    # 58 MB at 5 tracks of 16 steps, 173 MB at 48
_FORMAT, _VERSION, _KEY = "musegan-bars", 1, "musegan"


class DatasetError(UserError):
    """A data set that cannot be used; names the file and the reason."""


class Piece(NamedTuple):
    """The packed bars of one file, ready to be written."""

    name: str
    frame: np.ndarray
    onset: np.ndarray
    tempo_bpm: np.ndarray
    run_offsets: np.ndarray
    run_first_bar: np.ndarray

    def digest(self) -> bytes:
        """The same for pieces whose bars are the same, whatever their names and tempo."""
        parts = (self.frame, self.onset, self.run_offsets)
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).digest()


def pack(name: str, bars: Bars) -> Piece:
    """Packs the bars of a file. At least one bar."""
    offsets = bars.run_offsets
    planes = (np.packbits(plane, axis=-1) for plane in (bars.frame, bars.onset))
    return Piece(name, *planes, bars.tempo_bpm, offsets, bars.bar_numbers[offsets[:-1]])


class ShardWriter:
    """Writes pieces into the shards of a folder; a piece is never divided.

    Raises (from `add` and `close`):
        UserError: a shard cannot be written.
    """

    def __init__(self, folder: Path, spec: RollSpec):
        self.folder, self.spec = folder, spec
        self.n_shards = 0
        self._pieces: list[Piece] = []

    def add(self, piece: Piece) -> None:
        """Takes a piece; writes a shard first if it would grow over `MAX_SHARD_BARS`."""
        if sum(len(p.frame) for p in self._pieces) + len(piece.frame) > MAX_SHARD_BARS:
            self.close()
        self._pieces.append(piece)

    def close(self) -> None:
        """Writes the shard that has begun, if there is one."""
        if not self._pieces:
            return
        write_shard(self.folder / f"shard-{self.n_shards:05d}.safetensors", self.spec, self._pieces)
        self.n_shards += 1
        self._pieces = []


def write_shard(path: Path, spec: RollSpec, pieces: list[Piece]) -> None:
    """Writes one shard, whole or not at all. The same pieces give the same bytes.

    Raises:
        UserError: the file cannot be written.
    """
    first_bars = np.cumsum([0] + [len(piece.frame) for piece in pieces])
    offsets = [piece.run_offsets[:-1] + first for piece, first in zip(pieces, first_bars)]
    tensors = {name: np.concatenate([getattr(p, name) for p in pieces]) for name in ("frame", "onset", "tempo_bpm")}
    tensors["run_offsets"] = np.append(np.concatenate(offsets), first_bars[-1]).astype(np.int64)
    tensors["run_pieces"] = np.repeat(np.arange(len(pieces)), [len(piece.run_first_bar) for piece in pieces])
    tensors["run_first_bar"] = np.concatenate([piece.run_first_bar for piece in pieces]).astype(np.int64)
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "spec": json.loads(spec.to_json()),
        "pieces": [piece.name for piece in pieces],
    }
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={_KEY: json.dumps(header, separators=(",", ":"))}))


class _Shard(NamedTuple):
    frame: Tensor
    onset: Tensor
    tempo_bpm: Tensor
    run_offsets: Tensor
    run_pieces: Tensor
    run_first_bar: Tensor
    spec: RollSpec
    pieces: list[str]


def _read_shard(path: Path) -> _Shard:
    """Maps a shard and checks all but the music itself.

    Raises:
        DatasetError: see `PackedDataset.open`.
    """
    names = _Shard._fields[:6]
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "null"))
            if not isinstance(header, dict) or header.get("format") != _FORMAT:
                raise ValueError("not a shard of a musegan data set")
            if header.get("version") != _VERSION:
                raise ValueError(f"version {header.get('version')} of the format; this musegan reads {_VERSION}")
            if missing := set(names) - set(file.keys()):
                raise ValueError(f"no tensor {min(missing)!r}")
            tensors = [file.get_tensor(name) for name in names]
        spec = RollSpec.from_json(json.dumps(header.get("spec")))
        shard = _Shard(*tensors, spec, header.get("pieces"))
        _check_shard(shard)
    except (OSError, ValueError, SafetensorError) as err:
        raise DatasetError(f"{path}: {err}") from err
    return shard


def _check_shard(shard: _Shard) -> None:
    spec, pieces = shard.spec, shard.pieces
    if not isinstance(pieces, list) or not all(isinstance(name, str) for name in pieces):
        raise ValueError("the list of pieces is damaged")
    n_bars, n_runs = len(shard.frame), len(shard.run_pieces)
    bar = [n_bars, spec.n_tracks, spec.steps_per_bar, -(-spec.n_pitches // 8)]
    expected = {
        "frame": (torch.uint8, bar),
        "onset": (torch.uint8, bar),
        "tempo_bpm": (torch.float32, [n_bars]),
        "run_offsets": (torch.int64, [n_runs + 1]),
        "run_pieces": (torch.int64, [n_runs]),
        "run_first_bar": (torch.int64, [n_runs]),
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
    if not bool((torch.isfinite(shard.tempo_bpm) & (shard.tempo_bpm > 0)).all()):
        raise ValueError("tempo_bpm must be positive")


class PackedDataset:
    """The bars of a folder of shards, one after the other; made by `PackedDataset.open`.

    Bars and pieces are counted through all shards in the order of their names.
    """

    def __init__(self, shards: list[_Shard]):
        self._shards = shards
        self.spec: RollSpec = shards[0].spec
        """What the rolls mean."""
        self._first_bars = list(accumulate((len(shard.frame) for shard in shards), initial=0))
        self._first_pieces = list(accumulate((len(shard.pieces) for shard in shards), initial=0))
        self.n_bars: int = self._first_bars[-1]
        """Bars in all."""
        self.pieces: list[str] = [name for shard in shards for name in shard.pieces]
        """Names of the pieces."""
        self.tempo_bpm: Tensor = torch.cat([shard.tempo_bpm for shard in shards])
        """[bars] float32."""
        self._run_stops = torch.cat([s.run_offsets[1:] + first for s, first in zip(shards, self._first_bars)])
        self._run_pieces = torch.cat([s.run_pieces + first for s, first in zip(shards, self._first_pieces)])

    @classmethod
    def open(cls, folder: str | Path) -> PackedDataset:
        """Maps the shards of a folder; reads their headers only.

        Raises:
            DatasetError: no folder, no shard in it, or a shard that is corrupt, of another version, whose tensors do
                not fit each other or whose spec differs from the first shard's; names file and reason.
        """
        folder = Path(folder)
        paths = sorted(folder.glob(SHARD_PATTERN))
        if not paths:
            reason = "holds no shard-*.safetensors" if folder.is_dir() else "there is no such folder"
            raise DatasetError(f"{folder} is not a data set: {reason} (make one with `musegan prepare`)")
        shards = [_read_shard(path) for path in paths]
        for path, shard in zip(paths, shards):
            if shard.spec != shards[0].spec:
                raise DatasetError(f"{path}: its spec differs from that of {paths[0].name}")
        return cls(shards)

    def phrase_starts(self, n_bars: int) -> Tensor:
        """First bars of all phrases: every bar whose `n_bars` bars lie within one run.

        Returns:
            [n] int64, ascending.
        """
        starts = torch.arange(self.n_bars)
        stops = self._run_stops[torch.searchsorted(self._run_stops, starts, right=True)]
        return starts[starts + n_bars <= stops]

    def piece_of(self, starts: Tensor) -> Tensor:
        """Index in `pieces` of the piece that each bar [n] int64 belongs to: [n] int64."""
        return self._run_pieces[torch.searchsorted(self._run_stops, starts, right=True)]

    def roll(self, starts: Tensor, n_bars: int, semitones: Tensor | None = None) -> Roll:
        """Reads phrases.

        Args:
            starts: [N] int64 first bars, as `phrase_starts` gives them.
            n_bars: B.
            semitones: [N] int64, how far the pitched tracks of each phrase are moved up; what leaves the pitch range
                is cut.
        Returns:
            Planes [N, K, B, T, P] bool.
        Raises:
            IndexError: a phrase leaves the data set.
        """
        planes = Roll([shard.frame for shard in self._shards], [shard.onset for shard in self._shards])
        is_drum = [track.is_drum for track in self.spec.tracks]
        return gather_phrases(planes, starts, n_bars, self.spec.n_pitches, semitones, is_drum)


def split_pieces(names: list[str], validation_share: float) -> tuple[list[int], list[int]]:
    """Divides pieces into training and validation by a hash of their names.

    A piece keeps its side when others come or go. Where the hash leaves validation empty, or training, the piece
    nearest to the border moves over, if there are two pieces.

    Args:
        names: of the pieces.
        validation_share: in [0, 1]; 0 gives no validation.
    Returns:
        Indices of the training and of the validation pieces, ascending.
    Raises:
        ValueError: the share is out of range.
    """
    if not 0 <= validation_share <= 1:
        raise ValueError(f"validation_share must be 0 to 1: got {validation_share}")
    place = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64 for name in names]
    order = sorted(range(len(names)), key=lambda i: (place[i], names[i]))
    n_validation = bisect_right([place[i] for i in order], validation_share)
    if len(names) > 1 and 0 < validation_share < 1:
        n_validation = min(max(n_validation, 1), len(names) - 1)
    return sorted(order[n_validation:]), sorted(order[:n_validation])
