"""threshold and bernoulli: the definition, every native level against the reference, torch's own checks, bad input."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from musegan import ops
from musegan.ops import binarize
from tests.ops.kernels import kernels, need_native

SEEDS = (0, 1, -1, 2**63 - 1, -(2**63), 0x1234_5678_9ABC_DEF0)
OFFSETS = (0, 1, 255, 256, 2**35 - 100, 2**60 + 17)  # from 2^35 on, block indices pass 32 bits
EXTREMES = (0.0, -0.0, math.inf, -math.inf, math.nan, 1e-45, -1e-45, 87.0, -87.0, 88.7, -88.7, 3e38, -3e38)
KNOWN_ANSWERS = (  # Random123 kat_vectors, philox4x32 10: counter, key, output
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)


@pytest.fixture
def native():
    """The native module: a failure where it is missing, unless MUSEGAN_NATIVE=off asks for that."""
    need_native()
    return importlib.import_module("musegan._C")


@pytest.fixture(params=["generic", "avx2", "avx512"])
def level(request, native):
    """Each level of kernels in turn; skipped where this CPU lacks it."""
    if request.param not in native.cpu_levels():
        pytest.skip(f"this CPU has no {request.param}")
    before = native.cpu_level()
    native.use_cpu_level(request.param)
    yield request.param
    native.use_cpu_level(before)


def reference(x: Tensor, seed: int, offset: int = 0, each: Tensor | None = None, packed: bool = False) -> Tensor:
    return binarize._bernoulli_reference(x, seed, offset, each, packed)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---- scalar loops, written from the definition ----


def oracle_philox(counter, key) -> tuple[int, int, int, int]:
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 % 2**32, (p0 >> 32) ^ c3 ^ k1, p0 % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


@np.errstate(over="ignore")
def oracle_denominator(x: float) -> np.float32:
    f32 = np.float32
    t = -f32(x) * f32(1.4426950216293335)
    if math.isnan(t):
        return f32(math.nan)
    t = min(max(t, f32(-126)), f32(126))
    n = f32(round(float(t)))  # half to even
    f = t - n
    p = f32(0.001326472731307149)
    for c in (0.009671512991189957, 0.05550733581185341, 0.24022242426872253, 0.6931470036506653, 1.0):
        p = p * f + f32(c)  # numpy rounds the product, then the sum
    bits = np.array(p).view(np.int32) + (int(n) << 23)
    return f32(1) + bits.astype(np.int32).view(np.float32)


def oracle_half_word(j: int, seed: int, third: int) -> int:
    group, e = divmod(j, 256)
    block, h = 32 * group + e % 32, e // 32
    key = seed % 2**32, (seed >> 32) % 2**32
    word = oracle_philox((block % 2**32, block >> 32, third, 0), key)[h // 2]
    return word >> (16 if h % 2 else 0) & 0xFFFF


def oracle_bernoulli(logits: list[float], seed: int, offset: int) -> list[bool]:
    samples = []
    for i, x in enumerate(logits):
        v = oracle_half_word(offset + i, seed, 0) << 16 | oracle_half_word(offset + i, seed, 1)
        samples.append(bool(float(v + 1) * float(oracle_denominator(x)) <= 2.0**32))
    return samples


def edge_logits(n: int, seed: int, offset: int) -> Tensor:
    """Logits that the top 16 bits of their random numbers leave undecided."""
    top = np.array([oracle_half_word(offset + i, seed, 0) for i in range(n)])
    d = 65536 / (top + 0.5)  # top * d < 2^16 < (top + 1) * d
    return torch.from_numpy(-np.log(d - 1)).float()


def some_logits(n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    x = torch.randn(n, generator=torch.Generator().manual_seed(n)) * 4
    x[: len(EXTREMES)] = torch.tensor(EXTREMES[:n])
    return x.to(dtype)


# ---- the definition ----


@pytest.mark.parametrize("counter, key, output", KNOWN_ANSWERS)
def test_philox_known_answers(counter, key, output):
    words = [torch.tensor([c]) for c in counter]
    assert oracle_philox(counter, key) == output
    assert tuple(w.item() for w in binarize.philox(*words, seed=key[1] << 32 | key[0])) == output


@pytest.mark.parametrize("counter, key, output", KNOWN_ANSWERS)
def test_native_philox_known_answers(native, counter, key, output):
    assert tuple(native.philox(counter, key)) == output


def test_denominator_is_one_plus_exp_bit_for_bit():
    x = torch.cat([torch.tensor(EXTREMES), torch.linspace(-20, 20, 3001)])
    wanted = np.array([oracle_denominator(v) for v in x.tolist()], dtype=np.float32)
    np.testing.assert_array_equal(binarize.denominator(x).numpy(), wanted)
    finite = torch.linspace(-20, 20, 100_001)
    exact = 1 + torch.exp(-finite.double())
    assert ((binarize.denominator(finite).double() - exact) / exact).abs().max() < 1.2e-6


def test_native_denominators_have_the_bits_of_the_reference(native, level):
    x = torch.cat([torch.linspace(-20, 20, 1_000_003), torch.linspace(-200, 200, 100_003), torch.tensor(EXTREMES)])
    mine, reference = native.denominators(x.numpy()), binarize.denominator(x).numpy()
    nan = np.isnan(reference)
    assert nan.sum() == 1 and (np.isnan(mine) == nan).all()
    assert (mine.view(np.int32) == reference.view(np.int32))[~nan].all()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_bernoulli_is_its_definition(seed, offset):
    for x in (some_logits(300), edge_logits(300, seed, offset)):
        wanted = oracle_bernoulli(x.tolist(), seed, offset)
        for name, kernel in kernels("bernoulli", binarize._bernoulli_reference):
            assert kernel(x, seed, offset, None, False).tolist() == wanted, name


def test_every_nan_gives_false():
    """A NaN's payload must not be taken for an exponent."""
    bits = torch.tensor([0x7FC00000, 0x7FC00001, 0x7F800001, 0x7FFFFFFF, -1, -0x400000]).repeat(100)
    x = bits.to(torch.int32).view(torch.float32)
    assert x.isnan().all()
    assert not ops.threshold(x, -math.inf).any()
    for name, kernel in kernels("bernoulli", binarize._bernoulli_reference):
        assert not kernel(x, 4, 0, None, False).any(), name


