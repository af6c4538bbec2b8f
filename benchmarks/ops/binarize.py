"""Speed of `threshold` and `bernoulli`, which turn logits into rolls."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from benchmarks.cases import Case, Rival, same_bits, same_mean
from benchmarks.music import Sizes, logits
from musegan import ops
from musegan.ops import binarize

SEED = 7


def cases(sizes: Sizes) -> Iterator[Case]:
    """One phrase and a batch; a batch in each dtype, and packed."""
    for size in ("phrase", "batch"):
        x = logits(getattr(sizes, size))
        yield _threshold(size, x)
        yield _bernoulli(size, x)
        yield _bernoulli_to_bits(size, x)
    for dtype in (torch.float16, torch.bfloat16):
        yield _bernoulli("batch", logits(sizes.batch, dtype))


def _threshold(size: str, x: Tensor) -> Case:
    return Case(
        "threshold", size, tuple(x.shape), x.dtype,
        native=lambda: ops.threshold(x),
        reference=lambda: binarize._threshold_reference(x, 0.0, None, False),
        rivals=(Rival("x > 0", lambda: x > 0, same_bits),),
        bytes_read=x.nbytes,
        bytes_written=x.numel(),
        compiled=size == "batch",
    )    # fmt: skip


def _bernoulli(size: str, x: Tensor) -> Case:
    return Case(
        "bernoulli", size, tuple(x.shape), x.dtype,
        native=lambda: ops.bernoulli(x, SEED),
        reference=lambda: binarize._bernoulli_reference(x, SEED, 0, None, False),
        rivals=(Rival("torch.bernoulli(torch.sigmoid(x))", lambda: torch.bernoulli(torch.sigmoid(x)), same_mean),),
        bytes_read=x.nbytes,
        bytes_written=x.numel(),
        compiled=size == "batch" and x.dtype == torch.float32,
    )    # fmt: skip


def _bernoulli_to_bits(size: str, x: Tensor) -> Case:
    n_pitches = x.shape[-1]
    return Case(
        "bernoulli to bits", size, tuple(x.shape), x.dtype,
        native=lambda: ops.bernoulli(x, SEED, output="bits"),
        reference=lambda: binarize._bernoulli_reference(x, SEED, 0, None, True),
        rivals=(
            Rival(
                "np.packbits(torch.bernoulli(torch.sigmoid(x)))",
                lambda: np.packbits(torch.bernoulli(torch.sigmoid(x)).bool().numpy(), axis=-1),
                lambda ours, theirs: same_mean(_cells(ours.numpy(), n_pitches), _cells(theirs, n_pitches)),
            ),
        ),
        bytes_read=x.nbytes,
        bytes_written=x.numel() // n_pitches * -(-n_pitches // 8),
    )    # fmt: skip


def _cells(bits: np.ndarray, n_pitches: int) -> Tensor:
    return torch.from_numpy(np.unpackbits(bits, axis=-1, count=n_pitches))
