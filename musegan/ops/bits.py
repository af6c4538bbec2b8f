"""Rolls as bits: `pack` and `unpack`, and `gather_phrases` from a packed data set.

A packed row holds its first pitch in the highest bit of its first byte, as `np.packbits`; the bits that fill up the
last byte are 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from musegan.ops import _library

MAX_PITCHES = 128  # a row that is moved is at most MIDI's pitches long


def pack_reference(roll: Tensor) -> Tensor:
    """`pack` in plain torch."""
    n_bytes = (roll.shape[-1] + 7) // 8
    cells = torch.nn.functional.pad((roll != 0).to(torch.uint8), (0, 8 * n_bytes - roll.shape[-1]))
    weights = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=roll.device)
    return (cells.unflatten(-1, (n_bytes, 8)) * weights).sum(-1, dtype=torch.uint8)    # [..., ceil(P/8)]
