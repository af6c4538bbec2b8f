"""Keeps the part of memory-mapped tensors that is resident small, by handing pages back to the system."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

MAX_RESIDENT_BYTES = 1 << 25    # of a data set's pages; they stay in the system's cache
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
        self.are_many: bool = sum(n_bytes for _, n_bytes in self._ranges) > MAX_RESIDENT_BYTES
        """Whether all of them are more than may be resident."""
        self._fewest = _resident_file_bytes() if self.are_many else 0

    def trim(self) -> None:
        """Hands all pages back if more than `MAX_RESIDENT_BYTES` have become resident.

        To be called after little was read at few places: Linux maps up to 2 MB around a byte that is touched.
        """
        if not self.are_many:
            return
        resident = _resident_file_bytes()
        self._fewest = min(self._fewest, resident)
        if resident - self._fewest > MAX_RESIDENT_BYTES:
            self.release()

    def release(self) -> None:
        """Hands all pages back."""
        for start, n_bytes in self._ranges:
            # Where it fails nothing is lost.
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(n_bytes), _MADV_DONTNEED)


def _resident_file_bytes() -> int:
    """Of all files that this process has mapped, its libraries among them."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[2]) * mmap.PAGESIZE


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
