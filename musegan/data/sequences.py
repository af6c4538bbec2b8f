"""Melodies out of a packed data set: the highest line of some tracks, piece by piece, and windows of it as tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from musegan.data.dataset import PackedDataset
from musegan.errors import UserError
from musegan.keys import pitch_class_weights, shifts_of_weights
from musegan.ops import notes
from musegan.roll import Track
from musegan.seeding import generator_for
from musegan.tokens import BEGIN, END, FIRST_PITCH, Vocabulary

LEAD = "lead"
IGNORED = -100    # cross_entropy's word for a target that does not count


class Line(NamedTuple):
    """One line of a run of bars, as `musegan.tokens` has it."""

    notes: np.ndarray
    """[n, 3] int64: pitch index, start and end step."""
    n_bars: int
    piece: int
    """Index in the data set's pieces."""
    shift: int
    """Semitones by which it was above C major / A minor, where it now is; 0 where it was left in its key."""


def skyline(table: np.ndarray) -> np.ndarray:
    """The highest line of notes: each that starts while nothing higher sounds, until the next of them starts.

    A lower note that goes on when a higher one ends does not come back: it would sound like a new one.

    Args:
        table: [n, 3] int64, pitch, start and end step, in any order.
    Returns:
        [m, 3] int64, in order and without overlap.
    """
    line: list[list[int]] = []
    for pitch, start, end in table[np.lexsort((-table[:, 2], -table[:, 0], table[:, 1]))].tolist():
        if line and line[-1][2] > start:
            if line[-1][0] > pitch or line[-1][1] == start:
                continue
            line[-1][2] = start
        line.append([pitch, start, end])
    return np.array(line, dtype=np.int64).reshape(-1, 3)


def melody_track(dataset: PackedDataset, name: str) -> Track:
    """The one track of melodies that `data.track` names.

    Raises:
        UserError: no pitched track has that name.
    """
    tracks = [track for track in dataset.spec.tracks if not track.is_drum]
    for track in tracks:
        if track.name == name:
            return track
    if name != LEAD or not tracks:
        names = ", ".join([LEAD, *(track.name for track in tracks)])
        raise UserError(f"data.track: no pitched track named {name!r}; there are {names}")
    return Track(LEAD)


def read_passages(dataset: PackedDataset, pieces: Sequence[int], track: str, normalize_key: bool) -> list[Line]:
    """The lines of some pieces, one for each run of bars in which there is a note.

    Args:
        pieces: indices in `dataset.pieces`.
        track: a pitched track's name, or `lead` for all of them; of what sounds at once, the highest is taken.
        normalize_key: move each piece to C major or A minor, by the key of all its pitched tracks; notes that leave the
            pitch range are left out.
    Raises:
        UserError: see `melody_track`.
    """
    spec, name = dataset.spec, melody_track(dataset, track).name
    chosen = [k for k, each in enumerate(spec.tracks) if not each.is_drum and name in (each.name, LEAD)]
    found: list[Line] = []
    for piece, runs in _runs(dataset, pieces):
        weights, tables = torch.zeros(1, 12, dtype=torch.int64), []
        for start, n_bars in runs:
            roll = dataset.roll(torch.tensor([start]), n_bars)    # [1, K, B, T, P]
            weights += pitch_class_weights(roll.frame, spec)
            tables.append(notes(roll.map(lambda plane: plane[:, chosen])).numpy()[:, 2:])    # [n, 3]
        shift = int(shifts_of_weights(weights)) if normalize_key else 0
        for table, (_, n_bars) in zip(tables, runs):
            line = skyline(table)
            line[:, 0] -= shift
            line = line[(line[:, 0] >= 0) & (line[:, 0] < spec.n_pitches)]
            if len(line):
                found.append(Line(line, n_bars, piece, shift))
    return found


def _runs(dataset: PackedDataset, pieces: Sequence[int]) -> list[tuple[int, list[tuple[int, int]]]]:
    """Each piece with the first row and the number of bars of its runs."""
    rows = dataset.phrase_starts(1)
    piece, number = dataset.piece_of(rows), dataset.bar_numbers(rows)
    breaks = 1 + torch.nonzero((piece.diff() != 0) | (number.diff() != 1) | (rows.diff() != 1)).squeeze(1)
    runs: dict[int, list[tuple[int, int]]] = {index: [] for index in pieces}
    for run in torch.tensor_split(torch.arange(len(rows)), breaks):
        if len(run) and int(piece[run[0]]) in runs:
            runs[int(piece[run[0]])].append((int(rows[run[0]]), len(run)))
    return list(runs.items())


