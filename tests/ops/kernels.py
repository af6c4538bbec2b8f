"""Every kernel of an op: its reference, and the native one at each level this CPU has."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator

import pytest
import torch

from musegan import ops


def kernels(op: str, reference: Callable) -> Iterator[tuple[str, Callable]]:
    """Names and kernels of the op, each to be called before the next is asked for.

    A missing native library fails, unless MUSEGAN_NATIVE=off asks for that.
    """
    yield "reference", reference
    if os.environ.get("MUSEGAN_NATIVE") == "off":
        return
    assert ops.native_status().loaded, ops.native_status().reason
    native = importlib.import_module("musegan._C")
    before = native.cpu_level()
    try:
        for level in native.cpu_levels():
            native.use_cpu_level(level)
            yield level, getattr(torch.ops.musegan, op)
    finally:
        native.use_cpu_level(before)


def need_native() -> None:
    """Skips a test of the native kernels where MUSEGAN_NATIVE=off leaves them out."""
    if os.environ.get("MUSEGAN_NATIVE") == "off":
        pytest.skip("MUSEGAN_NATIVE=off")
    assert ops.native_status().loaded, ops.native_status().reason
