"""Convolutions of the papers' networks as matrix products, and batch norm folded into them.

A convolution whose kernel equals its stride is one product and a view, whatever its axes. What a private stream of a
track computes at full resolution is larger than any cache, so the three functions below go through it in pieces that
fit one, and keep nothing for the backward pass that they can compute again: half of a naive step is page faults.

K tracks each have weights of their own; an input with one track instead of K is shared by all. R counts rows: samples
and places together.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from musegan.models.batch import at_least_float32, batch_norm, n_processes, pooled

EPSILON, MOMENTUM = 1e-3, 0.01    # tf.layers.batch_normalization
_PIECE = 1 << 17    # numbers of a temporary: half a megabyte
_BLOCK = 128    # rows that are summed in the dtype of the input, the rest of the way in float64


class Norm(nn.BatchNorm1d):
    """Batch norm over the last axis of [..., C]."""

    def __init__(self, n_channels: int):
        super().__init__(n_channels, eps=EPSILON, momentum=MOMENTUM)

    def forward(self, h: Tensor) -> Tensor:
        return batch_norm(self, h)


class FoldedNorm(nn.Module):
    """Batch norm of y = x W, folded into W, for K tracks: y itself is never needed without it.

    In training mode the moments of y follow from mean and covariance of x, which has fewer channels; like every batch
    norm it then also moves its running moments.

    Args:
        n_tracks: K.
        n_channels: C; W makes J places of C channels from a row, and a channel's moments are over all places.
    """

    def __init__(self, n_tracks: int, n_channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_tracks, n_channels))
        self.bias = nn.Parameter(torch.zeros(n_tracks, n_channels))
        self.register_buffer("running_mean", torch.zeros(n_tracks, n_channels))
        self.register_buffer("running_var", torch.ones(n_tracks, n_channels))

    def forward(self, weight: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """W [K, I, J * C] and its input [K or 1, R, I] -> weight [K, I, J * C] and bias [K, J * C] of the normed y."""
        with torch.autocast(x.device.type, enabled=False):    # moments and what is folded into weights need the digits
            return self._folded(weight, at_least_float32(x))

    def _folded(self, weight: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        n_places = weight.shape[-1] // self.weight.shape[-1]
        if self.training:
            mean, covariance = moments(x)
            centre = (mean.unsqueeze(1) @ weight).view(len(weight), n_places, -1)    # [K, J, C]
            spread = ((covariance @ weight) * weight).sum(1).view_as(centre)    # [K, J, C]
            mean = centre.mean(1)    # [K, C]
            variance = spread.mean(1) + (centre - mean.unsqueeze(1)).square().mean(1)
            mean, variance = pooled(mean, variance)
            self._follow(mean, variance, x.shape[1] * n_places * n_processes())
        else:
            mean, variance = self.running_mean, self.running_var
        scale = self.weight * (variance + EPSILON).rsqrt()
        shift = self.bias - mean * scale
        return weight * scale.repeat(1, n_places).unsqueeze(1), shift.repeat(1, n_places)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, n: int) -> None:
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), MOMENTUM)
        self.running_var.lerp_((variance * (n / max(n - 1, 1))).to(self.running_var.dtype), MOMENTUM)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [K, C] and covariance [K, C, C] over the rows of [K, R, C].

    Centred before squaring, and summed in float64: in float32 batch norm was ten times as far off as torch's own.
    """
    return _Moments.apply(x)


def linear_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """relu(x W + b): [K or 1, R, C], [K, C, D], [K, D] -> [K, R, D]."""
    return _exact(_LinearRelu, x, weight, bias)


def linear_relu_dot(x: Tensor, weight: Tensor, bias: Tensor, direction: Tensor) -> Tensor:
    """relu(x W + b), J places of E channels a row, along one direction: the wide middle is never kept.

    Args:
        x: [K, R, C].
        weight: [K, C, J * E].
        bias: [K, J * E].
        direction: [K, E].
    Returns:
        [K, R, J].
    """
    return _exact(_LinearReluDot, x, weight, bias, direction)


def overlap_add(y: Tensor) -> Tensor:
    """What a transposed convolution of kernel 3, stride 2 adds up: [..., q, 3, C] -> [..., 2 q + 1, C].

    With q = 1 nothing overlaps, and the kernel may have any size.
    """
    if y.shape[-3] == 1:
        return y.squeeze(-3)
    first, second, third = y.unbind(-2)    # [..., q, C]
    even = F.pad(first, (0, 0, 0, 1)) + F.pad(third, (0, 0, 1, 0))    # [..., q + 1, C]
    both = torch.stack([even, F.pad(second, (0, 0, 0, 1))], dim=-2)    # [..., q + 1, 2, C]
    return both.flatten(-3, -2)[..., :-1, :]


