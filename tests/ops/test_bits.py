"""pack, unpack and gather_phrases: against numpy and a scalar loop, every native level, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from musegan import ops
from musegan.ops import bits
from musegan.roll import Roll
from tests.ops.kernels import kernels, need_native

SHAPES = [(0,), (1,), (3, 0), (0, 5), (7,), (8,), (3, 8), (5, 64), (3, 65), (2, 3, 84), (4, 127), (2, 128), (3, 1000)]


def some_roll(shape, seed=0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8])
def test_pack_is_packbits(shape, dtype):
    roll = some_roll(shape)
    if dtype == torch.uint8:
        roll = roll.to(dtype) * torch.randint(1, 256, shape, dtype=dtype, generator=torch.Generator().manual_seed(1))
    wanted = np.packbits(roll.numpy() != 0, axis=-1)
    for name, pack in kernels("pack", bits.pack_reference):
        np.testing.assert_array_equal(pack(roll).numpy(), wanted, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(0, 4), st.integers(0, 140))))
def test_pack_and_back(roll):
    roll = torch.from_numpy(roll)
    for dtype in (torch.bool, torch.float32):
        again = ops.unpack(ops.pack(roll), roll.shape[-1], dtype)
        assert again.dtype == dtype and torch.equal(again, roll.to(dtype))


@pytest.mark.parametrize("shape", SHAPES)
def test_unpack_is_unpackbits_and_ignores_the_padding(shape):
    n_pitches = shape[-1]
    packed = torch.randint(0, 256, (*shape[:-1], (n_pitches + 7) // 8), dtype=torch.uint8)
    wanted = np.unpackbits(packed.numpy(), axis=-1, count=n_pitches)
    for as_float in (False, True):
        for name, unpack in kernels("unpack", bits.unpack_reference):
            cells = unpack(packed, n_pitches, as_float)
            np.testing.assert_array_equal(cells.numpy(), wanted.astype(np.float32 if as_float else bool), err_msg=name)


def test_views_that_are_not_contiguous():
    roll = some_roll((6, 5, 20))[::2].transpose(0, 1)
    for name, pack in kernels("pack", bits.pack_reference):
        np.testing.assert_array_equal(pack(roll).numpy(), np.packbits(roll.numpy(), axis=-1), err_msg=name)
    packed = ops.pack(some_roll((6, 5, 20)))[1:, ::2]
    for name, unpack in kernels("unpack", bits.unpack_reference):
        np.testing.assert_array_equal(unpack(packed, 20, False).numpy(), np.unpackbits(packed.numpy(), axis=-1, count=20))


def gather_by_loop(shards, starts, semitones, n_bars, n_pitches) -> np.ndarray:
    """The definition, one cell at a time."""
    bars = np.concatenate([np.unpackbits(shard.numpy(), axis=-1, count=n_pitches) for shard in shards])
    n_tracks, n_steps = bars.shape[1:3]
    out = np.zeros((len(starts), n_tracks, n_bars, n_steps, n_pitches), bool)
    for n, k, b, t, p in np.ndindex(out.shape):
        source = p - semitones[n][k]
        out[n, k, b, t, p] = 0 <= source < n_pitches and bars[starts[n] + b, k, t, source]
    return out


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_gather_is_its_definition(data):
    n_pitches = data.draw(st.sampled_from([1, 7, 8, 9, 63, 64, 65, 84, 127, 128]))
    n_tracks, n_steps, n_bars = (data.draw(st.integers(1, 3)) for _ in range(3))
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=3))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    shape = (n_tracks, n_steps, (n_pitches + 7) // 8)
    shards = [torch.from_numpy(rng.integers(0, 256, (n, *shape), dtype=np.uint8)) for n in lengths]
    n_starts = sum(lengths) - n_bars + 1
    starts = data.draw(st.lists(st.integers(0, n_starts - 1), max_size=4)) if n_starts > 0 else []
    moves = st.one_of(st.integers(-140, 140), st.sampled_from([2**63 - 1, -(2**63)]))
    semitones = [[data.draw(moves) for _ in range(n_tracks)] for _ in starts]
    wanted = gather_by_loop(shards, starts, semitones, n_bars, n_pitches)
    table = torch.tensor(semitones, dtype=torch.int64).view(len(starts), n_tracks)
    for as_float in (False, True):
        for name, gather in kernels("gather_phrases", bits._gather_phrases_reference):
            batch = gather(shards, torch.tensor(starts, dtype=torch.int64), table, n_bars, n_pitches, as_float)
            assert batch.dtype == (torch.float32 if as_float else torch.bool)
            np.testing.assert_array_equal(batch.numpy(), wanted.astype(batch.numpy().dtype), err_msg=name)


def test_pitch_moves_and_time_and_drums_do_not():
    roll = torch.zeros(3, 2, 4, 12, dtype=torch.bool)    # bars, K, T, P
    roll[1, :, 2, 5] = True
    plane = [ops.pack(roll)]
    starts = torch.tensor([0, 1])
    batch = ops.gather_phrases(plane, starts, 2, 12, torch.tensor([4, -2]), is_drum=[True, False])
    assert batch.nonzero().tolist() == [[0, 0, 1, 2, 5], [0, 1, 1, 2, 9], [1, 0, 0, 2, 5], [1, 1, 0, 2, 3]]
    cut = ops.gather_phrases(plane, starts, 2, 12, torch.tensor([7, -6]))
    assert not cut.any()    # nothing wraps


def test_both_planes_and_no_move():
    frame, onset = some_roll((9, 5, 16, 84)), some_roll((9, 5, 16, 84), 1)
    starts = torch.tensor([5, 0, 3])
    shards = Roll([ops.pack(frame[:4]), ops.pack(frame[4:])], [ops.pack(onset[:4]), ops.pack(onset[4:])])
    batch = ops.gather_phrases(shards, starts, 4, 84, dtype=torch.float32)
    for got, plane in zip(batch, (frame, onset)):
        assert torch.equal(got, torch.stack([plane[s : s + 4].transpose(0, 1) for s in starts.tolist()]).float())


def test_number_of_threads_does_not_matter():
    roll = some_roll((64, 5, 16, 84))
    shards, starts = [ops.pack(roll)], torch.arange(60)
    before, results = torch.get_num_threads(), []
    for n_threads in (1, 2, 5):
        torch.set_num_threads(n_threads)
        packed = ops.pack(roll)
        results.append((packed, ops.unpack(packed, 84), ops.gather_phrases(shards, starts, 4, 84, starts % 12)))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for result in results[1:] for a, b in zip(results[0], result))


def test_opcheck_compile_export_vmap():
    roll, starts = some_roll((6, 2, 3, 20)), torch.tensor([1, 0])
    packed = ops.pack(roll)
    torch.library.opcheck(torch.ops.musegan.pack.default, (roll,))
    torch.library.opcheck(torch.ops.musegan.unpack.default, (packed, 20, True))
    arguments = ([packed, packed], starts, torch.zeros(2, 2, dtype=torch.int64), 2, 20, False)
    torch.library.opcheck(torch.ops.musegan.gather_phrases.default, arguments)

    class Module(torch.nn.Module):
        def forward(self, packed, starts):
            return ops.unpack(ops.pack(ops.gather_phrases([packed], starts, 2, 20, starts)), 20, torch.float32)

    wanted = Module()(packed, starts)
    assert torch.equal(torch.compile(Module(), backend="eager", fullgraph=True)(packed, starts), wanted)
    assert torch.equal(torch.export.export(Module(), (packed, starts)).module()(packed, starts), wanted)
    assert torch.equal(torch.vmap(ops.pack)(roll), packed)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: ops.pack(torch.zeros(3)), TypeError, "roll must be bool or uint8: got torch.float32"),
        (lambda: ops.pack([True]), TypeError, "roll must be a tensor of bool or uint8: got list"),
        (lambda: ops.pack(torch.tensor(True)), ValueError, "must have an axis of pitches"),
        (lambda: ops.unpack(torch.zeros(3), 24), TypeError, "bits must be uint8: got torch.float32"),
        (lambda: ops.unpack(torch.zeros(2, 3, dtype=torch.uint8), 25), ValueError, "expected rows of 4 bytes"),
        (lambda: ops.unpack(torch.zeros(3, dtype=torch.uint8), -1), ValueError, "n_pitches must not be negative: got -1"),
        (lambda: ops.unpack(torch.zeros(3, dtype=torch.uint8), 2.0), TypeError, "n_pitches must be an integer: got float"),
        (lambda: ops.unpack(torch.zeros(3, dtype=torch.uint8), 24, torch.int8), TypeError, "dtype must be bool or float32"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


BARS = torch.zeros(6, 2, 3, 3, dtype=torch.uint8)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (([], torch.tensor([0]), 1, 20), ValueError, "shards must not be empty"),
        (([BARS], torch.tensor([5]), 2, 20), IndexError, "phrases of 2 bars must lie within the 6 bars"),
        (([BARS], torch.tensor([-1]), 2, 20), IndexError, "phrases of 2 bars must lie within the 6 bars"),
        (([BARS], torch.tensor([0]), 2**62, 20), IndexError, "must lie within the 6 bars"),
        (([BARS], torch.tensor([0]), 1, 30), ValueError, r"expected \[bars, K, T, bytes\] with bars of \[2, 3, 4\]"),
        (([BARS], torch.tensor([0]), 1, 129), ValueError, "n_pitches must be 0 to 128: got 129"),
        (([BARS], torch.tensor([0]), -1, 20), ValueError, "n_bars must not be negative: got -1"),
        (([BARS, BARS[:, :1]], torch.tensor([0]), 1, 20), ValueError, "expected"),
        (([BARS], torch.tensor([0.0]), 1, 20), TypeError, "starts must be int64: got torch.float32"),
        (([BARS], torch.tensor([[0]]), 1, 20), ValueError, r"starts: expected \[N\], got \[1, 1\]"),
        (([BARS], torch.tensor([0]), 1, 20, torch.tensor([0, 1])), ValueError, r"semitones: expected \[1\], got \[2\]"),
        (([BARS], torch.tensor([0]), 1, 20, None, [True]), ValueError, "is_drum must have one entry for each of 2 tracks"),
    ],
)
def test_bad_arguments_of_gather(arguments, error, message):
    with pytest.raises(error, match=message):
        ops.gather_phrases(*arguments)


def test_native_refuses_bad_arguments_itself():
    need_native()
    raw = torch.ops.musegan
    one = torch.zeros(1, dtype=torch.int64)
    for call in (
        lambda: raw.pack(torch.zeros(3)),
        lambda: raw.pack(torch.tensor(True)),
        lambda: raw.unpack(BARS, 25, False),
        lambda: raw.unpack(BARS, -7, False),
        lambda: raw.unpack(torch.zeros(3), 24, False),
        lambda: raw.gather_phrases([], one, one.view(1, 1), 1, 20, False),
        lambda: raw.gather_phrases([BARS], one, one.view(1, 1), 1, 20, False),
        lambda: raw.gather_phrases([BARS], one + 6, one.expand(1, 2), 1, 20, False),
        lambda: raw.gather_phrases([BARS], one, one.expand(1, 2), 2**62, 20, False),
        lambda: raw.gather_phrases([BARS], one, one.expand(1, 2), 1, 200, False),
        lambda: raw.gather_phrases([BARS, BARS[:, :1]], one, one.expand(1, 2), 1, 20, False),
        lambda: raw.gather_phrases([BARS], one.float(), one.expand(1, 2), 1, 20, False),
    ):
        with pytest.raises(RuntimeError):
            call()
    assert math.prod(raw.gather_phrases([BARS], one, one.expand(1, 2), 0, 20, False).shape) == 0
