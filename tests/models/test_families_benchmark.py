"""Families side by side: one line of each, in one key; the benchmark runs."""

import json

import pytest
import torch

from benchmarks.models import families
from benchmarks.models.families import as_music
from musegan import cli
from musegan.roll import RollSpec, Track

ONE = RollSpec((Track("lead"),), n_pitches=48, lowest_pitch=36)


def test_a_line_is_the_same_in_any_key():
    tune = [[24 + step, 4 * i, 4 * i + 4] for i, step in enumerate((0, 4, 7, 12))]
    higher = [[pitch + 3, start, end] for pitch, start, end in tune]
    here, there = (as_music([torch.tensor(line).numpy()], 1, ONE).counts() for line in (tune, higher))
    assert here["pitch: lead"].sum() == 4 and all(torch.equal(here[name], there[name]) for name in here)


@pytest.mark.exhaustive
def test_runs_are_measured(songs_folder, tmp_path, capsys):
    shares = "--data.validation_share=0.3 --data.test_share=0.2".split()
    small = "--train.batch_size=4 --train.steps=2".split()
    melody = "--family=sequence --data.n_bars=4 --model.kind=gru --model.width=16".split()
    pair = "--data.n_bars=2 --model.generator_width=16 --model.discriminator_width=16 --train.validation_samples=16".split()
    for name, options in (("line", melody), ("pair", pair)):
        options = f"--data.dataset={songs_folder}", *shares, *small, *options
        assert cli.main(["train", *options, "--out", str(tmp_path / name)]) == 0
    options = "--data", str(songs_folder), "--bars", "2", "--n", "8", "--out", str(tmp_path / "rows.jsonl")
    families.main([str(tmp_path / "line"), str(tmp_path / "pair"), *options])
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["row"] for row in rows] == ["pieces kept apart", "training pieces", "line", "pair"]
    assert [row["family"] for row in rows[2:]] == ["sequence", "gan"] and rows[0]["distance"] == 0 < rows[1]["distance"]
    assert all(row["lines_per_s"] > 0 for row in rows[2:])
