"""Public op functions: each one schema, a reference in plain torch, and native kernels where built."""

from musegan.ops import bits, cleanup, neurons, notes  # noqa: F401: they define their ops
from musegan.ops._library import NativeStatus, native_status, op_backends
from musegan.ops.binarize import bernoulli, threshold

__all__ = ["NativeStatus", "bernoulli", "native_status", "op_backends", "threshold"]
