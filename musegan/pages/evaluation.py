"""The page `evaluation.html`: every statistic beside the data's, the floor and the naive rows.

Names are from strangers: whatever is no markup of the pages goes through `text`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from musegan.data.facts import pitch_name
from musegan.evaluation import naive
from musegan.evaluation.comparison import GENERATED, REAL, StatisticRow
from musegan.evaluation.corpus import Corpus
from musegan.evaluation.originality import Spread
from musegan.evaluation.papers import PaperTable
from musegan.evaluation.report import Evaluation
from musegan.evaluation.statistics import ALL
from musegan.files import atomic_write
from musegan.ops import notes
from musegan.pages import comparison as compared
from musegan.pages import marks
from musegan.pages.comparison import number, percent, times, with_unit
from musegan.pages.html import cards, document, phrase_figure, plural, table, text
from musegan.roll import RollSpec

N_PICTURES = 4    # phrases of each side
N_GIVEAWAYS = 12    # statistics in words
_STYLE = marks.STYLE + """
nav { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; margin: 0.8rem 0; font-size: 0.92rem; } a { color: var(--gen); }
.alert { border-left: 4px solid var(--off); background: var(--card); padding: 0.5rem 0.9rem; border-radius: 4px;
  margin: 0.5rem 0; }
.alert.mild { border-color: var(--naive); } .findings li { margin: 0.25rem 0; }
.findings b i { font-style: normal; color: var(--off); }
.lead { max-width: 46rem; } figure { justify-content: flex-start; } td.off { color: var(--off); font-weight: 600; }
td:first-child { min-width: 8.5rem; }
@media (max-width: 40rem) { th, td { padding: 0.25rem 0.45rem; } td:first-child { min-width: 5rem; } }
.numbers td:not(:first-child), .numbers th:not(:first-child) { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
th, td { overflow-wrap: break-word; } .numbers th[colspan]:not([colspan="1"]) { text-align: center; }
.pair { display: grid; gap: 0.7rem; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr));
  margin: 0.7rem 0; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; font-size: 0.86rem; color: var(--soft);
  margin: 0.4rem 0 0.7rem; }
.legend i { display: inline-block; width: 0.85rem; height: 0.85rem; border-radius: 3px; vertical-align: -0.1rem;
  margin-right: 0.4rem; }
