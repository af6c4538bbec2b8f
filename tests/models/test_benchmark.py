"""The benchmarks of models run, and say what they measured."""

import json

import pytest

from benchmarks.models import pieces, quality, recipes
from musegan import latents, train
from tests.models.test_layout import SPEC, random_roll
from tests.test_train import SMALL


@pytest.mark.exhaustive
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


def test_pieces_are_measured_beside_real_ones(songs_folder, tmp_path, capsys):
    run = tmp_path / "run"
    train.main([*SMALL, "--train.steps", "1", "--data.dataset", str(songs_folder), "--out", str(run)])
    shipped = latents.THEME
    pieces.main([str(run), "--data", str(songs_folder), "--bars", "8", "--n", "3", "--themes", "0.5", "--form", "AB"])
    lines = capsys.readouterr().out
    assert all(row in lines for row in ("real", "theme 0.5", "phrases apart")) and latents.THEME == shipped


def test_a_piece_of_one_phrase_over_and_over_comes_back():
    bar = random_roll(n=2, bars=2)
    roll = bar.map(lambda plane: plane.repeat(1, 1, 4, 1, 1))
    one, two, four, eight, ratio, silent = pieces.figures(roll, SPEC, 2)
    assert (two, four) == ("1.00", "1.00") and float(one) < 0.5 and eight == "nan" and silent == "0.0%"
    assert float(ratio) == pytest.approx(1, abs=0.05)    # to the same bars, in the other order
