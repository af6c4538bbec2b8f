"""Keeps the memory that tensors free: a step of a large network otherwise spends half its time on fresh pages."""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4    # malloc.h
_TOP_PAD_BYTES = 64 << 20


def keep_freed_memory() -> bool:
    """Lets this process keep the memory that it frees, for good.

    glibc hands every block above 32 MB back to the system when it is freed, and each page of the next one is then
    zeroed and mapped anew. Kept, the process stays as large as it has ever been. To be called before the first large
    tensor. The environment can say the same to any program:
    `MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=2147483647 MALLOC_TOP_PAD_=67108864`.

    Returns:
        whether it took effect; without glibc nothing changes.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, _TOP_PAD_BYTES))
    return all([libc.mallopt(name, value) for name, value in settings])
