"""A decoder-only Transformer that reads music: causal attention to all tokens before, with keys and values kept.

Source: Vaswani et al. 2017, with the norm before each part (Xiong et al. 2020) and rotary positions (Su et al. 2021), or
the sines of the former.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musegan.models.generator import Facts, check_positive
from musegan.models.sequence import SequenceModel, check_n_layers
from musegan.roll import RollSpec
from musegan.tokens import Encoding

Positions = Literal["rotary", "musical", "sinusoidal"]
_LONGEST = 10000.0    # wavelength, in tokens over 2 pi; Vaswani et al.
_ROOM = 128    # tokens by which what is kept grows: of all that attention reads, under 2% is then copied


class TransformerModel(SequenceModel):
    """Blocks of causal attention.

    Args:
        encoding, spec, n_bars, facts, position_in_bar: see `SequenceModel`.
        width: channels of a token; a multiple of twice `n_heads`.
        n_layers: blocks.
        n_heads: of the attention.
        positions: how a block knows which token is which: `rotary` turns queries and keys by the number of a token, `musical`
            in half of the heads by the step of music at which it is, see `bar_rates`; `sinusoidal` is added to tokens.
        dropout: of embeddings, and of what each block adds.
    """

    kind = "transformer"

    def __init__(
        self,
        encoding: Encoding,
        spec: RollSpec,
        n_bars: int,
        facts: Facts = Facts(),
        width: int = 128,
        n_layers: int = 4,
        n_heads: int = 4,
        positions: Positions = "rotary",
        position_in_bar: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__(encoding, spec, n_bars, facts, width, position_in_bar, dropout)
        check_positive(n_heads=n_heads)
        check_n_layers(n_layers)
        if width % (2 * n_heads):
            raise ValueError(f"width must be a multiple of twice n_heads: got width={width}, n_heads={n_heads}")
        if positions not in ("rotary", "musical", "sinusoidal"):
            raise ValueError(f"positions must be rotary, musical or sinusoidal: got {positions!r}")
        if positions == "musical" and n_heads % 2:
            raise ValueError(f"positions musical needs an even n_heads: got {n_heads}")
        self._positions = positions
        nn.init.normal_(self.embedding.weight, std=0.02)
        if self.position is not None:
            nn.init.normal_(self.position.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(width, n_heads, dropout) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)
        self.logits = nn.Linear(width, self.vocabulary.size)

    def read(
        self, h: Tensor, ends: Tensor, n_before: int, memory: tuple[Kept, ...]
    ) -> tuple[Tensor, tuple[Kept, ...]]:
        number = torch.arange(n_before, n_before + h.shape[1], device=h.device)
        n_heads, size, turn = self.blocks[0].n_heads, h.shape[2] // self.blocks[0].n_heads, None
        match self._positions:
            case "rotary":
                turn = rotation(number, rates(size), h.dtype)    # sines and cosines [L, C / heads / 2]
            case "musical":
                by_step = rotation(ends, bar_rates(size, self.spec.steps_per_bar), h.dtype)    # [N, L, C / heads / 2]
                both = zip(rotation(number.expand_as(ends), rates(size), h.dtype), by_step)
                turn = tuple(torch.stack(each, 1).repeat_interleave(n_heads // 2, 1) for each in both)    # [N, heads, L, ...]
            case "sinusoidal":
                h = h + torch.cat(rotation(number, rates(h.shape[2]), h.dtype), -1)
        h = self.dropout(h)    # [N, L, C]
        kept = []
        for block, before in zip(self.blocks, memory or [None] * len(self.blocks)):
            h, own = block(h, turn, n_before, before)
            kept.append(own)
        return self.logits(self.norm(h)), tuple(kept)    # [N, L, V]


class Kept:
    """Keys and values of the tokens a block has read, in tensors that have room for more.

    Those of tokens that come after a state are written behind its own, without copying these, by the first who reads on
    from it. Who reads on from the same state again gets a copy, as does all that a gradient may be asked of: what a state
    has told once, it tells for ever.

    Args:
        keys, values: [N, heads, M or more, C / heads].
        n_tokens: M, how many are written.
    """

    def __init__(self, keys: Tensor, values: Tensor, n_tokens: int):
        self._keys, self._values, self._n_tokens = keys, values, n_tokens

    def __getitem__(self, rows: Tensor) -> Kept:
        """A copy, of some sequences."""
        return Kept(self._keys[rows], self._values[rows], self._n_tokens)

    def after(self, n_before: int, keys: Tensor, values: Tensor) -> Kept:
        """What is kept of the first `n_before` tokens and of those after them, [N, heads, L, C / heads]."""
        n_all, kept = n_before + keys.shape[2], self
        if n_before != self._n_tokens or torch.is_grad_enabled() or self._keys.requires_grad:
            kept = Kept(*self.first(n_before), n_before)    # of which more is made below: a copy
        more = -(-n_all // _ROOM) * _ROOM - kept._keys.shape[2]
        if n_all > kept._keys.shape[2]:    # one after the other, so that little is there twice
            kept._keys = F.pad(kept._keys, (0, 0, 0, more))
            kept._values = F.pad(kept._values, (0, 0, 0, more))
        kept._keys[:, :, n_before:n_all] = keys
        kept._values[:, :, n_before:n_all] = values
        kept._n_tokens = n_all
        return kept

    def first(self, n_tokens: int) -> tuple[Tensor, Tensor]:
        """Keys and values of so many tokens."""
        return self._keys[:, :, :n_tokens], self._values[:, :, :n_tokens]


class Block(nn.Module):
    """Attention, then two layers for each token; each adds to what comes in."""

    def __init__(self, width: int, n_heads: int, dropout: float):
        super().__init__()
        self.n_heads, self._dropout = n_heads, dropout
        self.norm_attention, self.norm_dense = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, h: Tensor, turn: tuple[Tensor, Tensor] | None, n_before: int, before: Kept | None
    ) -> tuple[Tensor, Kept]:
        """One block.

        Args:
            h: [N, L, C].
            turn: see `rotated`.
            n_before, before: how many tokens came before, and what is kept of them; None at the begin.
        Returns:
            [N, L, C], and what is kept of all tokens.
        """
        parts = self.queries_keys_values(self.norm_attention(h)).unflatten(2, (3, self.n_heads, -1))
        parts = parts.permute(2, 0, 3, 1, 4)    # [3, N, heads, L, C / heads]
        q, k = parts[:2] if turn is None else rotated(parts[:2], turn)
        v = parts[2]
        n_new, n_all = h.shape[1], n_before + h.shape[1]
        kept = Kept(k, v, n_all) if before is None else before.after(n_before, k, v)
        k, v = kept.first(n_all)
        seen = None    # by a single new token, all
        if n_before and n_new > 1:
            seen = torch.ones(n_new, n_all, dtype=torch.bool, device=h.device).tril(n_before)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=not n_before)
        h = h + self._dropped(self.attended(attended.transpose(1, 2).flatten(2)))    # [N, L, C]
        return h + self._dropped(self.dense(self.norm_dense(h))), kept

    def _dropped(self, h: Tensor) -> Tensor:
        return F.dropout(h, self._dropout, self.training)


def rates(size: int) -> Tensor:
    """[size / 2] angles a token, at wavelengths from 2 pi up."""
    return _LONGEST ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)


def bar_rates(size: int, steps_per_bar: int) -> Tensor:
    """[size / 2] angles a step: of waves of a bar, a half, a third and so on, and of two bars, four, eight and so on; so that a
    head can look at the same place some bars ago, at any place in the bar."""
    n_parts = -(-size // 4)
    waves = torch.cat([torch.arange(1.0, n_parts + 1), 0.5 ** torch.arange(1.0, size // 2 - n_parts + 1)])    # in a bar
    return 2 * torch.pi / steps_per_bar * waves.double()


def rotation(place: Tensor, rate: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Sines and cosines of places [..., L] at D / 2 rates: each [..., L, D / 2]; of angles in float64, for far places."""
    angle = place.double()[..., None] * rate.to(place.device)
    return angle.sin().to(dtype), angle.cos().to(dtype)


def rotated(h: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Channels i and D / 2 + i of [..., L, D] turned by an angle, whose sines and cosines are [..., L, D / 2]."""
    sin, cos = turn
    a, b = h.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
