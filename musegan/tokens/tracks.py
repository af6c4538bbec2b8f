"""All tracks of a band in one sequence: what starts, how long it lasts, and how far it is to what starts next.

| token | says |
|---|---|
| begin, end | |
| track and pitch | a note starts now; those of one step come by track, then from the lowest pitch up |
| 1 to T steps long | of the note before it; longer ones add whole bars before: T, T, 5. Hits of drums have no length |
| 1 to T steps on | from now to the step where something starts, or to the end; longer ways begin with whole bars |

A table of notes without overlap in a voice comes back exactly. Source: the interleaved tracks of Huang et al. 2018 (Music
Transformer) and Ens and Pasquier 2020 (MMM), on a grid; a track and its pitch are one token, as in Payne 2019 (MuseNet).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from musegan.errors import UserError
from musegan.tokens.vocabulary import BEGIN, END, Vocabulary

FIRST_NOTE = 2
MAX_SIZE = 1 << 14    # tokens; whether each may come after each takes 256 MB then, and each fits an int16


@dataclass(frozen=True)
class TrackVocabulary(Vocabulary):
    """The tokens of several tracks, or of one with several notes at once."""

    is_drum: tuple[bool, ...]
    """Of each track."""

    def __post_init__(self):
        super().__post_init__()
        if self.size > MAX_SIZE:
            raise UserError(f"{len(self.is_drum)} tracks of {self.n_pitches} pitches and {self.steps_per_bar} steps a bar take "
                            f"{self.size:,} tokens: at most {MAX_SIZE:,} are possible (data.encoding=tracks)")

    @property
    def size(self) -> int:
        return self._first_shift + self.steps_per_bar

    @property
    def _first_length(self) -> int:
        return FIRST_NOTE + len(self.is_drum) * self.n_pitches

    @property
    def _first_shift(self) -> int:
        return self._first_length + self.steps_per_bar

    @cached_property
    def lasting(self) -> Tensor:
        lasting = torch.zeros(self.size, dtype=torch.int64, device="cpu")
        lasting[self._first_shift :] = torch.arange(1, self.steps_per_bar + 1, device="cpu")
        return lasting

    @cached_property
    def length(self) -> Tensor:
        length = torch.zeros(self.size, dtype=torch.int64, device="cpu")
        length[self._first_length : self._first_shift] = torch.arange(1, self.steps_per_bar + 1, device="cpu")
        return length

    @cached_property
    def voice(self) -> Tensor:
        token = torch.arange(self.size, device="cpu")
        return torch.where((token >= FIRST_NOTE) & (token < self._first_length), token - FIRST_NOTE, -1)

    @cached_property
    def pitch(self) -> Tensor:
        drums = torch.tensor(self.is_drum, device="cpu")[self.voice.clamp(min=0) // self.n_pitches]    # [V]
        return torch.where(drums, -1, super().pitch)

    @cached_property
    def follows(self) -> Tensor:
        follows = torch.zeros(self.size, self.size, dtype=torch.bool, device="cpu")
        note, length, shift = FIRST_NOTE, self._first_length, self._first_shift
        is_pitched = self.pitch >= 0
        is_hit = (self.voice >= 0) & ~is_pitched
        follows[BEGIN, END:length] = follows[BEGIN, shift:] = True
        follows[is_pitched, length:shift] = True
        follows[is_hit, note:length] = follows[is_hit, shift:] = True
        follows[length:shift, note:length] = follows[length:shift, shift:] = True
        follows[shift - 1, length:shift] = True    # a whole bar, and more
        follows[shift:, END:length] = True
        follows[-1, shift:] = True
        return follows

    def encode(self, notes: np.ndarray, n_steps: int) -> np.ndarray:
        t, (voice, start, end) = self.steps_per_bar, notes[np.lexsort((notes[:, 0], notes[:, 1]))].T
        is_pitched = ~np.array(self.is_drum)[voice // self.n_pitches]
        bars_on, steps_on = np.divmod(np.diff(np.concatenate([[0], start, [n_steps]])), t)    # [n + 1]: to each and to the end
        bars_long, steps_long = np.divmod((end - start) * is_pitched, t)    # [n]
        nothing = np.zeros(1, np.int64)
        columns = [    # token, and how often: whole bars on, steps on, the note, whole bars long, steps long
            (self.size - 1 + 0 * bars_on, bars_on),
            (self._first_shift + steps_on - 1, steps_on > 0),
            (FIRST_NOTE + np.append(voice, nothing), np.append(voice >= 0, nothing)),
            (self._first_shift - 1 + 0 * bars_on, np.append(bars_long, nothing)),
            (self._first_length + np.append(steps_long, nothing) - 1, np.append(steps_long > 0, nothing)),
        ]
        tokens, counts = (np.stack(part, 1).ravel() for part in zip(*columns))    # [(n + 1) * 5]
        return np.repeat(tokens, counts)

    def open_ended(self, tokens: np.ndarray) -> np.ndarray:
        says_more = np.flatnonzero(self.lasting.numpy()[tokens] == 0)
        return tokens[: says_more[-1] + 1 if len(says_more) else 0]

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        tokens = self._checked(tokens)
        starts = self.lasting[tokens].cumsum(0)    # [L]
        index = (self.voice[tokens] >= 0).nonzero().squeeze(1)    # [n] of notes
        ends = torch.cat([index[1:], torch.tensor([len(tokens)])])    # before which the tokens of each end
        lengths = torch.cat([torch.zeros(1, dtype=torch.int64), self.length[tokens].cumsum(0)])    # [L + 1]
        voice, start, length = self.voice[tokens[index]], starts[index], lengths[ends] - lengths[index]
        unordered = (voice[1:] <= voice[:-1]) & (start[1:] == start[:-1])
        if unordered.any():
            place = int(index[1:][unordered][0])
            raise ValueError(f"notes of one step must come in order: token {int(tokens[place])}, at {place}, does not")
        is_hit = self.pitch[tokens[index]] < 0
        kept = is_hit | (length > 0)    # a pitch without a length is none yet
        notes = torch.stack([voice, start, start + torch.where(is_hit, 1, length)], 1)[kept].numpy()    # [n, 3]
        order = np.lexsort((notes[:, 1], notes[:, 0]))    # by voice, then time
        same = notes[order[1:], 0] == notes[order[:-1], 0]
        cut = order[:-1][same]    # a note that is struck again ends there
        notes[cut, 2] = np.minimum(notes[cut, 2], notes[order[1:][same], 1])
        return notes
