"""Melodies as tokens: a line of notes, one at a time, to whole numbers and back, in two encodings.

A *line* is a table of notes [n, 3] int64, pitch index (0 is the spec's lowest pitch), start and end step, half-open, in
order and without overlap. Both encodings begin with the same tokens, begin, end, rest and one for each pitch, and have

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

from musegan.roll import MAX_STEPS_PER_BAR, N_MIDI_PITCHES

Encoding = Literal["grid", "events"]
BEGIN, END, REST, FIRST_PITCH = 0, 1, 2, 3


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of an encoding, for any melody within the pitches of a roll."""

    encoding: Encoding
    n_pitches: int
    """P of the roll, whatever pitches the data uses: so that it may be transposed."""
    steps_per_bar: int
    """T of the roll."""

    def __post_init__(self):
        if self.encoding not in ("grid", "events"):
            raise ValueError(f"encoding must be grid or events: got {self.encoding!r}")
        for name, most in (("n_pitches", N_MIDI_PITCHES), ("steps_per_bar", MAX_STEPS_PER_BAR)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"{name} must be a whole number, 1 to {most}: got {value!r}")

    @property
    def size(self) -> int:
        """V, the number of tokens."""
        return self._after_pitches + (1 if self.encoding == "grid" else self.steps_per_bar)

    @property
    def _after_pitches(self) -> int:
        """The grid's hold; of the events, a length of one step."""
        return FIRST_PITCH + self.n_pitches

    @cached_property
    def lasting(self) -> Tensor:
        """[V] int64, by how many steps each token moves on."""
        lasting = torch.zeros(self.size, dtype=torch.int64, device="cpu")    # whatever device a model is built on
        if self.encoding == "grid":
            lasting[REST:] = 1
        else:
            lasting[self._after_pitches :] = torch.arange(1, self.steps_per_bar + 1, device="cpu")
        return lasting

    @cached_property
    def follows(self) -> Tensor:
        """[V, V] bool, whether the token of a column may come after that of a row."""
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

    def encode(self, line: np.ndarray, n_steps: int) -> np.ndarray:
        """The tokens of a line [n, 3] that lasts so many steps, without begin and end: [L] int64."""
        tokens = np.full(n_steps, REST)
        if self.encoding == "grid":
            for pitch, start, end in line.tolist():
                tokens[start] = FIRST_PITCH + pitch
                tokens[start + 1 : end] = self._after_pitches
            return tokens
        events, now = [], 0
        for pitch, start, end in line.tolist():
            events += self._event(REST, start - now) + self._event(FIRST_PITCH + pitch, end - start)
            now = end
        return np.array(events + self._event(REST, n_steps - now), dtype=np.int64)

    def _event(self, token: int, n_steps: int) -> list[int]:
        if not n_steps:
            return []
        n_bars, rest = divmod(n_steps, self.steps_per_bar)
        return [token, *[self.size - 1] * n_bars, *[self._after_pitches + rest - 1] * (rest > 0)]

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """The line of tokens [L], with or without begin and end.

        Returns:
            [n, 3] int64; it lasts `lasting[tokens].sum()` steps.
        Raises:
            ValueError: a token is none, or may not come where it is.
        """
        tokens = torch.as_tensor(np.asarray(tokens, dtype=np.int64))
        if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) < self.size:
            raise ValueError(f"tokens must be 0 to {self.size - 1}: got {int(tokens.min())} to {int(tokens.max())}")
        tokens = tokens[1:] if len(tokens) and tokens[0] == BEGIN else tokens
        before = torch.cat([torch.tensor([BEGIN]), tokens[:-1]])
        wrong = torch.nonzero(~self.follows[before[: len(tokens)], tokens])
        if len(wrong):
            place = int(wrong[0])
            raise ValueError(f"token {int(tokens[place])} may not come after {int(before[place])}, at {place}")
        ends = self.lasting[tokens].cumsum(0)    # [L]
        begins = (tokens < self._after_pitches).nonzero().squeeze(1)    # of a note or rest, or the end
        spans = torch.stack([tokens, ends - self.lasting[tokens], ends], 1)[begins]    # [m, 3]
        spans[:-1, 2] = spans[1:, 1]    # until the next begins
        if len(spans):
            spans[-1, 2] = ends[-1]
        notes = spans[(spans[:, 0] >= FIRST_PITCH) & (spans[:, 1] < spans[:, 2])]    # a pitch without a length is none yet
        notes[:, 0] -= FIRST_PITCH
        return notes.numpy()
