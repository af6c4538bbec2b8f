"""A set of phrases to be measured, packed in memory, with the piece that each is of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from musegan.data.dataset import PackedDataset
from musegan.data.lines import line_spec, lines_of, roll_of_lines
from musegan.ops import pack, unpack
from musegan.roll import Roll, RollSpec, check_roll
from musegan.seeding import generator_for

CHUNK = 256    # phrases looked at together
MAX_CHUNK_CELLS = 1 << 26    # of these; unpacked, with a number for each cell, 256 MB
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Corpus:
    """N phrases in random order."""

    roll: Roll
    """Packed planes [N, K, B, T, ceil(P / 8)] uint8: 13 kB a phrase of four bars, three tracks and 48 steps."""
    piece: Tensor
    """[N] int64: phrases with one number are of one piece, and not independent of each other."""
    spec: RollSpec
    """What the rolls mean."""

    @classmethod
    def of_dataset(
        cls,
        dataset: PackedDataset,
        n_bars: int,
        pieces: list[int] | None = None,
        min_tracks: int = 1,
        limit: int | None = None,
        seed: int = 0,
        line: str | None = None,
    ) -> Corpus:
        """The phrases of a data set, each starting at any bar of a piece.

        Args:
            n_bars: B.
            pieces: indices of the pieces to take; by default all.
            min_tracks: phrases in which fewer tracks sound are left out; at most K.
            limit: so many at most, chosen at random.
            seed: of the order and the choice.
            line: take one line instead of all tracks; see `musegan.data.lines.line_spec`.
        Raises:
            UserError: there is no such line.
        """
        spec = dataset.spec if line is None else line_spec(dataset.spec, line)
        starts = dataset.phrase_starts(n_bars)
        piece = dataset.piece_of(starts)
        if pieces is not None:
            chosen = torch.isin(piece, torch.tensor(pieces, dtype=torch.int64))
            starts, piece = starts[chosen], piece[chosen]
        order = torch.randperm(len(starts), generator=generator_for(seed, "corpus"))
        most = len(order) if limit is None else min(limit, len(order))
        # In one piece from the start: joined parts leave holes in memory
        shape = (most, spec.n_tracks, n_bars, spec.steps_per_bar, -(-spec.n_pitches // 8))
        planes = Roll(*(torch.empty(shape, dtype=torch.uint8) for _ in Roll._fields))
        kept = torch.empty(most, dtype=torch.int64)
        n = 0
        for rows in order.split(CHUNK):
            roll = Roll(*(_read(dataset, plane, starts[rows], n_bars) for plane in Roll._fields))
            if line is not None:
                roll = roll_of_lines(lines_of(roll, dataset.spec, line), n_bars, spec, packed=True)
            enough = torch.nonzero(roll.frame.flatten(2).any(2).sum(1) >= min_tracks).squeeze(1)[: most - n]
            for plane, read in zip(planes, roll):
                plane[n : n + len(enough)] = read[enough]
            kept[n : n + len(enough)] = piece[rows[enough]]
            n += len(enough)
            if n == most:
                break    # of a large data set, the rest need not be read
        return cls(planes.map(lambda plane: plane[:n]), kept[:n], spec)

    @classmethod
    def of_roll(cls, roll: Roll, spec: RollSpec, piece: Tensor | None = None) -> Corpus:
        """Phrases from planes [N, K, B, T, P] bool.

        Args:
            piece: [N] int64; by default each phrase is a piece of its own, as those that a model draws are.
        Raises:
            ValueError, TypeError: see `musegan.roll.check_roll`.
        """
        check_roll(roll, spec)
        return cls(roll.map(pack), torch.arange(len(roll.frame)) if piece is None else piece, spec)

    def __len__(self) -> int:
        return len(self.piece)

    @property
    def n_bars(self) -> int:
        """B."""
        return self.roll.frame.shape[2]

    @property
    def n_pieces(self) -> int:
        """Different pieces."""
        return len(self.piece.unique())

    def take(self, index: Tensor | slice) -> Corpus:
        """The phrases of some indices [n] int64, of a mask [N] bool, or of a slice."""
        return Corpus(self.roll.map(lambda plane: plane[index]), self.piece[index], self.spec)

    def unpacked(self) -> Roll:
        """Planes [N, K, B, T, P] bool."""
        return self.roll.map(lambda plane: unpack(plane, self.spec.n_pitches))

    def chunks(self) -> Iterator[Corpus]:
        """The phrases, `CHUNK` at a time; fewer where they are large."""
        n_cells = math.prod(self.roll.frame.shape[1:4]) * self.spec.n_pitches
        size = min(CHUNK, max(MAX_CHUNK_CELLS // n_cells, 1))
        for first in range(0, len(self), size):
            yield self.take(slice(first, first + size))


def _read(dataset: PackedDataset, plane: str, starts: Tensor, n_bars: int) -> Tensor:
    """[N, K, B, T, bytes] uint8."""
    shards, rows = dataset.bits(plane, starts, n_bars)
    bars = rows[:, None] + torch.arange(n_bars)    # [N, B]
    if len(shards) == 1:
        return shards[0][bars].transpose(1, 2).contiguous()
    read = shards[0].new_empty(*bars.shape, *shards[0].shape[1:])    # [N, B, K, T, bytes]
    first = 0
    for shard in shards:
        inside = (bars >= first) & (bars < first + len(shard))
        read[inside] = shard[bars[inside] - first]
        first += len(shard)
    return read.transpose(1, 2).contiguous()