def test_low_bits_decide_at_the_edge():
    samples = ops.bernoulli(edge_logits(2000, seed=3, offset=0), seed=3)
    assert 800 < samples.sum() < 1200  # half of them: 9 standard deviations


@pytest.mark.parametrize("dtype", binarize.DTYPES)
@pytest.mark.parametrize("at", [0.0, -0.0, 0.1, -0.1, 1, 5e-324, -5e-324, 1e300, -1e300, math.inf, -math.inf, math.nan])
def test_threshold_compares_real_numbers(dtype, at):
    x = torch.cat([some_logits(200, dtype), torch.tensor([0.1, -0.1, at], dtype=dtype)])
    wanted = [value > at for value in x.tolist()]
    for name, kernel in kernels("threshold", binarize._threshold_reference):
        assert kernel(x, float(at), None, False).tolist() == wanted, name
    assert ops.threshold(x, torch.tensor(float(at), dtype=torch.float64)).tolist() == wanted


def test_threshold_default_is_probability_half():
    assert ops.threshold(torch.tensor([-1.0, 0.0, 1.0, math.nan])).tolist() == [False, False, True, False]


# ---- native against reference ----


@pytest.mark.parametrize("dtype", binarize.DTYPES)
@pytest.mark.parametrize("shape", [(0,), (1,), (255,), (256,), (257,), (3, 0, 5), (7, 11, 13), (1, 5, 4, 48, 84)])
@pytest.mark.parametrize("offset", [0, 100, 2**40 + 3])
def test_native_equals_reference(level, dtype, shape, offset):
    x = some_logits(math.prod(shape), dtype).view(shape)
    samples, wanted = ops.bernoulli(x, 11, offset), reference(x, 11, offset)
    assert samples.shape == x.shape and samples.dtype == torch.bool
    assert torch.equal(samples, wanted)
    assert torch.equal(ops.threshold(x, 0.3), binarize._threshold_reference(x, 0.3, None, False))


def test_native_equals_reference_on_a_large_batch(level):
    x = some_logits(16 * 5 * 4 * 48 * 84)
    assert torch.equal(ops.bernoulli(x, -5), reference(x, -5, 0))


VIEWS = (lambda x: x.transpose(1, 3), lambda x: x[:, 1:, ::2], lambda x: x.expand(2, 4, 6, 10))


