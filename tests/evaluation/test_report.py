"""The report: plain JSON, the same for the same seed, with warnings where numbers mean little."""

import json
import math

import pytest
import torch

from musegan.errors import UserError
from musegan.evaluation.papers import paper_table
from musegan.evaluation.report import Accompanist, evaluate, to_json
from tests.evaluation.music import beats, halves, scales


@pytest.fixture(scope="module")
def report(songs):
    real, other = halves(songs)
    return evaluate(real, other, sources={"real": "songs", "generated": "other songs"}, condition="bass", released=True)


def test_the_same_seed_gives_the_same_report(songs, report):
    real, other = halves(songs)
    again = evaluate(real, other, sources={"real": "songs", "generated": "other songs"}, condition="bass", released=True)
    assert to_json(again) == to_json(report)
    assert to_json(evaluate(real, other, seed=1)) != to_json(evaluate(real, other, seed=0))


def test_it_is_json_without_nan(report):
    text = to_json(report)
    found = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert found["sides"]["real"] == {"source": "songs", "n_phrases": report.sides["real"].n_phrases, "n_pieces": 4}
    assert found["spec"]["tracks"][0] == {"name": "drums", "program": 0, "is_drum": True}
    rows = {(r["name"], r["column"]): r for r in found["comparison"]["statistics"]}
    row = next(r for r in report.comparison.statistics if (r.name, r.column) == ("notes", "bass"))
    assert rows["notes", "bass"]["real"]["value"] == pytest.approx(row.real.value, rel=1e-5)


def test_the_papers_table_is_of_the_same_numbers(report):
    columns, rows = report.papers
    rows = {name: dict(zip(columns, values)) for name, values in rows.items()}
    statistics = {(r.name, r.column): r for r in report.comparison.statistics}
    assert [c for c in columns if c[0] == "EB"] == [("EB", t["name"]) for t in report.spec["tracks"]]
    assert ("UPC", "drums") not in columns and ("DP", "drums") in columns and ("TD", "piano - guitar") in columns
    assert rows["real"]["EB", "bass"] == pytest.approx(100 * statistics["empty bars", "bass"].real.value)
    assert rows["generated"]["UPC", "piano"] == statistics["used pitch classes", "piano"].generated.value
    assert rows["re-paired"]["TD", "guitar - bass"] == statistics["tonal distance", "guitar - bass"].values["re-paired"]
    assert "replay" not in rows


def test_the_released_table_has_the_released_numbers(report):
    statistics = {(r.name, r.column): r for r in report.comparison.statistics}
    columns, rows = report.papers_released
    assert columns == report.papers.columns
    ours, theirs = (dict(zip(columns, table.rows["real"])) for table in (report.papers, report.papers_released))
    assert ours["EB", "bass"] == theirs["EB", "bass"]
    as_released = statistics["released: used pitch classes", "strings"].real.value
    assert theirs["UPC", "strings"] == as_released < ours["UPC", "strings"]
    assert repr(paper_table(report.comparison)) == repr(report.papers)


def test_a_condition_is_tested_on_both_sides(report):
    assert set(report.condition) == {"real", "generated"}
    for test in report.condition.values():
        assert test.own.chord_tones > test.swapped.chord_tones + 0.1
        assert math.isnan(test.changed)    # files do not tell what else would have been made


def deaf(given, track):
    """The same chord whatever is given."""
    made = given.map(torch.clone)
    for pitch in (24, 28, 31):
        made.frame[:, 1 - track, :, :, pitch] = made.onset[:, 1 - track, :, :, pitch] = True
    return made


@pytest.mark.parametrize("in_normal_key", [False, True])
def test_a_key_is_not_taken_for_listening(in_normal_key):
    """Ten keys, or one: to leads that all are in C, a deaf accompanist's chord fits each as well, and so does the data's."""
    found = evaluate(scales(), scales(), condition="lead", accompanist=Accompanist(deaf, in_normal_key)).condition
    assert found["generated"].changed == found["generated"].change == 0.0
    real = found["real"]
    assert (real.own.chord_tones > real.swapped.chord_tones + 0.1) == (not in_normal_key)
    assert (found["generated"].own.chord_tones == 0.5) == in_normal_key    # half of a scale is its triad


def test_phrases_with_nothing_to_accompany():
    silent = scales()
    for plane in silent.roll:
        plane[1:, 0] = 0
    with pytest.raises(UserError, match="lead sounds in 1 of the real phrases: nothing to accompany"):
        evaluate(silent, scales(), condition="lead", accompanist=Accompanist(deaf, True))


def test_without_options_nothing_more_is_there():
    report = evaluate(scales(), scales(broken=True))
    assert report.condition is None and report.papers_released is None
    assert not [r for r in report.comparison.statistics if r.name.startswith("released")]


def test_few_pieces_and_few_phrases_are_warned_of():
    report = evaluate(scales(n=60), scales(n=60))
    assert any("10 pieces only: floors are wide" in warning for warning in report.warnings)
    assert any("30 of 60 generated phrases" in warning for warning in report.warnings)
    assert any("come from few pieces" in warning for warning in report.warnings)
    assert any("only 30 phrases of each row" in warning for warning in report.warnings)


def test_copies_are_warned_of():
    warnings = evaluate(scales(), scales(), train=scales()).warnings
    assert any("100% of the real phrases are copies of training ones" in warning for warning in warnings)
    assert not any("generated phrases are copies" in warning for warning in warnings)    # no more than the real ones
    broken = scales(broken=True)
    warnings = evaluate(scales(), broken, train=broken).warnings
    assert any("100% of the generated phrases are copies of training ones" in warning for warning in warnings)


def test_mistakes_are_one_line():
    with pytest.raises(UserError, match="no track 'flute' to be the condition: there are lead, chords"):
        evaluate(scales(), scales(), condition="flute")
    with pytest.raises(UserError, match="needs two tracks at least"):
        evaluate(beats(), beats(), condition="drums")


def test_real_music_that_was_trained_on_is_told(songs):
    real, other = halves(songs, limit=100)
    warnings = evaluate(real, other, real).warnings
    assert any("100% of the real phrases are copies of training ones" in warning for warning in warnings)
    assert not any("of the real phrases are copies" in warning for warning in evaluate(real, real, other).warnings)
