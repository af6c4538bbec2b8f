"""Logits to a boolean roll: `threshold`, and counter-based `bernoulli` sampling.

Source of the generator: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox4x32-10).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from musegan.ops import _library
from musegan.ops.bits import pack_reference

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

N_BLOCKS = 32  # Philox blocks in a group
N_HALVES = 8  # 16-bit half-words in a block
GROUP = N_BLOCKS * N_HALVES  # elements in a group
CHUNK_GROUPS = 1024  # 2^18 elements at a time: temporaries stay in the cache

_MIN_BLOCK = 1024  # elements of a broadcast `at`, so that no kernel walks through it by twos and threes
_MASK = 0xFFFFFFFF
_TOP, _LOW = 0, 1  # third counter word: the top and the low 16 bits of v

LOG2_E = 1.4426950216293335  # float32
_EXP2 = (  # 2^f on [-0.5, 0.5], highest power first; each exactly a float32
    0.001326472731307149,
    0.009671512991189957,
    0.05550733581185341,
    0.24022242426872253,
    0.6931470036506653,
    1.0,
)


Output = Literal["bool", "uint8", "bits"]


def threshold(logits: Tensor, at: float | Tensor = 0.0, output: Output = "bool") -> Tensor:
    """True where a logit is greater than `at`, compared as real numbers.

    Every dtype converts exactly to float64, and so do the two sides of the comparison: `at` is not
    rounded to the dtype of the logits.

    Args:
        logits: any shape; float32, float64, float16 or bfloat16. NaN gives False.
        at: the logit of the wanted probability; 0 is p = 0.5. NaN gives False. A tensor of any real dtype that
            broadcasts to the logits gives each track or pitch its own, e.g. [K, 1, 1, 1] or [K, 1, 1, P].
        output: `bool`; `uint8` of 0 and 1; or `bits`, packed along the last axis as by `pack`.
    Returns:
        contiguous, same shape, with `bits` uint8 [..., ceil(P / 8)]; empty for empty input. It carries no gradient.
    Raises:
        TypeError: `logits` is not a tensor of these dtypes, or `at` is not a number.
        ValueError: `at` does not broadcast to the logits or lies on another device; `output` is none of these.
    """
    _check_logits(logits, output)
    if not isinstance(at, Tensor):
        if not isinstance(at, (int, float)):
            raise TypeError(f"at must be a number or a tensor: got {type(at).__name__}")
        return _as_output(torch.ops.musegan.threshold(logits, float(at), None, output == "bits"), output)
    each = _block(at, logits).double()
    if logits.dtype != torch.float64:
        each = _round_down(each)
    return _as_output(torch.ops.musegan.threshold(logits, 0.0, each, output == "bits"), output)


def bernoulli(
    logits: Tensor, seed: int, offset: int = 0, at: float | Tensor = 0.0, output: Output = "bool"
) -> Tensor:
    """Draws each element as True with probability sigmoid(logit - at), from a numbered random stream.

    The bits depend on nothing but `seed`, `offset` and the element's row-major index i: not on the
    machine, device, number of threads or batch split. So `bernoulli(x.flatten()[k:], seed, offset=k)`
    equals `bernoulli(x, seed).flatten()[k:]`.

    Definition. Element j = offset + i of the stream `seed` (its two's complement bits are the Philox
    key, low word first) lies in group g = j // 256 at e = j % 256. It takes 16-bit half-word
    h = e // 32 of Philox4x32-10 block b = 32 g + e % 32: the low half of output word h // 2 where h
    is even, the high half where h is odd. The counter is (b mod 2^32, b // 2^32, c2, 0); c2 = 0 gives
    the top 16 bits of v, c2 = 1 the low 16. With u = (v + 1) / 2^32 in (0, 1] and d = 1 + exp(-x), the
    sample is u d <= 1, computed in float64 as (v + 1) d <= 2^32. d is float32, each step rounded once:
    x, less `at` where one is given; t = -x log2(e), clamped to [-126, 126]; n = t rounded half to even;
    f = t - n; a polynomial for 2^f by Horner's rule; n added to its exponent; 1 added. Its relative error is
    about 1.1e-6.

    Args:
        logits: any shape; float32, float16 or bfloat16 (converted exactly), or float64 (rounded to
            float32). NaN and -inf give False, +inf gives True.
        seed: names the stream, -2^63 to 2^63 - 1.
        offset: index of the first element in the stream, from 0; offset + numel < 2^63.
        at: taken off the logits in float32, to make notes rarer or more frequent. A tensor of any real dtype that
            broadcasts to the logits gives each track or pitch its own, e.g. [K, 1, 1, 1] or [K, 1, 1, P].
        output: `bool`; `uint8` of 0 and 1; or `bits`, packed along the last axis as by `pack`.
    Returns:
        contiguous, same shape, with `bits` uint8 [..., ceil(P / 8)]; empty for empty input. It carries no gradient.
    Raises:
        TypeError: `logits` is not a tensor of these dtypes, `seed` or `offset` not an integer, `at` not a number.
        ValueError: `seed` or `offset` is out of range; `at` does not broadcast to the logits or lies on another
            device; `output` is none of these.
    """
    _check_logits(logits, output)
    check_stream(logits, seed, offset)
    each = None
    if isinstance(at, Tensor):
        each = _block(at, logits).float()
    elif not isinstance(at, (int, float)):
        raise TypeError(f"at must be a number or a tensor: got {type(at).__name__}")
    elif at != 0:
        each = _block(torch.tensor(float(at), device=logits.device), logits).float()
    return _as_output(torch.ops.musegan.bernoulli(logits, seed, offset, each, output == "bits"), output)


def check_stream(logits: Tensor, seed: int, offset: int) -> None:
    """Checks that `seed` and `offset` name a stretch of a random stream as long as the logits.

    Raises:
        TypeError, ValueError: see `bernoulli`.
    """
    for name, value in (("seed", seed), ("offset", offset)):
        if not isinstance(value, (int, torch.SymInt)):
            raise TypeError(f"{name} must be an integer: got {type(value).__name__}")
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"seed must be -2^63 to 2^63 - 1: got {seed}")
    if not 0 <= offset < 2**63 - logits.numel():
        raise ValueError(f"offset must not be negative, and offset + numel below 2^63: got {offset}")


def philox(c0: Tensor, c1: Tensor, c2: Tensor, c3: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox4x32-10 in plain torch.

    Args:
        c0, c1, c2, c3: counter words, int64 in [0, 2^32), of one shape.
        seed: the key, low word first, as two's complement.
    Returns:
        The four output words, int64 in [0, 2^32).
    """
    k0, k1 = seed & _MASK, (seed >> 32) & _MASK
    for _ in range(10):
        p0 = c0 * 0xD2511F53  # wraps modulo 2^64: the bits are those of the unsigned product
        p1 = c2 * 0xCD9E8D57
        c0 = (p1 >> 32).bitwise_xor_(c1).bitwise_xor_(k0).bitwise_and_(_MASK)
        c2 = (p0 >> 32).bitwise_xor_(c3).bitwise_xor_(k1).bitwise_and_(_MASK)
        c1 = p1.bitwise_and_(_MASK)
        c3 = p0.bitwise_and_(_MASK)
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    return c0, c1, c2, c3


def denominator(logits: Tensor) -> Tensor:
    """1 + exp(-x) in float32, by the steps that define `bernoulli`; NaN stays NaN."""
    return exp2(logits.to(torch.float32, copy=True).mul_(-LOG2_E).clamp_(-126, 126)).add_(1)


def exp2(t: Tensor) -> Tensor:
    """2^t of float32 in [-126, 126], by the steps that define `bernoulli`; overwrites `t`. NaN stays NaN."""
    n = t.round()
    f = t.sub_(n)
    p = f.mul(_EXP2[0])
    for constant in _EXP2[1:-1]:
        p.add_(constant).mul_(f)
    p.add_(_EXP2[-1])
    exponent = n.nan_to_num_().to(torch.int32).bitwise_left_shift_(23)
    p.view(torch.int32).add_(exponent)
    return p


def _threshold_reference(logits: Tensor, at: float, each: Tensor | None, packed: bool) -> Tensor:
    """`threshold` in plain torch: against the largest number of the working dtype that is not above `at`.

    Args:
        each: instead of `at`, numbers of the working dtype (float64 for float64, else float32), repeated as often
            as they fit.
    """
    x = logits if logits.dtype == torch.float64 else logits.float()
    if each is None:
        bound = torch.tensor(at, dtype=torch.float64)
        result = x > (bound if logits.dtype == torch.float64 else _round_down(bound)).item()
    else:
        result = (x.reshape(-1, each.numel()) > each.flatten()).view(logits.shape)
    return pack_reference(result) if packed else result.contiguous()


def _round_down(at: Tensor) -> Tensor:
    """The largest float32 that is not above each float64 of `at`: x > at exactly where x > it."""
    nearest = at.float()
    return torch.where(nearest.double() > at, nearest.nextafter(torch.full_like(nearest, -torch.inf)), nearest)


def _bernoulli_reference(logits: Tensor, seed: int, offset: int, each: Tensor | None, packed: bool) -> Tensor:
    """`bernoulli` in plain torch, by chunks of whole groups.

    Args:
        each: float32 to take off, repeated as often as they fit.
    """
    x = logits.flatten()    # [n]
    out = torch.empty(x.shape, dtype=torch.bool, device=x.device)
    start = 0
    while start < x.numel():
        first_group, skip = divmod(offset + start, GROUP)
        stop = min(start + CHUNK_GROUPS * GROUP - skip, x.numel())
        chunk = x[start:stop].float()
        if each is not None:
            chunk = chunk - each.flatten()[torch.arange(start, stop, device=x.device) % each.numel()]
        _sample_chunk(chunk, seed, first_group, skip, out[start:stop])
        start = stop
    out = out.view(logits.shape)
    return pack_reference(out) if packed else out


def _sample_chunk(x: Tensor, seed: int, first_group: int, skip: int, out: Tensor) -> None:
    """Fills `out` for logits x [n], the first of which is element `skip` of `first_group`.

    Filter: the top 16 bits decide nearly all. Exact, because rounding is monotone and 2^16 a float32:
    a rounded product below (above) 2^16 has an exact product below (above) it.
    """
    n_groups = (skip + len(x) + GROUP - 1) // GROUP
    blocks = torch.arange(n_groups * N_BLOCKS, device=x.device) + first_group * N_BLOCKS
    top = torch.empty(n_groups, N_HALVES, N_BLOCKS, device=x.device)  # [groups, halves, blocks]
    for k, word in enumerate(_words(blocks, _TOP, seed)):
        word = word.view(n_groups, N_BLOCKS)
        top[:, 2 * k] = word & 0xFFFF
        top[:, 2 * k + 1] = word >> 16
    top = top.flatten()[skip : skip + len(x)]  # [n]

    d = denominator(x)
    upper = (top + 1).mul_(d)
    torch.lt(upper, 65536, out=out)
    undecided = ((upper >= 65536) & (top * d <= 65536)).nonzero().flatten()
    if len(undecided) == 0:
        return
    element = undecided + skip
    group, e = element // GROUP + first_group, element % GROUP
    low = _half_words(group * N_BLOCKS + e % N_BLOCKS, e // N_BLOCKS, seed)
    v = top[undecided].long() << 16 | low
    out[undecided] = (v + 1).double().mul_(d[undecided].double()) <= 2.0**32


def _words(blocks: Tensor, third: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four output words of each Philox block of a stream."""
    third = torch.full_like(blocks, third)
    return philox(blocks & _MASK, blocks >> 32, third, torch.zeros_like(blocks), seed)


def _half_words(blocks: Tensor, halves: Tensor, seed: int) -> Tensor:
    """The low 16 bits of v for elements at half-word `halves` of `blocks`, both [n]."""
    words = torch.stack(_words(blocks, _LOW, seed))  # [4, n]
    word = words.gather(0, (halves // 2).unsqueeze(0)).squeeze(0)  # [n]
    return word >> (halves % 2 * 16) & 0xFFFF


def _check_logits(logits: Tensor, output: str = "bool") -> None:
    if not isinstance(logits, Tensor):
        raise TypeError(f"logits must be a tensor: got {type(logits).__name__}")
    if logits.dtype not in DTYPES:
        raise TypeError(f"logits must be float32, float64, float16 or bfloat16: got {logits.dtype}")
    if output not in get_args(Output):
        raise ValueError(f"output must be bool, uint8 or bits: got {output!r}")
    if output == "bits" and logits.ndim == 0:
        raise ValueError("logits to be packed must have an axis of pitches: got none")


def _block(at: Tensor, logits: Tensor) -> Tensor:
    """`at` broadcast to the last axes of the logits, as few as hold all it says (but no tiny block)."""
    if at.is_complex():
        raise TypeError(f"at must be real: got {at.dtype}")
    if at.device != logits.device and at.ndim > 0:
        raise ValueError(f"at must be on the device of the logits, {logits.device}: got {at.device}")
    fits = at.ndim <= logits.ndim and all(a in (1, b) for a, b in zip(at.shape[::-1], logits.shape[::-1]))
    if not fits:
        raise ValueError(f"at must broadcast to the logits {list(logits.shape)}: got {list(at.shape)}")
    while at.ndim and at.shape[0] == 1:
        at = at[0]
    first = logits.ndim - at.ndim
    while first and logits.shape[first:].numel() < _MIN_BLOCK:
        first -= 1
    return at.to(logits.device).expand(logits.shape[first:]).contiguous()


def _as_output(result: Tensor, output: str) -> Tensor:
    return result.view(torch.uint8) if output == "uint8" else result


def _fake(logits: Tensor, *arguments) -> Tensor:
    packed, shape = arguments[-1], list(logits.shape)
    if packed:
        shape[-1] = (shape[-1] + 7) // 8
    return torch.empty(shape, dtype=torch.uint8 if packed else torch.bool, device=logits.device)


_library.define(
    "threshold(Tensor logits, float at, Tensor? each, bool packed) -> Tensor", _threshold_reference, _fake
)
_library.define(
    "bernoulli(Tensor logits, SymInt seed, SymInt offset, Tensor? each, bool packed) -> Tensor",
    _bernoulli_reference,
    _fake,
)
