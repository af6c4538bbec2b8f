"""Convolutions along one axis of [M, length, channels] as matrix products, and how a bar's steps are made by them.

A window that moves by its own length is a view, so only overlapping windows are copied.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PRIMES = (2, 3, 5, 7)    # steps that one layer makes of one


class Window(nn.Linear):
    """A convolution along one axis and its nonlinearity: [M, L, C_in] -> [M, L', C_out]."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int):
        super().__init__(kernel * n_in, n_out)
        self.kernel, self.stride = kernel, stride

    def forward(self, h: Tensor) -> Tensor:
        return F.leaky_relu(super().forward(windows(h, self.kernel, self.stride)), 0.2, inplace=True)


def n_windows(length: int, kernel: int, stride: int) -> int:
    """How many windows it takes to see everything."""
    return max(0, -(-(length - kernel) // stride)) + 1


def windows(h: Tensor, kernel: int, stride: int) -> Tensor:
    """What a convolution sees at each place, zeros after the end: [M, L, C] -> [M, L', kernel * C]."""
    n = n_windows(h.shape[1], kernel, stride)
    beyond = (n - 1) * stride + kernel - h.shape[1]
    if beyond:
        h = F.pad(h, (0, 0, 0, beyond))
    if n == 1 or stride == kernel:
        return h.unflatten(1, (n, kernel)).flatten(2)
    return torch.cat([h[:, i : i + (n - 1) * stride + 1 : stride] for i in range(kernel)], dim=-1)


def step_factors(n_steps: int) -> tuple[int, ...]:
    """Prime factors up to 7, smallest first, of the steps that are made for a bar: `n_steps`, or the next few more."""
    factors, left = [], n_steps
    for prime in PRIMES:
        while left % prime == 0:
            left //= prime
            factors.append(prime)
    return tuple(factors) or (1,) if left == 1 else step_factors(n_steps + 1)
