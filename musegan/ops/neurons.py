"""Binary neurons (minimal: schemas and references)."""

from __future__ import annotations

import torch
from torch import Tensor

from musegan.ops import _library
from musegan.ops.binarize import _EXP2, _LOG2_E, _bernoulli_reference


def _exp2(t: Tensor) -> Tensor:
    n = t.round()
    f = t - n
    p = torch.full_like(f, _EXP2[0])
    for constant in _EXP2[1:]:
        p = p * f + constant
    return (p.view(torch.int32) + (n.nan_to_num().to(torch.int32) << 23)).view(torch.float32)


def _neuron_reference(logits: Tensor, slope: float) -> Tensor:
    return (logits > 0).to(logits.dtype).contiguous()


def _stochastic_reference(logits: Tensor, slope: float, seed: int, offset: int) -> Tensor:
    y = logits.float() * torch.tensor(slope, dtype=torch.float32)
    return _bernoulli_reference(y, seed, offset, None, False).to(logits.dtype)


def _backward_reference(grad: Tensor, logits: Tensor, slope: float) -> Tensor:
    if logits.dtype == torch.float64:
        e = (-(logits * slope).abs()).exp()
        return (grad * (slope * (e / ((1 + e) * (1 + e))))).contiguous()
    s = torch.tensor(slope, dtype=torch.float32)
    y = logits.float() * s
    e = _exp2((y.abs() * -_LOG2_E).clamp(min=-126))
    q = 1 + e
    result = torch.where(y.isnan(), y, grad.float() * (s * (e / (q * q))))
    return result.to(logits.dtype).contiguous()


def _fake(logits: Tensor, *arguments) -> Tensor:
    return torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)


_library.define("neuron(Tensor logits, float slope) -> Tensor", _neuron_reference, _fake)
_library.define(
    "stochastic_neuron(Tensor logits, float slope, SymInt seed, SymInt offset) -> Tensor", _stochastic_reference, _fake
)
_library.define("neuron_backward(Tensor grad, Tensor logits, float slope) -> Tensor", _backward_reference, _fake)
