"""Music of a packed data set to be read in order, piece by piece: one line, or all tracks; and windows of it as tokens."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from musegan.data.dataset import PackedDataset
from musegan.data.lines import line_spec, pitched_tracks, skyline
from musegan.errors import UserError
from musegan.keys import pitch_class_weights, shifts_of_weights
from musegan.ops import notes
from musegan.roll import RollSpec, Track
from musegan.seeding import generator_for
from musegan.tokens import BEGIN, END, Encoding, Vocabulary

ALL = "all"
_SORTED_BATCHES = 16    # whose windows are sorted by length
IGNORED = -100    # cross_entropy's word for a target that does not count


class Passage(NamedTuple):
    """The music of a run of bars, as `musegan.tokens` has it."""

    notes: np.ndarray
    """[n, 3] int64: voice (of one track, the pitch index), start and end step."""
    n_bars: int
    piece: int
    """Index in the data set's pieces."""
    shift: int
    """Semitones by which it was above C major / A minor, where it now is; 0 where it was left in its key."""


def tracks_of(dataset: PackedDataset, name: str, encoding: Encoding) -> tuple[Track, ...]:
    """The tracks of a model's rolls, by `data.track` and `data.encoding`: one of melodies, or those that are told apart.

    Raises:
        UserError: there is no such track, or none that the encoding can write.
    """
    if encoding != "tracks":
        try:
            return line_spec(dataset.spec, name).tracks
        except UserError as err:
            raise UserError(f"data.track: {err} (data.encoding={encoding})") from err
    found = tuple(track for track in dataset.spec.tracks if name in (track.name, ALL))
    if not found:
        names = ", ".join([ALL, *(track.name for track in dataset.spec.tracks)])
        raise UserError(f"data.track: no track named {name!r}; there are {names} (data.encoding=tracks)")
    return found


def read_passages(
    dataset: PackedDataset, pieces: Sequence[int], track: str, normalize_key: bool, encoding: Encoding = "events"
) -> list[Passage]:
    """The music of some pieces, one passage for each run of bars in which there is a note.

    Args:
        pieces: indices in `dataset.pieces`.
        track, encoding: see `tracks_of`; of a melody, the highest of what sounds at once is taken.
        normalize_key: move each piece to C major or A minor, by the key of all its pitched tracks; notes that leave the
            pitch range are left out.
    Raises:
        UserError: see `tracks_of`.
    """
    spec, is_line = dataset.spec, encoding != "tracks"
    own = replace(spec, tracks=tracks_of(dataset, track, encoding))
    chosen = pitched_tracks(spec, track) if is_line else [k for k, each in enumerate(spec.tracks) if each in own.tracks]
    found: list[Passage] = []
    for piece, runs in _runs(dataset, pieces):
        weights, tables = torch.zeros(1, 12, dtype=torch.int64), []
        for start, n_bars in runs:
            roll = dataset.roll(torch.tensor([start]), n_bars)    # [1, K, B, T, P]
            weights += pitch_class_weights(roll.frame, spec)
            tables.append(notes(roll.map(lambda plane: plane[:, chosen])).numpy()[:, 1:])    # [n, 4]
        shift = int(shifts_of_weights(weights)) if normalize_key else 0
        for table, (_, n_bars) in zip(tables, runs):
            table = np.insert(skyline(table[:, 1:]), 0, 0, 1) if is_line else table
            music = voices(table, own, -shift)
            if len(music):
                found.append(Passage(music, n_bars, piece, shift))
    return found


def voices(table: np.ndarray, spec: RollSpec, semitones: int = 0) -> np.ndarray:
    """Notes as `musegan.tokens` has them.

    Args:
        table: [n, 4] int64: track, pitch index, start and end step.
        spec: of the tracks.
        semitones: by which those of pitched tracks are moved up; what leaves the pitch range is left out.
    Returns:
        [m, 3] int64: voice, start and end step.
    """
    is_pitched = np.array([not track.is_drum for track in spec.tracks])
    pitch = table[:, 1] + semitones * is_pitched[table[:, 0]]
    inside = (pitch >= 0) & (pitch < spec.n_pitches)
    return np.column_stack([table[:, 0] * spec.n_pitches + pitch, table[:, 2:]])[inside]


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


