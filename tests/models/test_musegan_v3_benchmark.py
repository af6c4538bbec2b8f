"""The benchmark of MuseGAN v3 runs, on little."""

import json

import pytest

from benchmarks.models import musegan_v3
from benchmarks.models.musegan_v3 import FAST, NAIVE


@pytest.mark.exhaustive
def test_ways_take_turns(tmp_path):
    ways = [NAIVE, FAST, "... generator in bf16"]
    options = "--batch 2 --repeats 1 --penalised-repeats 0".split()
    musegan_v3.main([*options, "--out", str(tmp_path / "lines.jsonl"), "--ways", *ways])
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert [line["way"] for line in lines] == ways
    assert all(line["median_s"] > 0 for line in lines)
