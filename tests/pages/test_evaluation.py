"""`evaluation.html`: its numbers are the report's, its names are no markup, its marks lie within their charts."""

import base64
import dataclasses
import io
import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from PIL import Image

from musegan.evaluation import naive
from musegan.evaluation.comparison import Estimate, StatisticRow
from musegan.evaluation.corpus import Corpus
from musegan.evaluation.report import evaluate
from musegan.metrics.histograms import histograms
from musegan.metrics.music import Music
from musegan.pages import comparison, evaluation
from musegan.pages.bins import TITLES, bins
from musegan.pages.evaluation import page, write_page
from musegan.pages.marks import Scale, scale_of
from musegan.roll import Roll, RollSpec, Track
from tests.pages.test_dataset import EVIL, Page

pytestmark = pytest.mark.usefixtures("few_splits")
FEATURES = {"findings", "pictures", "distances", "statistics", "histograms", "papers", "originality", "condition", "naive"}


@pytest.fixture(scope="module")
def halves(songs):
    n = len(songs.pieces)
    real, generated = (Corpus.of_dataset(songs, 4, pieces=list(range(first, n, 2)), limit=60) for first in (0, 1))
    return real, generated


@pytest.fixture(scope="module")
def whole(halves):
    """Everything that a report can have, with strangers' names for its tracks and sources."""
    real, generated = (_renamed(corpus) for corpus in halves)
    train = generated.take(slice(20, 60))
    generated = generated.take(slice(0, 40))    # 20 of which are copies
    sources = {"real": EVIL, "generated": "b\u202e", "train": "c"}
    report = evaluate(real, generated, train, sources, condition="</svg><b>piano", released=True)
    return report, real, generated, train


@pytest.fixture(scope="module")
def text(whole):
    return page(*whole)


def _renamed(corpus: Corpus) -> Corpus:
    names = ["<script>alert(1)</script>", "</svg><b>piano", "'\"&guitar", "bass - strings", "all"]
    tracks = tuple(dataclasses.replace(track, name=name) for track, name in zip(corpus.spec.tracks, names))
    return dataclasses.replace(corpus, spec=dataclasses.replace(corpus.spec, tracks=tracks))