@pytest.mark.parametrize("view", VIEWS)
def test_index_is_row_major_for_any_strides(view):
    x = view(some_logits(4 * 6 * 10).view(1, 4, 6, 10))
    copy = x.clone(memory_format=torch.contiguous_format)
    for sampled in (ops.bernoulli(x, 5), reference(x, 5, 0)):
        assert sampled.is_contiguous() and torch.equal(sampled, ops.bernoulli(copy, 5))
    assert torch.equal(ops.threshold(x), x > 0) and ops.threshold(x).is_contiguous()


@pytest.mark.parametrize("k", [1, 31, 256, 1000, 300_000])
def test_batch_split_does_not_matter(k):
    x = some_logits(600_000)
    for sample in (ops.bernoulli, reference):
        assert torch.equal(sample(x[k:], 9, k), sample(x, 9, 0)[k:])


@pytest.mark.parametrize("dtype", binarize.DTYPES)
@pytest.mark.parametrize("at_shape", [(), (1,), (5, 1, 1, 1), (7,), (5, 1, 1, 7), (2, 1, 1, 1, 1), (2, 5, 4, 6, 7)])
def test_a_threshold_for_each_track_or_pitch(level, dtype, at_shape):
    x = some_logits(2 * 5 * 4 * 6 * 7, dtype).view(2, 5, 4, 6, 7)
    at = torch.randn(at_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ops.threshold(x, at), x.double() > at)
    assert torch.equal(ops.bernoulli(x, 3, 77, at), ops.bernoulli(x.float() - at.float(), 3, 77))
    assert torch.equal(reference(x, 3, 77, binarize._block(at, x).float()), ops.bernoulli(x, 3, 77, at))


def test_a_number_to_take_off_is_a_tensor_of_it(level):
    x = some_logits(3000)
    assert torch.equal(ops.bernoulli(x, 3, at=1.5), ops.bernoulli(x - 1.5, 3))


@pytest.mark.parametrize("shape", [(0,), (1,), (5, 0), (3, 8), (7, 84), (2, 3, 127), (1, 20001), (3, 16384 * 2 + 5)])
def test_packed_and_uint8_outputs_are_the_same_roll(level, shape):
    x = some_logits(math.prod(shape)).view(shape)
    for op in (lambda x, output: ops.bernoulli(x, 5, 1000, output=output), lambda x, output: ops.threshold(x, 0.2, output)):
        roll = op(x, "bool")
        bits, bytes_ = op(x, "bits"), op(x, "uint8")
        np.testing.assert_array_equal(bits.numpy(), np.packbits(roll.numpy(), axis=-1))
        assert bytes_.dtype == torch.uint8 and torch.equal(bytes_.bool(), roll)


def test_filter_margin_holds_near_zero(native, level):
    """The whole range is tested too, marked exhaustive."""
    for first in (0x3E000000, 0xBE000000):
        assert native.filter_error(first, first + 0x2800000) + 2**-22 < native.filter_margin() or level == "generic"


@pytest.mark.exhaustive
def test_filter_margin_holds_for_every_float(native, level):
    """All 2^32 float32 numbers: the filter may decide only what the definition decides the same.

    2^-22 is what rounding adds in the products with the random number; a margin no larger than the error would
    flip samples.
    """
    step = 1 << 28
    worst = max(native.filter_error(first, first + step) for first in range(0, 1 << 32, step))
    print(f"{level}: filter error {worst:.3g}, margin {native.filter_margin():.3g}")
    assert worst == 0 if level == "generic" else 0 < worst + 2**-22 < native.filter_margin()


def test_float16_subnormals_stay_where_torch_flushes_those_of_float32(level):
    x = torch.cat([torch.arange(1, 1100, dtype=torch.int16).view(torch.float16)] * 2)
    x[1099:] *= -1
    before = ops.threshold(x), ops.bernoulli(x, 3)
    assert before[0].sum() == 1099
    try:
        if not torch.set_flush_denormal(True):
            pytest.skip("this CPU cannot flush subnormals")
        assert torch.equal(ops.threshold(x[:9]), before[0][:9])    # eight at once, and one alone
        assert torch.equal(ops.threshold(x), before[0]) and torch.equal(ops.bernoulli(x, 3), before[1])
    finally:
        torch.set_flush_denormal(False)


def test_every_float16_converts_as_torch_converts_it(level):
    """By the threshold at its own value: x > at is False there and True just below."""
    x = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.float16)
    x = x[x.isfinite()]
    below = x.double().nextafter(torch.full((), -math.inf, dtype=torch.float64))
    assert not ops.threshold(x, x.double()).any() and ops.threshold(x, below).all()


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 5)])
def test_nothing_gives_nothing(shape):
    x = torch.empty(shape)
    for at in (0.0, torch.tensor(0.0), torch.zeros(shape[-1])):
        for name, kernel in kernels("threshold", binarize._threshold_reference):
            each = binarize._block(at, x) if isinstance(at, Tensor) else None
            assert kernel(x, 0.0, each, False).shape == shape, name
        assert ops.threshold(x, at).shape == ops.bernoulli(x, 0, at=at).shape == shape


