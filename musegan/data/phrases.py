"""Phrases of a packed data set as training batches, a function of (seed, step) alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from musegan.data.counts import pitch_counts
from musegan.keys import HIGHEST_SHIFT, LOWEST_SHIFT, shifts_of_weights
from musegan.data.dataset import PackedDataset
from musegan.roll import Roll, RollSpec
from musegan.seeding import generator_for

_CHUNK = 512    # phrases looked at together; another number could round keys that are equally likely another way
_N_SHIFTS = HIGHEST_SHIFT - LOWEST_SHIFT + 1


@dataclass(frozen=True)
class Augmentation:
    """What is done at random to each phrase of a batch; by default nothing."""

    transpose_semitones: int = 0
    """Each phrase moves up or down by up to this many semitones, each number as likely; drums stay."""
    track_dropout: float = 0.0
    """Probability in [0, 1] with which each sounding track of a phrase is silenced; the last one never is."""

    def __post_init__(self):
        if self.transpose_semitones < 0:
            raise ValueError(f"transpose_semitones must not be negative: got {self.transpose_semitones}")
        if not 0 <= self.track_dropout <= 1:
            raise ValueError(f"track_dropout must lie in [0, 1]: got {self.track_dropout}")


class Phrases:
    """The phrases of some pieces, moved to C major / A minor where wanted.

    Args:
        dataset: the packed bars.
        starts: [n] int64, first bar of each phrase.
        n_bars: B.
        normalize_key: move each phrase to C major or A minor.
        min_tracks: phrases in which fewer tracks sound are left out.
    """

    def __init__(self, dataset: PackedDataset, starts: Tensor, n_bars: int, normalize_key: bool, min_tracks: int = 1):
        self.dataset, self.n_bars, spec = dataset, n_bars, dataset.spec
        self._orders: dict[tuple[int, int], Tensor] = {}
        frame_counts, onset_counts = (
            torch.zeros(_N_SHIFTS, spec.n_tracks, spec.n_pitches, dtype=torch.int64) for _ in range(2)
        )    # [12, K, P], before the move
        facts = []
        for chunk in starts.split(_CHUNK):
            # Bars are counted once, however many phrases they are part of.
            bars, place = torch.unique(chunk[:, None] + torch.arange(n_bars), return_inverse=True)    # [m], [n, B]
            frame, onset = (pitch_counts(self._bars(plane, bars), spec.n_pitches) for plane in Roll._fields)    # [m, K, P]
            lowest, highest = _pitch_range(frame)
            lowest, highest = lowest[place].amin(1), highest[place].amax(1)    # [n, K]
            keep = (highest >= 0).sum(1) >= min_tracks
            place = place[keep]
            weights = _pitch_class_weights(frame, spec)[place].sum(1)    # [n, 12]
            shift = shifts_of_weights(weights) if normalize_key else torch.zeros(len(place), dtype=torch.int64)
            facts.append((chunk[keep], shift, lowest[keep], highest[keep]))
            cells = (shift - LOWEST_SHIFT)[:, None] * len(bars) + place
            times = torch.bincount(cells.flatten(), minlength=_N_SHIFTS * len(bars)).view(_N_SHIFTS, -1)    # [12, m]
            for total, counts in ((frame_counts, frame), (onset_counts, onset)):
                total += (times.double() @ counts.flatten(1).double()).long().view_as(total)
        self.starts, self.shifts, self._lowest, self._highest = map(torch.cat, zip(*facts))    # [n], [n], [n, K], [n, K]
        self._frame_counts = frame_counts
        self.cell_counts = self.cell_counts_within(0)
        """[K, P] in how many phrase steps each pitch sounds, after the move."""
        self.onset_counts = sum(
            _moved(counts, -shift, spec).sum(1) for shift, counts in enumerate(onset_counts, LOWEST_SHIFT)
        )
        """[K] how many notes start."""

    def __len__(self) -> int:
        return len(self.starts)

    def __getstate__(self) -> dict:
        """What another process needs; it opens the data set itself."""
        return vars(self) | {"_orders": {}}

    def _bars(self, plane: str, bars: Tensor) -> Tensor:
        """Bars [m] int64 of a plane, ascending: [m, K, T, bytes] uint8."""
        shards, bars = self.dataset.bits(plane, bars, 1)
        if len(shards) == 1:
            return shards[0] if len(bars) == len(shards[0]) else shards[0][bars]
        first_bars = torch.tensor([0, *map(len, shards)]).cumsum(0)
        limits = torch.searchsorted(bars, first_bars).tolist()    # of each shard's part of the bars
        parts = zip(shards, first_bars.tolist(), limits, limits[1:])
        return torch.cat([shard[bars[start:stop] - first] for shard, first, start, stop in parts])

    def cell_counts_within(self, semitones: int) -> Tensor:
        """[K, P] `cell_counts`, summed over moves by every number of semitones from -`semitones` to `semitones`."""
        return sum(
            _moved(counts, move - shift, self.dataset.spec)
            for shift, counts in enumerate(self._frame_counts, LOWEST_SHIFT)
            for move in range(-semitones, semitones + 1)
        )

    def indices(self, step: int, seed: int, size: int, rank: int = 0, world_size: int = 1) -> Tensor:
        """Which phrases `batch` takes: [size / world_size] int64."""
        position = torch.arange(step * size, (step + 1) * size)[_part(size, rank, world_size)]
        epoch, place = position // len(self), position % len(self)
        index = torch.empty(len(position), dtype=torch.int64)
        for e in range(step * size // len(self), (step * size + size - 1) // len(self) + 1):
            index[epoch == e] = self._order(seed, e)[place[epoch == e]]
        return index

    def roll(
        self,
        index: Tensor,
        semitones: Tensor | None = None,
        dtype: torch.dtype = torch.bool,
        frame_only: bool = False,
    ) -> Roll | Tensor:
        """Reads phrases.

        Args:
            index: [N] int64, which.
            semitones: [N] int64, how far each moves beyond the move of its key; what leaves the pitch range is cut.
            dtype: bool, or float32 for 0.0 and 1.0.
            frame_only: leave the onset plane out.
        Returns:
            Planes [N, K, B, T, P], or the frame plane.
        """
        move, names = self._move(index, semitones), Roll._fields[:1] if frame_only else Roll._fields
        planes = [self.dataset.plane(name, self.starts[index], self.n_bars, move, dtype) for name in names]
        return planes[0] if frame_only else Roll(*planes)

    def batch(
        self,
        step: int,
        seed: int,
        size: int,
        rank: int = 0,
        world_size: int = 1,
        augmentation: Augmentation = Augmentation(),
        dtype: torch.dtype = torch.bool,
        frame_only: bool = False,
    ) -> Roll | Tensor:
        """The batch of one step, or one process's part of it: each epoch passes through a permutation of its own.

        The batch of a step, and what happens to its phrases, is the same for every `world_size`; process `rank` gets the
        phrases from `rank * size / world_size` on.

        Args:
            step: number of the step, from 0.
            seed: decides everything random.
            size: phrases in the batch, of all processes together.
            rank: number of this process, below `world_size`.
            world_size: number of processes; divides `size`.
            augmentation: what is done to each phrase.
            dtype: bool, or float32 for 0.0 and 1.0.
            frame_only: leave the onset plane out.
        Returns:
            Planes [size / world_size, K, B, T, P], or the frame plane.
        Raises:
            ValueError: `world_size` does not divide `size`, or `rank` is not below it.
        """
        index, own = self.indices(step, seed, size, rank, world_size), _part(size, rank, world_size)
        semitones = None
        if reach := augmentation.transpose_semitones:
            rng = generator_for(seed, "transposition", step)
            semitones = torch.randint(-reach, reach + 1, (size,), generator=rng)[own]
        roll = self.roll(index, semitones, dtype, frame_only)
        if augmentation.track_dropout:
            rng = generator_for(seed, "track dropout", step)
            draws = torch.rand(size, self.dataset.spec.n_tracks, generator=rng)[own]
            silenced = silenced_tracks(self._sounding(index, semitones), draws, augmentation.track_dropout)
            rows = silenced.flatten().nonzero().squeeze(1)
            for plane in (roll,) if frame_only else roll:
                plane.flatten(0, 1).index_fill_(0, rows, 0)    # [N * K, B, T, P]
        return roll

    def _move(self, index: Tensor, semitones: Tensor | None) -> Tensor:
        """[N] semitones by which phrases are moved up in all."""
        move = -self.shifts[index]
        return move if semitones is None else move + semitones

    def _sounding(self, index: Tensor, semitones: Tensor | None) -> Tensor:
        """[N, K] which tracks have a note left after the move: all notes go if the last one to go does."""
        is_drum = torch.tensor([track.is_drum for track in self.dataset.spec.tracks])
        move = torch.where(is_drum, 0, self._move(index, semitones)[:, None])    # [N, K]
        lowest, highest = self._lowest[index], self._highest[index]
        stays = torch.where(move > 0, lowest + move < self.dataset.spec.n_pitches, highest + move >= 0)
        return (highest >= 0) & stays

    def _order(self, seed: int, epoch: int) -> Tensor:
        """The permutation of an epoch; the last two are kept."""
        if (seed, epoch) not in self._orders:
            order = torch.randperm(len(self), generator=generator_for(seed, "epoch", epoch))
            self._orders = dict([*self._orders.items(), ((seed, epoch), order)][-2:])
        return self._orders[seed, epoch]

    def sample(self, size: int, seed: int) -> Roll:
        """`size` phrases drawn without repetition, or all if there are fewer: the same ones for the same seed."""
        order = torch.randperm(len(self), generator=generator_for(seed, "sample"))
        return self.roll(order[:size].sort().values)

    def fingerprint(self) -> str:
        """A digest that another set of phrases, or another cut of the same music, would not have."""
        digest = hashlib.sha256(repr((self.dataset.spec, self.dataset.pieces, self.n_bars)).encode())
        for values in (self.starts, self.shifts, self.cell_counts, self.onset_counts):
            digest.update(values.numpy().tobytes())
        return digest.hexdigest()

    def shift_counts(self) -> list[int]:
        """[12] how many phrases lay -5 .. +6 semitones from C major or A minor."""
        return torch.bincount(self.shifts - LOWEST_SHIFT, minlength=_N_SHIFTS).tolist()


def _part(size: int, rank: int, world_size: int) -> slice:
    """The part of a batch that is one process's."""
    if world_size < 1 or size % world_size or not 0 <= rank < world_size:
        raise ValueError(f"world_size must divide size, and rank be below it: {size=}, {rank=}, {world_size=}")
    return slice(rank * size // world_size, (rank + 1) * size // world_size)


def silenced_tracks(sounding: Tensor, draws: Tensor, probability: float) -> Tensor:
    """Which tracks are silenced: each sounding one with a probability, but never all of a phrase.

    Where chance would silence all of them, one stays, each as likely.

    Args:
        sounding: [N, K] bool.
        draws: [N, K] uniform in [0, 1).
        probability: of each.
    Returns:
        [N, K] bool.
    """
    silenced = sounding & (draws < probability)
    spared = torch.where(sounding, draws, -1.0).argmax(1, keepdim=True)    # [N, 1]
    all_silenced = (silenced == sounding).all(1, keepdim=True)
    return silenced & ~(all_silenced & (torch.arange(sounding.shape[1]) == spared))


def _pitch_range(counts: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest and the highest pitch that sounds, of counts [m, K, P]: [m, K] int16; P and -1 in silence."""
    n_pitches = counts.shape[2]
    pitch = torch.arange(n_pitches, dtype=torch.int16)
    return torch.where(counts > 0, pitch, n_pitches).amin(2), torch.where(counts > 0, pitch, -1).amax(2)


def _pitch_class_weights(counts: Tensor, spec: RollSpec) -> Tensor:
    """`keys.pitch_class_weights` of bars whose pitches are counted [m, K, P]: [m, 12] int64."""
    pitched = [k for k, track in enumerate(spec.tracks) if not track.is_drum]
    classes = (torch.arange(spec.n_pitches) + spec.lowest_pitch) % 12
    per_pitch = counts[:, pitched].sum(1)    # [m, P]
    return torch.zeros(len(counts), 12, dtype=torch.int64).index_add_(1, classes, per_pitch)


def _moved(counts: Tensor, semitones: int, spec: RollSpec) -> Tensor:
    """Counts [K, P] of music whose pitched tracks move up; what leaves the pitches is cut."""
    moved, n = torch.zeros_like(counts), spec.n_pitches
    for k, track in enumerate(spec.tracks):
        move = 0 if track.is_drum else max(-n, min(semitones, n))
        moved[k, max(move, 0) : n + min(move, 0)] = counts[k, max(-move, 0) : n - max(move, 0)]
    return moved
