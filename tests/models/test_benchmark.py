"""The benchmarks of models run, and say what they measured."""

import json

from benchmarks.models import quality, recipes
from musegan import train
from tests.test_train import SMALL


def test_recipes_train_measure_and_are_not_run_twice(songs_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recipes, "N_SAMPLES", 16)
    out = tmp_path / "recipes.jsonl"
    arguments = ["--seconds", "0.5", "--seeds", "0", "--recipes", "hinge", "--data", str(songs_folder), "--out", str(out)]
    recipes.main(arguments)
    (line,) = map(json.loads, out.read_text().splitlines())
    assert line["recipe"] == "hinge" and line["steps"] >= 1 and 0 < line["held_out"] < 1 and 0 < line["floor"] < 1
    before = out.read_bytes()
    recipes.main(arguments)
    assert out.read_bytes() == before and "hinge" in capsys.readouterr().out


def test_quality_measures_a_run(songs_folder, tmp_path, capsys):
    run = tmp_path / "run"
    train.main([*SMALL, "--train.steps", "1", "--data.dataset", str(songs_folder), "--out", str(run)])
    quality.main([str(run), "--n", "16", "--out", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found["distances"]) == {"to training", "to held-out", "floor"}
    assert 0 < found["distances"]["floor"]["six"] < 1 and "empty bars" in capsys.readouterr().out
