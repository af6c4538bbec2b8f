"""What a melody copies: its longest run of notes that another one has too, note for note.

Notes are the same where pitch, start and length are, all pitches moved by any number of semitones and all starts by any
number of steps. It is the longest common substring of the two, by dynamic programming (e.g. Gusfield 1997, 7.4).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_NO_STEP = np.iinfo(np.int64).max    # before a line's first note: no run goes on over it


def longest_copies(queries: Sequence[np.ndarray], corpus: Sequence[np.ndarray], moving: bool = False) -> Tensor:
    """The longest run of notes that each of n lines has in common with one of a corpus.

    Args:
        queries, corpus: lines [notes, 3] of pitch, start and end step, in order.
        moving: count only notes of a run whose pitch is another than that of the note before: a note that is struck on and
            on is in many a piece, and nobody's.
    Returns:
        [n] int64 notes; 0 for a line without notes, and where the corpus has none.
    """
    wanted = [_facts(line) for line in corpus if len(line)]
    lengths, steps = (np.concatenate(each) for each in zip(*wanted)) if wanted else (np.zeros(0), np.zeros((0, 2)))
    found = []
    for query in queries:
        longest, runs = 0, np.zeros((len(lengths), 2), np.int64)    # notes, and moves, up to each note of the corpus
        for length, step in zip(*_facts(query)):
            before = np.concatenate([np.zeros((1, 2), np.int64), runs[:-1]])
            goes_on = (before[:, 0] > 0) & (steps == step).all(1)
            runs = np.where(goes_on[:, None], before, 0) + np.stack([np.ones_like(goes_on), goes_on & (step[0] != 0)], 1)
            runs *= (lengths == length)[:, None]
            longest = max(longest, int(runs[:, int(moving)].max(initial=0)))
        found.append(longest)
    return torch.tensor(found, dtype=torch.int64)


def _facts(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How long each note lasts [n], and how far pitch and start lie from those of the note before [n, 2]."""
    before = np.full((min(len(line), 1), 2), _NO_STEP)
    return line[:, 2] - line[:, 1], np.concatenate([before, np.diff(line[:, :2], axis=0)])
