"""The CUDA kernels: their bodies on the host, the built library, and, where there is a GPU, the ops."""

from __future__ import annotations

import ctypes
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from musegan import ops
from musegan.ops import binarize

HERE = Path(__file__).parent
CSRC = HERE.parent.parent / "csrc"
LIBRARY = Path(ops.__file__).parent.parent / "_C_cuda.so"
OPS = (
    "threshold bernoulli neuron stochastic_neuron neuron_backward pack unpack gather_phrases cleanup notes "
    "roll_from_notes"
).split()
NATIVE = torch.ops.musegan    # on the CPU, tested against the references by their own files

GRIDS = ((1, 1), (3, 32), (7, 64), (64, 256))
SIZES = (0, 1, 31, 255, 256, 257, 1000)
SHAPES = ((0,), (1,), (8,), (257,), (3, 84), (5, 13), (2, 3, 7), (4, 0), (0, 9))
DTYPES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
EXTREMES = (0.0, -0.0, 0.5, math.inf, -math.inf, math.nan, 1e-45, -1e-45, 87.0, -87.0, 88.7, -88.7, 3e38, -3e38)

by_grid = pytest.mark.parametrize("grid", GRIDS, ids=str)
by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_logits(shape, dtype: torch.dtype = torch.float32) -> Tensor:
    n = math.prod(shape)
    x = torch.randn(n, generator=generator(n)) * 4
    x[: len(EXTREMES)] = torch.tensor(EXTREMES[:n])
    return x.to(dtype).view(shape)


def some_roll(shape, share: float = 0.6, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=generator(seed)) < share


def some_planes(shape, seed: int = 0) -> tuple[Tensor, Tensor]:
    frame = some_roll(shape, 0.6, seed)
    return frame, frame & some_roll(shape, 0.3, seed + 1)


def equal(a: Tensor, b: Tensor) -> bool:
    """Equal bits, but for the payloads of NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not a.is_floating_point():
        return torch.equal(a, b)
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    a, b = a.contiguous(), b.contiguous()
    same = (a.view(integers) == b.view(integers)) | (a.isnan() & b.isnan())
    return bool(same.all())


# ---- the bodies of the kernels, compiled for the host ----


@dataclass
class Out:
    """A tensor that a kernel writes all of."""

    tensor: Tensor


@dataclass
class InOut:
    """A tensor that a kernel changes."""

    tensor: Tensor


class Guarded:
    """A copy of a tensor's bytes between others, which must not change."""

    GUARD = 64

    def __init__(self, tensor: Tensor, keep: bool):
        flat = tensor.contiguous().view(-1)
        self.n_bytes = flat.numel() * flat.element_size()
        self.memory = np.full(self.n_bytes + 2 * self.GUARD, 0xA5, dtype=np.uint8)
        if keep and self.n_bytes:
            self.inside[:] = flat.view(torch.uint8).numpy()
        self.before = self.memory.copy()

    @property
    def inside(self) -> np.ndarray:
        return self.memory[self.GUARD : self.GUARD + self.n_bytes]

    @property
    def pointer(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.memory.ctypes.data + self.GUARD)

    def check_guards(self) -> None:
        after = self.GUARD + self.n_bytes
        assert (self.memory[: self.GUARD] == 0xA5).all() and (self.memory[after:] == 0xA5).all(), "out of bounds"


class HostKernels:
    """The functions of cuda_kernels.cpp, each call with guarded memory."""

    def __init__(self, library: Path):
        self.library = ctypes.CDLL(str(library))

    def __call__(self, name: str, grid: tuple[int, int], *arguments) -> None:
        passed, guarded = [], []
        for argument in (*grid, *arguments):
            if isinstance(argument, (Tensor, Out, InOut)):
                tensor = argument if isinstance(argument, Tensor) else argument.tensor
                guarded.append((argument, tensor, Guarded(tensor, keep=not isinstance(argument, Out))))
                passed.append(guarded[-1][2].pointer)
            elif argument is None:
                passed.append(ctypes.c_void_p())
            else:
                passed.append((ctypes.c_double if isinstance(argument, float) else ctypes.c_int64)(argument))
        function = getattr(self.library, name)
        function.restype = None
        function(*passed)
        for argument, tensor, memory in guarded:
            memory.check_guards()
            if isinstance(argument, Tensor):
                assert (memory.memory == memory.before).all(), "an input was changed"
            elif memory.n_bytes:
                tensor.view(-1).view(torch.uint8).copy_(torch.from_numpy(memory.inside))


