"""Products in pieces give what the plain ones give, values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from musegan.models import strided
from musegan.models.strided import FoldedNorm, linear_relu, linear_relu_dot, moments, overlap_add, overlapping


def draw(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def leaves(*tensors):
    return [tensor.clone().requires_grad_() for tensor in tensors]


def agree(fast, plain, *inputs):
    """Both functions of the same inputs, and gradients of a product of what they give with fixed numbers."""
    results = []
    for function in (fast, plain):
        own = leaves(*inputs)
        out = function(*own)
        outs = out if isinstance(out, tuple) else (out,)
        sum((o * draw(*o.shape, seed=7)).sum() for o in outs).backward()
        results.append([*outs, *(leaf.grad for leaf in own)])
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.fixture(autouse=True, params=[1, 100, 1 << 17])
def piece(request, monkeypatch):
    monkeypatch.setattr(strided, "_PIECE", request.param)
    monkeypatch.setattr(strided, "_BLOCK", 4)


@pytest.mark.parametrize("n_inputs", [1, 3])
def test_linear_relu(n_inputs):
    def plain(x, w, b):
        return (x @ w + b.unsqueeze(1)).relu()
    agree(linear_relu, plain, draw(n_inputs, 11, 4), draw(3, 4, 6), draw(3, 6))


def test_linear_relu_dot():
    def plain(x, w, b, d):
        return ((x @ w + b.unsqueeze(1)).relu().unflatten(2, (5, 2)) * d[:, None, None]).sum(-1)
    agree(linear_relu_dot, plain, draw(3, 11, 4), draw(3, 4, 10), draw(3, 10), draw(3, 2))


def test_moments():
    def plain(x):
        centred = x - x.mean(1, keepdim=True)
        return x.mean(1), centred.mT @ centred / x.shape[1]
    agree(moments, plain, draw(3, 11, 4) + 5)


def test_moments_far_from_zero_keep_their_digits():
    x = (draw(1, 5000, 4) * 0.01 + 30)
    single = moments(x.float())[1]
    torch.testing.assert_close(single.double(), moments(x.float().double())[1], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("n_inputs", [1, 3])
@pytest.mark.parametrize("training", [True, False])
def test_folded_norm_is_batch_norm_of_the_product(n_inputs, training):
    fast, plain = FoldedNorm(3, 2).double(), nn.BatchNorm1d(6, eps=1e-3, momentum=0.01).double()
    for norm in (fast, plain):
        norm.train(training)
        for i, each in enumerate((norm.weight, norm.bias, norm.running_mean, norm.running_var)):
            each.data = draw(3, 2, seed=i).abs().view_as(each) + 0.5
    gradients = []

    def folded(x, w):
        weight, bias = fast(w, x)
        return x @ weight + bias.unsqueeze(1)

    def batch_norm(x, w):
        y = (x @ w).unflatten(2, (5, 2)).permute(1, 2, 0, 3).flatten(2)    # [R, J, K * C]
        return plain(y.flatten(0, 1)).view_as(y).unflatten(2, (3, 2)).permute(2, 0, 1, 3).flatten(2)

    agree(folded, batch_norm, draw(n_inputs, 11, 4), draw(3, 4, 10))
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(fast, name).flatten(), getattr(plain, name))
    for name in ("weight", "bias"):
        gradients = [getattr(norm, name).grad.flatten() for norm in (fast, plain)]
        torch.testing.assert_close(*gradients)


def test_overlap_add_is_a_transposed_convolution_of_stride_2():
    y = draw(2, 3, 3, 4)    # [N, q, 3, C]
    weight = torch.eye(12, dtype=torch.float64).view(12, 3, 4).transpose(1, 2)    # [3 * C, C, 3]
    expected = F.conv_transpose1d(y.flatten(2).transpose(1, 2), weight, stride=2).transpose(1, 2)
    assert torch.equal(overlap_add(y), expected) and overlap_add(y).shape == (2, 7, 4)


def test_overlapping_is_what_a_convolution_of_stride_2_sees():
    h, weight = draw(2, 7, 4), draw(5, 4, 3, seed=1)
    expected = F.conv1d(h.transpose(1, 2), weight, stride=2).transpose(1, 2)    # [N, q, D]
    found = overlapping(h, 3).flatten(2) @ weight.transpose(1, 2).flatten(1).T
    torch.testing.assert_close(found, expected)
