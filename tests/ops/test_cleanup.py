"""cleanup: what each of its steps means, its kernels against a loop over cells, its guarantees, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from musegan import ops
from musegan.ops.cleanup import _cleanup_reference
from musegan.roll import Roll
from tests.ops.kernels import kernels, need_native

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
VALUES = (0.0, -0.0, 1.0, 2.0, -3.5, 1e-3, math.inf, -math.inf, math.nan)  # few, so that many are equal
PITCHES = (1, 2, 5, 8, 63, 64, 65, 84, 127, 128)
LIMITS = st.tuples(st.integers(1, 5), st.integers(0, 5), st.sampled_from([0, 1, 2, 3, 10, 63, 128]))


@st.composite
def cases(draw, sizes=st.integers(1, 2), steps=st.integers(1, 9), pitches=st.sampled_from(PITCHES)):
    """A frame plane, an onset plane or None, logits, and limits [K, 3]."""
    shape = (draw(sizes), draw(sizes), draw(sizes), draw(steps), draw(pitches))
    limits = torch.tensor([draw(LIMITS) for _ in range(shape[1])], dtype=torch.int64).reshape(-1, 3)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    frame = torch.from_numpy(rng.random(shape) < draw(st.sampled_from([0.05, 0.4, 0.8, 1.0])))
    onset = torch.from_numpy(rng.random(shape) < 0.3)
    logits = torch.from_numpy(rng.choice(VALUES, shape)).to(draw(st.sampled_from(DTYPES)))
    return frame, draw(st.sampled_from([onset, None])), logits, limits


def line(text: str) -> Roll:
    """One track, one bar: a row for each pitch, `x` a start, `-` what goes on, `o` an onset outside frame."""
    rows = text.split("/")
    planes = ([[cell in cells for cell in row] for row in rows] for cells in ("x-", "xo"))
    return Roll(*(torch.tensor(plane).T[None, None, None] for plane in planes))


def text_of(roll: Roll) -> str:
    sound, start = (plane[0, 0, 0].T.tolist() for plane in roll)
    rows = (zip(*row) for row in zip(sound, start))
    return "/".join("".join("x" if s else "-" if f else " " for f, s in row) for row in rows)


# ---- the definition, one cell at a time ----


def cleanup_by_loop(
    frame: Tensor, onset: Tensor | None, logits: Tensor | None, limits: Tensor
) -> tuple[Tensor, Tensor]:
    n_pitches, n_steps = frame.shape[4], frame.shape[2] * frame.shape[3]
    frame_out = torch.zeros(frame.flatten(2, 3).shape, dtype=torch.bool)
    onset_out = frame_out.clone()
    for n in range(frame.shape[0]):
        for k, (min_steps, max_gap_steps, max_pitches) in enumerate(limits.tolist()):
            sounds = frame[n, k].flatten(0, 1).T.tolist()    # [P][S]
            struck = (onset if onset is not None else frame_out.view(frame.shape) & False)[n, k]
            struck = struck.flatten(0, 1).T.tolist()
            starts = [
                [row[t] and (hit[t] or t == 0 or not row[t - 1]) for t in range(n_steps)]
                for row, hit in zip(sounds, struck)
            ]
            for row, start in zip(sounds, starts):
                heard = [t for t in range(n_steps) if row[t]]
                for a, b in zip(heard, heard[1:]):
                    if 0 < b - a - 1 <= max_gap_steps:
                        row[a + 1 : b] = [True] * (b - a - 1)
                        start[b] = False
            if logits is not None:
                values = logits[n, k].flatten(0, 1).tolist()    # [S][P]
                for t in range(n_steps):
                    key = [-math.inf if math.isnan(value) else value for value in values[t]]
                    heard = sorted((p for p in range(n_pitches) if sounds[p][t]), key=lambda p: (-key[p], p))
                    for p in heard[max_pitches:]:
                        sounds[p][t] = starts[p][t] = False
            for p, (row, start) in enumerate(zip(sounds, starts)):
                for t in range(1, n_steps):
                    start[t] = start[t] or (row[t] and not row[t - 1])
                for t in range(n_steps):
                    end = t + 1
                    while end < n_steps and row[end] and not start[end]:
                        end += 1
                    if start[t] and end - t >= min_steps:
                        frame_out[n, k, t:end, p] = True
                        onset_out[n, k, t, p] = True
    frame_out, onset_out = frame_out.view(frame.shape), onset_out.view(frame.shape)
    return frame_out, onset_out if onset is not None else torch.zeros(0, dtype=torch.bool)


def equal(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> bool:
    return all(torch.equal(x, y) and x.dtype == y.dtype == torch.bool for x, y in zip(a, b))


@settings(max_examples=150, deadline=None)
@given(cases())
def test_every_kernel_is_the_definition(case):
    wanted = cleanup_by_loop(*case)
    for name, cleanup in kernels("cleanup", _cleanup_reference):
        assert equal(cleanup(*case), wanted), name


@settings(max_examples=40, deadline=None)
@given(cases(st.just(1), steps=st.integers(30, 200), pitches=st.sampled_from([3, 84])), st.integers(1, 300))
def test_long_gaps_and_long_notes(case, reach):
    frame, onset, logits, limits = case
    case = frame, onset, logits, torch.tensor([[reach // 2 + 1, reach, 128]])
    wanted = cleanup_by_loop(*case)
    for name, cleanup in kernels("cleanup", _cleanup_reference):
        assert equal(cleanup(*case), wanted), name


@settings(max_examples=60, deadline=None)
@given(cases(sizes=st.integers(0, 1), steps=st.integers(0, 2), pitches=st.sampled_from([0, 1, 9])))
def test_empty_rolls(case):
    for name, cleanup in kernels("cleanup", _cleanup_reference):
        assert equal(cleanup(*case), cleanup_by_loop(*case)), name


def test_limits_as_large_as_they_get():
    frame = torch.tensor([1, 0, 0, 1, 1]).bool().view(1, 1, 1, 5, 1)
    for largest in (5, 2**31, 2**62, 2**63 - 1):
        for name, cleanup in kernels("cleanup", _cleanup_reference):
            joined, _ = cleanup(frame, None, None, torch.tensor([[1, largest, largest]]).clamp(min=1))
            assert joined.all(), name
            silent, _ = cleanup(frame, None, None, torch.tensor([[max(largest, 6), 0, 128]]))
            assert not silent.any(), name


# ---- what the steps mean ----


@pytest.mark.parametrize(
    "before, limits, after",
    [
        # gaps: one note of two, the second start gone; silence at both ends stays
        ("  x- x-  ", {"max_gap_steps": 1}, "  x----  "),
        ("  x-  x- ", {"max_gap_steps": 1}, "  x-  x- "),
        ("x x  x   x", {"max_gap_steps": 2}, "x-----   x"),
        ("x-x x-x-", {"max_gap_steps": 1}, "x-x---x-"),
        # short notes, among them one that the next start cuts short, and one that the end of the phrase does
        ("x-- x- x x-x--x", {"min_steps": 2}, "x-- x-   x-x-- "),
        ("x-- x- x x-x--x", {"min_steps": 3}, "x--        x-- "),
        # gaps come first: two notes too short become one that is long enough
        ("x x  x", {"max_gap_steps": 1, "min_steps": 3}, "x--   "),
        # onsets outside frame are none
        (" o x-oo", {}, "   x-  "),
        # a note struck again without a gap stays two
        ("x-x- x", {"max_gap_steps": 1}, "x-x---"),
    ],
)
def test_gaps_and_short_notes(before, limits, after):
    assert text_of(ops.cleanup(line(before), **limits)) == after


def test_the_strongest_pitches_stay_and_what_follows_a_cut_starts():
    roll = line("x---/x---/x---")
    logits = torch.tensor([[1.0, 3, 1, 1], [2, 2, 2, 2], [3, 1, 3, 1]]).T[None, None, None]
    assert text_of(ops.cleanup(roll, logits, max_pitches=2)) == " x x/x---/x x "
    assert text_of(ops.cleanup(roll, logits, max_pitches=2, min_steps=2)) == "    /x---/    "
    assert text_of(ops.cleanup(roll, logits, max_pitches=0)) == "    /    /    "


def test_of_equal_logits_the_lower_pitch_stays_and_nan_is_the_weakest():
    roll = line("x/x/x/x")
    for dtype in DTYPES:
        for values, kept in (
            ([1.0, 1, 1, 1], "x/ / / "),
            ([-0.0, 0.0, -0.0, -1], "x/ / / "),
            ([math.nan, -1e3, math.nan, -math.inf], " /x/ / "),
            ([-math.inf, math.nan, -math.inf, math.nan], "x/ / / "),
            ([1.0, 2, math.inf, 3], " / /x/ "),
        ):
            logits = torch.tensor(values, dtype=dtype).view(1, 1, 1, 1, 4)
            assert text_of(ops.cleanup(roll, logits, max_pitches=1)) == kept


def test_float64_logits_are_not_rounded():
    logits = torch.tensor([1.0, 1 + 2.0**-50], dtype=torch.float64).view(1, 1, 1, 1, 2)
    assert text_of(ops.cleanup(line("x/x"), logits, max_pitches=1)) == " /x"


def test_time_runs_through_the_bars_and_each_track_has_its_limits():
    frame = torch.zeros(1, 2, 2, 4, 1, dtype=torch.bool)
    frame[0, :, 0, 3] = frame[0, :, 1, 1] = True    # steps 3 and 5
    cleaned = ops.cleanup(frame, min_steps=[1, 3], max_gap_steps=[0, 1])
    assert cleaned.flatten(2).nonzero()[:, 1:].tolist() == [[0, 3], [0, 5], [1, 3], [1, 4], [1, 5]]
    assert not ops.cleanup(frame, min_steps=2).any()


def test_gives_what_it_was_given():
    roll = line("x-x /o  x")
    assert isinstance(ops.cleanup(roll), Roll) and text_of(ops.cleanup(roll)) == "x-x /   x"
    assert torch.equal(ops.cleanup(roll.frame, min_steps=2), line("x-- /    ").frame)


def test_rising_frames_become_onsets():
    roll = line("-- - ")
    assert text_of(ops.cleanup(roll)) == "x- x "


# ---- guarantees ----


def lengths(roll: Roll) -> list[list[int]]:
    """Lengths of the notes of each track."""
    found = ops.notes(roll)
    return [(found[:, 4] - found[:, 3])[found[:, 1] == k].tolist() for k in range(roll.frame.shape[1])]


@settings(max_examples=100, deadline=None)
@given(cases())
@example((torch.ones(1, 1, 1, 4, 3).bool(), torch.ones(1, 1, 1, 4, 3).bool(), torch.zeros(1, 1, 1, 4, 3),
          torch.tensor([[2, 0, 1]])))
def test_no_short_note_is_left_and_no_thick_step(case):
    frame, onset, logits, limits = case
    min_steps, max_gap_steps, max_pitches = limits.T.tolist()
    given_roll = frame if onset is None else Roll(frame, onset)
    keywords = {"min_steps": min_steps, "max_gap_steps": max_gap_steps, "max_pitches": max_pitches}
    cleaned = ops.cleanup(given_roll, logits, **keywords)
    plane = cleaned if onset is None else cleaned.frame
    for k, found in enumerate(lengths(Roll(plane, torch.zeros_like(plane)) if onset is None else cleaned)):
        assert all(length >= min_steps[k] for length in found)
        assert (plane[:, k].sum(-1) <= max_pitches[k]).all()
    if onset is not None:
        rising = plane.flatten(2, 3)
        rising = rising & ~torch.nn.functional.pad(rising, (0, 0, 1, -1))
        assert (cleaned.onset.flatten(2, 3) >= rising).all() and (cleaned.onset <= plane).all()


@settings(max_examples=80, deadline=None)
@given(cases())
def test_without_gaps_to_close_a_second_cleanup_changes_nothing(case):
    frame, onset, logits, limits = case
    limits[:, 1] = 0
    for name, cleanup in kernels("cleanup", _cleanup_reference):
        once = cleanup(frame, onset, logits, limits)
        again = cleanup(once[0], None if onset is None else once[1], logits, limits)
        assert equal(once, again), name


def test_without_limits_nothing_changes():
    roll = line("x-x x/ x -x")
    assert torch.equal(ops.cleanup(roll).frame, roll.frame)
    assert torch.equal(ops.cleanup(roll.frame), roll.frame)


# ---- strides, threads, torch's own checks ----


def music(n: int = 6, n_tracks: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(3)
    shape = (n, n_tracks, 2, 16, 84)
    logits = torch.randn(shape, generator=rng) - 1
    return logits > 0, torch.rand(shape, generator=rng) < 0.1, logits, torch.tensor([[2, 1, 4]] * n_tracks)


def test_strided_arguments():
    frame, onset, logits, limits = music(6, 3)
    turned = [plane.permute(4, 1, 3, 2, 0) for plane in (frame, onset, logits)]
    wide = torch.stack([limits, limits + 5], -1)[..., 0]
    for name, cleanup in kernels("cleanup", _cleanup_reference):
        wanted = cleanup(*(plane.contiguous() for plane in turned), limits)
        result = cleanup(*turned, wide)
        assert equal(result, wanted) and all(plane.is_contiguous() for plane in result), name
    one = frame[:1].expand(4, -1, -1, -1, -1)
    assert torch.equal(ops.cleanup(one, min_steps=2), ops.cleanup(frame[:1], min_steps=2).expand_as(one))


def test_number_of_threads_does_not_matter():
    need_native()
    case, before = music(64, 5), torch.get_num_threads()
    wanted = _cleanup_reference(*case)
    try:
        for n_threads in (1, 2, 3, 7):
            torch.set_num_threads(n_threads)
            assert equal(torch.ops.musegan.cleanup(*case), wanted)
    finally:
        torch.set_num_threads(before)


def test_opcheck():
    frame, onset, logits, limits = music(2, 2)
    for case in (
        (frame, onset, logits, limits),
        (frame, None, logits.double(), limits),
        (frame.transpose(3, 4), None, None, limits.clamp(min=128)),
        (frame[:0], onset[:0], None, limits.clamp(min=128)),
    ):
        torch.library.opcheck(torch.ops.musegan.cleanup.default, case)


def test_compiles_into_one_graph():
    frame, onset, logits, _ = music(2, 2)
    keywords = {"min_steps": [1, 3], "max_gap_steps": 1, "max_pitches": [None, 4]}

    @torch.compile(backend="aot_eager", fullgraph=True)
    def compiled(frame, onset, logits):
        return ops.cleanup(Roll(frame, onset), logits, **keywords)

    assert equal(compiled(frame, onset, logits), ops.cleanup(Roll(frame, onset), logits, **keywords))


# ---- bad input ----

ROLL = line("x-/x-")
LOGITS = torch.zeros(1, 1, 1, 2, 2)


@pytest.mark.parametrize(
    "arguments, limits, error, message",
    [
        (([1],), {}, TypeError, "frame must be a tensor: got list"),
        ((ROLL.frame[0],), {}, ValueError, r"frame: expected five axes .*, got \[1, 1, 2, 2\]"),
        ((ROLL.frame.byte(),), {}, TypeError, "frame must be bool: got torch.uint8"),
        ((Roll(ROLL.frame, ROLL.onset.float()),), {}, TypeError, "onset must be bool: got torch.float32"),
        ((Roll(ROLL.frame, ROLL.onset[..., :1]),), {}, ValueError,
         r"onset must have the shape of frame, \[1, 1, 1, 2, 2\]: got \[1, 1, 1, 2, 1\]"),
        ((ROLL, LOGITS[..., :1]), {}, ValueError, "logits must have the shape of frame"),
        ((ROLL, LOGITS.long()), {}, TypeError, "logits must be float32, .* or bfloat16: got torch.int64"),
        ((ROLL, "logits"), {}, TypeError, "logits must be a tensor: got str"),
        ((torch.zeros(1, 1, 1, 1, 129).bool(),), {}, ValueError, "P must be at most 128: got 129"),
        ((ROLL,), {"max_pitches": 1}, ValueError, "needs logits to choose by: got max_pitches=1 without"),
        ((ROLL,), {"min_steps": 0}, ValueError, "min_steps must be at least 1, and below .*: got 0"),
        ((ROLL,), {"max_gap_steps": -1}, ValueError, "max_gap_steps must be at least 0, .*: got -1"),
        ((ROLL,), {"max_gap_steps": 2**63}, ValueError, "max_gap_steps must be .* below .*: got 92233"),
        ((ROLL, LOGITS), {"max_pitches": -1}, ValueError, "max_pitches must be at least 0"),
        ((ROLL,), {"min_steps": 1.5}, TypeError, "min_steps must be an integer: got float"),
        ((ROLL,), {"min_steps": None}, TypeError, "min_steps must be an integer: got NoneType"),
        ((ROLL,), {"max_pitches": ["all"]}, TypeError, "max_pitches must be an integer or None: got str"),
        ((ROLL,), {"min_steps": [1, 2]}, ValueError, "min_steps must have one entry for each .* 1 tracks: got 2"),
    ],
)
def test_bad_arguments(arguments, limits, error, message):
    with pytest.raises(error, match=message):
        ops.cleanup(*arguments, **limits)


def test_a_limit_of_all_pitches_needs_no_logits():
    assert text_of(ops.cleanup(ROLL, max_pitches=2)) == "x-/x-"


FRAME, LIMIT = torch.zeros(1, 1, 1, 2, 3).bool(), torch.tensor([[1, 0, 128]])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((FRAME[0], None, None, LIMIT), "frame must have five axes"),
        ((FRAME.byte(), None, None, LIMIT), "frame must be Bool: got Byte"),
        ((torch.zeros(1, 1, 1, 1, 129).bool(), None, None, LIMIT), "P must be at most 128: got 129"),
        ((FRAME, FRAME[..., :2], None, LIMIT), "onset must have the shape of frame"),
        ((FRAME, FRAME.byte(), None, LIMIT), "onset must be Bool: got Byte"),
        ((FRAME, None, torch.zeros(1, 1, 1, 2, 2), LIMIT), "logits must have the shape of frame"),
        ((FRAME, None, torch.zeros(1, 1, 1, 2, 3).long(), LIMIT), "logits must be float32"),
        ((FRAME, None, None, LIMIT[0]), r"limits must be \[K, 3\]"),
        ((FRAME, None, None, LIMIT.repeat(2, 1)), r"limits must be \[K, 3\]"),
        ((FRAME, None, None, LIMIT[:, :2]), r"limits must be \[K, 3\]"),
        ((FRAME, None, None, LIMIT.int()), "limits must be Long: got Int"),
        ((FRAME, None, None, torch.tensor([[0, 0, 128]])), "limits must be min_steps >= 1"),
        ((FRAME, None, None, torch.tensor([[1, -1, 128]])), "limits must be min_steps >= 1"),
        ((FRAME, None, None, torch.tensor([[1, 0, -1]])), "limits must be min_steps >= 1"),
        ((FRAME, None, None, torch.tensor([[1, 0, 2]])), "max_pitches needs logits"),
    ],
)
def test_the_native_kernel_refuses_for_itself(arguments, message):
    need_native()
    with pytest.raises(RuntimeError, match=message):
        torch.ops.musegan.cleanup(*arguments)
