"""Given phrases as latents: read by an encoder, changed, and made again by its decoder."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from musegan.data.events import SongError
from musegan.data.piece import Piece, read_pieces
from musegan.data.sources import find_sources
from musegan.decoding import Decoding
from musegan.errors import UserError
from musegan.keys import Key, in_scale, key_shifts, transpose
from musegan.models import Generator, PhraseEncoder
from musegan.models.generator import MAX_BARS
from musegan.roll import Roll
from musegan.sampling import exact, render


class Encoded(NamedTuple):
    """A file as an encoder takes it."""

    name: str
    piece: Piece
    windows: list[Tensor]
    """[1, 1 + K, 1 + B', Z] of each, see `Autoencoder.encode`."""
    shift: Tensor
    """[1] int64, semitones by which the piece lies above C major / A minor."""


class Autoencoder:
    """An encoder and its decoder, which sounds from the encoder's thresholds, each cell by itself.

    The thresholds and the steadiness that a generator carries make its samples sound as often as the data, and as long; how
    sure it is of a phrase that was encoded is another matter.

    Args:
        model: the decoder.
        encoder: trained with it.
    """

    def __init__(self, model: Generator, encoder: PhraseEncoder):
        self.model, self.encoder = copy.deepcopy(exact(model)), exact(encoder)
        self._thresholds, self._steadiness = self.model.thresholds.clone(), self.model.steadiness.clone()    # of samples

    @torch.no_grad()
    def encode(self, roll: Roll) -> list[Tensor]:
        """The means of phrases' latents.

        Args:
            roll: planes [N, K, B, T, P] bool in the training key, B of 1 or more.
        Returns:
            [N, 1 + K, 1 + B', Z] float64 of each window, one after the other, as long as a phrase of training; the last one
            may be shorter.
        """
        features = self.model.layout.crop(roll).double()    # [N, B, T, F]
        return [self.encoder(window).mean for window in features.split(self.model.n_bars, dim=1)]

    def decode(self, latents: Tensor, decoding: Decoding = Decoding(), seed: int = 0, number: int = 0,
               drawn: int | None = None) -> Roll:    # fmt: skip
        """Phrases in the training key.

        Args:
            latents: of phrases, [N, 1 + K, 1 + B, Z] or as of `strung`.
            decoding: how logits become notes.
            seed, number: of random draws, the same for all phrases.
            drawn: a track whose latents come from no phrase; it sounds as in samples.
        Returns:
            planes [N, K, B, T, P] bool.
        """
        self.model.thresholds.copy_(self.encoder.thresholds)
        self.model.steadiness.zero_()
        if drawn is not None:
            self.model.thresholds[:, drawn] = self._thresholds[:, drawn]
            self.model.steadiness[drawn] = self._steadiness[drawn]
        return render(self.model, latents, seed, [number] * len(latents), decoding)

    def more(self, window: Tensor, amounts: Mapping[str, float]) -> Tensor:
        """Latents of phrases with more of some attributes, or with less.

        Args:
            window: [N, 1 + K, 1 + B, Z].
            amounts: of each attribute by name; 1 is as much as lies between training phrases with much and with little.
        Raises:
            UserError: the encoder knows no such attribute.
        Source: the attribute vectors of Roberts et al. 2018.
        """
        names = self.encoder.attributes
        for name, amount in amounts.items():
            if name not in names:
                raise UserError(f"--more: no attribute {name!r}; there are {', '.join(names)}")
            common, own = self.encoder.directions[names.index(name)].split(1, dim=1)    # [1 + K, 1, Z] each
            window = window + amount * torch.cat([common, own.expand(-1, window.shape[2] - 1, -1)], dim=1)
        return window

    def read(self, path: Path, key: Key | None = None) -> Encoded:
        """A file of one piece of music, in any form that `musegan prepare` reads.

        Args:
            key: the file's; by default it is found.
        Raises:
            UserError: it cannot be used.
        """
        sources = find_sources([path])
        if len(sources) > 1:
            raise UserError(f"--phrase takes a file of one piece: {path} has {len(sources)}")
        try:
            pieces = list(read_pieces(sources[0], self.model.spec))
            n_bars = pieces[0].roll.frame.shape[2]
            if len(pieces) > 1 or n_bars > MAX_BARS:
                has = f"{len(pieces)} pieces" if len(pieces) > 1 else f"{n_bars} bars"
                raise SongError(f"has {has}: a phrase is one piece of at most {MAX_BARS} bars")
        except SongError as err:
            raise UserError(f"{path}: {err}") from err
        # To a model of many keys, C major is as good as any
        shift = key_shifts(pieces[0].roll.frame, self.model.spec) if key is None else torch.tensor([key.shift])
        windows = self.encode(transpose(pieces[0].roll, -shift, self.model.spec))
        return Encoded(sources[0].name, pieces[0], windows, shift)

    def moved_back(self, roll: Roll, shift: Tensor, only_scale: bool) -> Roll:
        """Phrases in the key of a file; see `musegan.keys.in_scale` for `only_scale`."""
        shifts = shift.expand(len(roll.frame))
        roll = transpose(roll, shifts, self.model.spec)
        return in_scale(roll, shifts, self.model.spec) if only_scale else roll


def strung(windows: list[Tensor]) -> Tensor:
    """Latents [N, rows, 1 + B', Z] of phrases that follow each other, as those of one piece [N, rows, 2, B, Z].

    The piece is made in one go, so that its notes cross all bar lines alike.
    """
    common = torch.cat([window[:, :, :1].expand(-1, -1, window.shape[2] - 1, -1) for window in windows], dim=2)
    return torch.stack([common, torch.cat([window[:, :, 1:] for window in windows], dim=2)], dim=2)
