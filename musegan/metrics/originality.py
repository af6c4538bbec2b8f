"""What was copied: of each phrase the nearest one of a corpus, in any key, exactly.

A phrase is the set of cells (track, step, pitch) in which a note starts. A phrase moved by some semitones is as similar to
another one as their sets are by Jaccard's index, cells of both over cells of either; its similarity is the largest over all
moves by up to an octave. Drum tracks never move, and no cell is cut off at the range's borders.

Source: Jaccard 1912 (the index). The counting is that of an inverted index: each note looks up the phrases that have a
note of its track, at its step, within an octave of it, and each of them tells by its pitch the move that it speaks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from musegan.metrics.music import Music
from musegan.roll import N_MIDI_PITCHES

MAX_SEMITONES = 12    # every key is reached both ways
DUPLICATE = 0.9       # similarity; one of nineteen notes may differ

_N_MOVES = 2 * MAX_SEMITONES + 1
_MOVES = np.array(sorted(range(-MAX_SEMITONES, MAX_SEMITONES + 1), key=lambda s: (abs(s), s)))    # the first of equals wins


class Nearest(NamedTuple):
    """For each of N phrases the most similar one of a corpus.

    Of equally similar ones that which needs the smallest move, then the one down, then the first of the corpus. A silent
    phrase has none, and neither has one that no phrase was left to be compared with.
    """

    similarity: Tensor
    """[N] float64 in [0, 1], 1 where all notes start alike; NaN where there is none."""
    phrase: Tensor
    """[N] int64, which phrase of the corpus; -1 where there is none."""
    semitones: Tensor
    """[N] int64 in -12..12, by how much the pitched tracks were moved to meet it; 0 where there is none."""


@dataclass(frozen=True, eq=False)
class Index:
    """The notes of a corpus by where they start: four bytes for each, and a table of the cells of one phrase."""

    shape: tuple[int, int]
    """Tracks, and steps of a phrase."""
    is_drum: tuple[bool, ...]
    """[K]."""
    n_notes: np.ndarray
    """[n] int64, of each phrase."""
    groups: np.ndarray | None
    """[n] int64, of each phrase."""
    keys: np.ndarray
    """[notes] int32 (int64 beyond 16 million phrases), pitch * n + phrase; sorted by track, step, pitch and phrase."""
    first: np.ndarray
    """[K * steps * 128 + 1] int64, where the notes of each (track, step, pitch) begin."""

    @classmethod
    def of(cls, chunks: Iterable[Music], groups: Tensor | None = None) -> Index:
        """The index of a corpus.

        Args:
            chunks: the phrases, counted through; each chunk may be dropped after its turn.
            groups: [n] integers, such as the piece of each phrase; phrases of one group can be kept apart, see `nearest`.
        Raises:
            ValueError: there is no chunk (one without phrases will do), chunks differ in tracks or steps, or `groups` is
                not one for each phrase.
        """
        layout, counts, cells, phrases, n = None, [], [], [], 0
        for music in chunks:
            layout = _layout(music) if layout is None else layout
            _check_layout(layout, music)
            counts.append(_notes_of_phrases(music))
            cells.append(_cells(music).astype(np.int32))
            phrases.append((music.sample + n).numpy().astype(np.int32))
            n += music.n
        if layout is None:
            raise ValueError("a corpus must have a chunk: got none")
        groups = _checked_groups(groups, n)
        keys = np.concatenate(cells).astype(np.int64) * n + np.concatenate(phrases)
        keys.sort()
        (n_tracks, n_steps), is_drum = layout
        first = np.searchsorted(keys, np.arange(n_tracks * n_steps * N_MIDI_PITCHES + 1) * n)
        if n:
            keys %= N_MIDI_PITCHES * n    # which leaves the pitch and the phrase
        small = N_MIDI_PITCHES * n <= np.iinfo(np.int32).max
        keys = keys.astype(np.int32) if small else keys
        return cls((n_tracks, n_steps), is_drum, np.concatenate(counts), groups, keys, first)

    def __len__(self) -> int:
        return len(self.n_notes)

    def nearest(
        self, music: Music, groups: Tensor | None = None, progress: Callable[[int, int], object] | None = None
    ) -> Nearest:
        """The nearest phrase of the corpus for each of N phrases.

        Args:
            music: the N phrases, of the corpus's tracks and steps.
            groups: [N] integers; no phrase is compared with those of the corpus that have its own number.
            progress: called with the number of phrases done, and N.
        Raises:
            ValueError: tracks or steps differ, `groups` is not one for each phrase, or the corpus has no groups.
        """
        _check_layout((self.shape, self.is_drum), music)
        if groups is not None and self.groups is None:
            raise ValueError("groups need a corpus with groups: the index has none")
        groups = _checked_groups(groups, music.n)
        similarity, phrase, semitones = np.full(music.n, np.nan), np.full(music.n, -1), np.zeros(music.n, np.int64)
        n_notes = _notes_of_phrases(music)
        cells = np.split(_cells(music), np.cumsum(n_notes)[:-1])
        for i in range(music.n):
            excluded = None if groups is None else self.groups == groups[i]
            if n_notes[i] and len(self) and (excluded is None or not excluded.all()):
                similarity[i], phrase[i], semitones[i] = self._nearest(cells[i], excluded)
            if progress is not None:
                progress(i + 1, music.n)
        return Nearest(*map(torch.from_numpy, (similarity, phrase, semitones)))

    def _nearest(self, cells: np.ndarray, excluded: np.ndarray | None) -> tuple[float, int, int]:
        """Similarity, phrase and semitones of one phrase's nearest, of those not excluded."""
        moved, fixed = self._shared(cells)
        shared = moved.max(0) + fixed
        similarity = shared / (self.n_notes + len(cells) - shared)
        if excluded is not None:
            similarity[excluded] = -1
        best = similarity.max()
        equals = np.flatnonzero(similarity == best)    # of equal fractions, the quotients are equal
        reached = moved[:, equals] == moved[:, equals].max(0)    # [moves, equals]
        move, which = divmod(int(reached[_MOVES + MAX_SEMITONES].argmax()), len(equals))
        return float(best), int(equals[which]), int(_MOVES[move])

    def _shared(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """With how many of a phrase's cells each phrase of the corpus has a note: by move [25, n], and drums [n]."""
        n, dtype = len(self), np.min_scalar_type(len(cells))    # the fewer bytes, the more of the counts a cache holds
        moved, fixed = np.zeros(_N_MOVES * n, dtype), np.zeros(n, dtype)
        place, pitch = np.divmod(cells, N_MIDI_PITCHES)
        drum = np.array(self.is_drum)[place // self.shape[1]]
        reach = np.where(drum, 0, MAX_SEMITONES)
        lowest, highest = np.maximum(pitch - reach, 0), np.minimum(pitch + reach, N_MIDI_PITCHES - 1)
        begin, end = self.first[place * N_MIDI_PITCHES + lowest], self.first[place * N_MIDI_PITCHES + highest + 1]
        base = (pitch - reach) * n    # of the lowest move
        for start, stop, is_drum, offset in zip(begin.tolist(), end.tolist(), drum.tolist(), base.tolist()):
            counts = fixed if is_drum else moved
            np.add.at(counts, self.keys[start:stop] - offset, dtype.type(1))    # `counts[keys] += 1` takes a third longer
        return moved.reshape(_N_MOVES, n), fixed


def nearest_others(
    chunks: Sequence[Music], groups: Tensor | None = None, progress: Callable[[int, int], object] | None = None
) -> Nearest:
    """The nearest other phrase for each phrase of a set, within the set.

    Args:
        chunks: the N phrases, counted through.
        groups: [N] integers; phrases of one group are not compared. By default each is a group of its own.
        progress: called with the number of phrases done, and N.
    Raises:
        ValueError: see `Index.of`.
    """
    n = sum(music.n for music in chunks)
    groups = torch.arange(n) if groups is None else groups
    index, found, done = Index.of(chunks, groups), [], 0
    for music in chunks:
        told = None if progress is None else lambda i, _, done=done: progress(done + i, n)
        found.append(index.nearest(music, groups[done : done + music.n], told))
        done += music.n
    return Nearest(*map(torch.cat, zip(*found)))


def near_duplicates(nearest: Nearest, threshold: float = DUPLICATE) -> float:
    """Share of phrases whose nearest is at least so similar, of those that have one: in [0, 1], NaN if none has.

    Args:
        nearest: `nearest_others` of a set for its duplicates, `Index.nearest` for what was taken from a corpus.
        threshold: similarity from which on two phrases count as one.
    """
    similarity = nearest.similarity[~nearest.similarity.isnan()]
    return (similarity >= threshold).double().mean().item()


def _layout(music: Music) -> tuple[tuple[int, int], tuple[bool, ...]]:
    return (music.n_tracks, music.n_steps), tuple(music.is_drum.tolist())


def _check_layout(expected: tuple[tuple[int, int], tuple[bool, ...]], music: Music) -> None:
    if _layout(music) != expected:
        (n_tracks, n_steps), is_drum = expected
        raise ValueError(
            f"phrases must have the corpus's tracks and steps: got {music.n_tracks} tracks of {music.n_steps} steps, "
            f"is_drum={music.is_drum.tolist()}; the corpus has {n_tracks} of {n_steps}, is_drum={list(is_drum)}"
        )


def _cells(music: Music) -> np.ndarray:
    """[notes] int64, (track * steps + step) * 128 + MIDI pitch of each note, in order of phrases."""
    return ((music.track * music.n_steps + music.start) * N_MIDI_PITCHES + music.pitch).numpy()


def _notes_of_phrases(music: Music) -> np.ndarray:
    return torch.bincount(music.sample, minlength=music.n).numpy()    # [N] int64


def _checked_groups(groups: Tensor | None, n: int) -> np.ndarray | None:
    if groups is None:
        return None
    if groups.shape != (n,):
        raise ValueError(f"groups must be one for each of {n} phrases: got {list(groups.shape)}")
    return groups.numpy()