def test_a_number_to_take_off_is_float32_whatever_the_default():
    x = some_logits(20_000)
    wanted = ops.bernoulli(x, 3, at=torch.tensor(0.3))
    try:
        torch.set_default_dtype(torch.bfloat16)
        assert torch.equal(ops.bernoulli(x, 3, at=0.3), wanted)
    finally:
        torch.set_default_dtype(torch.float32)


def test_number_of_threads_does_not_matter(level, one_thread):
    x = some_logits(1_000_001)
    wanted = ops.bernoulli(x, 2, 77), ops.threshold(x)
    for n_threads in (2, 3, 5):
        torch.set_num_threads(n_threads)
        assert torch.equal(ops.bernoulli(x, 2, 77), wanted[0]) and torch.equal(ops.threshold(x), wanted[1])


def test_float64_is_rounded_and_halves_are_exact():
    x = some_logits(5000, torch.float64) + 1e-9
    assert torch.equal(ops.bernoulli(x, 1), ops.bernoulli(x.float(), 1))
    for dtype in (torch.float16, torch.bfloat16):
        half = x.to(dtype)
        assert torch.equal(ops.bernoulli(half, 1), ops.bernoulli(half.float(), 1))


# ---- what it is for: statistics; z = 5 fails a right sampler once in 1.7 million cases ----


@pytest.mark.parametrize("logit", [-12.0, -6.0, -3.0, -1.0, 0.0, 0.5, 2.0, 5.0, 9.0])
def test_share_of_ones_is_the_sigmoid(logit):
    n = 2**21
    p = 1 / (1 + math.exp(-logit))
    share = ops.bernoulli(torch.full((n,), logit), seed=20).double().mean().item()
    assert abs(share - p) < 5 * math.sqrt(p * (1 - p) / n)


def test_random_numbers_are_uniform_over_all_logits():
    """Chi-square of u in 64 bins, each found by sampling one stream with two logits; 4 * sqrt(2 * 63) above 63."""
    n = 2**20
    edges = torch.logit(torch.arange(1, 64, dtype=torch.float64) / 64).float()
    below = [int(ops.bernoulli(torch.full((n,), float(edge)), seed=8).sum()) for edge in edges]
    counts = np.diff([0, *below, n])
    assert (counts > 0).all()
    assert ((counts - n / 64) ** 2 / (n / 64)).sum() < 63 + 4 * math.sqrt(2 * 63)


@pytest.mark.parametrize("logit", [0.0, -2.0])
def test_seeds_offsets_and_neighbours_are_independent(logit):
    """Shares of agreement between streams, stretches of a stream, and neighbours in a group and across groups."""
    n = 2**20
    x = torch.full((n,), logit)
    p = 1 / (1 + math.exp(-logit))
    agree = p * p + (1 - p) * (1 - p)
    a = ops.bernoulli(x, 1)
    others = [ops.bernoulli(x, 2), ops.bernoulli(x, 1 << 32 | 1), ops.bernoulli(x, 1, n), ops.bernoulli(x, 1, 1 << 40)]
    for other in (*others, *(a.roll(shift) for shift in (1, 2, 16, 32, 64, 256, 8192))):
        share = (a == other).double().mean().item()
        assert abs(share - agree) < 5 * math.sqrt(agree * (1 - agree) / n) * 1.5    # pairs (i, i+1), (i+1, i+2) share one


# ---- torch's own checks ----


@pytest.mark.parametrize("dtype", binarize.DTYPES)
def test_opcheck(dtype):
    x = some_logits(600, dtype).view(2, 300)
    for logits in (x, x.t(), x[:0], x.clone().requires_grad_()):
        for packed in (False, True):
            torch.library.opcheck(torch.ops.musegan.threshold.default, (logits, 0.5, None, packed))
            torch.library.opcheck(torch.ops.musegan.bernoulli.default, (logits, 7, 300, None, packed))


