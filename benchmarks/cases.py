"""What is measured: an op on an input, its reference and rivals, and when two results count as equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Call = Callable[[], object]


@dataclass(frozen=True)
class Rival:
    """What a user would otherwise write."""

    name: str
    """How tables and the chart call it."""
    call: Call
    """Takes nothing, gives its result."""
    agrees: Callable[[object, object], bool]
    """Tells whether the reference's result and this one's are equal, as far as the two can be."""
    share: float = 1.0
    """Share of the case's elements that it goes through, where all of them would take too long."""


@dataclass(frozen=True)
class Case:
    """One op on one input, and the ways to it that are measured."""

    op: str
    """Name, with what sets this case apart from others of the op."""
    size: str
    """Label of the size: phrase, batch or long."""
    shape: tuple[int, ...]
    """Of the roll; times are told per element of it."""
    dtype: torch.dtype
    """Of the input."""
    native: Call
    """The public function; measured at each CPU level."""
    reference: Call
    """The op's definition in plain torch."""
    bytes_read: int
    """Size of the input."""
    bytes_written: int
    """Size of the result."""
    rivals: tuple[Rival, ...] = ()
    """The first is what speed-ups are told over; without one, the reference is."""
    compiled: bool = False
    """Measure the reference under torch.compile as well."""

    @property
    def rival(self) -> str:
        """The way that speed-ups are told over."""
        return self.rivals[0].name if self.rivals else "reference"


def same_bits(a, b) -> bool:
    """Whether two tensors, or tuples of tensors, have equal dtypes, shapes and bits."""
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same_bits, a, b))
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return torch.equal(*(plane.detach().contiguous().flatten().view(torch.uint8) for plane in (a, b)))


def same_mean(a: Tensor, b: Tensor) -> bool:
    """Whether the means of two random boolean (or 0 and 1) tensors are within five sigma of each other."""
    sigma = (0.5 / a.numel()) ** 0.5    # of the difference, at most: each element has a variance of at most 1/4
    return a.shape == b.shape and abs(a.double().mean() - b.double().mean()).item() < 5 * sigma
