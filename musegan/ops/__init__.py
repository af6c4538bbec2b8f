"""Public op functions: each one schema, a reference in plain torch, and native kernels where built."""

from musegan.ops import bits, cleanup, neurons, notes  # noqa: F401: they define their ops
from musegan.ops._library import NativeStatus, native_status, op_backends
from musegan.ops.binarize import bernoulli, threshold
from musegan.ops.cleanup import cleanup
from musegan.ops.notes import notes, roll_from_notes

__all__ = [
    "NativeStatus",
    "bernoulli",
    "cleanup",
    "native_status",
    "notes",
    "op_backends",
    "roll_from_notes",
    "threshold",
]
