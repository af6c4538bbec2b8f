"""Packed data sets that know their folder: opened again by other processes, and read without becoming resident.

What is read of a mapped file counts as resident memory of the process, and Linux maps up to 2 MB around a byte that is
touched. Bars of a large data set are read from their place in the file instead, through the same cache of the system.
"""

from __future__ import annotations

import json
import os
import struct
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from musegan.data.packed import SHARD_PATTERN, DatasetError, PackedDataset

MAX_MAPPED_BYTES = 1 << 26    # of music; what is larger is read from its place


class FolderDataset(PackedDataset):
    """A packed data set that another process opens again from its folder, so that it is never copied."""

    folder: Path
    _planes: dict[str, _PlaneFiles]

    @classmethod
    def open(cls, folder: str | Path) -> FolderDataset:
        """As `PackedDataset.open`."""
        dataset = super().open(folder)
        dataset.folder = Path(folder).resolve()
        paths = sorted(dataset.folder.glob(SHARD_PATTERN))
        files = [open(path, "rb", buffering=0) for path in paths]
        dataset._planes = {name: _PlaneFiles(name, files) for name in ("frame", "onset")}
        return dataset

    @property
    def is_large(self) -> bool:
        """Whether its music should not become resident as a whole."""
        return hasattr(os, "preadv") and sum(plane.n_bytes for plane in self._planes.values()) > MAX_MAPPED_BYTES

    def read_bars(self, plane: str, starts: Tensor, n_bars: int) -> Tensor:
        """Reads packed bars from their place in the files.

        Args:
            plane: `frame` or `onset`.
            starts: [N] int64; the bars from each on must lie in one shard, as those of a phrase do.
            n_bars: from each start.
        Returns:
            [N * n_bars, K, T, ceil(P / 8)] uint8.
        Raises:
            DatasetError: a file has become shorter.
        """
        return self._planes[plane].read(starts.tolist(), n_bars)

    def __reduce__(self):
        return _reopen, (self.folder, self.n_bars, self.pieces)


def _reopen(folder: Path, n_bars: int, pieces: list[str]) -> FolderDataset:
    dataset = FolderDataset.open(folder)
    if (dataset.n_bars, dataset.pieces) != (n_bars, pieces):
        raise DatasetError(f"{folder} has changed since it was opened")
    return dataset


class _PlaneFiles:
    """Where the bars of one plane lie in the files of the shards."""

    def __init__(self, name: str, files: list):
        self._files, self._first_bytes, lengths = files, [], []
        for file in files:
            (header_bytes,) = struct.unpack("<Q", file.read(8))    # safetensors: length, JSON, data
            entry = json.loads(file.read(header_bytes))[name]
            file.seek(0)
            self._first_bytes.append(8 + header_bytes + entry["data_offsets"][0])
            lengths.append(entry["shape"][0])
            self._bar_shape = entry["shape"][1:]
        self._first_bars = list(accumulate(lengths, initial=0))
        self._bar_bytes = torch.Size(self._bar_shape).numel()
        self.n_bytes = self._first_bars[-1] * self._bar_bytes

    def read(self, starts: list[int], n_bars: int) -> Tensor:
        bits = torch.empty(len(starts) * n_bars, *self._bar_shape, dtype=torch.uint8)
        view, size = memoryview(bits.numpy().reshape(-1)), n_bars * self._bar_bytes
        i = 0
        while i < len(starts):
            shard, stop = bisect_right(self._first_bars, starts[i]) - 1, i + 1
            # What follows at once is read at once
            while stop < len(starts) and starts[stop] == starts[stop - 1] + n_bars < self._first_bars[shard + 1]:
                stop += 1
            place = self._first_bytes[shard] + (starts[i] - self._first_bars[shard]) * self._bar_bytes
            part, file = view[i * size : stop * size], self._files[shard]
            if os.preadv(file.fileno(), [part], place) != len(part):
                raise DatasetError(f"{file.name} has become shorter since it was opened")
            i = stop
        return bits
