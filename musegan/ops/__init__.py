"""Public op functions: each one schema, a reference in plain torch, and native kernels where built."""

from musegan.ops._library import NativeStatus, native_status, op_backends
from musegan.ops.binarize import bernoulli, threshold
from musegan.ops.bits import gather_phrases, pack, unpack
from musegan.ops.cleanup import cleanup
from musegan.ops.neurons import deterministic_neuron, stochastic_neuron
from musegan.ops.notes import notes, roll_from_notes

__all__ = [
    "NativeStatus",
    "bernoulli",
    "cleanup",
    "deterministic_neuron",
    "gather_phrases",
    "native_status",
    "notes",
    "op_backends",
    "pack",
    "roll_from_notes",
    "stochastic_neuron",
    "threshold",
    "unpack",
]
