"""Building blocks of networks: convolutions along time written as matrix products, minibatch statistics.

Everything here works on [N, time, channels]: a convolution whose kernel equals its stride is then one
matrix product and a view, which is what makes these networks fast on small machines.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musegan.models.batch import at_least_float32, batch_norm, pooled


class TimeConv(nn.Linear):
    """A 3-tap convolution along time, as one matrix product: [N, time, C_in] -> [N, time, C_out].

    Time is a circle: zeros at the ends would show in the first and last beat of every phrase.
    """

    def __init__(self, n_in: int, n_out: int):
        super().__init__(3 * n_in, n_out)

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(torch.cat([h.roll(1, dims=1), h, h.roll(-1, dims=1)], dim=-1))


class ChannelNorm(nn.BatchNorm1d):
    """Batch norm over the last axis of [N, time, C], over the batch of all processes."""

    def forward(self, h: Tensor) -> Tensor:
        return batch_norm(self, h)


class Residual(nn.Module):
    """Two 3-tap convolutions along time beside the identity: [N, time, C] -> the same.

    Args:
        width: C.
        norm: batch norm before each activation (generator); a discriminator has none.
    """

    def __init__(self, width: int, norm: bool):
        super().__init__()
        self.norm_1 = ChannelNorm(width) if norm else nn.Identity()
        self.norm_2 = ChannelNorm(width) if norm else nn.Identity()
        self.conv_1 = TimeConv(width, width)
        self.conv_2 = TimeConv(width, width)

    def forward(self, h: Tensor) -> Tensor:
        x = self.conv_1(F.leaky_relu(self.norm_1(h), 0.2))
        return h + self.conv_2(F.leaky_relu(self.norm_2(x), 0.2))


def minibatch_stddev(h: Tensor) -> Tensor:
    """How much the samples of a batch differ, as one more channel: [N, C] -> [N, C + 1].

    Source: Karras et al. 2018 (Progressive GAN), with the whole batch, of all processes, as one group.
    """
    h = at_least_float32(h)
    _, variance = pooled(h.mean(0), h.var(0, unbiased=False))
    deviation = (variance + 1e-8).sqrt().mean()
    return torch.cat([h, deviation.expand(len(h), 1)], dim=1)
