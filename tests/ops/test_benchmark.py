"""The benchmark of the ops: equal results first, a line for each way, a chart."""

import json
import os
import time
from collections import Counter

import pytest
import torch

from benchmarks import compiling, harness
from benchmarks.cases import Case, Rival, same_bits, same_mean
from benchmarks.ops import __main__ as command
from benchmarks.ops import chart, cuda, notes
from musegan import ops
from tests.ops.kernels import need_native

X = torch.linspace(-1, 1, 1000)


def case(native=lambda: X > 0, reference=lambda: X > 0, rival=lambda: X > 0, **changes):
    rivals = (Rival("rival", rival, same_bits),)
    return Case("above", "phrase", (1, 1, 1, 10, 100), X.dtype, native, reference, 4000, 1000, rivals, **changes)


def measured(case, repeats=2, levels=()):
    ways = harness.ways_of(case, list(levels), compile_reference=True)
    harness.check_equal(case, ways)
    harness.measure(ways, repeats)
    return {line["way"]: line for line in harness.lines_of(case, ways)}


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    before = torch.get_num_threads(), ops.op_backends()
    command.main(["--quick", "--out", str(folder / "ops.jsonl"), "--chart", str(folder / "ops.png")])
    assert (torch.get_num_threads(), ops.op_backends()) == before
    return folder


@pytest.mark.exhaustive
def test_quick_run_of_all_stems(quick_run):
    lines = command.read_lines(quick_run / "ops.jsonl")
    assert list(dict.fromkeys(line["stem"] for line in lines)) == list(command.STEMS)
    assert {line["threads"] for line in lines} == {1, 2}
    for line in lines:
        assert line["median_ns"] > 0 and line["iqr_ns"] >= 0 and line["repeats"] == 2
        assert line["speed_up"] > 0 and line["over_memory_limit"] > 0
        assert set(line["versions"]) == {"musegan", "torch", "numpy"} and line["cpu"]
    keys = ("op", "size", "dtype", "threads")
    ways = {}
    for line in lines:
        ways.setdefault(tuple(line[key] for key in keys), []).append(line["way"])
    native = [f"native@{level}" for level in harness.cpu_levels()]
    assert len(ways) == 2 * 29    # of cases; each on one and on two threads
    for case, names in ways.items():
        assert names[: len(native) + 1] == [*native, "reference"] and names[-1] == "memory limit", case
    assert Counter("pypianoroll to_pretty_midi" in names for names in ways.values())[True] == 2


