"""What the papers' networks share: their strides, a track's two private streams in the generator, and how all begins.

Source: Dong et al. 2018, Dong and Yang 2018, and the code released with them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musegan.errors import UserError
from musegan.models.batch import at_least_float32, n_processes, pooled
from musegan.models.generator import RollLogits, check_positive
from musegan.models.layout import Layout
from musegan.models.strided import FoldedNorm, Norm, linear_relu, linear_relu_dot
from musegan.roll import RollSpec

SEMITONES = 12


class Shape:
    """The strides of the networks, which multiply to the shape of a roll.

    Steps: a bar has `beats` beats, a beat `outer * inner` steps, `outer` the largest divisor up to 4: 48 = 4 * 4 * 3
    in the third release, 96 = 4 * 4 * 6 in BinaryMuseGAN. Pitches: 84 are 7 octaves of 12, and these overlap in 3
    `groups` of 3, two steps apart; other pitches are padded to whole octaves (the generator cuts them off again, the
    discriminator sees silence), and these to an odd number. One octave or two are a single group.

    Args:
        spec: of the rolls.
        n_bars: B.
    """

    def __init__(self, spec: RollSpec, n_bars: int):
        self.n_bars, self.n_tracks, self.n_pitches = n_bars, spec.n_tracks, spec.n_pitches
        self.beats = spec.beats_per_bar
        self.outer = max(d for d in range(1, 5) if spec.steps_per_beat % d == 0)
        self.inner = spec.steps_per_beat // self.outer
        self.octaves = -(-spec.n_pitches // SEMITONES)
        self.groups = max(1, self.octaves // 2)
        self.group_octaves = min(3, self.octaves)
        self.bars_seen = min(2, n_bars)    # at once, by layers along the bars


class Streams(nn.Module):
    """The private streams of the tracks and their merge, from what the tracks share.

    The merge is a sum over both streams' channels, so each stream is merged on its own, before it is brought into the
    order of the other: what would be 32 numbers a cell is one.

    Args:
        shape: of the networks.
        n_in: channels of the shared input.
        n_middle, n_out: channels of the first and second layer of each stream.
    """

    def __init__(self, shape: Shape, n_in: int, n_middle: int, n_out: int):
        super().__init__()
        self.shape, k = shape, shape.n_tracks
        self.pitch_1 = weights(k, n_in, SEMITONES * n_middle)
        self.pitch_norm_1 = FoldedNorm(k, n_middle)
        self.time_1 = weights(k, n_middle, shape.inner * n_out)
        self.time_norm_1 = FoldedNorm(k, n_out)
        self.time_2 = weights(k, n_in, shape.inner * n_middle)
        self.time_norm_2 = FoldedNorm(k, n_middle)
        self.pitch_2 = weights(k, n_middle, SEMITONES * n_out)
        self.pitch_norm_2 = FoldedNorm(k, n_out)
        self.merge = weights(2, k, n_out)
        self.merge_norm = MergeNorm(k)

    def forward(self, h: Tensor) -> Tensor:
        """[N, B, beats, outer, octaves, C] -> [N, B, T, K, P]."""
        s, (n, b) = self.shape, h.shape[:2]
        places, inner = (n, b, s.beats * s.outer, s.octaves), s.inner
        h = h.flatten(0, -2).unsqueeze(0)    # [1, R, C]
        # Pitch, then time
        x = linear_relu(h, *self.pitch_norm_1(self.pitch_1, h))    # [K, R, 12 * 32]
        x = x.view(s.n_tracks, -1, self.time_1.shape[1])    # [K, R * 12, 32]
        x = linear_relu_dot(x, *self.time_norm_1(self.time_1, x), self.merge[0])    # [K, R * 12, inner]
        x = x.view(-1, *places, SEMITONES, inner)    # [K, N, B, beats * outer, octaves, 12, inner]
        # Time, then pitch
        y = linear_relu(h, *self.time_norm_2(self.time_2, h))    # [K, R, inner * 32]
        y = y.view(s.n_tracks, -1, self.pitch_2.shape[1])    # [K, R * inner, 32]
        y = linear_relu_dot(y, *self.pitch_norm_2(self.pitch_2, y), self.merge[1])    # [K, R * inner, 12]
        y = y.view(-1, *places, inner, SEMITONES)    # [K, N, B, beats * outer, octaves, inner, 12]
        cells = x.permute(1, 2, 3, 6, 0, 4, 5) + y.permute(1, 2, 3, 5, 0, 4, 6)    # [N, B, .., inner, K, octaves, 12]
        cells = cells.reshape(n, b, -1, s.n_tracks, s.octaves * SEMITONES)    # [N, B, T, K, octaves * 12]
        return self.merge_norm(cells[..., : s.n_pitches])


class MergeNorm(Norm):
    """Batch norm with one channel a track: [..., K, P] -> the same."""

    def forward(self, cells: Tensor) -> Tensor:
        if self.training:
            cells = at_least_float32(cells)
            n = cells.numel() // self.num_features * n_processes()
            axes = tuple(range(cells.dim() - 2)) + (-1,)
            mean = cells.mean(axes)    # [K]
            cells = cells - mean.unsqueeze(-1)
            variance = cells.square().mean(axes)
            if n_processes() > 1:
                own, (mean, variance) = mean, pooled(mean, variance)
                cells = cells + (own - mean).unsqueeze(-1)
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_var.lerp_((variance * (n / max(n - 1, 1))).to(self.running_var.dtype), self.momentum)
        else:
            cells, variance = cells - self.running_mean.unsqueeze(-1), self.running_var
        scale = self.weight * (variance + self.eps).rsqrt()
        return cells * scale.unsqueeze(-1) + self.bias.unsqueeze(-1)


def active(h: Tensor) -> Tensor:
    """The discriminator's activation. In place, on the view that a linear layer gives, its gradient would be copied."""
    return F.leaky_relu(h, 0.2)


def weights(*shape: int) -> nn.Parameter:
    """Weights as released: normal with deviation 0.05, cut off at twice that."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.05, a=-0.1, b=0.1))


def linear(n_in: int, n_out: int) -> nn.Linear:
    """A linear layer that begins as released."""
    layer = nn.Linear(n_in, n_out)
    layer.weight = weights(n_out, n_in)
    nn.init.zeros_(layer.bias)
    return layer


def plane_logits(layout: Layout, logits: Tensor) -> RollLogits:
    """Log-odds [N, B, T, F] of a whole layout -> planes; only drums have starts of their own."""
    frame, onset = layout.expand(logits, outside=-torch.inf)
    onset[:, [track.is_drum for track in layout.spec.tracks]] = torch.inf
    return RollLogits(frame, onset)


def check_whole(layout: Layout) -> None:
    """Checks that a layout is what the papers' networks work on.

    Raises:
        ValueError: it is not `Layout.whole`.
    """
    if layout != Layout.whole(layout.spec):
        raise ValueError("the layout must be Layout.whole: this network sees every pitch, and no onset plane")


def check_width(width: int) -> None:
    """Checks the channels of a bar, from which all others follow.

    Raises:
        UserError: they are not a multiple of 32.
    """
    check_positive(width=width)
    if width % 32:
        raise UserError(f"width must be a multiple of 32: got {width}")
