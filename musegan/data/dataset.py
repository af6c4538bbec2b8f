"""Reading packed data sets: through a memory map, or from their place in the files where they are large."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from musegan.data.packed import SHARD_PATTERN, DatasetError, Shard, read_shard
from musegan.data.plane_files import open_planes
from musegan.ops import gather_phrases
from musegan.roll import Roll, RollSpec

PART_NAME = re.compile(r"part-(\d+)-of-(\d+)")


class PackedDataset:
    """The bars of a folder of shards, one after the other; made by `PackedDataset.open`.

    Bars are counted through all shards in the order of their names. Of pieces with one digest the first is used. Another
    process to which it is sent opens it again, so that its music is never copied.
    """

    def __init__(self, folder: Path, paths: list[Path], shards: list[Shard]):
        self._folder, self._shards, self._planes = folder, shards, open_planes(paths)
        self.spec: RollSpec = shards[0].spec
        """What the rolls mean."""
        first_bars = list(accumulate((len(shard.frame) for shard in shards), initial=0))
        first_pieces = list(accumulate((len(shard.pieces) for shard in shards), initial=0))
        names = [name for shard in shards for name in shard.pieces]
        used = _first_of_each(np.concatenate([shard.digests.numpy() for shard in shards]))
        self.pieces: list[str] = [name for name, is_used in zip(names, used.tolist()) if is_used]
        """Names of the pieces that are used."""
        self.n_duplicates: int = len(names) - len(self.pieces)
        """Pieces that are not, because an earlier one is the same."""
        self.tempo_bpm: Tensor = torch.cat([shard.tempo_bpm for shard in shards])
        """[rows] float32, by the row of a bar: see `phrase_starts`."""
        index = torch.from_numpy(np.where(used, np.cumsum(used) - 1, -1))
        self._run_stops = torch.cat([s.run_offsets[1:] + first for s, first in zip(shards, first_bars)])
        self._run_pieces = index[torch.cat([s.run_pieces + first for s, first in zip(shards, first_pieces)])]
        self._run_first_bars = torch.cat([shard.run_first_bar for shard in shards])
        lengths = self._run_stops.diff(prepend=torch.zeros(1, dtype=torch.int64))
        self.n_bars: int = int(lengths[self._run_pieces >= 0].sum())
        """Bars of these pieces."""

    @classmethod
    def open(cls, folder: str | Path) -> PackedDataset:
        """Maps the shards of a folder, or of the parts in it; reads their headers only.

        Raises:
            DatasetError: no folder, no shard in it, a part of several is missing or made otherwise than the rest, or a
                shard is corrupt, of another version, its tensors do not fit each other or its spec differs from the
                first shard's; names file and reason.
        """
        folder = Path(folder)
        paths = [path for part in (folder, *_parts(folder)) for path in sorted(part.glob(SHARD_PATTERN))]
        if not paths:
            reason = "holds no shard-*.safetensors" if folder.is_dir() else "there is no such folder"
            raise DatasetError(f"{folder} is not a data set: {reason} (make one with `musegan prepare`)")
        shards = [read_shard(path) for path in paths]
        for path, shard in zip(paths, shards):
            if shard.spec != shards[0].spec:
                raise DatasetError(f"{path}: its spec differs from that of {paths[0].relative_to(folder)}")
            if shard.origin != shards[0].origin:
                first = paths[0].relative_to(folder)
                raise DatasetError(f"{path}: made of other files, or by other rules, than {first}")
        return cls(folder.resolve(), paths, shards)

    def __reduce__(self):
        return _reopen, (self._folder, self.n_bars, self.pieces)

    def phrase_starts(self, n_bars: int) -> Tensor:
        """First bars of all phrases: every bar whose `n_bars` bars lie within one run of a piece that is used.

        Returns:
            [n] int64 rows, ascending: a bar's row counts the bars of all shards, used or not.
        """
        starts = torch.arange(len(self.tempo_bpm))
        run = torch.searchsorted(self._run_stops, starts, right=True)
        return starts[(starts + n_bars <= self._run_stops[run]) & (self._run_pieces[run] >= 0)]

    def piece_of(self, starts: Tensor) -> Tensor:
        """Index in `pieces` of the piece that each bar [n] int64 belongs to: [n] int64; -1 for one not used."""
        return self._run_pieces[torch.searchsorted(self._run_stops, starts, right=True)]

    def bar_numbers(self, rows: Tensor) -> Tensor:
        """Numbers that bars [n] int64 have in their pieces, from 0: [n] int64."""
        run = torch.searchsorted(self._run_stops, rows, right=True)
        run_starts = torch.cat([torch.zeros(1, dtype=torch.int64), self._run_stops[:-1]])
        return self._run_first_bars[run] + rows - run_starts[run]

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
        return Roll(*(self.plane(name, starts, n_bars, semitones) for name in Roll._fields))

    def plane(
        self,
        name: str,
        starts: Tensor,
        n_bars: int,
        semitones: Tensor | None = None,
        dtype: torch.dtype = torch.bool,
    ) -> Tensor:
        """One plane of what `roll` reads: [N, K, B, T, P] bool, or float32 of 0.0 and 1.0.

        Args:
            name: `frame` or `onset`.
        """
        shards, rows = self.bits(name, starts, n_bars)
        is_drum = [track.is_drum for track in self.spec.tracks]
        return gather_phrases(shards, rows, n_bars, self.spec.n_pitches, semitones, is_drum, dtype)

    def bits(self, name: str, starts: Tensor, n_bars: int) -> tuple[list[Tensor], Tensor]:
        """Packed bars of a plane, [bars, K, T, ceil(P / 8)] uint8, among them those from each of `starts` [N] on.

        Returns:
            One tensor or several, counted through, and in which row the bars of each start begin: [N] int64.
        """
        if self._planes:
            return [self._planes[name].read(starts, n_bars)], torch.arange(len(starts)) * n_bars
        return [getattr(shard, name) for shard in self._shards], starts


def _reopen(folder: Path, n_bars: int, pieces: list[str]) -> PackedDataset:
    dataset = PackedDataset.open(folder)
    if (dataset.n_bars, dataset.pieces) != (n_bars, pieces):
        raise DatasetError(f"{folder} has changed since it was opened")
    return dataset


def _first_of_each(digests: np.ndarray) -> np.ndarray:
    """[pieces] bool, True where no earlier piece has the same digest [pieces, 16]."""
    first = np.zeros(len(digests), bool)
    first[np.unique(np.ascontiguousarray(digests).view(np.uint64), axis=0, return_index=True)[1]] = True
    return first


def _parts(folder: Path) -> list[Path]:
    """The parts of a data set made in parts, in order; [] for any other folder.

    Raises:
        DatasetError: some are missing, they are of different numbers, or shards lie beside them.
    """
    found = {path: match for path in sorted(folder.glob("part-*-of-*")) if (match := PART_NAME.fullmatch(path.name))}
    if not found:
        return []
    if any(folder.glob(SHARD_PATTERN)):
        raise DatasetError(f"{folder} holds shards beside its parts, as two data sets in one folder would")
    counts = {int(match[2]) for match in found.values()}
    if len(counts) > 1:
        raise DatasetError(f"{folder} mixes parts of {' and of '.join(map(str, sorted(counts)))}")
    if missing := sorted(set(range(1, counts.pop() + 1)) - {int(match[1]) for match in found.values()}):
        names = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        raise DatasetError(f"{folder} lacks {len(missing)} of its parts: {names}")
    return sorted(found, key=lambda path: int(found[path][1]))


def split_pieces(
    names: list[str], validation_share: float, test_share: float = 0.0
) -> tuple[list[int], list[int], list[int]]:
    """Divides pieces into training, validation and test by a hash of their names.

    A piece keeps its side when others come or go. Where the hash leaves a side empty that has a share, the piece nearest
    to the border moves over, as long as there is a piece for each. The test pieces of a share are the validation pieces of
    the same share without test pieces.

    Args:
        names: of the pieces.
        validation_share, test_share: in [0, 1], together at most 1; 0 gives none.
    Returns:
        Indices of the training, of the validation and of the test pieces, ascending.
    Raises:
        ValueError: a share is out of range.
    """
    if not (validation_share >= 0 <= test_share and validation_share + test_share <= 1):
        raise ValueError(f"shares must be 0 to 1: got validation_share={validation_share}, test_share={test_share}")
    place = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64 for name in names]
    order = sorted(range(len(names)), key=lambda i: (place[i], names[i]))
    n_kept = 1 if validation_share + test_share < 1 else 0    # for training
    n_test, n_held_out = (bisect_right([place[i] for i in order], end)
                          for end in (test_share, test_share + validation_share))
    if test_share > 0:
        n_test = min(max(n_test, 1), max(len(names) - n_kept - (validation_share > 0), 0))
    if validation_share > 0:
        n_held_out = max(min(max(n_held_out, n_test + 1), len(names) - n_kept), n_test)
    else:
        n_held_out = n_test
    return sorted(order[n_held_out:]), sorted(order[n_test:n_held_out]), sorted(order[:n_test])
