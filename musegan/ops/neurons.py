"""Binary neurons: 0 or 1 forward, the gradient of a sigmoid backward.

Source: Dong and Yang 2018 (BinaryMuseGAN); the slope-adjusted straight-through estimator of Chung et al. 2017.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from musegan.ops import _library
from musegan.ops.binarize import LOG2_E, _bernoulli_reference, _check_logits, check_stream, exp2


def deterministic_neuron(logits: Tensor, slope: float = 1.0) -> Tensor:
    """1 where a logit is above 0, else 0; backward as if it were sigmoid(slope * logit).

    The gradient is grad * slope * p * (1 - p) with p = sigmoid(slope * x), as grad * (slope * (e / (1 + e)^2)) with
    e = exp(-|slope * x|): float32, one rounding to a step and `exp` by the polynomial of `bernoulli`, so that it has
    the same bits from every kernel; rounded once more to 16-bit dtypes. In float64 it is computed in float64 with
    the library's `exp`, to its accuracy. It can be differentiated again.

    Args:
        logits: any shape; float32, float64, float16 or bfloat16. NaN gives 0, and NaN for a gradient.
        slope: above 0; 1 is the plain straight-through estimator, annealing raises it.
    Returns:
        0 and 1 in the dtype and shape of the logits, contiguous.
    Raises:
        TypeError: `logits` is not a tensor of these dtypes, or `slope` is not a number.
        ValueError: `slope` is not a finite number above 0.
    """
    _check_logits(logits)
    return torch.ops.musegan.neuron(logits, _checked_slope(slope))


def stochastic_neuron(logits: Tensor, seed: int, offset: int = 0, slope: float = 1.0) -> Tensor:
    """1 with probability sigmoid(slope * logit), else 0; backward as if it were that probability.

    The draw is that of `bernoulli` for y = x * slope, both float32, the product rounded once. The gradient is that
    of `deterministic_neuron`.

    Args:
        logits: any shape; float32, float64 (rounded to float32 for the draw), float16 or bfloat16.
        seed, offset: name the stretch of the random stream, as in `bernoulli`.
        slope: above 0.
    Returns:
        0 and 1 in the dtype and shape of the logits, contiguous.
    Raises:
        TypeError, ValueError: as `deterministic_neuron` and `bernoulli`.
    """
    _check_logits(logits)
    check_stream(logits, seed, offset)
    return torch.ops.musegan.stochastic_neuron(logits, _checked_slope(slope), seed, offset)


def _checked_slope(slope: float) -> float:
    if not isinstance(slope, (int, float, torch.SymFloat)) or isinstance(slope, bool):
        raise TypeError(f"slope must be a number: got {type(slope).__name__}")
    if not (slope > 0 and slope < math.inf):
        raise ValueError(f"slope must be a finite number above 0: got {slope}")
    return float(slope)


def _neuron_reference(logits: Tensor, slope: float) -> Tensor:
    return (logits > 0).to(logits.dtype).contiguous()


def _stochastic_neuron_reference(logits: Tensor, slope: float, seed: int, offset: int) -> Tensor:
    y = logits.float() * torch.tensor(slope, dtype=torch.float32)
    return _bernoulli_reference(y, seed, offset, None, False).to(logits.dtype)


def _neuron_backward_reference(grad: Tensor, logits: Tensor, slope: float) -> Tensor:
    if logits.dtype == torch.float64:
        e = torch.exp(-(logits * slope).abs())
        q = 1 + e
        return (grad * (slope * (e / (q * q)))).contiguous()
    s = torch.tensor(slope, dtype=torch.float32, device=logits.device)
    y = logits.float() * s
    e = exp2((y.abs() * -LOG2_E).clamp_(min=-126))
    q = 1 + e
    result = grad.float() * (s * (e / (q * q)))
    return torch.where(y.isnan(), y, result).to(logits.dtype).contiguous()


def _fake(logits: Tensor, *arguments) -> Tensor:
    return torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)


def _keep_logits(ctx, inputs: tuple, output: Tensor) -> None:
    logits, ctx.slope = inputs[:2]
    ctx.save_for_backward(logits)


def _backward(ctx, grad: Tensor) -> tuple:
    (logits,) = ctx.saved_tensors
    return torch.ops.musegan.neuron_backward(grad.to(logits.dtype), logits, ctx.slope), None, None, None


def _keep_both(ctx, inputs: tuple, output: Tensor) -> None:
    grad, logits, ctx.slope = inputs
    ctx.save_for_backward(grad, logits)


def _double_backward(ctx, grad: Tensor) -> tuple:
    """d/dgrad and d/dlogits of grad * s * p (1 - p), by the derivative s p (1 - p) (1 - 2 p) of the latter."""
    first_grad, logits = ctx.saved_tensors
    to_grad = torch.ops.musegan.neuron_backward(grad, logits, ctx.slope)
    p = torch.sigmoid(logits * ctx.slope)
    to_logits = grad * first_grad * ctx.slope**2 * p * (1 - p) * (1 - 2 * p)
    return to_grad, to_logits, None


_library.define(
    "neuron(Tensor logits, float slope) -> Tensor",
    _neuron_reference,
    _fake,
    autograd=(_keep_logits, lambda ctx, grad: _backward(ctx, grad)[:2]),
)
_library.define(
    "stochastic_neuron(Tensor logits, float slope, SymInt seed, SymInt offset) -> Tensor",
    _stochastic_neuron_reference,
    _fake,
    autograd=(_keep_logits, _backward),
)
_library.define(
    "neuron_backward(Tensor grad, Tensor logits, float slope) -> Tensor",
    _neuron_backward_reference,
    lambda grad, logits, slope: _fake(logits),
    autograd=(_keep_both, _double_backward),
)
