"""The chains that models of melodies stand beside, by hand; the benchmark runs."""

import json
import math

import pytest

from benchmarks.models import sequences
from benchmarks.models.sequences import Chain
from musegan import cli

A, B, C = 3, 4, 5
TUNE = [0, A, B, A, B, A, C]


def test_a_chain_by_hand():
    """After (B, A): B once, C once. After A: B twice, C once. In all: A three times, B twice, C once, 6 tokens there are."""
    chain = Chain([TUNE], 2, 6)
    of_b = (2 + 3 / 6) / (6 + 3)
    after_a = (2 + 2 * of_b) / (3 + 2)
    assert chain.probability([], B) == pytest.approx(of_b)
    assert chain.probability([A], B) == pytest.approx(after_a)
    assert chain.probability([B, A], B) == pytest.approx((1 + 2 * after_a) / (2 + 2))
    assert chain.probability([C, A], B) == pytest.approx(after_a)    # a context that is new
    chain.smoothing = 1e-9
    assert chain.probability([B, A], B) == pytest.approx(1 / 2)


@pytest.mark.parametrize("order", [0, 1, 2, 5])
@pytest.mark.parametrize("context", [[], [0], [A, B], [C, A], [1, 1, 1], TUNE])
def test_what_may_come_is_certain_in_all(order, context):
    chain = Chain([TUNE, [0, C, C]], order, 6)
    assert math.fsum(chain.probability(context, token) for token in range(6)) == pytest.approx(1)


@pytest.mark.exhaustive
def test_runs_are_measured(songs_folder, tmp_path):
    options = ("--family=sequence --data.validation_share=0.3 --data.test_share=0.2 --data.n_bars=4 --data.encoding=events "
               "--model.kind=transformer --model.width=16 --train.batch_size=4 --train.steps=2").split()
    assert cli.main(["train", f"--data.dataset={songs_folder}", *options, "--out", str(tmp_path / "run")]) == 0
    sequences.main([str(tmp_path / "run"), "--n", "3", "--out", str(tmp_path / "lines.jsonl")])
    rows = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert [row["model"] for row in rows] == ["unigram", "markov-2", "markov-5", "transformer"]
    assert rows[0]["nats_per_step"] > rows[1]["nats_per_step"] and rows[-1]["kept_s"] < rows[-1]["anew_s"]
