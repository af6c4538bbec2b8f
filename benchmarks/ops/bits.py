"""Speed of `pack`, `unpack` and `gather_phrases`, against numpy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from benchmarks.cases import Case, Rival, same_bits
from benchmarks.music import SPEC, Sizes, packed_bars, phrases
from musegan import ops
from musegan.ops import bits


def cases(sizes: Sizes) -> Iterator[Case]:
    """Music of one phrase and of a batch; phrases of a data set, moved to another key."""
    for size in ("phrase", "batch"):
        frame = phrases(getattr(sizes, size), sizes.n_songs).frame
        yield _pack(size, frame)
        yield _unpack(size, frame)
    bars = packed_bars(sizes.dataset_bars, sizes.n_songs)
    for size in ("phrase", "batch"):
        yield _gather(size, bars, getattr(sizes, size))


def _pack(size: str, frame: Tensor) -> Case:
    return Case(
        "pack", size, tuple(frame.shape), frame.dtype,
        native=lambda: ops.pack(frame),
        reference=lambda: bits.pack_reference(frame),
        rivals=(Rival("np.packbits", lambda: np.packbits(frame.numpy(), axis=-1), _same),),
        bytes_read=frame.nbytes,
        bytes_written=frame.numel() // frame.shape[-1] * -(-frame.shape[-1] // 8),
        compiled=size == "batch",
    )    # fmt: skip


def _unpack(size: str, frame: Tensor) -> Case:
    packed, n_pitches = bits.pack_reference(frame), frame.shape[-1]
    return Case(
        "unpack", size, tuple(frame.shape), torch.float32,
        native=lambda: ops.unpack(packed, n_pitches, dtype=torch.float32),
        reference=lambda: bits.unpack_reference(packed, n_pitches, True),
        rivals=(
            Rival(
                "np.unpackbits(...).astype(np.float32)",
                lambda: np.unpackbits(packed.numpy(), axis=-1, count=n_pitches).astype(np.float32),
                _same,
            ),
        ),
        bytes_read=packed.nbytes,
        bytes_written=4 * frame.numel(),
        compiled=size == "batch",
    )    # fmt: skip


def _gather(size: str, bars: Tensor, shape: tuple[int, ...]) -> Case:
    n_phrases, _, n_bars, _, n_pitches = shape
    generator = torch.Generator().manual_seed(2)
    starts = torch.randint(len(bars) - n_bars + 1, (n_phrases,), generator=generator)
    semitones = torch.randint(-5, 7, (n_phrases,), generator=generator)
    is_drum = [track.is_drum for track in SPEC.tracks]
    moves = torch.where(torch.tensor(is_drum), 0, semitones[:, None])    # [N, K]

    def by_numpy() -> Tensor:
        index = starts.numpy()[:, None] + np.arange(n_bars)
        packed = bars.numpy()[index].swapaxes(1, 2)    # [N, K, B, T, bytes]
        cells = np.unpackbits(packed, axis=-1, count=n_pitches)
        pitched = ~np.array(is_drum)
        for phrase, move in zip(cells, semitones.tolist()):
            moved = np.roll(phrase[pitched], move, axis=-1)
            moved[..., slice(move) if move >= 0 else slice(move, None)] = 0    # what wrapped
            phrase[pitched] = moved
        return torch.from_numpy(cells.astype(np.float32))

    n_cells = int(np.prod(shape))
    return Case(
        "gather_phrases", size, shape, torch.float32,
        native=lambda: ops.gather_phrases(
            [bars], starts, n_bars, n_pitches, semitones=semitones, is_drum=is_drum, dtype=torch.float32
        ),
        reference=lambda: bits._gather_phrases_reference([bars], starts, moves, n_bars, n_pitches, True),
        rivals=(Rival("numpy: index, unpackbits, roll", by_numpy, _same),),
        bytes_read=n_cells // n_pitches * -(-n_pitches // 8),
        bytes_written=4 * n_cells,
    )    # fmt: skip


def _same(ours: Tensor, theirs: np.ndarray | Tensor) -> bool:
    return same_bits(ours, torch.as_tensor(theirs))
