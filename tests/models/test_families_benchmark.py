"""Families side by side: one line of each, or the whole band, in one key; the benchmark runs."""

import json

import numpy as np
import pytest
import torch

from benchmarks.models import families
from benchmarks.models.families import as_music, cut_down
from musegan import cli
from musegan.data.lines import roll_of_lines
from musegan.errors import UserError
from musegan.roll import Roll, RollSpec, Track

ONE = RollSpec((Track("lead"),), n_pitches=48, lowest_pitch=36)
BAND = RollSpec((Track("drums", is_drum=True), Track("piano")), n_pitches=48, lowest_pitch=36)


def test_a_line_is_the_same_in_any_key():
    tune = [[24 + step, 4 * i, 4 * i + 4] for i, step in enumerate((0, 4, 7, 12))]
    higher = [[pitch + 3, start, end] for pitch, start, end in tune]
    here, there = (as_music(roll_of_lines([np.array(line)], 1, ONE), ONE).counts() for line in (tune, higher))
    assert here["pitch: lead"].sum() == 4 and all(torch.equal(here[name], there[name]) for name in here)


def test_phrases_without_what_is_asked_for_are_left_out():
    plane = torch.zeros(3, 2, 1, 16, 48, dtype=torch.bool)
    plane[0, 0, 0, 0, 5] = plane[1, 1, 0, 0, 5] = True
    roll = Roll(plane, plane)
    assert torch.equal(cut_down(roll, BAND, "all").frame, plane[:2])
    assert torch.equal(cut_down(roll, BAND, "lead").frame, plane[1:2, 1:])


@pytest.mark.exhaustive
def test_runs_are_measured(songs_folder, tmp_path, capsys):
    shares = "--data.validation_share=0.3 --data.test_share=0.2".split()
    small = "--train.batch_size=4 --train.steps=2".split()
    melody = "--family=sequence --data.n_bars=4 --model.kind=gru --model.width=16".split()
    pair = "--data.n_bars=2 --model.generator_width=16 --model.discriminator_width=16 --train.validation_samples=16".split()
    band = "--family=sequence --data.track=all --data.encoding=tracks --data.n_bars=2 --model.kind=gru --model.width=16".split()
    for name, options in (("line", melody), ("pair", pair), ("band", band)):
        options = f"--data.dataset={songs_folder}", *shares, *small, *options
        assert cli.main(["train", *options, "--out", str(tmp_path / name)]) == 0
    options = "--data", str(songs_folder), "--bars", "2", "--n", "8", "--out", str(tmp_path / "rows.jsonl")
    families.main([str(tmp_path / "line"), str(tmp_path / "pair"), *options])
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["row"] for row in rows] == ["pieces kept apart", "training pieces", "line", "pair"]
    assert [row["family"] for row in rows[2:]] == ["sequence", "gan"] and rows[0]["distance"] == 0 < rows[1]["distance"]
    assert all(row["per_s"] > 0 for row in rows[2:])
    (tmp_path / "rows.jsonl").unlink()
    families.main([str(tmp_path / "band"), str(tmp_path / "pair"), *options, "--track", "all"])
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["row"] for row in rows[2:]] == ["band", "pair"] and all(0 <= row["chord tones"] <= 1 for row in rows)
    with pytest.raises(UserError, match="--track all: line does not write the tracks drums, piano, guitar, bass, strings"):
        families.main([str(tmp_path / "line"), *options, "--track", "all"])
