"""Speed of binary neurons, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.cases import Case, Rival, same_mean
from benchmarks.music import Sizes, logits
from musegan import ops
from musegan.ops import neurons

SEED, SLOPE = 7, 1.0


def cases(sizes: Sizes) -> Iterator[Case]:
    """Stochastic and deterministic neurons, of one phrase and of a batch."""
    for size in ("phrase", "batch"):
        x = logits(getattr(sizes, size)).requires_grad_()
        grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
        yield _stochastic(size, x, grad)
        yield _deterministic(size, x, grad)


def _stochastic(size: str, x: Tensor, grad: Tensor) -> Case:
    def straight_through() -> Tensor:
        p = torch.sigmoid(SLOPE * x)
        hard = (torch.rand_like(p) < p).float()
        return (hard - p).detach() + p

    def forward_reference(logits: Tensor) -> Tensor:
        return neurons._stochastic_neuron_reference(logits, SLOPE, SEED, 0)

    neuron = lambda: ops.stochastic_neuron(x, SEED, slope=SLOPE)    # noqa: E731
    return _case("stochastic neuron", size, x, grad, neuron, forward_reference, straight_through, _same_mean_and_gradient)


def _deterministic(size: str, x: Tensor, grad: Tensor) -> Case:
    def straight_through() -> Tensor:
        p = torch.sigmoid(SLOPE * x)
        hard = (p > 0.5).float()
        return (hard - p).detach() + p

    def forward_reference(logits: Tensor) -> Tensor:
        return neurons._neuron_reference(logits, SLOPE)

    neuron = lambda: ops.deterministic_neuron(x, slope=SLOPE)    # noqa: E731
    return _case("deterministic neuron", size, x, grad, neuron, forward_reference, straight_through, _close)


def _case(
    op: str,
    size: str,
    x: Tensor,
    grad: Tensor,
    neuron: Callable[[], Tensor],
    forward_reference: Callable[[Tensor], Tensor],
    straight_through: Callable[[], Tensor],
    agrees: Callable,
) -> Case:
    def forward_backward(forward: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        y = forward()
        return y, *torch.autograd.grad(y, x, grad)

    raw = x.detach()
    return Case(
        op, size, tuple(x.shape), x.dtype,
        native=lambda: forward_backward(neuron),
        reference=lambda: (forward_reference(raw), neurons._neuron_backward_reference(grad, raw, SLOPE)),
        rivals=(Rival("straight-through by autograd", lambda: forward_backward(straight_through), agrees),),
        bytes_read=x.nbytes + grad.nbytes + x.nbytes,    # forward the logits, backward the gradient and the logits
        bytes_written=2 * x.nbytes,
        compiled=size == "batch",
    )    # fmt: skip


def _close(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(ours, theirs))


def _same_mean_and_gradient(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> bool:
    return same_mean(ours[0], theirs[0]) and _close(ours[1:], theirs[1:])