def _svgs(text: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg .*?</svg>", text, re.S)]


def test_it_is_whole_html_that_loads_and_runs_nothing(text):
    found = Page(text)
    assert found.names() & {"script", "link", "iframe", "object", "form"} == set()
    ids = {attributes["id"] for _, attributes in found.tags if "id" in attributes}
    assert ids == FEATURES
    assert all(a.startswith("data:image/png;base64,") or a.removeprefix("#") in ids for a in found.addresses)
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert "url(" not in text and "@import" not in text and "http:" not in text and "https:" not in text
    policy = [attributes["content"] for _, attributes in found.tags if attributes.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert len(text) < 3_000_000


def test_names_of_strangers_are_text(text):
    shown = "".join(Page(text).texts)
    for name in ("<script>alert(1)</script>", "</svg><b>piano", "'\"&guitar", EVIL, "b\N{REPLACEMENT CHARACTER}"):
        assert name in shown, name
    assert "<script" not in text and "<b>piano" not in text and "\u202e" not in text


def test_numbers_are_those_of_the_report(whole, text):
    report = whole[0]
    shown = re.findall(r"<td[^>]*>([^<]*)</td>", text)
    for row in report.comparison.statistics:
        assert comparison.interval(row.real, row.unit) in shown, row
        assert comparison.number(row.excess["generated"]) in shown, row
    for row in report.comparison.distances:
        for estimate in row.rows.values():
            assert comparison.interval(estimate) in shown, row
    for row in report.comparison.histograms:
        assert f"total variation {comparison.number(row.total_variation.value)}, floor" in text, row.name
    for table in (report.papers, report.papers_released):
        for values in table.rows.values():
            assert all(comparison.number(value) in shown for value in values)
    found = report.originality
    for spread in (found.generated, found.real):
        assert all(comparison.number(value) in shown for value in spread[1:])
    assert f"{found.copied:.1%}" in shown and f"{report.condition['generated'].own.onset_coincidence:.3g}" in shown
    assert "40" in shown and f"{report.sides['real'].n_phrases:,}" in shown


def test_off_cells_are_those_beyond_the_floor(whole, text):
    rows = whole[0].comparison
    n_excess = sum(each > 1 for row in rows.statistics for each in row.excess.values())
    n_off = sum(len(row.off) for row in rows.distances)
    assert n_excess > 0 < n_off
    assert text.count('<td class="off">') == n_excess + n_off


def test_giveaways_are_the_strongest_first(whole, text):
    found = comparison.giveaways(whole[0].comparison)
    said = [float(n.replace(",", "")) for n in re.findall(r"<i>([\d.,]+)×</i>", text)]
    assert said == sorted(said, reverse=True) and len(said) == min(len(found), evaluation.N_GIVEAWAYS) > 0
    assert f"{len(found)} of {comparison.n_statistics(whole[0].comparison)}" in text


def test_without_giveaways_it_says_so(whole):
    report, *corpora = whole
    calm = [row._replace(excess=dict.fromkeys(row.excess, 0.5)) for row in report.comparison.statistics]
    far = [row._replace(off=[]) for row in report.comparison.distances]
    report = report._replace(comparison=report.comparison._replace(statistics=calm, distances=far, flags=["a <flag>"]))
    shown = page(report, *corpora)
    assert "No single statistic tells it from the data" in shown and "All distances lie within the floor." in shown
    assert '<p class="alert"><b>a &lt;flag&gt;</b></p>' in shown
    assert report.warnings and all(warning in shown for warning in report.warnings)


def test_marks_lie_within_their_charts(text):
    charts = _svgs(text)
    assert len(charts) > 50
    for chart in charts:
        width, height = map(float, chart.get("viewBox").split()[2:])
        for each in chart.iter():
            for names, most in ((("x", "x1", "x2", "cx"), width), (("y", "y1", "y2", "cy"), height)):
                assert all(0 <= float(each.get(name)) <= most for name in names if each.get(name)), each.attrib
            if each.tag == "rect":
                assert float(each.get("x")) + float(each.get("width")) <= width + 0.02
                assert float(each.get("y")) + float(each.get("height")) <= height
    assert not re.search(r"\b(nan|inf)", re.sub(r"base64,[^\"]*", "", text))


def test_pictures_are_phrases_and_their_nearest(whole, text):
    pictures = re.findall(r'alt="([^"]*)" src="data:image/png;base64,([^"]+)"', text)
    pairs = whole[0].originality.closest
    assert len(pictures) == 2 * evaluation.N_PICTURES + 2 * len(pairs) and pairs[0].similarity == 1
    by_name = dict(pictures)
    first, second = (by_name[f"Piano-roll: {kind} {n + 1}"] for kind, n in
                     (("Generated phrase", pairs[0].generated), ("Nearest training phrase,", pairs[0].nearest)))
    assert first == second    # a copy looks like what it is a copy of
    with Image.open(io.BytesIO(base64.b64decode(first))) as image:
        image.load()
        assert image.size[0] > 400


def test_the_same_input_gives_the_same_bytes(whole, text, tmp_path):
    write_page(tmp_path / "evaluation.html", *whole)
    assert (tmp_path / "evaluation.html").read_text(encoding="utf-8") == text


def test_naive_rows_and_what_tells_them(whole, text):
    for row in naive.ROWS:
        assert f"<td>{row}</td>" in text
    table = comparison.naive_table(whole[0].comparison)
    bernoulli = next(line for line in table.split("\n") if "Bernoulli" in line)
    assert re.search(r"×; .*×; .*× and \d+ more</td>", bernoulli)
    assert "All histograms together" in bernoulli or re.search(r"<td>[^<]* and \d+ more</td></tr>", bernoulli)


@pytest.mark.parametrize(("tracks", "n_bars"), [([0], 4), ([4], 1), ([0, 4], 1)], ids=["drums", "one bar", "two tracks"])
def test_music_without_some_of_it(halves, tracks, n_bars):
    """Drums only, one track, one bar; and a generated track that is silent, whose statistics are none."""
    real, generated = (_part(corpus, tracks, n_bars) for corpus in halves)
    silent = generated.unpacked().map(lambda plane: plane & (torch.arange(len(tracks)) > 0).view(-1, 1, 1, 1))
    for other in (generated, Corpus.of_roll(silent, generated.spec)):
        shown = page(evaluate(real, other), real, other, None)
        Page(shown)
        _svgs(shown)
        assert "Does the accompaniment listen?" not in shown and not re.search(r"\bnan", re.sub(r"base64,[^\"]*", "", shown))
    assert any("is silent in 100%" in line for line in shown.split("\n"))


def _part(corpus: Corpus, tracks: list[int], n_bars: int) -> Corpus:
    spec = dataclasses.replace(corpus.spec, tracks=tuple(corpus.spec.tracks[k] for k in tracks))
    roll = corpus.unpacked().map(lambda plane: plane[:, tracks, :n_bars].clone())
    sounds = roll.frame.flatten(1).any(1)
    return Corpus.of_roll(roll.map(lambda plane: plane[sounds][:24]), spec)    # few, for classifiers take long


def test_every_bin_has_a_name():
    for spec in (RollSpec((Track("a"), Track("d", is_drum=True)), steps_per_beat=6, beats_per_bar=3, n_pitches=40),
                 RollSpec((Track("a"), Track("d", is_drum=True)), steps_per_beat=2, beats_per_bar=15, beat_unit=8)):
        empty = torch.zeros(1, 2, 2, spec.steps_per_bar, spec.n_pitches, dtype=torch.bool)
        counted = histograms(Music(Corpus.of_roll(Roll(empty, empty), spec).roll, spec))
        assert {name.split(": ")[0] for name in counted} == set(TITLES)
        for name, counts in counted.items():
            found = bins(name.split(": ")[0], spec, name.endswith(": d"), counts.shape[1])
            assert len(found.names) == counts.shape[1] == len(set(found.names)), name
            assert all(0 <= i < counts.shape[1] for i in found.ticks)


def test_bins_mean_what_is_counted():
    spec = RollSpec((Track("a"),))
    assert bins("pitch", spec, False, 84).names[60 - 24] == "C4 (60)"
    assert bins("pitch", spec, True, 84).names[36 - 24] == "Bass Drum 1 (36)"
    assert bins("length", spec, False, 32).names[3] == "4 steps, 1 beats" and bins("length", spec, False, 32).ticks[3] == "1"
    assert bins("position", spec, False, 16).names[6] == "beat 2, step 3 of 4"
    interval = bins("interval", spec, False, 27)
    assert [interval.names[i] for i in (0, 1, 12, 13, 14, 26)] == [
        "farther down", "12 semitones down", "1 semitone down", "the same note", "1 semitone up", "farther up",
    ]    # fmt: skip
    assert interval.ticks[13] == "0" and interval.ticks[20] == "+7"
    assert bins("repetition", spec, False, 11).names[::5] == ["0% to 10% alike", "50% to 60% alike", "equal"]
    with pytest.raises(ValueError, match="no bins are known of the family 'x'"):
        bins("x", spec, False, 3)


@pytest.mark.parametrize(
    "values", [[], [math.nan], [0.0], [5.0, 5.0], [0.2, 0.9], [-3, 40, math.inf], [1e-4, 3.0], [0.95, 0.97]]
)
@pytest.mark.parametrize("may_be_log", [False, True])
def test_scales(values, may_be_log):
    scale = scale_of(values, may_be_log)
    finite = [value for value in values if math.isfinite(value)]
    assert all(scale.low <= value <= scale.high for value in finite)
    assert scale.is_log == (may_be_log and values == [1e-4, 3.0])
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 8 and all(scale.low - 1e-9 <= tick <= scale.high + 1e-9 for tick in ticks)
    places = [scale.at(tick) for tick in ticks]
    assert places == sorted(places) and scale.at(-1e9) == 0 and scale.at(1e9) == 1


def test_a_logarithmic_scale_halves_at_the_geometric_mean():
    assert Scale(0.01, 100, True).at(1) == pytest.approx(0.5) and Scale(0, 10, False).at(5) == 0.5


def test_numbers():
    assert [comparison.number(v) for v in (math.nan, math.inf, 0.12345, 1234.5, 0)] == ["–", "∞", "0.123", "1,234", "0"]
    assert comparison.with_unit(0.42, "share") == "42%" and comparison.with_unit(0.0123, "share") == "1.2%"
    assert comparison.with_unit(60.2, "MIDI") == "60.2 (C4)" and comparison.with_unit(2.5, "a bar") == "2.5 a bar"
    assert comparison.percent(math.nan) == "–" and comparison.percent(0.1634) == "16.3%"
    assert comparison.interval(Estimate(0.5, 0.25, 1.0), "share") == "50% [25%, 100%]"


def test_a_sentence_names_where_and_which_way():
    row = StatisticRow(
        "mean pitch", "bass", "MIDI", "register", Estimate(40, 39, 41), Estimate(48.2, 48, 49), 2.0, {"generated": 4.1}, {}
    )
    assert evaluation._giveaway(row) == (
        "<b>bass: mean pitch</b> (register) is 48.2 (C3), higher than the data's 40.0 (E2): <b><i>4.1×</i></b> the floor"
    )
    replayed = row._replace(excess={"generated": 4.1, "replay": 3.5})
    assert evaluation._giveaway(replayed).endswith("the floor, where training phrases are at 3.5× themselves")
