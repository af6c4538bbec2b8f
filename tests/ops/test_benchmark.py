"""The benchmark runs and writes a line for each case."""

import json

import pytest
import torch

from benchmarks.ops import binarize


@pytest.fixture(autouse=True)
def keep_threads():
    n_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(n_threads)


def test_lines_of_a_small_run(tmp_path, monkeypatch):
    monkeypatch.setattr(binarize, "SHAPE", (2, 5, 1, 16, 84))
    binarize.main(["--repeats", "2", "--out", str(tmp_path / "results.jsonl")])
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [(line["op"], line["way"]) for line in lines][:2] == [("threshold", "musegan"), ("threshold", "torch: x > 0")]
    assert len(lines) == 6 and all(line["median_ns"] > 0 and line["threads"] == 1 for line in lines)


def test_unequal_results_stop_the_benchmark(monkeypatch):
    ways = {"musegan": lambda: torch.ones(9) > 0, "torch": lambda: torch.ones(9) > 0, "reference": lambda: torch.zeros(9) > 0}
    with pytest.raises(AssertionError, match="native and reference differ"):
        binarize.check_equal("threshold", ways, torch.ones(9))
