"""What all encodings share: begin and end, tables of what each token means, and the grammar of what may come next."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from musegan.roll import MAX_STEPS_PER_BAR, N_MIDI_PITCHES

BEGIN, END = 0, 1


class Place(NamedTuple):
    """Where in the grammar some sequences are; each [N] int64."""

    token: Tensor
    """The last one."""
    elapsed: Tensor
    """Steps of music."""
    note: Tensor
    """The token of the last note that starts at this step; 0 where none does yet. Those of one step come in order."""
    until: Tensor
    """The step at which the last note ends, as far as it has been said."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of an encoding, for any music within the pitches of a roll.

    Music is a table of notes [n, 3] int64: voice, start and end step, half-open, where the voice is pitch index (0 is the
    spec's lowest pitch) plus track index * `n_pitches`.
    """

    n_pitches: int
    """P of the roll, whatever pitches the data uses: so that it may be transposed."""
    steps_per_bar: int
    """T of the roll."""

    def __post_init__(self):
        for name, most in (("n_pitches", N_MIDI_PITCHES), ("steps_per_bar", MAX_STEPS_PER_BAR)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"{name} must be a whole number, 1 to {most}: got {value!r}")

    @property
    def size(self) -> int:
        """V, the number of tokens."""
        raise NotImplementedError

    @cached_property
    def lasting(self) -> Tensor:
        """[V] int64, by how many steps each token moves on."""
        raise NotImplementedError

    @cached_property
    def length(self) -> Tensor:
        """[V] int64, by how many steps each token makes the note before it longer, without moving on."""
        return torch.zeros(self.size, dtype=torch.int64, device="cpu")    # whatever device a model is built on

    @cached_property
    def voice(self) -> Tensor:
        """[V] int64, of a token that starts a note; -1 for others."""
        raise NotImplementedError

    @cached_property
    def pitch(self) -> Tensor:
        """[V] int64, pitch index of a token that starts a note of a pitched track; -1 for others."""
        return torch.where(self.voice >= 0, self.voice % self.n_pitches, -1)

    @cached_property
    def follows(self) -> Tensor:
        """[V, V] bool, whether the token of a column may come after that of a row, all else aside."""
        raise NotImplementedError

    def encode(self, notes: np.ndarray, n_steps: int) -> np.ndarray:
        """The tokens of notes [n, 3] within so many steps, without begin and end: [L] int64."""
        raise NotImplementedError

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """The notes of tokens [L], with or without begin and end.

        Returns:
            [n, 3] int64; the music lasts `lasting[tokens].sum()` steps.
        Raises:
            ValueError: a token is none, or may not come where it is.
        """
        raise NotImplementedError

    def open_ended(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens [L] of `encode`, without what says that nothing starts until their end: that may be true for longer."""
        return tokens

    def begin(self, n: int) -> Place:
        """The place of N sequences after their first token."""
        zeros = torch.zeros(n, dtype=torch.int64)
        return Place(zeros + BEGIN, zeros, zeros, zeros)

    def after(self, place: Place, token: Tensor) -> Place:
        """The place after one more token [N] each."""
        starts, lasts = self.voice[token] >= 0, self.lasting[token]
        return Place(
            token,
            place.elapsed + lasts,
            torch.where(lasts > 0, 0, torch.where(starts, token, place.note)),
            torch.where(starts, place.elapsed, place.until) + self.length[token],
        )

    def allowed(self, place: Place, n_steps: int, n_begun: int = 0) -> Tensor:
        """What may come so that music lasts exactly so many steps.

        Args:
            n_begun: steps of an `open_ended` beginning, before whose end nothing more starts.
        Returns:
            [N, V] bool, never nothing. When all steps are over, only the end.
        """
        left, n_more = n_steps - place.elapsed[:, None], n_steps - place.until[:, None]    # [N, 1]
        least = (n_begun - place.elapsed[:, None]).clamp(0, self.steps_per_bar)    # longer ways begin with whole bars
        fits = (self.lasting >= least) & (self.lasting <= left) & (self.length <= n_more)    # [N, V]
        ordered = (self.voice < 0) | (torch.arange(self.size) > place.note[:, None])
        is_end = torch.arange(self.size) == END
        return torch.where(left > 0, self.follows[place.token] & fits & ordered & ~is_end, is_end)

    def _checked(self, tokens: np.ndarray) -> Tensor:
        """Tokens [L] without a begin, each of which is one and may come after that before it."""
        tokens = torch.as_tensor(np.asarray(tokens, dtype=np.int64))
        if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) < self.size:
            raise ValueError(f"tokens must be 0 to {self.size - 1}: got {int(tokens.min())} to {int(tokens.max())}")
        tokens = tokens[1:] if len(tokens) and tokens[0] == BEGIN else tokens
        before = torch.cat([torch.tensor([BEGIN]), tokens[:-1]])
        wrong = torch.nonzero(~self.follows[before[: len(tokens)], tokens])
        if len(wrong):
            place = int(wrong[0])
            raise ValueError(f"token {int(tokens[place])} may not come after {int(before[place])}, at {place}")
        return tokens
