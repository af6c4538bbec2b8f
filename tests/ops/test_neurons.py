"""Binary neurons: forward, the gradient's definition, every native level, torch's own checks, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounter

from musegan import ops
from musegan.ops import binarize, neurons
from tests.ops.kernels import kernels, need_native
from tests.ops.test_binarize import oracle_bernoulli, some_logits

SLOPES = (1.0, 0.3, 2.5)
SIXTEEN_BIT = (torch.float16, torch.bfloat16)


@np.errstate(all="ignore")
def oracle_gradient(grad: float, x: float, slope: float) -> np.float32:
    """The definition, numpy rounding each step."""
    f32 = np.float32
    y = f32(x) * f32(slope)
    if math.isnan(y):
        return f32(math.nan)
    t = max(abs(y) * -f32(1.4426950216293335), f32(-126))
    n = f32(round(float(t)))
    f, p = t - n, f32(0.001326472731307149)
    for c in (0.009671512991189957, 0.05550733581185341, 0.24022242426872253, 0.6931470036506653, 1.0):
        p = p * f + f32(c)
    e = (np.array(p).view(np.int32) + np.int32(int(n) << 23)).astype(np.int32).view(np.float32)
    q = f32(1) + e
    return f32(grad) * (f32(slope) * (e / (q * q)))


@pytest.mark.parametrize("dtype", binarize.DTYPES)
@pytest.mark.parametrize("slope", SLOPES)
def test_forward(dtype, slope):
    x = some_logits(700, dtype)
    deterministic = [float(value > 0) for value in x.tolist()]
    y = (x.float() * torch.tensor(slope)).tolist()
    stochastic = [float(bit) for bit in oracle_bernoulli(y, 9, 300)]
    for name, kernel in kernels("neuron", neurons._neuron_reference):
        out = kernel(x, slope)
        assert out.dtype == dtype and out.tolist() == deterministic, name
    for name, kernel in kernels("stochastic_neuron", neurons._stochastic_neuron_reference):
        out = kernel(x, slope, 9, 300)
        assert out.dtype == dtype and out.tolist() == stochastic, name


@pytest.mark.parametrize("slope", SLOPES)
def test_gradient_is_its_definition(slope):
    x = torch.cat([some_logits(900), torch.linspace(-100, 100, 301)])
    grad = torch.randn(len(x), generator=torch.Generator().manual_seed(1))
    wanted = np.array([oracle_gradient(g, v, slope) for g, v in zip(grad.tolist(), x.tolist())], np.float32)
    for name, kernel in kernels("neuron_backward", neurons._neuron_backward_reference):
        got = kernel(grad, x, slope).numpy()
        nan = np.isnan(wanted)
        assert nan.sum() == 1 and (np.isnan(got) == nan).all(), name
        assert (got.view(np.int32) == wanted.view(np.int32))[~nan].all(), name


@pytest.mark.parametrize("dtype", SIXTEEN_BIT)
def test_gradient_of_16_bits_is_rounded_once(dtype):
    x, grad = some_logits(5000, dtype), torch.randn(5000, generator=torch.Generator().manual_seed(1)).to(dtype)
    exact = neurons._neuron_backward_reference(grad.float(), x.float(), 1.5)
    tiny = torch.tensor([1e-7, 6e-8, 2.9e-8, 1e-40, 65519.0, 65520.0, 1e38]).to(dtype)    # subnormal and overflowing
    for name, kernel in kernels("neuron_backward", neurons._neuron_backward_reference):
        torch.testing.assert_close(kernel(grad, x, 1.5), exact.to(dtype), rtol=0, atol=0, equal_nan=True, msg=name)
        got = kernel(tiny, torch.zeros_like(tiny), 4.0)    # slope / 4 = 1: the gradient as it is
        assert torch.equal(got, tiny), name


@pytest.mark.parametrize("neuron", [ops.deterministic_neuron, lambda x, slope: ops.stochastic_neuron(x, 3, 5, slope)])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 2e-6), (torch.float64, 1e-14)])
def test_gradient_is_that_of_the_sigmoid(neuron, dtype, tolerance):
    x = (some_logits(400).nan_to_num(0, 5, -5).clamp(-20, 20)).to(dtype).requires_grad_()
    grad = torch.randn(400, generator=torch.Generator().manual_seed(1)).to(dtype)
    (got,) = torch.autograd.grad(neuron(x, 1.7), x, grad)
    (wanted,) = torch.autograd.grad(torch.sigmoid(1.7 * x.double()), x, grad.double())
    assert got.dtype == dtype
    torch.testing.assert_close(got, wanted.to(dtype), rtol=tolerance * 10, atol=tolerance)


def test_double_backward():
    """The gradient as a function of grad and logits, differentiated by finite differences in float64."""
    x = torch.linspace(-4, 4, 15, dtype=torch.float64, requires_grad=True)
    grad = torch.linspace(1, 2, 15, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda g, v: torch.ops.musegan.neuron_backward(g, v, 1.3), (grad, x))
    (first,) = torch.autograd.grad(ops.deterministic_neuron(x, 1.3), x, torch.ones_like(x), create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    p = torch.sigmoid(1.3 * x)
    torch.testing.assert_close(second, 1.3**2 * p * (1 - p) * (1 - 2 * p))


def test_a_third_order_gradient_needs_only_what_is_there():
    x = torch.linspace(-2, 2, 5, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(ops.deterministic_neuron(x), x, torch.ones_like(x), create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    (third,) = torch.autograd.grad(second.sum(), x)
    p = torch.sigmoid(x)
    torch.testing.assert_close(third, p * (1 - p) * (1 - 6 * p + 6 * p * p))


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 0), (255,), (4096,), (4097,), (3, 7, 1999)])
@pytest.mark.parametrize("offset", [0, 100, 2**40 + 3])
def test_native_equals_reference(shape, offset):
    x = some_logits(math.prod(shape)).view(shape)
    wanted = neurons._stochastic_neuron_reference(x, 1.1, 5, offset)
    for name, kernel in kernels("stochastic_neuron", neurons._stochastic_neuron_reference):
        assert torch.equal(kernel(x, 1.1, 5, offset), wanted), name
    gradient = neurons._neuron_backward_reference(x.nan_to_num(), x.nan_to_num(), 1.1)
    for name, kernel in kernels("neuron_backward", neurons._neuron_backward_reference):
        assert torch.equal(kernel(x.nan_to_num(), x.nan_to_num(), 1.1), gradient), name


def test_views_and_threads():
    x = some_logits(60_000).nan_to_num().view(20, 30, 100).transpose(0, 2)[::2]
    wanted = neurons._stochastic_neuron_reference(x.contiguous(), 1.0, 5, 0)
    before = torch.get_num_threads()
    for n_threads in (1, 2, 5):
        torch.set_num_threads(n_threads)
        assert torch.equal(ops.stochastic_neuron(x, 5), wanted)
        gradient = torch.ops.musegan.neuron_backward(torch.ones(()).expand(x.shape), x, 1.0)
        assert torch.equal(gradient, neurons._neuron_backward_reference(torch.ones(x.shape), x, 1.0))
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", binarize.DTYPES)
def test_opcheck(dtype):
    x = some_logits(60, dtype).nan_to_num(0, 5, -5).clamp(-9, 9).view(2, 30)    # or the checks themselves give NaN
    for logits in (x, x.t(), x[:0], x.clone().requires_grad_()):
        torch.library.opcheck(torch.ops.musegan.neuron.default, (logits, 1.5))
        torch.library.opcheck(torch.ops.musegan.stochastic_neuron.default, (logits, 1.5, 7, 300))
        torch.library.opcheck(torch.ops.musegan.neuron_backward.default, (logits.detach(), logits, 1.5))


def test_compile_export_vmap():
    counter = CompileCounter()
    sample = torch.compile(lambda x, seed: ops.stochastic_neuron(x, seed, slope=1.5), backend=counter, fullgraph=True)
    x = some_logits(500).nan_to_num()
    for seed in (5, -3, 17, 2**40, 99):
        assert torch.equal(sample(x, seed), ops.stochastic_neuron(x, seed, slope=1.5))
    assert counter.frame_count <= 3

    class Module(torch.nn.Module):
        def forward(self, x):
            return ops.stochastic_neuron(x, 5) + ops.deterministic_neuron(x)

    exported = torch.export.export(Module(), (x,)).module()
    assert torch.equal(exported(x), Module()(x))
    rows = x.view(5, 100)
    assert torch.equal(torch.vmap(ops.deterministic_neuron)(rows), ops.deterministic_neuron(rows))


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((torch.zeros(3, dtype=torch.int64),), TypeError, "logits must be float32, float64, float16 or bfloat16: got"),
        ((torch.zeros(3), "1"), TypeError, "slope must be a number: got str"),
        ((torch.zeros(3), 0.0), ValueError, "slope must be a finite number above 0: got 0.0"),
        ((torch.zeros(3), math.nan), ValueError, "slope must be a finite number above 0: got nan"),
        ((torch.zeros(3), math.inf), ValueError, "slope must be a finite number above 0: got inf"),
    ],
)
def test_bad_arguments(arguments, error, message):
    logits, *slope = arguments
    for neuron in (ops.deterministic_neuron, lambda x, slope=1.0: ops.stochastic_neuron(x, 0, 0, slope)):
        with pytest.raises(error, match=message):
            neuron(logits, *slope)
    with pytest.raises(ValueError, match="offset must not be negative"):
        ops.stochastic_neuron(torch.zeros(3), 0, -1)


def test_native_refuses_bad_arguments_itself():
    need_native()
    raw, x = torch.ops.musegan, torch.zeros(3)
    for call in (
        lambda: raw.neuron(x.long(), 1.0),
        lambda: raw.neuron(x, -1.0),
        lambda: raw.stochastic_neuron(x, 1.0, 0, -1),
        lambda: raw.neuron_backward(x[:2], x, 1.0),
        lambda: raw.neuron_backward(x.double(), x, 1.0),
    ):
        with pytest.raises(RuntimeError):
            call()
