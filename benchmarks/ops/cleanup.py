"""Speed of `cleanup`; its rival is the reference, which is written in whole tensors."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.cases import Case
from benchmarks.music import Sizes, phrases
from musegan import ops
from musegan.ops.cleanup import _cleanup_reference
from musegan.roll import Roll

MIN_STEPS, MAX_GAP_STEPS, MAX_PITCHES = 2, 1, 4


def cases(sizes: Sizes) -> Iterator[Case]:
    """One phrase and a batch."""
    for size in ("phrase", "batch"):
        yield _cleanup(size, getattr(sizes, size), sizes.n_songs)


def _cleanup(size: str, shape: tuple[int, ...], n_songs: int | None) -> Case:
    """Music with notes that flicker and cells that come from nowhere, as a young generator gives it."""
    music = phrases(shape, n_songs)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    logits = torch.where(music.frame, 3.0, -5.0) + 2 * noise
    roll = Roll(logits > 0, music.onset & (logits > 0))
    limits = torch.tensor([[MIN_STEPS, MAX_GAP_STEPS, MAX_PITCHES]] * shape[1])
    return Case(
        "cleanup", size, shape, torch.float32,
        native=lambda: ops.cleanup(
            roll, logits, min_steps=MIN_STEPS, max_gap_steps=MAX_GAP_STEPS, max_pitches=MAX_PITCHES
        ),
        reference=lambda: Roll(*_cleanup_reference(roll.frame, roll.onset, logits, limits)),
        bytes_read=2 * roll.frame.nbytes,    # and few of the logits: those of steps in which too many pitches sound
        bytes_written=2 * roll.frame.nbytes,
        compiled=size == "batch",
    )    # fmt: skip