def cut(line: Line, first_bar: int, n_bars: int, steps_per_bar: int) -> Line:
    """Some bars of a line; a note that sounds at their begin starts there."""
    start, end = first_bar * steps_per_bar, (first_bar + n_bars) * steps_per_bar
    inside = line.notes[(line.notes[:, 2] > start) & (line.notes[:, 1] < end)]
    inside[:, 1:] = inside[:, 1:].clip(start, end) - start
    return line._replace(notes=inside, n_bars=n_bars)


class Windows:
    """Windows of lines as tokens: begin, the music, and an end where the line ends.

    Args:
        lines: of one split.
        vocabulary: of the tokens.
        n_bars: of a window; of a shorter line, all bars are one.
        every_bar: a window begins at each bar from which there are enough, for training; else each bar of a line is in
            one window, the last of which may be shorter, so that each note counts once.
    """

    def __init__(self, lines: Sequence[Line], vocabulary: Vocabulary, n_bars: int, every_bar: bool):
        self.vocabulary, self.n_steps, self.n_notes = vocabulary, 0, 0
        rows, ranges, t = [], [], vocabulary.steps_per_bar
        for line in lines:
            last = max(line.n_bars - n_bars, 0) if every_bar else line.n_bars - 1
            for first in range(0, last + 1, 1 if every_bar else n_bars):
                window = cut(line, first, min(n_bars, line.n_bars - first), t)
                if not len(window.notes):
                    continue
                ends = [END] if first + window.n_bars == line.n_bars else []
                row = np.concatenate([[BEGIN], vocabulary.encode(window.notes, window.n_bars * t), ends])
                rows.append(torch.from_numpy(row.astype(np.int16)))
                ranges.append((int(window.notes[:, 0].min()), int(window.notes[:, 0].max())))
                self.n_steps += window.n_bars * t
                self.n_notes += len(window.notes)
        self.lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        """[n] tokens of each window."""
        self.tokens = torch.nn.utils.rnn.pad_sequence(rows, True, -1) if rows else torch.zeros(0, 1, dtype=torch.int16)
        """[n, L] int16, -1 after a window's end."""
        self._ranges = torch.tensor(ranges, dtype=torch.int64).view(-1, 2)    # [n, 2] lowest and highest pitch

    def __len__(self) -> int:
        return len(self.lengths)

    def rows(self, index: Tensor, semitones: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What a model is told of some windows, and what comes next.

        Args:
            index: [N] int64, which.
            semitones: [N] int64 by which each is moved up, as far as its pitches allow.
        Returns:
            [N, L] int64 tokens, filled up with the begin; [N, L] int64 targets, filled up with `IGNORED`.
        """
        tokens = self.tokens[index, : int(self.lengths[index].max())].long()
        if semitones is not None:
            lowest, highest = self._ranges[index].T
            move = torch.minimum(torch.maximum(semitones, -lowest), self.vocabulary.n_pitches - 1 - highest)
            is_pitch = (tokens >= FIRST_PITCH) & (tokens < FIRST_PITCH + self.vocabulary.n_pitches)
            tokens = torch.where(is_pitch, tokens + move[:, None], tokens)
        given, targets = tokens[:, :-1], tokens[:, 1:]
        return given.clamp(min=BEGIN), torch.where(targets < 0, IGNORED, targets)

    def batch(self, step: int, seed: int, size: int, semitones: int = 0) -> tuple[Tensor, Tensor]:
        """`rows` of one step, a function of (seed, step): each epoch passes through a permutation of its own.

        Args:
            semitones: each window is moved up or down by up to so many, each number as likely.
        """
        places = [divmod(i, len(self)) for i in range(step * size, (step + 1) * size)]    # epoch, and place in it
        orders = {e: torch.randperm(len(self), generator=generator_for(seed, "epoch", e)) for e in {e for e, _ in places}}
        index = torch.stack([orders[e][i] for e, i in places])
        if not semitones:
            return self.rows(index)
        rng = generator_for(seed, "transposition", step)
        return self.rows(index, torch.randint(-semitones, semitones + 1, (size,), generator=rng))

    def fingerprint(self) -> str:
        """A digest that other melodies, or another encoding of the same, would not have."""
        digest = hashlib.sha256(repr((self.vocabulary, tuple(self.tokens.shape))).encode())
        digest.update(self.tokens.numpy().tobytes())
        return digest.hexdigest()