.legend .data { background: var(--data); } .legend .gen { background: var(--gen); } .legend .off { background: var(--off); }
.legend .naive { background: var(--naive); }
"""
_SECTIONS = {
    "findings": "What tells it from the data",
    "pictures": "Phrases",
    "distances": "Distances",
    "statistics": "Statistics",
    "histograms": "Histograms",
    "papers": "As the papers report",
    "originality": "Originality",
    "condition": "Does the accompaniment listen?",
    "naive": "What this evaluation can see",
}
_FITS = {
    "chord_tones": "chord tones (more fits better)",
    "tonal_distance": "tonal distance (less fits better)",
    "onset_coincidence": "starts at the same time (more fits better)",
}


def write_page(out: Path, evaluation: Evaluation, real: Corpus, generated: Corpus, train: Corpus | None) -> None:
    """Writes the page; the same input gives the same bytes.

    Args:
        out: the file.
        evaluation: of these phrases.
        real, generated, train: what it was made from, to draw some of it.
    Raises:
        UserError: the file cannot be written.
    """
    with atomic_write(out) as temporary:
        temporary.write_bytes(page(evaluation, real, generated, train).encode("utf-8", "replace"))


def page(evaluation: Evaluation, real: Corpus, generated: Corpus, train: Corpus | None) -> str:
    """The page as HTML; see `write_page`."""
    comparison, spec = evaluation.comparison, real.spec
    sections = {
        "findings": _findings(evaluation),
        "pictures": _pictures(evaluation, real, generated, real if train is None else train),
        "distances": _lead(_DISTANCES) + _legend(("data", "floor: halves of the data"), *_MARKS)
        + compared.distances(comparison),
        "statistics": _lead(_STATISTICS) + _legend(("data", "data"), *_MARKS)
        + compared.statistic_charts(comparison, spec, real.n_bars),
        "histograms": _lead(_HISTOGRAMS) + _legend(("data", "data"), *_MARKS[:2])
        + compared.histogram_charts(comparison.histograms, spec),
        "papers": _papers(evaluation),
        "originality": _originality(evaluation),
        "condition": _condition(evaluation),
        "naive": _naive(evaluation),
    }    # fmt: skip
    links = "".join(f'<a href="#{key}">{_SECTIONS[key]}</a>' for key, body in sections.items() if body)
    parts = [*_head(evaluation, spec), f"<nav>{links}</nav>"]
    parts += [f'<h2 id="{key}">{_SECTIONS[key]}</h2>\n{body}' for key, body in sections.items() if body]
    parts.append(f'<p class="soft">musegan {text(evaluation.musegan)}; evaluation.json has all numbers</p>')
    return document("Generated music beside real music", parts, _STYLE)


def _head(evaluation: Evaluation, spec: RollSpec) -> Iterable[str]:
    tracks = ", ".join(track.name for track in spec.tracks)
    low, high = spec.lowest_pitch, spec.lowest_pitch + spec.n_pitches - 1
    yield (
        f'<p class="soft">Phrases of {plural(evaluation.n_bars, "bar")}, {spec.beats_per_bar}/{spec.beat_unit}, '
        f"{plural(spec.steps_per_beat, 'step')} a beat, pitches {pitch_name(low)} to {pitch_name(high)}, "
        f"tracks: {text(tracks)}. Seed {evaluation.seed}.</p>"
    )
    rows = [[name, side.source, f"{side.n_phrases:,}", f"{side.n_pieces:,}"] for name, side in evaluation.sides.items()]
    yield table(["", "from", "phrases", "pieces"], rows)
    yield from (f'<p class="alert"><b>{text(flag)}</b></p>' for flag in evaluation.comparison.flags)
    yield from (f'<p class="alert mild">{text(warning)}</p>' for warning in evaluation.warnings)
    dist = evaluation.comparison.distances[0]
    n_off = len(compared.giveaways(evaluation.comparison))
    yield cards({
        "statistics off the data": f"{n_off} of {compared.n_statistics(evaluation.comparison)}",
        f"{dist.name}; {number(dist.rows[REAL].low)} to {number(dist.rows[REAL].high)} in the data":
            number(dist.rows[GENERATED].value),
        f"copies; {percent(evaluation.originality.copied_real)} in real music": percent(evaluation.originality.copied),
        "compared at a time": plural(evaluation.comparison.n, "phrase"),
    })    # fmt: skip


_MARKS = (("gen", "generated"), ("off", "off the data"), ("naive", "naive rows"))
_GUIDE = """
How to read this: no two halves of the data are alike, and the <b>floor</b> is how far they lie apart. What lies
within the floor is as close as a perfect model could be. <b>Naive rows</b> are real phrases that were spoilt in one
way each, and show what a number can see: one that does not tell a naive row from the data says nothing about what was
spoilt in it. <b>Replay</b> takes training phrases: where it is off too, the training pieces differ from the real ones,
and a model that learned them well does as well. Intervals hold 95 of 100 draws of other pieces."""
_DISTANCES = """
How far each row lies from half of the real pieces, always with as many phrases. The grey area is what real phrases
get: a row within it cannot be told from them by this measure."""
_STATISTICS = """
The bar is the data with its interval, the dot the generated music, the strokes are naive rows (an arrow: beyond the
axis). Red: farther from the data than halves of the data from each other, and how many times."""
_HISTOGRAMS = """
Shares of what is counted, over all phrases. Overlap is the area that both have in common, and 1 minus the total
variation; Wasserstein is how far, on average, things must be moved to make one into the other."""
_PAPERS = """
The columns of the MuseGAN papers: empty bars (EB, in percent), used pitch classes a bar (UPC), notes that are not too
short (QN, in percent), drum notes on the pattern (DP, in percent), and tonal distance between tracks (TD). Numbers of
other data or of another grid do not compare."""
_RELEASED = """
The same metrics as the code computes them that was released with the papers, faults included: for comparison with
numbers that were made by it, and for nothing else."""
_MELODIES = """
How far the pitches of a track must be bent to be those of the nearest melody, in semitones a note: 0 is the same
melody."""
_CONDITION = """
How well the given track fits the others, and how well that of another phrase would. An accompaniment that does not
listen fits both as well. A model that accompanies is given this track of real phrases, and then that of the next one."""
_NAIVE = """
Each naive row must be told from the data by something; a measure that tells none of them tells little of a model.
Behind a statistic: how many times its floor the row lies off."""


def _lead(prose: str) -> str:
    """A paragraph of explanation, which is HTML already."""
    return f'<p class="lead soft">{prose.strip()}</p>\n'


def _legend(*entries: tuple[str, str]) -> str:
    found = "".join(f'<span><i class="{kind}"></i>{text(name)}</span>' for kind, name in entries)
    return f'<p class="legend">{found}</p>\n'


def _findings(evaluation: Evaluation) -> str:
    comparison = evaluation.comparison
    found = compared.giveaways(comparison)
    if found:
        sentences = [f"<li>{_giveaway(row)}</li>" for row in found[:N_GIVEAWAYS]]
        rest = len(found) - len(sentences)
        more = f'<p class="soft">and {plural(rest, "more statistic")}, see below</p>' if rest else ""
        body = f'<ul class="findings">{"".join(sentences)}</ul>{more}'
    else:
        body = "<p>No single statistic tells it from the data: each lies where halves of the data do.</p>"
    off = [compared.measure_name(distance) for distance in comparison.distances if GENERATED in distance.off]
    line = f"Distances beyond the floor: {', '.join(off)}." if off else "All distances lie within the floor."
    return f"{body}\n<p>{text(line)}</p>\n{_lead(_GUIDE)}"


def _giveaway(row: StatisticRow) -> str:
    """A statistic that is off, in words."""
    where = "lower" if row.generated.value < row.real.value else "higher"
    track = "all tracks" if row.column == ALL else row.column
    own, real = (text(with_unit(side.value, row.unit)) for side in (row.generated, row.real))
    return (
        f"<b>{text(track)}: {text(row.name)}</b> ({text(row.meaning)}) is {own}, {where} than the data's {real}: "
        f"<b><i>{times(row.excess[GENERATED])}</i></b> the floor"
        + (f", where training phrases are at {times(replay)} themselves" if (replay := compared.replayed(row)) else "")
    )


def _pictures(evaluation: Evaluation, real: Corpus, generated: Corpus, corpus: Corpus) -> str:
    parts = ['<p class="soft">At random, not picked. Strong is where a note starts, faint is how long it sounds.</p>']
    for name, side in (("Generated", generated), ("Real", real)):
        figures = [_figure(side, i, f"{name} phrase {i + 1}") for i in range(min(N_PICTURES, len(side)))]
        parts.append(f'<h3>{name}</h3>\n<div class="rolls">{"".join(figures)}</div>')
    kind = "training" if evaluation.originality.corpus == "train" else "real"
    parts.append(f"<h3>The generated phrases that are most like a {kind} one</h3>")
    for pair in evaluation.originality.closest:
        moved = f"moved by {pair.semitones:+d} semitones" if pair.semitones else "in the same key"
        alike = f"{pair.similarity:.0%} of the note starts in common, {moved}"
        parts.append(
            f'<div class="pair">{_figure(generated, pair.generated, f"Generated phrase {pair.generated + 1}", alike)}'
            f'{_figure(corpus, pair.nearest, f"Nearest {kind} phrase, {pair.nearest + 1}")}</div>'
        )
    if not evaluation.originality.closest:
        parts.append("<p>None has a note start in common with another.</p>")
    return "\n".join(parts)


def _figure(corpus: Corpus, index: int, title: str, caption: str = "") -> str:
    roll = corpus.take(slice(index, index + 1)).unpacked()
    caption = caption or plural(len(notes(roll)), "note")
    return phrase_figure(roll.phrases()[0], corpus.spec, title, caption, f"Piano-roll: {title}")


def _papers(evaluation: Evaluation) -> str:
    parts = [_lead(_PAPERS), _paper_table(evaluation.papers)]
    if evaluation.papers_released is not None:
        parts += ["<h3>With the faults of the released code</h3>", _lead(_RELEASED)]
        parts.append(_paper_table(evaluation.papers_released))
    return "\n".join(parts)


def _paper_table(papers: PaperTable) -> str:
    names = [group for group, _ in papers.columns]
    groups = [("", 1), *((group, names.count(group)) for group in dict.fromkeys(names))]
    rows = [[row, *map(number, values)] for row, values in papers.rows.items()]
    return table(["", *(column for _, column in papers.columns)], rows, groups, is_numbers=True)


def _originality(evaluation: Evaluation) -> str:
    found = evaluation.originality
    kind = "training" if found.corpus == "train" else "real"
    same = "" if found.corpus == "train" else " of another piece"
    lines = [
        [f"{name}, to the nearest {kind} phrase{where}", f"{side.n:,}", *map(number, _numbers(side))]
        for name, where, side in (("generated", "", found.generated), ("real", same, found.real))
    ]
    shares = [
        [f"copies of a {kind} phrase (0.9 or more alike)", percent(found.copied), percent(found.copied_real)],
        ["so alike to another of their own side", percent(found.duplicates), percent(found.duplicates_real)],
    ]
    parts = [
        _lead(
            f"Each phrase beside the nearest of {plural(found.n_corpus, f'{kind} phrase')}, in any key: 1 has all note "
            "starts in common, 0 none. Generated music should not lie nearer than other real music does."
        ),
        table(["similarity", "phrases", "median", "95th percentile", "highest"], lines, is_numbers=True),
        "<p></p>",
        table(["", "generated", "real"], shares, is_numbers=True),
    ]
    if found.melodies:
        melodies = [[row.track, *map(number, (*_numbers(row.generated), *_numbers(row.real)))] for row in found.melodies]
        columns = ["track", *["median", "5th percentile", "lowest"] * 2]
        sides = [("", 1), ("generated", 3), ("real", 3)]
        parts += ["<h3>Melodies</h3>", _lead(_MELODIES), table(columns, melodies, sides, is_numbers=True)]
    return "\n".join(parts)


def _numbers(spread: Spread) -> tuple[float, float, float]:
    return spread.median, spread.extreme, spread.closest


def _condition(evaluation: Evaluation) -> str:
    if evaluation.condition is None:
        return ""
    rows = []
    for name, test in evaluation.condition.items():
        rows += [
            [f"{name}: {_FITS[field]}", number(getattr(test.own, field)), number(getattr(test.swapped, field))]
            for field in test.own._fields
        ]
        if math.isfinite(test.changed):
            rows.append([f"{name}: phrases that change when the given track is swapped", percent(test.changed), ""])
    return _lead(_CONDITION) + table(["", "its own track", "another phrase's track"], rows, is_numbers=True)


def _naive(evaluation: Evaluation) -> str:
    replay = (
        f"Of {naive.REPLAY}, no such measure needs to say anything (where one does, training pieces differ from the real "
        f"ones): only the share of copies, under originality, tells music that was learned by heart. Of the "
        f"generated phrases {percent(evaluation.originality.copied)} are copies."
    )
    return _lead(_NAIVE) + compared.naive_table(evaluation.comparison) + _lead(replay)
