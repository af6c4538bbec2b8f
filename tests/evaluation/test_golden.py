"""The tables of three evaluations are those that are checked in."""

import json

import pytest

from musegan.data.embedded import open_dataset
from tests.evaluation.golden_tables import FOLDER, freedoom, table, toy_beats, toy_scales

# A classifier's trees differ between versions of scikit-learn; everything else is sums.
LOOSE = {"classifier": 0.05}


def check(name, found):
    expected = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    found, expected = (dict(each, musegan="") for each in (table(found), expected))
    different = list(differences(found, expected, ()))
    assert not different, different[:10]


def differences(found, expected, path, loose=0.0):
    if isinstance(expected, dict) and isinstance(found, dict) and found.keys() == expected.keys():
        loose = max(loose, LOOSE.get(expected.get("name"), 0.0))
        for key in expected:
            if not (loose and key == "off"):
                yield from differences(found[key], expected[key], (*path, key), loose)
    elif isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        for i, pair in enumerate(zip(found, expected)):
            yield from differences(*pair, (*path, i), loose)
    elif isinstance(expected, float) and isinstance(found, (int, float)):
        if found != pytest.approx(expected, rel=2e-4, abs=1e-5 + loose):
            yield path, found, expected
    elif found != expected:
        yield path, found, expected


@pytest.mark.exhaustive
def test_the_embedded_music(tmp_path, all_splits):
    check("freedoom", freedoom(open_dataset("freedoom", tmp_path / "data", "--data", print)))


@pytest.mark.parametrize("make", [toy_scales, toy_beats])
def test_toy_sets(make, all_splits):
    check(make.__name__, make())


def test_a_table_that_differs_is_told():
    assert list(differences({"a": [1.0, None]}, {"a": [1.0, 2.0]}, ())) == [(("a", 1), None, 2.0)]
    assert list(differences({"a": 1.001}, {"a": 1.0}, ())) == [(("a",), 1.001, 1.0)]
    assert list(differences({"name": "classifier", "v": 0.51}, {"name": "classifier", "v": 0.5}, ())) == []


def test_what_the_toys_are_known_for():
    """The numbers that one can count by hand are in the files."""
    rows = {(r["name"], r["column"]): r
            for r in json.loads((FOLDER / "toy_scales.json").read_text())["comparison"]["statistics"]}
    assert (rows["notes", "lead"]["real"]["value"], rows["notes", "chords"]["real"]["value"]) == (8, 3)
    assert rows["used pitch classes", "lead"]["real"]["value"] == 7    # the octave is one class with the root
    assert rows["scale", "lead"]["real"]["value"] == 1
    assert rows["self-similarity, 1 bar", "lead"]["real"]["value"] == 1
    assert rows["qualified notes", "lead"]["generated"]["value"] == 0
    rows = {(r["name"], r["column"]): r
            for r in json.loads((FOLDER / "toy_beats.json").read_text())["comparison"]["statistics"]}
    assert rows["empty bars", "drums"]["generated"]["value"] == 0.5
    snare = rows["snare on 2 and 4", "drums"]
    assert snare["real"]["value"] == 1 and snare["generated"]["value"] == 0
    assert rows["drum pattern", "drums"]["real"]["value"] == 1
