"""Keeps the part of memory-mapped tensors that is resident small, by handing pages back to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

MAX_RESIDENT_BYTES = 1 << 26    # of a data set's pages, about; they stay in the system's cache
_FAULT_BYTES = 1 << 16    # Linux maps the 64 KB around a byte that is touched
_PAGE_BYTES = 4096    # at least, on every machine; madvise refuses what is not a multiple of the machine's own
_MADV_DONTNEED = 4    # sys/mman.h


class Pages:
    """The pages of tensors that are mapped from files.

    What was read of a mapped file counts as resident memory until the system wants it back. Pages handed back stay in the
    system's cache and are mapped again when they are read next, so that this costs little, and a process that goes
    through a large data set looks no larger than it is.

    Tensors that are not mapped from a file are left alone; so are all where the system is not Linux.
    """

    def __init__(self, tensors: Sequence[Tensor]):
        self._ranges = _file_mappings(tensors)
        self._touched = 0

    def touched(self, n_places: int, place_bytes: int) -> None:
        """Tells that `place_bytes` bytes were read at each of `n_places`; may hand all pages back."""
        self._touched += n_places * (place_bytes + _FAULT_BYTES)
        if self._touched > MAX_RESIDENT_BYTES:
            self.release()

    def release(self) -> None:
        """Hands all pages back."""
        self._touched = 0
        for start, n_bytes in self._ranges:
            # Where it fails nothing is lost.
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(n_bytes), _MADV_DONTNEED)


def _file_mappings(tensors: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Starts and sizes of the mappings of files in which the tensors lie.

    Nothing else may be handed back: it would be lost.
    """
    maps = Path("/proc/self/maps")
    if not sys.platform == "linux" or not maps.exists():
        return []
    files = []
    for line in maps.read_text(errors="replace").splitlines():
        addresses, _, _, _, inode, *name = line.split(maxsplit=5)
        if inode != "0" and name and ".safetensors" in name[0]:
            files.append(tuple(int(address, 16) for address in addresses.split("-")))
    found = set()
    for tensor in tensors:
        start, stop = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
        found |= {(first, last - first) for first, last in files if first <= start and stop <= last and tensor.nbytes}
    return sorted(found)
