"""Any arguments at all: each op gives a result or raises a Python exception that says why; it never crashes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musegan import ops
from musegan.roll import Roll
from tests.ops.kernels import need_native

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int64,
          torch.int32, torch.complex64]
NUMBERS = st.one_of(st.integers(-3, 130), st.sampled_from([0, 1, 2**31, 2**62, 2**63 - 1, -(2**63)]))
FLOATS = st.floats(width=64)
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@st.composite
def tensors(draw, n_axes=None, dtypes=tuple(DTYPES)):
    """Any shape, with strides of any sign of disorder: transposed, stepped, expanded, offset."""
    n_axes = draw(st.integers(0, 6)) if n_axes is None else n_axes
    shape = draw(st.lists(st.integers(0, 4), min_size=n_axes, max_size=n_axes))
    if shape and draw(st.booleans()):
        shape[-1] = draw(st.sampled_from([7, 8, 9, 63, 64, 65, 84, 127, 128, 129, 300]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9)))
    x = (torch.randn(shape, generator=generator) * 3).to(draw(st.sampled_from(dtypes)))
    match draw(st.integers(0, 4)):
        case 1 if n_axes > 1:
            x = x.transpose(draw(st.integers(0, n_axes - 1)), draw(st.integers(0, n_axes - 1)))
        case 2 if n_axes:
            x = x[..., ::2]
        case 3 if n_axes:
            x = x[..., 1:]
        case 4 if n_axes:
            x = x[:1].expand(draw(st.integers(0, 3)), *x.shape[1:]) if x.shape[0] else x
    return x


def five_axes(*dtypes):
    return tensors(5, dtypes)


PLANES, BITS, LONGS = five_axes(torch.bool), tensors(4, (torch.uint8,)), tensors(1, (torch.int64,))
NOTES = st.lists(st.lists(st.integers(-1, 6), min_size=5, max_size=5), max_size=4).map(
    lambda rows: torch.tensor(rows, dtype=torch.int64).view(-1, 5)
)
ANY, MAYBE = tensors(), st.none() | tensors()


@st.composite
def fitting(draw, *, logits=False, limits=False):
    """A frame plane, an onset plane or None, and where wanted logits or None and limits, that fit each other."""
    frame = draw(PLANES)
    onset = draw(st.sampled_from([None, frame, ~frame]))
    arguments = [frame, onset]
    if logits:
        arguments.append(draw(st.sampled_from([None, frame.float(), frame.half()])))
    if limits:
        table = [[draw(NUMBERS) for _ in range(3)] for _ in range(frame.shape[1])]
        arguments.append(torch.tensor(table, dtype=torch.int64).view(-1, 3))
    else:
        arguments.append(frame.shape[-1])
    return tuple(arguments)


RAW = {
    "threshold": st.tuples(ANY, FLOATS, MAYBE, st.booleans()),
    "bernoulli": st.tuples(ANY, NUMBERS, NUMBERS, MAYBE, st.booleans()),
    "neuron": st.tuples(ANY, FLOATS),
    "stochastic_neuron": st.tuples(ANY, FLOATS, NUMBERS, NUMBERS),
    "neuron_backward": st.tuples(ANY, ANY, FLOATS) | ANY.flatmap(lambda x: st.tuples(st.just(x), st.just(x), FLOATS)),
    "pack": st.tuples(ANY),
    "unpack": st.tuples(ANY | BITS, NUMBERS, st.booleans()),
    "gather_phrases": st.tuples(
        st.lists(BITS | ANY, max_size=2), LONGS | ANY, tensors(2, (torch.int64,)) | ANY, st.integers(-1, 3), NUMBERS,
        st.booleans(),
    ),
    "cleanup": fitting(logits=True, limits=True)
    | st.tuples(PLANES | ANY, st.none() | PLANES, MAYBE, tensors(2, (torch.int64,)) | ANY),
    "notes": fitting() | st.tuples(PLANES | ANY, st.none() | PLANES, NUMBERS),
    "roll_from_notes": st.tuples(
        NOTES | ANY, st.lists(st.integers(-1, 9), min_size=5, max_size=5) | st.lists(NUMBERS, max_size=6), st.booleans()
    ),
}    # fmt: skip


def test_every_op_is_fuzzed():
    assert set(RAW) == set(ops.op_backends())


@pytest.mark.parametrize("op", RAW)
def test_native_ops_survive_any_arguments(op):
    need_native()
    outcomes = {"result": 0, "error": 0}

    @FUZZ
    @given(RAW[op])
    def fuzz(arguments):
        try:
            result = getattr(torch.ops.musegan, op)(*arguments)
        except (RuntimeError, ValueError, TypeError, IndexError) as err:
            assert str(err)
            outcomes["error"] += 1
            return
        outcomes["result"] += 1
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            tensor.clone()    # reads every byte

    fuzz()
    assert outcomes["result"] and outcomes["error"], outcomes    # or the fuzzing would miss one side


PUBLIC = {
    "threshold": st.tuples(ANY | NUMBERS, FLOATS | MAYBE, st.sampled_from(["bool", "bits", "uint8", "x"])),
    "bernoulli": st.tuples(ANY, NUMBERS | FLOATS, NUMBERS, FLOATS | ANY),
    "deterministic_neuron": st.tuples(ANY, FLOATS | MAYBE),
    "stochastic_neuron": st.tuples(ANY, NUMBERS, NUMBERS, FLOATS),
    "pack": st.tuples(ANY | NUMBERS),
    "unpack": st.tuples(ANY, NUMBERS, st.sampled_from(DTYPES)),
    "gather_phrases": st.tuples(st.lists(BITS | ANY, max_size=2), LONGS | ANY, st.integers(-1, 3), NUMBERS,
                                st.none() | LONGS | ANY, st.none() | st.lists(st.booleans(), max_size=4)),
    "cleanup": st.tuples(PLANES | ANY | st.builds(Roll, PLANES, PLANES), MAYBE),
    "notes": st.tuples(PLANES | ANY | st.builds(Roll, PLANES, PLANES), st.none() | NUMBERS),
    "roll_from_notes": st.tuples(NOTES | ANY, *[st.integers(-1, 9)] * 5),
}    # fmt: skip


@pytest.mark.parametrize("op", PUBLIC)
@FUZZ
@given(data=st.data())
def test_public_functions_raise_what_their_docstrings_say(op, data):
    try:
        getattr(ops, op)(*data.draw(PUBLIC[op]))
    except (ValueError, TypeError, IndexError) as err:    # never a bare RuntimeError from below
        assert str(err)
