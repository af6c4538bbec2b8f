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


def _unpack_reference(bits: Tensor, n_pitches: int, as_float: bool) -> Tensor:
    shifts = torch.tensor([7, 6, 5, 4, 3, 2, 1, 0], device=bits.device)
    cells = (bits.unsqueeze(-1) >> shifts & 1).flatten(-2)[..., :n_pitches]
    return cells.to(torch.float32 if as_float else torch.bool).contiguous()


def _gather_reference(shards, starts: Tensor, semitones: Tensor, n_bars: int, n_pitches: int, as_float: bool) -> Tensor:
    bars = torch.cat(list(shards))
    phrases = bars[starts[:, None] + torch.arange(n_bars, device=starts.device)]    # [N, B, K, T, bytes]
    cells = _unpack_reference(phrases.transpose(1, 2), n_pitches, False)    # [N, K, B, T, P]
    pitch = torch.arange(n_pitches, device=starts.device) - semitones[..., None]    # [N, K, P]
    inside = (pitch >= 0) & (pitch < n_pitches)
    index = pitch.clamp(0, max(n_pitches - 1, 0))[:, :, None, None].expand(cells.shape)
    cells = cells.gather(-1, index) & inside[:, :, None, None]
    return cells.to(torch.float32 if as_float else torch.bool)


def _pack_fake(roll: Tensor) -> Tensor:
    return roll.new_empty([*roll.shape[:-1], (roll.shape[-1] + 7) // 8], dtype=torch.uint8)


def _unpack_fake(bits: Tensor, n_pitches: int, as_float: bool) -> Tensor:
    return bits.new_empty([*bits.shape[:-1], n_pitches], dtype=torch.float32 if as_float else torch.bool)


def _gather_fake(shards, starts, semitones, n_bars, n_pitches, as_float) -> Tensor:
    shape = [*semitones.shape, n_bars, shards[0].shape[2], n_pitches]
    return shards[0].new_empty(shape, dtype=torch.float32 if as_float else torch.bool)


_library.define("pack(Tensor roll) -> Tensor", pack_reference, _pack_fake)
_library.define("unpack(Tensor bits, SymInt n_pitches, bool as_float) -> Tensor", _unpack_reference, _unpack_fake)
_library.define(
    "gather_phrases(Tensor[] shards, Tensor starts, Tensor semitones, SymInt n_bars, SymInt n_pitches, bool as_float)"
    " -> Tensor",
    _gather_reference,
    _gather_fake,
)