@pytest.mark.exhaustive
def test_chart_is_a_png_of_batches(quick_run):
    assert (quick_run / "ops.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    lines = command.read_lines(quick_run / "ops.jsonl")
    axes = chart.figure(lines).axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert "bernoulli, float16" in texts and "np.packbits" in texts
    assert "2 x 5 x 1 x 48 x 84, 1 thread" in axes.get_xlabel()
    batches = {(line["op"], line["dtype"]) for line in lines if line["size"] == "batch"}
    assert len(batches) == axes.get_ylim()[0] + 0.5


def test_chart_of_one_known_line(tmp_path):
    line = {"stem": "bits", "op": "pack", "size": "batch", "shape": [2, 5, 1, 48, 84], "dtype": "bool", "threads": 1,
            "way": "reference", "rival": "np.packbits", "speed_up": 0.125, "cpu": "a CPU", "versions": {"torch": "2"}}
    axes = chart.figure([line, line | {"way": "np.packbits", "speed_up": 1}, line | {"threads": 2, "speed_up": 9}]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.12", "pack", "np.packbits"]
    (bar, _) = axes.patches    # and the one of the legend
    assert bar.get_x() + bar.get_width() == 0.125


def test_a_busy_machine_is_told_and_recorded(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for load, told in ((1.2, False), (1.8, True)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0, 0))
        command.main(["cleanup", "--quick", "--threads", "1", "--out", str(tmp_path / "ops.jsonl")])
        assert ("Other processes keep the CPU busy" in capsys.readouterr().out) == told
        assert {line["load_before"] for line in command.read_lines(tmp_path / "ops.jsonl")} == {load}


@pytest.mark.exhaustive
def test_stems_not_measured_keep_their_lines(tmp_path, quick_run):
    out = tmp_path / "ops.jsonl"
    out.write_text((quick_run / "ops.jsonl").read_text())
    before = command.read_lines(out)
    command.main(["cleanup", "--quick", "--out", str(out), "--threads", "1"])
    after = command.read_lines(out)
    assert [line for line in after if line["stem"] != "cleanup"] == [line for line in before if line["stem"] != "cleanup"]
    assert {line["threads"] for line in after if line["stem"] == "cleanup"} == {1}
    assert list(dict.fromkeys(line["stem"] for line in after)) == list(command.STEMS)


def test_a_trial_writes_nothing_by_itself(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "RESULTS", tmp_path / "ops.jsonl")
    command.main(["cleanup", "--quick", "--threads", "1"])
    assert "speed-up" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("arguments", "message"), [
    (["drums"], "stem must be one of binarize, neurons, bits, cleanup, notes: got 'drums'"),
    (["--repeats", "1"], "--repeats must be at least 2"),
    (["--quick", "--chart", "a.png"], "give --out too"),
])    # fmt: skip
def test_wrong_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_unequal_kernel_stops_the_benchmark():
    need_native()
    level = harness.cpu_levels()[0]
    with harness.settings_kept(), pytest.raises(AssertionError, match=f"above: native@{level} and the reference differ"):
        measured(case(native=lambda: X >= -0.5), levels=[level])


def test_unequal_rival_stops_the_benchmark():
    with pytest.raises(AssertionError, match="above: rival and the reference differ"):
        measured(case(rival=lambda: X < 0))


def test_lines_tell_ratios_of_medians():
    lines = measured(case(reference=lambda: (time.sleep(0.02), X > 0)[1], rival=lambda: (time.sleep(0.005), X > 0)[1]))
    assert list(lines) == ["reference", "rival", "memory limit"]
    assert lines["reference"]["median_ns"] >= 0.02e9 / 1000
    assert 0.1 < lines["reference"]["speed_up"] < 0.4 and lines["rival"]["speed_up"] == 1
    assert lines["memory limit"]["over_memory_limit"] == 1 and lines["rival"]["over_memory_limit"] > 10


def test_measuring_again_forgets_what_was_before():
    ways = harness.ways_of(case(), [], compile_reference=False)
    harness.measure(ways, 3)
    harness.measure(ways, 2)
    assert [len(way.seconds) for way in ways.values()] == [2, 2, 2]


def test_a_share_is_scaled_to_the_whole():
    part = Rival("part", lambda: time.sleep(0.002), lambda ours, theirs: True, share=0.1)
    lines = measured(Case("above", "phrase", (1000,), X.dtype, lambda: X, lambda: X, 4000, 1000, (part,)))
    assert lines["part"]["median_ns"] >= 0.02e9 / 1000 and lines["part"]["measured_share"] == 0.1
    assert "measured_share" not in lines["reference"]


def test_without_rivals_speed_is_told_over_the_reference():
    lines = measured(Case("above", "phrase", (1000,), X.dtype, lambda: X, lambda: X + 0, 4000, 1000))
    assert lines["memory limit"]["rival"] == "reference" and lines["reference"]["speed_up"] == 1


@pytest.mark.parametrize(("compiled", "reason"), [
    (lambda: X < 0, "its result differs from the reference's"),
    (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
    (lambda: time.sleep(10), "TimeoutError: not compiled in 1 s"),
])    # fmt: skip
def test_a_reference_that_cannot_be_compiled_tells_why(monkeypatch, compiled, reason):
    monkeypatch.setattr(torch, "compile", lambda function: compiled)
    monkeypatch.setattr(compiling, "COMPILE_SECONDS", 1)
    line = measured(case(compiled=True))["compiled reference"]
    assert line["left_out"] == reason and "median_ns" not in line
    assert "left out" in "".join(command.table("above", [line]).columns[0]._cells)


@pytest.mark.slow
def test_a_compiled_reference():
    assert measured(case(compiled=True))["compiled reference"]["median_ns"] > 0


def test_compiler_errors_are_told_by_the_compiler():
    assert compiling.reason(RuntimeError("failed:\n/tmp/a.cpp:9:1: error: no match\nmore")) == "RuntimeError: no match"
    assert compiling.reason(ValueError()) == "ValueError: "


def test_same_bits():
    zero = torch.zeros(2)
    assert same_bits((zero, zero), (zero, zero.clone()))
    assert not same_bits(zero, -zero) and not same_bits(zero, zero.double()) and not same_bits(zero, zero[:, None])
    assert not same_bits((zero,), (zero, zero))


def test_same_mean():
    n = 10_000
    half = torch.arange(n) < n // 2
    assert same_mean(half, torch.arange(n) < n // 2 + 300)    # 5 sigma are 354
    assert not same_mean(half, torch.arange(n) < n // 2 + 400)


def test_numpy_rivals_by_hand():
    frame = torch.zeros(1, 1, 2, 4, 3, dtype=torch.bool)
    frame[0, 0, 0, 2:, 1] = frame[0, 0, 1, :1, 1] = frame[0, 0, 1, 3, 2] = True
    table = torch.tensor([[0, 0, 1, 2, 5], [0, 0, 2, 7, 8]])
    assert torch.equal(notes.notes_by_numpy(frame.numpy()), table)
    roll = notes.roll_by_numpy(table.numpy(), tuple(frame.shape))
    assert torch.equal(roll.frame, frame)
    assert roll.onset.nonzero().tolist() == [[0, 0, 0, 2, 1], [0, 0, 1, 3, 2]]


@pytest.mark.exhaustive
def test_result_lines_are_json(quick_run):
    for line in (quick_run / "ops.jsonl").read_text().splitlines():
        assert json.dumps(json.loads(line)) == line


def test_without_kernels_on_a_gpu_it_says_so(capsys):
    if ops.native_status().cuda_path:
        cuda.main(["--quick"])
    else:
        with pytest.raises(SystemExit, match="1"):
            cuda.main(["--quick"])
        assert "no CUDA kernels: " in capsys.readouterr().err