def overlapping(h: Tensor, q: int) -> Tensor:
    """What a convolution of kernel 3, stride 2 sees: [..., 2 q + 1, C] -> [..., q, 3, C].

    With q = 1 it sees all of them, whatever their number.
    """
    if q == 1:
        return h.unsqueeze(-3)
    return torch.stack([h[..., i : i + 2 * q - 1 : 2, :] for i in range(3)], dim=-2)


def _exact(function: type[torch.autograd.Function], *tensors: Tensor) -> Tensor:
    """Applies a function that writes its own products, in float32 where others are of half precision."""
    with torch.autocast(tensors[0].device.type, enabled=False):
        return function.apply(*map(at_least_float32, tensors))


def _pieces(n_tracks: int, n_rows: int, width: int) -> Iterator[tuple[int, slice]]:
    """Track and rows of each piece in which `width` numbers a row fit the cache."""
    step = max(1, _PIECE // width)
    for k in range(n_tracks):
        for start in range(0, n_rows, step):
            yield k, slice(start, min(start + step, n_rows))


def _where_positive(grad: Tensor, y: Tensor) -> Tensor:
    return torch.ops.aten.threshold_backward(grad, y, 0)


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        mean = x.mean(1)
        covariance = x.new_zeros(len(x), x.shape[2], x.shape[2], dtype=torch.float64)
        for k, rows in _pieces(*x.shape):
            centred = x[k, rows] - mean[k]
            whole = len(centred) // _BLOCK * _BLOCK
            blocks, rest = centred[:whole].unflatten(0, (-1, _BLOCK)), centred[whole:]
            covariance[k] += torch.bmm(blocks.mT, blocks).sum(0, dtype=torch.float64) + rest.T @ rest
        ctx.save_for_backward(x, mean)
        return mean, (covariance / x.shape[1]).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_mean, grad_covariance):
        x, mean = ctx.saved_tensors
        grad_mean, both = grad_mean / x.shape[1], (grad_covariance + grad_covariance.mT) / x.shape[1]
        grad_x = torch.empty_like(x)
        for k, rows in _pieces(*x.shape):
            torch.addmm(grad_mean[k], x[k, rows] - mean[k], both[k], out=grad_x[k, rows])
        return grad_x


class _LinearRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        y = x.new_empty(len(weight), x.shape[1], weight.shape[2])
        for k, rows in _pieces(*y.shape):
            torch.addmm(bias[k], x[min(k, len(x) - 1), rows], weight[k], out=y[k, rows]).relu_()
        ctx.save_for_backward(x, weight, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight, y = ctx.saved_tensors
        grad_x, grad_weight = torch.zeros_like(x), torch.zeros_like(weight)
        grad_bias = weight.new_zeros(len(weight), weight.shape[2])
        for k, rows in _pieces(*y.shape):
            source, through = min(k, len(x) - 1), _where_positive(grad[k, rows], y[k, rows])
            grad_weight[k].addmm_(x[source, rows].T, through)
            grad_bias[k] += through.sum(0)
            grad_x[source, rows].addmm_(through, weight[k].T)
        return grad_x, grad_weight, grad_bias


class _LinearReluDot(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, direction):
        n_tracks, n_places = len(weight), weight.shape[2] // direction.shape[1]
        result = x.new_empty(n_tracks, x.shape[1], n_places)
        for k, rows in _pieces(n_tracks, x.shape[1], weight.shape[2]):
            middle = torch.addmm(bias[k], x[k, rows], weight[k]).relu_()
            result[k, rows] = torch.mv(middle.view(-1, direction.shape[1]), direction[k]).view(-1, n_places)
        ctx.save_for_backward(x, weight, bias, direction)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight, bias, direction = ctx.saved_tensors
        grads = [torch.zeros_like(each) for each in ctx.saved_tensors]
        grad_x, grad_weight, grad_bias, grad_direction = grads
        for k, rows in _pieces(len(weight), x.shape[1], weight.shape[2]):
            middle = torch.addmm(bias[k], x[k, rows], weight[k]).relu_()
            own = grad[k, rows].reshape(-1)
            grad_direction[k] += torch.mv(middle.view(-1, direction.shape[1]).T, own)
            through = _where_positive(torch.outer(own, direction[k]).view_as(middle), middle)
            grad_weight[k].addmm_(x[k, rows].T, through)
            grad_bias[k] += through.sum(0)
            torch.mm(through, weight[k].T, out=grad_x[k, rows])
        return tuple(grads)