@pytest.fixture(scope="session")
def kernels(tmp_path_factory) -> HostKernels:
    if not CSRC.is_dir():
        pytest.skip("not run from a source tree")
    compiler = shutil.which("g++")
    if compiler is None:
        if os.environ.get("MUSEGAN_NATIVE") == "require":
            pytest.fail("no g++, and MUSEGAN_NATIVE=require")
        pytest.skip("no g++")
    library = tmp_path_factory.mktemp("cuda") / "kernels.so"
    flags = ["-std=c++17", "-O1", "-Wall", "-ffp-contract=off", "-fPIC", "-shared"]
    checks = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]  # reading a guard as bool is undefined too
    command = [compiler, *flags, *checks, "-o", str(library), str(HERE / "cuda_kernels.cpp")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return HostKernels(library)


def test_guards_see_a_write_past_the_end(kernels):
    with pytest.raises(AssertionError, match="out of bounds"):
        kernels("neuron", (1, 1), 0, torch.ones(9), 9, Out(torch.empty(8)))


def test_guards_see_a_changed_input(kernels):
    with pytest.raises(AssertionError, match="an input was changed"):
        kernels("neuron", (1, 1), 0, torch.ones(8), 8, torch.full((8,), 3.0))


def test_denominators(kernels):
    """Samples hardly ever show a contraction or another rounding; the denominators' bits do."""
    x = torch.cat([torch.tensor(EXTREMES), torch.linspace(-130, 130, 30_001)])
    d = torch.empty_like(x)
    kernels("denominators", (1, 1), x, len(x), Out(d))
    assert equal(d, binarize.denominator(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_conversions_of_16_bit_floats(kernels, dtype):
    halves = torch.arange(2**16).to(torch.int16).view(dtype)
    floats = torch.empty(len(halves))
    kernels("to_floats", (1, 1), DTYPES[dtype], halves, len(halves), Out(floats))
    assert equal(floats, halves.float())

    bits = torch.randint(-(2**31), 2**31, (200_000,), generator=generator(1), dtype=torch.int64).to(torch.int32)
    steps = torch.tensor([0, 1, 2**11, 2**12, 2**12 + 1, 2**15, -1])
    between = (floats.view(torch.int32).long()[:, None] + steps).int()
    x = torch.cat([bits, between.flatten()]).view(torch.float32)
    rounded = torch.empty(len(x), dtype=dtype)
    kernels("from_floats", (1, 1), DTYPES[dtype], x, len(x), Out(rounded))
    assert equal(rounded, x.to(dtype))


def blocks_of(shape, dtype: torch.dtype) -> list[Tensor | None]:
    """Numbers that go with each logit: none, one, one a pitch, one a logit."""
    n, pitches = math.prod(shape), shape[-1]
    sizes = {1, pitches, n} if n else set()
    return [None, *(torch.randn(size, generator=generator(size)).to(dtype) for size in sorted(sizes))]


@by_grid
@by_dtype
@pytest.mark.parametrize("packed", [False, True])
def test_threshold(kernels, grid, dtype, packed):
    real = torch.float64 if dtype == torch.float64 else torch.float32
    for shape in (*SHAPES, *((n,) for n in SIZES)):
        x = some_logits(shape, dtype)
        for each in blocks_of(shape, real):
            wanted = NATIVE.threshold(x, 0.5, each, packed)
            out = torch.empty_like(wanted)
            n_pitches = shape[-1] if packed else -1
            period = 1 if each is None else len(each)
            kernels("threshold", grid, DTYPES[dtype], x, 0.5, each, period, x.numel(), n_pitches, Out(out))
            assert equal(out, wanted), (shape, each)


@by_grid
@by_dtype
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("seed, offset", [(7, 0), (-1, 100), (2**62 + 5, 2**40 + 3), (1, 2**63 - 2**12)])
def test_bernoulli(kernels, grid, dtype, packed, seed, offset):
    for shape in (*SHAPES, *((n,) for n in SIZES)):
        x = some_logits(shape, dtype)
        for each in blocks_of(shape, torch.float32):
            wanted = NATIVE.bernoulli(x, seed, offset, each, packed)
            out = torch.empty_like(wanted)
            n_pitches = shape[-1] if packed else -1
            period = 1 if each is None else len(each)
            kernels("bernoulli", grid, DTYPES[dtype], x, seed, offset, each, period, x.numel(), n_pitches, Out(out))
            assert equal(out, wanted), (shape, each)


def test_bernoulli_draws_low_bits_where_they_decide(kernels):
    """Logits for which the top 16 bits of their random numbers leave the sample open."""
    n, seed = 4096, 3
    groups = torch.arange(n // binarize.GROUP * binarize.N_BLOCKS)
    words = torch.stack(binarize._words(groups, binarize._TOP, seed)).view(4, -1, binarize.N_BLOCKS)
    top = torch.stack([words & 0xFFFF, words >> 16], 1).flatten(0, 1).transpose(0, 1).reshape(n)
    x = -(65536 / (top.double() + 0.5) - 1).log().float()
    wanted = binarize._bernoulli_reference(x, seed, 0, None, False)
    assert n * 0.4 < wanted.sum() < n * 0.6
    for n_pitches in (-1, 64):
        out = torch.empty(n if n_pitches < 0 else n // 8, dtype=torch.bool if n_pitches < 0 else torch.uint8)
        kernels("bernoulli", (3, 32), 0, x, seed, 0, None, 1, n, n_pitches, Out(out))
        assert torch.equal(out, wanted if n_pitches < 0 else NATIVE.pack(wanted))


@by_grid
@by_dtype
def test_neurons(kernels, grid, dtype):
    for n in SIZES:
        x, grad = some_logits((n,), dtype), torch.randn(n, generator=generator(9)).to(dtype)
        out = torch.empty_like(x)
        kernels("neuron", grid, DTYPES[dtype], x, n, Out(out))
        assert equal(out, NATIVE.neuron(x, 1.5))
        for slope in (1.0, 1.1, 5.0):
            for seed, offset in ((7, 0), (-5, 2**40 + 100)):
                kernels("stochastic_neuron", grid, DTYPES[dtype], x, slope, seed, offset, n, Out(out))
                assert equal(out, NATIVE.stochastic_neuron(x, slope, seed, offset))
            kernels("neuron_backward", grid, DTYPES[dtype], grad, x, slope, n, Out(out))
            wanted = NATIVE.neuron_backward(grad, x, slope)
            if dtype == torch.float64:
                torch.testing.assert_close(out, wanted, rtol=1e-12, atol=0, equal_nan=True)
            else:
                assert equal(out, wanted)


@by_grid
def test_pack_and_unpack(kernels, grid):
    for shape in SHAPES:
        cells = torch.randint(0, 3, shape, generator=generator(1), dtype=torch.uint8) * 85
        bits = torch.empty_like(NATIVE.pack(cells))
        kernels("pack", grid, cells, cells.numel(), shape[-1], Out(bits))
        assert equal(bits, NATIVE.pack(cells)) and equal(bits, NATIVE.pack(cells != 0))
        any_bits = torch.randint(0, 256, bits.shape, generator=generator(2), dtype=torch.uint8)
        for as_float in (False, True):
            wanted = NATIVE.unpack(any_bits, shape[-1], as_float)
            out = torch.empty_like(wanted)
            n_rows = math.prod(shape[:-1])
            kernels("unpack", grid, any_bits, n_rows, shape[-1], int(as_float), Out(out))
            assert equal(out, wanted)


def some_phrases(n_pitches: int) -> tuple[list[Tensor], Tensor, Tensor]:
    """Shards of 5, 0 and 7 bars, 3 tracks, 4 steps; phrases of 3 bars, some over the border; any moves."""
    shards = [
        torch.randint(0, 256, (bars, 3, 4, (n_pitches + 7) // 8), generator=generator(bars), dtype=torch.uint8)
        for bars in (5, 0, 7)
    ]
    starts = torch.tensor([0, 9, 3, 4, 5, 2, 8])
    semitones = torch.randint(-6, 7, (len(starts), 3), generator=generator(4))
    semitones[0] = torch.tensor([n_pitches, -n_pitches, 0])
    semitones[1] = torch.tensor([-(2**63), 2**63 - 1, 1 - n_pitches])
    return shards, starts, semitones


@by_grid
@pytest.mark.parametrize("n_pitches", [1, 8, 13, 84, 128])
@pytest.mark.parametrize("as_float", [False, True])
def test_gather_phrases(kernels, grid, n_pitches, as_float):
    shards, starts, semitones = some_phrases(n_pitches)
    wanted = NATIVE.gather_phrases(shards, starts, semitones.clamp(-128, 128), 3, n_pitches, as_float)
    shape = (len(starts), 3, 3, 4, n_pitches)
    rest = (starts, semitones, *shape, int(as_float))

    out = torch.empty_like(wanted)    # by one launch
    kernels("gather_phrases", grid, shards[0], shards[2], 0, 5, 12, 12, *rest, Out(out))
    assert equal(out, wanted)

    out = torch.zeros_like(wanted) if as_float else ~wanted    # by one launch for each shard
    kernels("gather_phrases", grid, shards[0], None, 0, 5, 5, 12, *rest, InOut(out))
    assert not equal(out, wanted)
    kernels("gather_phrases", grid, shards[2], None, 5, 12, 12, 12, *rest, InOut(out))
    assert equal(out, wanted)


def test_gather_phrases_is_silent_outside_the_data_set(kernels):
    shards, _, _ = some_phrases(13)
    shards[2].fill_(255)
    starts = torch.tensor([-2, 6, 7, -(2**63), 2**63 - 1])
    semitones = torch.zeros(5, 3, dtype=torch.int64)
    out = torch.empty(5, 3, 3, 4, 13, dtype=torch.bool)
    kernels("gather_phrases", (3, 32), shards[2], None, 0, 7, 7, 7, starts, semitones, *out.shape, 0, Out(out))
    sounding_bars = torch.tensor([[False, False, True], [True, False, False], *[[False] * 3] * 3])
    assert torch.equal(out, sounding_bars[:, None, :, None, None].expand(out.shape))


CLEANUPS = (  # N, K, B, T, P
    (1, 1, 1, 1, 1),
    (2, 3, 2, 8, 13),
    (3, 2, 4, 6, 5),
    (1, 2, 1, 40, 3),
    (1, 1, 1, 3, 128),
)
LIMITS = torch.tensor([[1, 0, 128], [2, 1, 2], [3, 4, 1], [1, 100, 0], [50, 0, 128], [2, 2, 3]])


@by_grid
@by_dtype
@pytest.mark.parametrize("with_onset", [False, True])
def test_cleanup(kernels, grid, dtype, with_onset):
    for i, shape in enumerate(CLEANUPS):
        for first in range(0, len(LIMITS), 2):
            limits = LIMITS.roll(-first, 0)[: shape[1]]
            frame, _ = some_planes(shape, i)
            onset = some_roll(shape, 0.3, 20 + i) if with_onset else None    # also where nothing sounds
            logits = (some_logits(shape) * 0.25).round()    # many ties
            logits[some_roll(shape, 0.2, 40 + i)] = math.nan
            logits[some_roll(shape, 0.2, 60 + i)] = -math.inf
            logits = logits.to(dtype)
            wanted = NATIVE.cleanup(frame, onset, logits, limits)
            kept, starts = host_cleanup(kernels, grid, frame, onset, logits, limits)
            assert torch.equal(kept, wanted[0]), (shape, limits)
            assert torch.equal(starts, wanted[1]) if with_onset else wanted[1].numel() == 0


def host_cleanup(kernels, grid, frame, onset, logits, limits) -> tuple[Tensor, Tensor | None]:
    """The three kernels one after the other, as csrc/cuda/cleanup.cu launches them."""
    n, k, b, t, p = frame.shape
    columns = n * k, k, b * t, p
    filled, kept = torch.empty_like(frame), torch.empty_like(frame)
    starts = None if onset is None else torch.empty_like(frame)
    out = lambda plane, kind: None if plane is None else kind(plane)    # noqa: E731
    kernels("cleanup_gaps", grid, *columns, frame, onset, limits, Out(filled), out(starts, Out))
    kernels("cleanup_polyphony", grid, *columns, DTYPES[logits.dtype], filled, logits, limits, Out(kept))
    kernels("cleanup_short", grid, *columns, limits, InOut(kept), out(starts, InOut))
    return kept, starts


NOTES = ((1, 1, 1, 1, 1), (2, 3, 2, 8, 13), (1, 2, 1, 40, 3), (3, 1, 4, 4, 84))


@by_grid
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("with_onset", [False, True])
def test_notes(kernels, grid, packed, with_onset):
    for i, shape in enumerate(NOTES):
        n, k, b, t, p = shape
        frame, onset = some_planes(shape, i)
        onset = onset if with_onset else None
        wanted = NATIVE.notes(frame, onset, p)
        if packed:
            frame, onset = NATIVE.pack(frame), None if onset is None else NATIVE.pack(onset)
            frame[..., -1] |= 0 if p % 8 == 0 else 1    # padding that must not be read
        counts, misplaced = torch.empty(n * k * b * t, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
        roll = int(packed), frame, onset, len(counts), b * t, p
        kernels("notes_count", grid, *roll, Out(counts), InOut(misplaced))
        assert counts.sum() == len(wanted) and misplaced == 0
        found = torch.empty_like(wanted)
        kernels("notes_write", grid, *roll, k, counts, counts.cumsum(0), Out(found))
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("packed", [False, True])
def test_notes_see_an_onset_in_silence(kernels, packed):
    frame, onset = torch.zeros(1, 1, 1, 2, 5, dtype=torch.bool), torch.zeros(1, 1, 1, 2, 5, dtype=torch.bool)
    onset[..., 1, 3] = True
    if packed:
        frame, onset = NATIVE.pack(frame), NATIVE.pack(onset)
    misplaced = torch.zeros(1, dtype=torch.int64)
    counts = Out(torch.empty(2, dtype=torch.int64))
    kernels("notes_count", (3, 32), int(packed), frame, onset, 2, 2, 5, counts, InOut(misplaced))
    assert misplaced == 1


@by_grid
def test_roll_from_notes(kernels, grid):
    for i, shape in enumerate(NOTES):
        n, k, b, t, p = shape
        notes = NATIVE.notes(*some_planes(shape, i), p)
        notes = torch.cat([notes, notes[::2] * torch.tensor([1, 1, 1, 0, 1])])    # some that overlap
        wanted = NATIVE.roll_from_notes(notes, shape, False)
        unfit = [[-1, 0, 0, 0, 1], [n, 0, 0, 0, 1], [0, k, 0, 0, 1], [0, 0, p, 0, 1], [0, 0, 0, 1, b * t + 1]]
        unfit += [[0, 0, 0, 1, 1], [0, 0, 0, -1, 1]]
        notes = torch.cat([notes, torch.tensor(unfit)])
        frame, onset = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
        kernels("notes_draw", grid, notes, len(notes), n, k, b * t, p, InOut(frame), InOut(onset))
        assert torch.equal(frame, wanted[0]) and torch.equal(onset, wanted[1])


# ---- the built library ----


@pytest.fixture(scope="session")
def library() -> Path:
    """The CUDA library: expected wherever there is an nvcc, unless the build was asked to leave it out."""
    if os.environ.get("MUSEGAN_NATIVE") == "off" or os.environ.get("MUSEGAN_CUDA") == "0":
        pytest.skip("MUSEGAN_NATIVE=off or MUSEGAN_CUDA=0")
    if not LIBRARY.is_file():
        record = LIBRARY.with_name("_cuda_not_built.txt")
        reason = record.read_text().strip() if record.is_file() else "never built here"
        if shutil.which("nvcc") and not reason.startswith("built with MUSEGAN_"):
            pytest.fail(f"{LIBRARY} is absent though there is an nvcc: {reason}")
        pytest.skip(f"no CUDA library: {reason}")
    return LIBRARY


def test_the_library_loads_without_a_gpu_and_has_every_op(library):
    code = f"""
import torch, musegan.ops
torch.ops.load_library({str(library)!r})
for op in {OPS}:
    assert torch._C._dispatch_has_kernel_for_dispatch_key("musegan::" + op, "CUDA"), op
print(musegan.ops.op_backends()["threshold"]["cuda"])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "native (cuda)\n", result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("stem, operations", [("binarize", {"mul", "add"}), ("neurons", {"mul", "add", "div"})])
def test_device_code_rounds_every_step(library, stem, operations, tmp_path):
    """No float32 operation is fused, approximated or flushed to zero."""
    if shutil.which("nvcc") is None or not CSRC.is_dir():
        pytest.skip("no nvcc, or not run from a source tree")
    code = "from nvcc_build import *; print(*FLAGS, *(f'-I{path}' for path in include_paths()), sep='\\n')"
    flags = subprocess.run([sys.executable, "-c", code], cwd=CSRC / "cuda", capture_output=True, text=True, check=True)
    ptx = tmp_path / "kernels.ptx"
    command = ["nvcc", "-ptx", "-arch=compute_80", *flags.stdout.split(), "-o", str(ptx), f"{CSRC}/cuda/{stem}.cu"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    words = {line.split()[0] for line in ptx.read_text().splitlines() if line.strip()}
    assert {f"{operation}.rn.f32" for operation in operations} <= words
    bad = re.compile(r"fma\.\w+\.f32|.*\.ftz|.*\.approx.*\.f32|(mul|add|sub|div)\.f32")
    assert not [word for word in words if bad.match(word)]


def test_every_kernel_is_of_an_op_of_the_package():
    assert set(OPS) <= set(ops.op_backends())


def test_status_says_which_or_why_not():
    status = ops.native_status()
    assert bool(status.cuda_path) != bool(status.cuda_reason)


# ---- on a GPU ----


@pytest.fixture(scope="session")
def gpu() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    if os.environ.get("MUSEGAN_NATIVE") == "off":
        pytest.skip("MUSEGAN_NATIVE=off")
    assert ops.native_status().cuda_path, ops.native_status().cuda_reason
    return torch.device("cuda", 0)


def on_device(argument, device):
    if isinstance(argument, list):
        return [on_device(a, device) for a in argument]
    return argument.to(device) if isinstance(argument, Tensor) else argument


def cases(dtype: torch.dtype, n: int = 3) -> list[tuple]:
    """Calls of every op, with rolls of `n` phrases."""
    shape = n, 5, 4, 12, 84
    x, (frame, onset) = some_logits(shape, dtype), some_planes(shape)
    each = torch.randn(84, generator=generator(3))
    each_of_threshold = each.double() if dtype == torch.float64 else each
    shards, starts, semitones = some_phrases(84)
    some = min(n, len(starts))
    limits = torch.tensor([[1, 0, 128], [2, 1, 3], [3, 4, 1], [1, 100, 0], [2, 2, 10]])
    bits = NATIVE.pack(frame), NATIVE.pack(onset)
    found = NATIVE.notes(frame, onset, 84)
    return [
        *(("threshold", x, 0.5, a, packed) for a in (None, each_of_threshold) for packed in (False, True)),
        *(("bernoulli", x, -7, 2**40 + 3, a, packed) for a in (None, each) for packed in (False, True)),
        ("neuron", x, 1.1),
        ("stochastic_neuron", x, 1.1, 3, 300),
        ("neuron_backward", x.flip(0).nan_to_num(), x, 1.1),
        *(("pack", roll) for roll in (frame, frame.to(torch.uint8) * 3)),
        *(("unpack", bits[0], 84, as_float) for as_float in (False, True)),
        *(
            ("gather_phrases", shards, starts[:some], semitones[:some].clamp(-128, 128), 3, 84, as_float)
            for as_float in (False, True)
        ),
        *(("cleanup", frame, o, x, limits) for o in (None, onset)),
        *(("notes", f, o, 84) for f, o in ((frame, onset), (frame, None), bits)),
        *(("roll_from_notes", found, list(shape), packed) for packed in (False, True)),
    ]


def check_on(device, name: str, *arguments) -> None:
    op = getattr(NATIVE, name)
    wanted, got = op(*arguments), op(*on_device(list(arguments), device))
    single = isinstance(wanted, Tensor)
    for a, b in zip([wanted] if single else wanted, [got] if single else got):
        assert b.device == device and b.is_contiguous()
        if name == "neuron_backward" and b.dtype == torch.float64:
            torch.testing.assert_close(b.cpu(), a, rtol=1e-12, atol=0, equal_nan=True)
        else:
            assert equal(b.cpu(), a), (name, arguments[1:])


@pytest.mark.cuda
@by_dtype
def test_gpu_equals_cpu(gpu, dtype):
    for n in (0, 1, 7):
        for case in cases(dtype, n):
            check_on(gpu, *case)


@pytest.mark.cuda
def test_gpu_equals_cpu_on_a_large_batch(gpu):
    for case in cases(torch.float32, 64):
        check_on(gpu, *case)


@pytest.mark.cuda
def test_gpu_takes_any_strides(gpu):
    def spread(argument):
        if not isinstance(argument, Tensor) or argument.ndim < 4:
            return argument
        return argument.transpose(0, 2).contiguous().transpose(0, 2)

    for name, *arguments in cases(torch.float32):
        check_on(gpu, name, *map(spread, arguments))


@pytest.mark.cuda
def test_gpu_runs_on_the_current_stream(gpu):
    """A long wait on another stream comes first: kernels elsewhere would read what is not there yet."""
    stream = torch.cuda.Stream(gpu)
    for name, *arguments in cases(torch.float32):
        op = getattr(NATIVE, name)
        ready = on_device(arguments, gpu)
        wanted = op(*ready)
        late = [torch.zeros_like(a) if isinstance(a, Tensor) else a for a in ready]
        torch.cuda.synchronize(gpu)
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)
            for to, of in zip(late, ready):
                if isinstance(to, Tensor):
                    to.copy_(of, non_blocking=True)
            got = op(*late)
        torch.cuda.synchronize(gpu)
        for a, b in zip([wanted] if isinstance(wanted, Tensor) else wanted, [got] if isinstance(got, Tensor) else got):
            assert equal(a.cpu(), b.cpu()), name


@pytest.mark.cuda
def test_gpu_other_than_the_current_one(gpu):
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU only")
    for case in cases(torch.float32):
        check_on(torch.device("cuda", 1), *case)
    assert torch.cuda.current_device() == 0


@pytest.mark.cuda
def test_gpu_refuses_what_the_cpu_refuses(gpu):
    silent, onset = torch.zeros(1, 1, 1, 2, 5, dtype=torch.bool, device=gpu), some_roll((1, 1, 1, 2, 5)).to(gpu)
    with pytest.raises(RuntimeError, match="an onset must sound: onset is True where frame is False"):
        NATIVE.notes(silent, onset, 5)
    with pytest.raises(RuntimeError, match="all tensors must be on one device"):
        NATIVE.threshold(torch.zeros(3, device=gpu), 0.0, torch.zeros(3), False)
    with pytest.raises(RuntimeError, match="logits must be float32, float64, float16 or bfloat16: got Long"):
        NATIVE.bernoulli(torch.zeros(3, dtype=torch.int64, device=gpu), 0, 0, None, False)


@pytest.mark.cuda
@pytest.mark.slow
def test_gpu_past_32_bit_indices(gpu):
    n = 2**31 + 1000
    if torch.cuda.mem_get_info(gpu)[0] < 8 * n:
        pytest.skip("too little memory on the GPU")
    x = torch.full((n,), -1.0, dtype=torch.bfloat16, device=gpu)
    x[-3:] = 1
    tail = x[-5000:].cpu()
    assert torch.equal(NATIVE.threshold(x, 0.0, None, False)[-5000:].cpu(), tail > 0)
    wanted = NATIVE.bernoulli(tail, 5, n - 5000, None, False)
    assert torch.equal(NATIVE.bernoulli(x, 5, 0, None, False)[-5000:].cpu(), wanted)
    assert torch.equal(NATIVE.bernoulli(x, 5, 0, None, True)[-625:].cpu(), NATIVE.pack(wanted))