def test_a_new_seed_does_not_recompile():
    counter = CompileCounter()

    @torch.compile(backend=counter, fullgraph=True)
    def sample(x, seed, offset):
        return ops.bernoulli(x, seed, offset) & ops.threshold(x, -8.0)

    x = some_logits(1000)
    for seed, offset in ((5, 0), (-3, 4), (17, 300), (2**40, 2**41), (-(2**63), 7), (99, 8)):
        assert torch.equal(sample(x, seed, offset), ops.bernoulli(x, seed, offset) & (x > -8))
    assert counter.frame_count <= 3


@pytest.mark.parametrize("output", ["bool", "uint8", "bits"])
def test_export_and_vmap(output):
    class Module(torch.nn.Module):
        def forward(self, x):
            return ops.bernoulli(x, 5, 3, output=output), ops.threshold(x, 0.5, output)

    x = some_logits(600).view(3, 200)
    for exported, wanted in zip(torch.export.export(Module(), (x,)).module()(x), Module()(x)):
        assert torch.equal(exported, wanted)
    mapped = torch.vmap(lambda row: ops.bernoulli(row, 5, 3, output=output))(x)
    assert torch.equal(mapped, torch.stack([ops.bernoulli(row, 5, 3, output=output) for row in x]))


# ---- bad input ----


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8, torch.complex64])
def test_other_dtypes_are_refused(dtype):
    rule = "logits must be float32, float64, float16 or bfloat16: got"
    for op in (ops.threshold, lambda x: ops.bernoulli(x, 0)):
        with pytest.raises(TypeError, match=f"{rule} torch"):
            op(torch.zeros(3, dtype=dtype))


def test_native_refuses_other_dtypes_and_offsets_itself(native):
    with pytest.raises(RuntimeError, match="logits must be float32, float64, float16 or bfloat16: got Long"):
        torch.ops.musegan.bernoulli(torch.zeros(3, dtype=torch.int64), 0, 0, None, False)
    with pytest.raises(RuntimeError, match="offset must not be negative: got -1"):
        torch.ops.musegan.bernoulli(torch.zeros(3), 0, -1, None, False)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (([0.0], 0), TypeError, "logits must be a tensor: got list"),
        ((torch.zeros(3), 0.5), TypeError, "seed must be an integer: got float"),
        ((torch.zeros(3), 0, None), TypeError, "offset must be an integer: got NoneType"),
        ((torch.zeros(3), 2**63), ValueError, r"seed must be -2\^63 to 2\^63 - 1: got 9223372036854775808"),
        ((torch.zeros(3), 0, -1), ValueError, "offset must not be negative, .* got -1"),
        ((torch.zeros(3), 0, 2**63 - 3), ValueError, r"offset \+ numel below 2\^63: got 9223372036854775805"),
    ],
)
def test_bad_arguments_of_bernoulli(arguments, error, message):
    with pytest.raises(error, match=message):
        ops.bernoulli(*arguments)


def test_bad_threshold():
    with pytest.raises(TypeError, match="at must be a number or a tensor: got str"):
        ops.threshold(torch.zeros(3), "0")


@pytest.mark.parametrize("op", [ops.threshold, lambda x, **more: ops.bernoulli(x, 0, **more)])
def test_bad_thresholds_and_outputs(op):
    with pytest.raises(ValueError, match=r"at must broadcast to the logits \[2, 3\]: got \[2\]"):
        op(torch.zeros(2, 3), at=torch.zeros(2))
    with pytest.raises(ValueError, match=r"at must broadcast to the logits \[3\]: got \[1, 3\]"):
        op(torch.zeros(3), at=torch.zeros(1, 3))
    with pytest.raises(TypeError, match="at must be real: got torch.complex64"):
        op(torch.zeros(3), at=torch.zeros(3, dtype=torch.complex64))
    with pytest.raises(ValueError, match="output must be bool, uint8 or bits: got 'byte'"):
        op(torch.zeros(3), output="byte")
    with pytest.raises(ValueError, match="must have an axis of pitches"):
        op(torch.zeros(()), output="bits")


def test_native_refuses_thresholds_that_do_not_repeat(native):
    for op in (lambda each: torch.ops.musegan.threshold(torch.zeros(6), 0.0, each, False),
               lambda each: torch.ops.musegan.bernoulli(torch.zeros(6), 0, 0, each, False)):
        for n in (0, 4, 12):
            with pytest.raises(RuntimeError, match="each must repeat a whole number of times"):
                op(torch.zeros(n))
        with pytest.raises(RuntimeError, match="each must be contiguous Float"):
            op(torch.zeros(3, dtype=torch.int32))
