"""Melodies as tokens: a line of notes, one at a time, to whole numbers and back, in two encodings.

A *line* is a table of notes in order and without overlap. Both encodings begin with the same tokens, begin, end, rest and
one for each pitch, and have

| encoding | a token is | further tokens |
|---|---|---|
| grid | a step: a pitch that starts, one that is held, or a rest | hold |
| events | a pitch or a rest, or how long it lasts | 1 to T steps; longer ones add whole bars before: T, T, 5 |

Source: the grid is the article's integer encoding of quantised pitches, with holds and rests.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from musegan.tokens.vocabulary import BEGIN, END, Vocabulary

REST, FIRST_PITCH = 2, 3


@dataclass(frozen=True)
class LineVocabulary(Vocabulary):
    """The tokens of melodies."""

    encoding: Literal["grid", "events"]

    def __post_init__(self):
        super().__post_init__()
        if self.encoding not in ("grid", "events"):
            raise ValueError(f"encoding must be grid or events: got {self.encoding!r}")

    @property
    def size(self) -> int:
        return self._after_pitches + (1 if self.encoding == "grid" else self.steps_per_bar)

    @property
    def _after_pitches(self) -> int:
        """The grid's hold; of the events, a length of one step."""
        return FIRST_PITCH + self.n_pitches

    @cached_property
    def lasting(self) -> Tensor:
        lasting = torch.zeros(self.size, dtype=torch.int64, device="cpu")
        if self.encoding == "grid":
            lasting[REST:] = 1
        else:
            lasting[self._after_pitches :] = torch.arange(1, self.steps_per_bar + 1, device="cpu")
        return lasting

    @cached_property
    def voice(self) -> Tensor:
        token = torch.arange(self.size, device="cpu")
        return torch.where((token >= FIRST_PITCH) & (token < self._after_pitches), token - FIRST_PITCH, -1)

    @cached_property
    def follows(self) -> Tensor:
        follows = torch.zeros(self.size, self.size, dtype=torch.bool, device="cpu")
        after = self._after_pitches
        if self.encoding == "grid":
            follows[:, END:after] = True
            follows[FIRST_PITCH:, after] = True    # what is held has started
        else:
            follows[REST:after, after:] = True
            follows[BEGIN, END:after] = True
            follows[after:, END:after] = True
            follows[-1, after:] = True    # a whole bar, and more
        follows[END] = False
        return follows

    def encode(self, notes: np.ndarray, n_steps: int) -> np.ndarray:
        tokens = np.full(n_steps, REST)
        if self.encoding == "grid":
            for pitch, start, end in notes.tolist():
                tokens[start] = FIRST_PITCH + pitch
                tokens[start + 1 : end] = self._after_pitches
            return tokens
        events, now = [], 0
        for pitch, start, end in notes.tolist():
            events += self._event(REST, start - now) + self._event(FIRST_PITCH + pitch, end - start)
            now = end
        return np.array(events + self._event(REST, n_steps - now), dtype=np.int64)

    def _event(self, token: int, n_steps: int) -> list[int]:
        if not n_steps:
            return []
        n_bars, rest = divmod(n_steps, self.steps_per_bar)
        return [token, *[self.size - 1] * n_bars, *[self._after_pitches + rest - 1] * (rest > 0)]

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        tokens = self._checked(tokens)
        ends = self.lasting[tokens].cumsum(0)    # [L]
        begins = (tokens < self._after_pitches).nonzero().squeeze(1)    # of a note or rest, or the end
        spans = torch.stack([tokens, ends - self.lasting[tokens], ends], 1)[begins]    # [m, 3]
        spans[:-1, 2] = spans[1:, 1]    # until the next begins
        if len(spans):
            spans[-1, 2] = ends[-1]
        notes = spans[(spans[:, 0] >= FIRST_PITCH) & (spans[:, 1] < spans[:, 2])]    # a pitch without a length is none yet
        notes[:, 0] -= FIRST_PITCH
        return notes.numpy()
