"""Packed bars read from their place in the files of the shards.

What is read of a mapped file counts as resident memory of the process, and Linux maps up to 2 MB around a byte that is
touched. Bars of a large data set are read from their place instead, through the same cache of the system.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from musegan.data.packed import DatasetError

MAX_MAPPED_BYTES = 1 << 26    # of music; what is larger is read from its place
_SPARE_FILES = 256    # that a process may want to open besides


def open_planes(paths: list[Path]) -> dict[str, PlaneFiles]:
    """The planes `frame` and `onset` of some shards, if they are larger than `MAX_MAPPED_BYTES` together; else none."""
    if not hasattr(os, "preadv") or sum(path.stat().st_size for path in paths) <= MAX_MAPPED_BYTES:
        return {}
    files = []
    for path in paths:
        files.append(open(path, "rb", buffering=0))
        _allow_open_files(files[-1].fileno() + _SPARE_FILES)
    return {name: PlaneFiles(name, files) for name in ("frame", "onset")}


def _allow_open_files(n: int) -> None:
    """Lets this process have so many files open, if the system does: 1,024 are usual, and large data sets have more
    shards."""
    import resource    # there is none on Windows, nor `preadv`

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < n:
        wanted = max(n, 2 * soft)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard >= 0 else wanted, hard))


class PlaneFiles:
    """Where the bars of one plane lie in the files of the shards.

    Args:
        name: of the plane.
        files: the shards, in order.
    """

    def __init__(self, name: str, files: list[BinaryIO]):
        self._files, self._first_bytes, lengths = files, [], []
        for file in files:
            file.seek(0)
            (header_bytes,) = struct.unpack("<Q", file.read(8))    # safetensors: length, JSON, data
            entry = json.loads(file.read(header_bytes))[name]
            self._first_bytes.append(8 + header_bytes + entry["data_offsets"][0])
            lengths.append(entry["shape"][0])
            self._bar_shape = entry["shape"][1:]
        self._first_bars = list(accumulate(lengths, initial=0))
        self._bar_bytes = torch.Size(self._bar_shape).numel()

    def read(self, starts: Tensor, n_bars: int) -> Tensor:
        """Reads bars.

        Args:
            starts: [N] int64; the bars from each on must lie in one shard, as those of a phrase do.
            n_bars: from each start.
        Returns:
            [N * n_bars, K, T, ceil(P / 8)] uint8.
        Raises:
            IndexError: bars beyond the last.
            DatasetError: a file has become shorter.
        """
        first = starts.tolist()
        if first and not 0 <= min(first) <= max(first) <= self._first_bars[-1] - n_bars:
            raise IndexError(f"phrases of {n_bars} bars must lie within the {self._first_bars[-1]} bars")
        bits = torch.empty(len(first) * n_bars, *self._bar_shape, dtype=torch.uint8)
        view, size = memoryview(bits.numpy().reshape(-1)), n_bars * self._bar_bytes
        i = 0
        while i < len(first):
            shard, stop = bisect_right(self._first_bars, first[i]) - 1, i + 1
            # What follows at once is read at once
            while stop < len(first) and first[stop] == first[stop - 1] + n_bars < self._first_bars[shard + 1]:
                stop += 1
            place = self._first_bytes[shard] + (first[i] - self._first_bars[shard]) * self._bar_bytes
            part, file = view[i * size : stop * size], self._files[shard]
            if os.preadv(file.fileno(), [part], place) != len(part):
                raise DatasetError(f"{file.name} has become shorter since it was opened")
            i = stop
        return bits
