"""Rolls as bits: `pack` and `unpack`, and `gather_phrases` from a packed data set.

A packed row holds its first pitch in the highest bit of its first byte, as `np.packbits`; the bits that fill up the
last byte are 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from musegan.ops import _library
from musegan.roll import Roll

MAX_PITCHES = 128  # of a row that is moved: all that MIDI has

_PHRASE_RULE = "bars must lie within the"


def pack(roll: Tensor) -> Tensor:
    """Packs the last axis into bits.

    Args:
        roll: [..., P] bool or uint8; any number but 0 is True.
    Returns:
        [..., ceil(P / 8)] uint8, equal to `np.packbits(roll, axis=-1)`; empty for empty input.
    Raises:
        TypeError: `roll` is not a tensor of these dtypes.
        ValueError: `roll` has no axis.
    """
    _check_dtype("roll", roll, torch.bool, torch.uint8)
    if roll.ndim == 0:
        raise ValueError("roll must have an axis of pitches: got none")
    return torch.ops.musegan.pack(roll)


def unpack(bits: Tensor, n_pitches: int, dtype: torch.dtype = torch.bool) -> Tensor:
    """Unpacks the last axis: the inverse of `pack`.

    Args:
        bits: [..., ceil(P / 8)] uint8; bits past P are ignored.
        n_pitches: P.
        dtype: bool, or float32 for 0.0 and 1.0.
    Returns:
        [..., P] of that dtype.
    Raises:
        TypeError: `bits` is not a uint8 tensor, `n_pitches` not an integer, or `dtype` another.
        ValueError: the rows of `bits` do not have ceil(P / 8) bytes.
    """
    _check_dtype("bits", bits, torch.uint8)
    as_float = _is_float(dtype)
    _check_count("n_pitches", n_pitches)
    if bits.ndim == 0 or bits.shape[-1] != (n_pitches + 7) // 8:
        raise ValueError(
            f"bits: expected rows of {(n_pitches + 7) // 8} bytes for n_pitches={n_pitches}, got {list(bits.shape)}"
        )
    return torch.ops.musegan.unpack(bits, n_pitches, as_float)


def gather_phrases(
    shards: Sequence[Tensor] | Roll,
    starts: Tensor,
    n_bars: int,
    n_pitches: int,
    semitones: Tensor | None = None,
    is_drum: Sequence[bool] | None = None,
    dtype: torch.dtype = torch.bool,
) -> Tensor | Roll:
    """Reads phrases out of packed bars, each moved to a key of its own, as one batch.

    Args:
        shards: packed bars [bars, K, T, ceil(P / 8)] uint8, counted through all shards; or a `Roll` of two such
            sequences, for both planes.
        starts: [N] int64, first bar of each phrase.
        n_bars: B.
        n_pitches: P, at most 128; bits past it are ignored.
        semitones: [N] int64, how far each phrase moves up (down where negative). Nothing wraps and time does not
            shift: what leaves the P pitches is cut. None leaves all where they are.
        is_drum: [K], the tracks that never move; by default none.
        dtype: bool, or float32 for 0.0 and 1.0.
    Returns:
        [N, K, B, T, P] of that dtype, or a `Roll` of two.
    Raises:
        TypeError: a tensor of another dtype.
        ValueError: shapes that do not fit each other.
        IndexError: a phrase leaves the bars.
    """
    if isinstance(shards, Roll):
        return shards.map(lambda plane: gather_phrases(plane, starts, n_bars, n_pitches, semitones, is_drum, dtype))
    shards, as_float = list(shards), _is_float(dtype)
    if not shards:
        raise ValueError("shards must not be empty")
    for shard in shards:
        _check_dtype("shards", shard, torch.uint8)
    _check_count("n_bars", n_bars)
    _check_count("n_pitches", n_pitches, MAX_PITCHES)
    bar = [*shards[0].shape[1:3], (n_pitches + 7) // 8]
    for shard in shards:
        if list(shard.shape[1:]) != bar:
            raise ValueError(f"shards: expected [bars, K, T, bytes] with bars of {bar}, got {list(shard.shape)}")
    _check_dtype("starts", starts, torch.int64)
    if starts.ndim != 1:
        raise ValueError(f"starts: expected [N], got {list(starts.shape)}")
    if not starts.device.type == "cpu":    # where the kernel would have to wait to tell
        total = sum(len(shard) for shard in shards)
        if len(starts) and not 0 <= int(starts.min()) <= int(starts.max()) <= total - n_bars:
            raise IndexError(f"phrases of {n_bars} {_PHRASE_RULE} {total} bars")
    moves = _moves(starts, semitones, is_drum, bar[0])
    try:
        return torch.ops.musegan.gather_phrases(shards, starts, moves, n_bars, n_pitches, as_float)
    except RuntimeError as err:
        if _PHRASE_RULE in str(err):    # found on the way, for nothing
            raise IndexError(str(err).splitlines()[0]) from None
        raise


def _moves(starts: Tensor, semitones: Tensor | None, is_drum: Sequence[bool] | None, n_tracks: int) -> Tensor:
    """[N, K] int64: how far each track of each phrase moves."""
    if is_drum is not None and len(is_drum) != n_tracks:
        raise ValueError(f"is_drum must have one entry for each of {n_tracks} tracks: got {len(is_drum)}")
    if semitones is None:
        return starts.new_zeros(len(starts), n_tracks)
    _check_dtype("semitones", semitones, torch.int64)
    if semitones.shape != starts.shape:
        raise ValueError(f"semitones: expected {list(starts.shape)}, got {list(semitones.shape)}")
    moves = semitones[:, None].expand(-1, n_tracks)    # [N, K]
    if is_drum is not None and any(is_drum):
        moves = moves * moves.new_tensor([not drum for drum in is_drum])
    return moves


def _is_float(dtype: torch.dtype) -> bool:
    if dtype not in (torch.bool, torch.float32):
        raise TypeError(f"dtype must be bool or float32: got {dtype}")
    return dtype == torch.float32


def _check_dtype(name: str, tensor: Tensor, *dtypes: torch.dtype) -> None:
    wanted = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor of {wanted}: got {type(tensor).__name__}")
    if tensor.dtype not in dtypes:
        raise TypeError(f"{name} must be {wanted}: got {tensor.dtype}")


def _check_count(name: str, value: int, most: int | None = None) -> None:
    if not isinstance(value, (int, torch.SymInt)) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer: got {type(value).__name__}")
    if value < 0 or most is not None and value > most:
        rule = "must not be negative" if most is None else f"must be 0 to {most}"
        raise ValueError(f"{name} {rule}: got {value}")


def pack_reference(roll: Tensor) -> Tensor:
    """`pack` in plain torch."""
    n_bytes = (roll.shape[-1] + 7) // 8
    cells = torch.nn.functional.pad((roll != 0).to(torch.uint8), (0, 8 * n_bytes - roll.shape[-1]))
    weights = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=roll.device)
    return (cells.unflatten(-1, (n_bytes, 8)) * weights).sum(-1, dtype=torch.uint8)    # [..., ceil(P/8)]


def unpack_reference(bits: Tensor, n_pitches: int, as_float: bool) -> Tensor:
    """`unpack` in plain torch."""
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=bits.device)
    cells = ((bits.unsqueeze(-1) >> shifts) & 1).flatten(-2)[..., :n_pitches]    # [..., P]
    return cells.to(torch.float32 if as_float else torch.bool).contiguous()


def _gather_phrases_reference(
    shards: list[Tensor], starts: Tensor, semitones: Tensor, n_bars: int, n_pitches: int, as_float: bool
) -> Tensor:
    """`gather_phrases` in plain torch.

    Args:
        semitones: [N, K], 0 for drums.
    """
    bars = shards[0] if len(shards) == 1 else torch.cat(shards)
    if len(starts) and bool(((starts < 0) | (starts > len(bars) - n_bars)).any()):
        raise RuntimeError(f"phrases of {n_bars} {_PHRASE_RULE} {len(bars)} bars")
    packed = bars[starts[:, None] + torch.arange(n_bars, device=starts.device)]    # [N, B, K, T, bytes]
    cells = unpack_reference(packed.transpose(1, 2), n_pitches, False)    # [N, K, B, T, P]
    reach = semitones.clamp(-n_pitches, n_pitches)    # no further: what moves by P is cut already
    source = torch.arange(n_pitches, device=starts.device) - reach[..., None]    # [N, K, P]
    inside = (source >= 0) & (source < n_pitches)
    index = source.clamp(0, max(n_pitches - 1, 0))[:, :, None, None]    # [N, K, 1, 1, P]
    cells = cells.gather(-1, index.expand_as(cells)) & inside[:, :, None, None]
    return cells.to(torch.float32 if as_float else torch.bool)


def _pack_fake(roll: Tensor) -> Tensor:
    return roll.new_empty([*roll.shape[:-1], (roll.shape[-1] + 7) // 8], dtype=torch.uint8)


def _unpack_fake(bits: Tensor, n_pitches: int, as_float: bool) -> Tensor:
    return bits.new_empty([*bits.shape[:-1], n_pitches], dtype=torch.float32 if as_float else torch.bool)


def _gather_phrases_fake(
    shards: list[Tensor], starts: Tensor, semitones: Tensor, n_bars: int, n_pitches: int, as_float: bool
) -> Tensor:
    _, n_tracks, n_steps, _ = shards[0].shape
    dtype = torch.float32 if as_float else torch.bool
    return shards[0].new_empty([len(starts), n_tracks, n_bars, n_steps, n_pitches], dtype=dtype)


_library.define("pack(Tensor roll) -> Tensor", pack_reference, _pack_fake)
_library.define("unpack(Tensor bits, SymInt n_pitches, bool as_float) -> Tensor", unpack_reference, _unpack_fake)
_library.define(
    "gather_phrases(Tensor[] shards, Tensor starts, Tensor semitones, SymInt n_bars, SymInt n_pitches, "
    "bool as_float) -> Tensor",
    _gather_phrases_reference,
    _gather_phrases_fake,
)
