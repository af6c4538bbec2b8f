"""notes and roll_from_notes: what they mean, their kernels against loops over cells, bool and packed, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from musegan.ops.notes import _notes_reference, _roll_from_notes_reference, notes, roll_from_notes
from musegan.roll import Roll
from tests.ops.kernels import kernels, need_native

SHAPES = st.tuples(*[st.integers(1, 2)] * 3, st.integers(1, 5), st.integers(1, 3))    # N, K, B, T, P
PITCHES = st.sampled_from([0, 1, 8, 63, 64, 65, 84, 127, 128])
LARGER = st.tuples(*[st.integers(0, 2)] * 3, st.integers(0, 7), PITCHES)


@st.composite
def rolls(draw):
    shape = draw(SHAPES)
    frame = torch.from_numpy(draw(hnp.arrays(bool, shape)))
    onset = torch.from_numpy(draw(hnp.arrays(bool, shape)))
    return Roll(frame, onset & frame)


@st.composite
def larger_rolls(draw):
    shape = draw(LARGER)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    frame = torch.from_numpy(rng.random(shape) < draw(st.sampled_from([0.02, 0.5, 1.0])))
    return Roll(frame, frame & torch.from_numpy(rng.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))))


def packed(plane: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(plane.numpy(), axis=-1))


def line(frame: str, onset: str = "") -> Roll:
    """One track of one pitch in one bar: `x` is True, anything else False."""
    onset = onset.ljust(len(frame))
    return Roll(*(torch.tensor([c == "x" for c in text]).view(1, 1, 1, -1, 1) for text in (frame, onset)))


def spans(roll: Roll) -> list[tuple[int, int]]:
    return [tuple(row) for row in notes(roll)[:, 3:].tolist()]


def notes_by_loop(roll: Roll) -> list[list[int]]:
    """The definition, one cell at a time."""
    frame, onset = roll.map(lambda plane: plane.flatten(2, 3).tolist())
    found = []
    for n, tracks in enumerate(frame):
        for k, steps in enumerate(tracks):
            for p in range(roll.frame.shape[-1]):
                start = None
                for s in range(len(steps) + 1):
                    sounds = s < len(steps) and steps[s][p]
                    strikes = sounds and (onset[n][k][s][p] or s == 0 or not steps[s - 1][p])
                    if start is not None and (strikes or not sounds):
                        found.append([n, k, p, start, s])
                        start = None
                    if strikes:
                        start = s
    return sorted(found, key=lambda note: (note[0], note[1], note[3], note[2]))


def planes_by_loop(table: list[list[int]], shape: tuple[int, ...]) -> Roll:
    n, k, b, t, p = shape
    frame, onset = (np.zeros((n, k, b * t, p), bool) for _ in range(2))
    for sample, track, pitch_index, start_step, end_step in table:
        onset[sample, track, start_step, pitch_index] = True
        for step in range(start_step, end_step):
            frame[sample, track, step, pitch_index] = True
    return Roll(*(torch.from_numpy(plane.reshape(shape)) for plane in (frame, onset)))


def test_a_held_note_is_one_note():
    assert spans(line(" xxx ", " x   ")) == [(1, 4)]


def test_a_note_struck_again_is_two():
    assert spans(line("xxxx", "x x ")) == [(0, 2), (2, 4)]


def test_without_onsets_a_rising_frame_starts_a_note():
    assert spans(line("xx x")) == [(0, 2), (3, 4)]


def test_a_note_goes_on_over_the_bar_line():
    frame = torch.ones(1, 1, 2, 4, 1, dtype=torch.bool)
    onset = torch.zeros_like(frame)
    onset[0, 0, 0, 1] = True
    assert spans(Roll(frame, onset)) == [(0, 1), (1, 8)]


def test_order_is_sample_track_start_pitch():
    frame = torch.ones(2, 2, 1, 1, 2, dtype=torch.bool)
    order = [[n, k, p] for n in (0, 1) for k in (0, 1) for p in (0, 1)]
    assert notes(Roll(frame, frame))[:, :3].tolist() == order


@settings(max_examples=80, deadline=None)
@given(rolls())
def test_notes_equal_the_definition(roll):
    assert notes(roll).tolist() == notes_by_loop(roll)


@settings(max_examples=80, deadline=None)
@given(rolls())
def test_roll_to_notes_and_back(roll):
    n_samples, n_tracks, n_bars, steps_per_bar, n_pitches = roll.frame.shape
    found = notes(roll)
    again = roll_from_notes(found, n_samples, n_tracks, n_bars, steps_per_bar, n_pitches)
    assert torch.equal(again.frame, roll.frame)
    assert bool((again.onset >= roll.onset).all())
    assert torch.equal(notes(again), found)
    shuffled = found[torch.randperm(len(found))]
    assert torch.equal(roll_from_notes(shuffled, *roll.frame.shape).onset, again.onset)


@settings(max_examples=80, deadline=None)
@given(larger_rolls())
def test_every_kernel_lists_the_notes(roll):
    n_pitches = roll.frame.shape[-1]
    wanted, rising = notes_by_loop(roll), notes_by_loop(Roll(roll.frame, torch.zeros_like(roll.frame)))
    bits = roll.map(packed)
    for name, listed in kernels("notes", _notes_reference):
        for planes in (roll, bits):
            result = listed(*planes, n_pitches)
            assert result.dtype == torch.int64 and result.shape[1] == 5 and result.tolist() == wanted, name
            assert listed(planes.frame, None, n_pitches).tolist() == rising, name


@settings(max_examples=80, deadline=None)
@given(larger_rolls(), st.randoms(use_true_random=False))
def test_every_kernel_draws_the_notes(roll, random):
    """Any notes: in any order, overlapping, some twice."""
    n, k, b, t, n_pitches = shape = tuple(roll.frame.shape)
    table = notes_by_loop(roll)
    table = [[*note[:4], random.randint(note[4], b * t)] for note in table]
    table = table + [random.choice(table) for _ in range(len(table) // 4)]
    random.shuffle(table)
    wanted = planes_by_loop(table, shape)
    table = torch.tensor(table, dtype=torch.int64).reshape(-1, 5)
    for name, drawn in kernels("roll_from_notes", _roll_from_notes_reference):
        for as_bits, planes in ((False, wanted), (True, wanted.map(packed))):
            for mine, plane in zip(drawn(table, list(shape), as_bits), planes):
                assert mine.dtype == plane.dtype and torch.equal(mine, plane), name


def test_bits_past_the_pitches_are_ignored():
    bits = torch.full((1, 1, 1, 1, 1), 255, dtype=torch.uint8)
    for name, listed in kernels("notes", _notes_reference):
        assert listed(bits >> 3 << 3, bits, 5)[:, 2].tolist() == [0, 1, 2, 3, 4], name


@settings(max_examples=40, deadline=None)
@given(larger_rolls())
def test_packed_roll_to_notes_and_back(roll):
    n_pitches, bits = roll.frame.shape[-1], roll.map(packed)
    found = notes(bits, n_pitches)
    assert torch.equal(found, notes(roll)) and torch.equal(notes(bits.frame, n_pitches), notes(roll.frame))
    again = roll_from_notes(found, *roll.frame.shape, packed=True)
    assert torch.equal(again.frame, bits.frame)
    assert torch.equal(notes(again, n_pitches), found)


def test_a_frame_plane_alone_starts_where_it_rises():
    assert notes(line("xx x").frame)[:, 3:].tolist() == [[0, 2], [3, 4]]


def test_many_lines_over_many_threads():
    need_native()
    rng = np.random.default_rng(0)
    frame = torch.from_numpy(rng.random((200, 5, 2, 12, 84)) < 0.05)
    roll = Roll(frame, frame & torch.from_numpy(rng.random(frame.shape) < 0.3))
    wanted, before = _notes_reference(*roll, 84), torch.get_num_threads()
    shuffled = wanted[torch.randperm(len(wanted), generator=torch.Generator().manual_seed(0))]
    try:
        for n_threads in (1, 2, 3, 7):
            torch.set_num_threads(n_threads)
            assert torch.equal(notes(roll), wanted)
            for as_bits in (False, True):
                drawn = torch.ops.musegan.roll_from_notes(shuffled, list(frame.shape), as_bits)
                for mine, plane in zip(drawn, _roll_from_notes_reference(wanted, list(frame.shape), as_bits)):
                    assert torch.equal(mine, plane)
    finally:
        torch.set_num_threads(before)


def test_one_onset_of_many_that_does_not_sound():
    frame = torch.zeros(64, 5, 4, 16, 84, dtype=torch.bool)
    onset = frame.clone()
    onset[-1, -1, -1, -1, -1] = True
    for name, listed in kernels("notes", _notes_reference):
        with pytest.raises(RuntimeError, match="an onset must sound"):
            listed(frame, onset, 84)
        assert len(listed(onset, onset, 84)) == 1, name


def test_notes_of_a_view_that_is_not_contiguous():
    generator = torch.Generator().manual_seed(0)
    frame = torch.rand(3, 2, 6, 4, 2, generator=generator) < 0.5
    roll = Roll(frame.permute(4, 1, 3, 2, 0), torch.zeros(2, 2, 4, 6, 3, dtype=torch.bool))
    assert notes(roll).tolist() == notes_by_loop(roll)
    bits = packed(roll.frame).transpose(2, 3).contiguous().transpose(2, 3)
    assert notes(bits, 3).tolist() == notes_by_loop(roll)
    table = notes(roll).T.contiguous().T
    assert torch.equal(roll_from_notes(table, *roll.frame.shape).frame, roll.frame)


@pytest.mark.parametrize("shape", [(0, 5, 4, 16, 84), (2, 5, 0, 16, 84), (2, 5, 4, 16, 84)])
def test_silence_has_no_notes(shape):
    silence = torch.zeros(shape, dtype=torch.bool)
    found = notes(Roll(silence, silence))
    assert found.shape == (0, 5) and found.dtype == torch.int64
    assert torch.equal(roll_from_notes(found, *shape).frame, silence)


def test_a_later_note_cuts_an_earlier_one():
    roll = roll_from_notes(torch.tensor([[0, 0, 0, 0, 4], [0, 0, 0, 2, 6]]), 1, 1, 1, 8, 1)
    assert spans(roll) == [(0, 2), (2, 6)]


def test_onsets_without_frame_are_refused():
    with pytest.raises(ValueError, match="an onset must sound"):
        notes(line("  ", "x"))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_notes_of_other_integers(dtype):
    assert spans(roll_from_notes(torch.tensor([[0, 0, 0, 1, 3]], dtype=dtype), 1, 1, 1, 4, 1)) == [(1, 3)]


# ---- torch's own checks ----


def test_opcheck():
    frame = torch.rand(2, 2, 2, 3, 9, generator=torch.Generator().manual_seed(0)) < 0.4
    op = torch.ops.musegan
    bits = packed(frame)
    for arguments in ((frame, frame, 9), (frame.transpose(3, 4), None, 3), (bits, bits, 9), (frame[:0], None, 9)):
        torch.library.opcheck(op.notes.default, arguments)
    for as_bits in (False, True):
        torch.library.opcheck(op.roll_from_notes.default, (notes(frame), list(frame.shape), as_bits))


def test_compiles_into_one_graph():
    frame = torch.rand(2, 2, 2, 3, 9, generator=torch.Generator().manual_seed(0)) < 0.4

    @torch.compile(backend="aot_eager", fullgraph=True)
    def there_and_back(frame):
        return roll_from_notes(notes(Roll(frame, frame)), *frame.shape)

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        assert all(torch.equal(plane, frame) for plane in there_and_back(frame))


# ---- bad input ----


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ([0, 0, 0, 2, 2], "end_step must be after start_step"),
        ([0, 0, 0, 2, 9], "end_step must be 0 to 8: got 9"),
        ([1, 0, 0, 0, 1], "sample must be 0 to 0: got 1"),
        ([0, 0, -1, 0, 1], "pitch_index must be 0 to 0: got -1"),
        ([0, 0, 0, 1], r"expected \[n, 5\], got \[1, 4\]"),
    ],
)
def test_notes_that_do_not_fit_are_refused(note, message):
    with pytest.raises(ValueError, match=message):
        roll_from_notes(torch.tensor([note]), 1, 1, 2, 4, 1)


def test_notes_that_are_not_integers_are_refused():
    with pytest.raises(TypeError, match="must be integers"):
        roll_from_notes(torch.zeros(1, 5), 1, 1, 1, 4, 1)


@pytest.mark.parametrize("shape", [(0, 1, 1, 1, 1), (1, 1, 0, 4, 1), (1, 1, 1, 1, 0)])
def test_a_note_for_an_empty_roll_is_refused(shape):
    with pytest.raises(ValueError, match="must be 0 to -1: got 0"):
        roll_from_notes(torch.tensor([[0, 0, 0, 0, 1]]), *shape)


BOOLS, BITS = torch.zeros(1, 1, 1, 2, 9).bool(), torch.zeros(1, 1, 1, 2, 2).byte()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([0],), TypeError, "frame must be a tensor: got list"),
        ((BOOLS[0],), ValueError, r"frame: expected five axes \[N, K, B, T, P\], got \[1, 1, 2, 9\]"),
        ((BOOLS.float(),), TypeError, "frame must be bool, or uint8 of packed bits: got torch.float32"),
        ((Roll(BOOLS, BITS),), TypeError, "planes must have one dtype: frame=torch.bool, onset=torch.uint8"),
        ((Roll(BOOLS, BOOLS[..., :8]),), ValueError, "planes must have one shape: frame=.*9.*, onset=.*8.*"),
        ((BITS,), ValueError, "n_pitches must be given for packed planes: got None"),
        ((BITS, 17), ValueError, r"frame: expected rows of 3 for n_pitches=17, got \[1, 1, 1, 2, 2\]"),
        ((BITS, "9"), TypeError, "n_pitches must be an integer: got str"),
        ((BOOLS, 8), ValueError, "frame: expected rows of 8 for n_pitches=8, got"),
        ((torch.zeros(1, 1, 1, 1, 129).bool(),), ValueError, "P must be at most 128: got 129"),
        ((BITS, -1), ValueError, "P must be at most 128: got -1"),
    ],
)
def test_bad_arguments_of_notes(arguments, error, message):
    with pytest.raises(error, match=message):
        notes(*arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[0, 0, 0, 0, 1]], 1, 1, 1, 1, 1), TypeError, "notes must be a tensor: got list"),
        ((torch.zeros(0, 5).long(), 1, 1, 1, 1, 129), ValueError, "P must be at most 128: got 129"),
        ((torch.zeros(0, 5).long(), 1, -1, 1, 1, 1), ValueError, "n_tracks must not be negative: got -1"),
        ((torch.zeros(0, 5).long(), 1, 1, 1.0, 1, 1), TypeError, "n_bars must be an integer: got float"),
    ],
)
def test_bad_arguments_of_roll_from_notes(arguments, error, message):
    with pytest.raises(error, match=message):
        roll_from_notes(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((BOOLS[0], None, 9), "frame must have five axes"),
        ((BOOLS, None, 8), "frame must have rows of 8: got 9"),
        ((BITS, None, 17), "frame must have rows of 3: got 2"),
        ((BOOLS, None, -1), "n_pitches must be 0 to 128: got -1"),
        ((torch.zeros(1, 1, 1, 1, 129).bool(), None, 129), "n_pitches must be 0 to 128: got 129"),
        ((BOOLS.float(), None, 9), "frame must be Bool: got Float"),
        ((BOOLS, BITS, 9), "onset must be Bool: got Byte"),
        ((BOOLS, BOOLS[0], 9), "onset must have five axes"),
        ((BOOLS, BOOLS[..., :1, :], 9), "planes must have one shape"),
    ],
)
def test_native_notes_refuse_for_themselves(arguments, message):
    need_native()
    with pytest.raises(RuntimeError, match=message):
        torch.ops.musegan.notes(*arguments)


NOTE = torch.tensor([[0, 0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((NOTE[0], [1, 1, 1, 1, 1]), r"notes must be \[n, 5\]"),
        ((NOTE[:, :4], [1, 1, 1, 1, 1]), r"notes must be \[n, 5\]"),
        ((NOTE.int(), [1, 1, 1, 1, 1]), "notes must be Long: got Int"),
        ((NOTE, [1, 1, 1, 1]), "shape must be .*: got 4 axes"),
        ((NOTE, [1, 1, -1, 1, 1]), "shape must not be negative"),
        ((NOTE, [1, 1, 1, 1, 129]), "P must be at most 128: got 129"),
        ((NOTE, [1, 0, 1, 1, 1]), "within the roll and last a step: got 1 notes for an empty roll"),
        ((NOTE, [0, 2**40, 2**40, 2**40, 1]), "."),
        ((NOTE, [2**40, 2**40, 2**40, 1, 1]), "."),
        *(
            ((torch.tensor([note]), [1, 1, 2, 4, 1]), r"within the roll and last a step: got \[")
            for note in (
                [1, 0, 0, 0, 1], [0, 1, 0, 0, 1], [0, 0, 1, 0, 1], [0, 0, 0, 8, 9], [0, 0, 0, 0, 9],
                [-1, 0, 0, 0, 1], [0, -1, 0, 0, 1], [0, 0, -1, 0, 1], [0, 0, 0, -1, 1], [0, 0, 0, 3, 3],
                [0, 0, 0, 2, -(2**63)],
            )
        ),
    ],
)
def test_native_roll_from_notes_refuses_for_itself(arguments, message):
    need_native()
    with pytest.raises(RuntimeError, match=message):
        torch.ops.musegan.roll_from_notes(*arguments, False)
