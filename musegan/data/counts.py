"""How often each pitch sounds in packed bars, counted without unpacking them."""

from __future__ import annotations

import torch
from torch import Tensor

from musegan.ops import unpack

_CHUNK_BYTES = 1 << 20    # of packed bars at a time: what is made on the way then stays in the cache


def pitch_counts(bits: Tensor, n_pitches: int) -> Tensor:
    """In how many steps of each bar each pitch sounds.

    Args:
        bits: [bars, K, T, ceil(P / 8)] uint8, a plane of packed bars.
        n_pitches: P.
    Returns:
        [bars, K, P] int32.
    """
    n_bars, n_tracks, _, n_bytes = bits.shape
    result = torch.zeros(n_bars, n_tracks, n_pitches, dtype=torch.int32)
    size = max(1, _CHUNK_BYTES // max(1, bits[:1].numel()))
    for chunk, counts in zip(bits.split(size), result.split(size)):
        for place, digit in enumerate(_digits(chunk)):
            counts.add_(unpack(digit, n_pitches), alpha=1 << place)    # [n, K, P]
    return result


def _digits(rows: Tensor) -> list[Tensor]:
    """The binary digits, lowest first, of the number of rows in which each bit is set.

    Rows are added up three at a time by full adders, which take all bits of a byte at once: three rows of one place give
    one of the same place and one of the next.

    Args:
        rows: [n, K, T, bytes] uint8.
    Returns:
        uint8 tensors [n, K, bytes]; none where T is 0.
    """
    digits = []
    while rows.shape[2]:
        carries = []
        while (n_rows := rows.shape[2]) > 1:
            if n_rows == 2:
                a, b = rows.split(1, dim=2)
                rows, carry = a ^ b, a & b
            else:
                third = n_rows // 3
                a, b, c, rest = rows.split([third, third, third, n_rows - 3 * third], dim=2)
                either = a ^ b
                rows, carry = torch.cat([either ^ c, rest], dim=2), (a & b) | (either & c)
            carries.append(carry)
        digits.append(rows.squeeze(2))
        rows = torch.cat(carries, dim=2) if carries else rows[:, :, :0]
    return digits
