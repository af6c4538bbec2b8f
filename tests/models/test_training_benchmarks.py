"""The benchmarks of training run, on little, and compare with the network they say."""

import json

import pytest
import torch

from benchmarks.models import kinds, tutorial
from benchmarks.models.kinds import Clock, Enough
from benchmarks.models.tutorial import N_BARS, N_TRACKS, SampleNorm, Tutorial, TutorialDiscriminator


def phrases(n):
    return (torch.rand(n, N_TRACKS, N_BARS, 16, 72) < 0.05).float()


def test_the_tutorial_s_pair_has_its_parameters_and_trains():
    """`Tutorial` itself asserts how many parameters there are."""
    pair = Tutorial(1, phrases(32))
    before = [parameter.clone() for parameter in (*pair.generator.parameters(), *pair.discriminator.parameters())]
    made = pair.generator(torch.randn(3, 128))
    assert made.shape == (3, 5, 4, 16, 72) and made.min() >= 0
    pair.take_turn()
    pair.take_turn()
    after = (*pair.generator.parameters(), *pair.discriminator.parameters())
    moved = [not torch.equal(*both) for both in zip(before, after)]
    assert sum(moved) > 0.9 * len(moved)    # all but biases, which norms take off again
    assert len(pair.cpu) == 1 and pair.cpu[0] > 0


def test_the_tutorial_s_discriminator_sees_each_sample_alone():
    """Or WGAN-GP's penalty would mean nothing."""
    cells, discriminator = phrases(4), TutorialDiscriminator()
    torch.testing.assert_close(discriminator(cells)[:1], discriminator(cells[:1]))


def test_sample_norm_is_group_norm_of_one_group():
    norm, h = SampleNorm(6), torch.randn(2, 6, 4, 16, 12)
    torch.testing.assert_close(norm(h), torch.nn.functional.group_norm(h, 1, norm.weight, norm.bias), atol=1e-3, rtol=0)


def test_clock_counts_whole_blocks_without_the_rivals(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(kinds.time, "process_time", lambda: now[0])
    monkeypatch.setattr(kinds.time, "perf_counter", lambda: now[0])

    def rival():
        now[0] += 100

    clock = Clock(2, 2, rival)
    clock.start(0, 10, {})
    with pytest.raises(Enough):
        for step, seconds in enumerate((9, 9, 1, 3, 5, 5, 7), start=1):    # the first block warms up
            now[0] += seconds
            clock.advance(step, {})
    assert clock.cpu == clock.wall == [2, 5] and step == 6


@pytest.mark.exhaustive
def test_tutorial_is_measured(tmp_path):
    tutorial.main(["--blocks", "1", "--songs", "4", "--out", str(tmp_path / "lines.jsonl")])
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert [(line["batch"], line["discriminator_updates"]) for line in lines] == [(32, 1), (16, 5), (16, 1)]
    for line in lines:
        made = line["discriminator_updates"] * line["made_per_cpu_s"]
        assert line["real_per_cpu_s"] == pytest.approx(made, rel=1e-9)
    assert lines[0]["made_compact_over_this"] == 1


@pytest.mark.exhaustive
def test_kinds_are_measured(tmp_path):
    options = "--configs band musegan-hybrid --blocks 1 --batch 2 --songs 4".split()
    kinds.main([*options, "--out", str(tmp_path / "lines.jsonl")])
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["compact", "musegan"] and all(line["cpu_s"] > 0 for line in lines)