def cut(passage: Passage, first_bar: int, n_bars: int, steps_per_bar: int) -> Passage:
    """Some bars of a passage; a note that sounds at their begin starts there."""
    start, end = first_bar * steps_per_bar, (first_bar + n_bars) * steps_per_bar
    inside = passage.notes[(passage.notes[:, 2] > start) & (passage.notes[:, 1] < end)]
    inside[:, 1:] = inside[:, 1:].clip(start, end) - start
    return passage._replace(notes=inside, n_bars=n_bars)


class Windows:
    """Windows of passages as tokens: begin, the music, and an end where the passage ends.

    Args:
        passages: of one split.
        vocabulary: of the tokens.
        n_bars: of a window; of a shorter passage, all bars are one.
        every_bar: a window begins at each bar from which there are enough, for training; else each bar of a passage is in
            one window, the last of which may be shorter, so that each note counts once.
    """

    def __init__(self, passages: Sequence[Passage], vocabulary: Vocabulary, n_bars: int, every_bar: bool):
        self.vocabulary, self.n_steps, self.n_notes = vocabulary, 0, 0
        rows, ranges, t = [], [], vocabulary.steps_per_bar
        for passage in passages:
            last = max(passage.n_bars - n_bars, 0) if every_bar else passage.n_bars - 1
            for first in range(0, last + 1, 1 if every_bar else n_bars):
                window = cut(passage, first, min(n_bars, passage.n_bars - first), t)
                if not len(window.notes):
                    continue
                ends = [END] if first + window.n_bars == passage.n_bars else []
                row = torch.tensor([BEGIN, *vocabulary.encode(window.notes, window.n_bars * t).tolist(), *ends])
                pitches = vocabulary.pitch[row]
                pitches = pitches[pitches >= 0]
                ranges.append((int(pitches.min()), int(pitches.max())) if len(pitches) else (0, vocabulary.n_pitches - 1))
                rows.append(row.short())
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
            tokens = torch.where(self.vocabulary.pitch[tokens.clamp(min=BEGIN)] >= 0, tokens + move[:, None], tokens)
        given, targets = tokens[:, :-1], tokens[:, 1:]
        return given.clamp(min=BEGIN), torch.where(targets < 0, IGNORED, targets)

    def batch(self, step: int, seed: int, size: int, semitones: int = 0) -> tuple[Tensor, Tensor]:
        """`rows` of one step, a function of (seed, step): each epoch passes through an order of its own, in which windows of
        like length lie together, so that little is filled up.

        Args:
            semitones: each window is moved up or down by up to so many, each number as likely.
        """
        places = [divmod(i, len(self)) for i in range(step * size, (step + 1) * size)]    # epoch, and place in it
        index = torch.stack([self._order(seed, epoch, size)[place] for epoch, place in places])
        if not semitones:
            return self.rows(index)
        rng = generator_for(seed, "transposition", step)
        return self.rows(index, torch.randint(-semitones, semitones + 1, (size,), generator=rng))

    @functools.lru_cache(maxsize=2)    # one epoch ends where the next begins
    def _order(self, seed: int, epoch: int, size: int) -> Tensor:
        """[n] a permutation: so many windows that happen to come together are sorted, and dealt as batches in any order."""
        rng, found = generator_for(seed, "epoch", epoch), []
        for block in torch.randperm(len(self), generator=rng).split(_SORTED_BATCHES * size):
            batches = block[self.lengths[block].argsort(stable=True)].split(size)
            found += [batches[i] for i in torch.randperm(len(batches), generator=rng)]
        return torch.cat(found)

    def fingerprint(self) -> str:
        """A digest that other music, or another encoding of the same, would not have."""
        digest = hashlib.sha256(repr((self.vocabulary, tuple(self.tokens.shape))).encode())
        digest.update(self.tokens.numpy().tobytes())
        return digest.hexdigest()
