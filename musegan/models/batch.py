"""Statistics over a batch of which each process holds a part: those of the whole batch, in every process.

With one process everything here is what it is without this file, bit for bit. With several, every process must come by
in the same order; gradients flow between them, of any order, and what a process gets for its own weights is the
gradient of the sum over all processes of what they differentiate.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


def n_processes() -> int:
    """How many processes share a batch; 1 where none was joined by others."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if n_processes() > 1 else 0


def sum_over_processes(x: Tensor) -> Tensor:
    """The sum of the processes' tensors of one shape, in each of them."""
    return _Sum.apply(x) if n_processes() > 1 else x


def pooled(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Moments over the whole batch, of those over this process's part; the parts are equally large.

    Args:
        mean, variance: of one shape; the variance is divided by the count, not by the count less one.
    """
    if n_processes() == 1:
        return mean, variance
    own = torch.zeros(n_processes(), 1, *[1] * mean.ndim, dtype=mean.dtype, device=mean.device)
    own[rank()] = 1
    means, variances = sum_over_processes(own * torch.stack([mean, variance])).unbind(1)    # [processes, ...] both
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)    # no cancellation


def batch_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d, h: Tensor) -> Tensor:
    """What `norm` makes of the last axis of [..., C], by moments of the whole batch where it is in training mode."""
    rows = h.flatten(0, -2)    # [R, C]
    if n_processes() == 1 or not norm.training:
        return nn.BatchNorm1d.forward(norm, rows).view_as(h)
    rows = at_least_float32(rows)
    mean, variance = pooled(rows.mean(0), rows.var(0, unbiased=False))
    n = len(rows) * n_processes()
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (n / max(n - 1, 1)), norm.momentum)
    rows = (rows - mean) * (norm.weight * (variance + norm.eps).rsqrt()) + norm.bias
    return rows.to(h.dtype).view_as(h)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm of [N, C, H, W], over the batch of all processes."""

    def forward(self, h: Tensor) -> Tensor:
        if n_processes() == 1 or not self.training:
            return super().forward(h)
        return batch_norm(self, h.movedim(1, -1)).movedim(-1, 1)


def at_least_float32(h: Tensor) -> Tensor:
    """What moments are taken of: half precision has too few digits for them."""
    return h.to(torch.promote_types(h.dtype, torch.float32))


class _Sum(torch.autograd.Function):
    """An all-reduce whose gradient is the same all-reduce, and so on."""

    @staticmethod
    def forward(ctx, x):
        total = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, grad):
        return _Sum.apply(grad)
