"""The page `report.html` of a data set: counts, histograms and rolls in one file, without scripts or network.

Names are from strangers: whatever is no markup of this file goes through `_text`.
"""

from __future__ import annotations

import base64
import html
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from musegan import __version__
from musegan.data.facts import drum_name, pitch_name, program_name
from musegan.data.dataset import PackedDataset
from musegan.data.report import Report
from musegan.data.statistics import MAX_NOTES_IN_BAR, PHRASE_BARS, Statistics, count, examples
from musegan.export.png import PALETTE, figure
from musegan.files import atomic_write
from musegan.ops import notes
from musegan.roll import Roll, RollSpec

MAX_LISTED = 5000    # files named in a list
N_EXAMPLES = 8
_TEMPO_BPM = (40, 240, 10)    # lowest and highest border of the histogram, and its steps
_ERROR_BINS = 20    # over [0, 0.5] steps
_WIDTH, _HEIGHT, _TOP, _FOOT = 320, 112, 6, 18    # of a chart, in its own units
_GREY = PALETTE[0]
_STYLE = """
:root { color-scheme: light dark; --back: #fafaf8; --card: #fff; --ink: #22262b; --soft: #5d656e; --line: #dfe1e4; }
@media (prefers-color-scheme: dark) {
  :root { --back: #15181b; --card: #1e2226; --ink: #e4e7ea; --soft: #9aa3ac; --line: #343a40; }
  .roll img { filter: invert(0.88) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1rem 3rem; max-width: 76rem; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0 0 0.2rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 0.6rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 0.4rem; } p { margin: 0.3rem 0; }
.soft, figcaption small { color: var(--soft); font-size: 0.86rem; font-weight: normal; }
.cards { display: grid; gap: 0.7rem; grid-template-columns: repeat(auto-fit, minmax(9.4rem, 1fr)); margin: 1rem 0; }
.cards div, figure, .bars { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.cards div { padding: 0.6rem 0.8rem; } .cards b { display: block; font-size: 1.35rem; line-height: 1.3; }
.charts { display: grid; gap: 0.7rem; grid-template-columns: repeat(auto-fill, minmax(min(17.5rem, 100%), 1fr)); }
.rolls { display: grid; gap: 0.7rem; grid-template-columns: repeat(auto-fill, minmax(min(26rem, 100%), 1fr)); }
figure { margin: 0; padding: 0.6rem 0.8rem; min-width: 0; display: flex; flex-direction: column; justify-content: space-between; }
figcaption { font-size: 0.9rem; font-weight: 600; }
figcaption small { display: block; } svg, .roll img { display: block; width: 100%; height: auto; margin-top: 0.3rem; }
svg text { fill: var(--soft); font-size: 10px; } svg line { stroke: var(--line); }
.roll { justify-content: flex-start; } .roll img { border-radius: 4px; }
.bars { padding: 0.4rem 0.8rem; margin: 0.4rem 0 0.9rem; }
.bars > div { display: grid; grid-template-columns: minmax(8rem, 2fr) 6.5rem minmax(3rem, 3fr); gap: 0 0.8rem; align-items: center;
  padding: 0.15rem 0; font-size: 0.92rem; }
.bars b { text-align: right; font-weight: 600; font-variant-numeric: tabular-nums; }
.bars i { display: block; height: 0.7rem; border-radius: 3px; min-width: 1px; }
@media (max-width: 40rem) { .bars > div { grid-template-columns: 1fr auto; padding: 0.25rem 0; } .bars i { grid-column: 1 / 3; } }
.scroll { max-height: 34rem; overflow: auto; border: 1px solid var(--line); border-radius: 8px; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: 0.88rem; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.8rem; border-bottom: 1px solid var(--line); }
details { margin: 0.6rem 0; } summary { cursor: pointer; font-weight: 600; padding: 0.3rem 0; }
"""


def write_page(out: Path, report: Report, dataset: PackedDataset | None) -> None:
    """Writes the page; the same report and data set give the same bytes.

    Args:
        out: the file.
        dataset: what was made; None where no bars are left.
    Raises:
        UserError: the file cannot be written.
    """
    text = page(report, dataset)
    with atomic_write(out) as temporary:
        temporary.write_bytes(text.encode("utf-8", "replace"))


def page(report: Report, dataset: PackedDataset | None) -> str:
    """The page as HTML; see `write_page`."""
    title = f"Data set: {_count(len(report.pieces), 'piece')}, {_count(report.n_bars, 'bar')}"
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Should a name get past the escaping, a browser still runs and fetches nothing.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'unsafe-inline\'; img-src data:">',
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{_text(title)}</h1>",
    ]
    if dataset is not None:
        statistics = count(dataset)
        parts += [_spec_line(dataset.spec), _headline(report, dataset), _kept(report), "<h2>Music</h2>"]
        parts += [_counted(statistics, dataset), _overview(report, dataset, statistics)]
        parts += ["<h2>Tracks</h2>", _shares(report), *_tracks(dataset.spec, statistics)]
        parts += ["<h2>Examples</h2>", _examples(dataset)]
    else:
        parts += ['<p class="soft">No bars are left.</p>', _headline(report, None), _kept(report)]
        parts += ['<div class="charts">', _errors(report), "</div>"]
    parts += [_lists(report), f'<p class="soft">musegan {_text(__version__)}</p>\n</body>\n</html>\n']
    return "\n".join(part for part in parts if part)


def _text(text: object) -> str:
    """Text as HTML, without control and direction characters."""
    return html.escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text)))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def _spec_line(spec: RollSpec) -> str:
    low, high = spec.lowest_pitch, spec.lowest_pitch + spec.n_pitches - 1
    return (
        f'<p class="soft">{spec.beats_per_bar}/{spec.beat_unit}, {_count(spec.steps_per_beat, "step")} a beat, '
        f"pitches {pitch_name(low)} to {pitch_name(high)}</p>"
    )


def _headline(report: Report, dataset: PackedDataset | None) -> str:
    cards = {"files": report.n_files, "pieces": len(report.pieces), "bars kept": report.n_bars, "notes read": report.n_notes}
    texts = {name: f"{number:,}" for name, number in cards.items()}
    if dataset is not None:
        tempo = dataset.tempo_bpm[dataset.phrase_starts(1)].to(torch.float64)
        minutes = round(float((dataset.spec.quarters_per_bar / tempo).sum()))
        texts["playing time"] = f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
    return '<div class="cards">' + "".join(f"<div><b>{text}</b>{name}</div>" for name, text in texts.items()) + "</div>"


def _bars(rows: Iterable[tuple[str, int, str]]) -> str:
    """Counts as a list of bars, which add up to all.

    Args:
        rows: name, count, colour.
    """
    rows = list(rows)
    total = sum(number for _, number, _ in rows)
    lines = [
        f"<div><span>{_text(name)}</span><b>{number:,}</b>"
        f'<i style="width:{100 * number / max(total, 1):.2f}%;background:{color}"></i></div>'
        for name, number, color in rows
    ]
    return f'<div class="bars">{"".join(lines)}</div>'


def _kept(report: Report) -> str:
    good, bad = PALETTE[2], PALETTE[5]
    files = [("pieces kept", len(report.pieces), good), *((r, n, bad) for r, n in report.reasons().most_common())]
    bars = [("kept", report.n_bars, good), *((r, n, bad) for r, n in report.bar_reasons().most_common())]
    if report.n_silent_bars:
        bars.append(("silent before the first or after the last note", report.n_silent_bars, _GREY))
    n_used = report.n_notes - report.n_out_of_range - report.n_merged
    counts = [("used", n_used, good), ("outside the pitch range", report.n_out_of_range, bad)]
    counts.append(("in the same step and pitch as another", report.n_merged, bad))
    counts += [(f"of tracks that are not used: {name}", n, bad) for name, n in report.dropped_notes.most_common()]
    parts = []
    for title, rows in (("Files and pieces", files), ("Bars", bars), ("Notes, in bars kept or not", counts)):
        parts += [f"<h3>{title}</h3>", _bars(rows)]
    return "<h2>Kept and left out</h2>\n" + "\n".join(parts)


def _counted(statistics: Statistics, dataset: PackedDataset) -> str:
    if statistics.every == 1:
        return ""
    return (
        f'<p class="soft">Histograms of phrases and of tracks count {statistics.n_bars:,} of the {dataset.n_bars:,} bars: '
        f"one in {statistics.every:,} runs of bars without a gap.</p>"
    )


def _overview(report: Report, dataset: PackedDataset, statistics: Statistics) -> str:
    low, high, step = _TEMPO_BPM
    tempo = dataset.tempo_bpm[dataset.phrase_starts(1)].numpy()
    borders = np.arange(low, high + 1, step)
    counts = np.bincount(np.searchsorted(borders, tempo, side="right"), minlength=len(borders) + 1)
    names = [f"below {low} bpm", *(f"{b} to {b + step} bpm" for b in borders[:-1]), f"{high} bpm and more"]
    ticks = {i + 1: str(b) for i, b in enumerate(borders) if b % 40 == 0}
    n_tracks = dataset.spec.n_tracks
    sounding = [_count(k, "track") for k in range(n_tracks + 1)]
    charts = [
        _chart("Tempo", counts, names, ticks, "bar"),
        _chart(
            f"Sounding tracks in phrases of {PHRASE_BARS} bars", statistics.sounding_tracks, sounding,
            {k: str(k) for k in range(0, n_tracks + 1, 1 + n_tracks // 12)}, "phrase", centred=True,
        ),
        _errors(report),
    ]    # fmt: skip
    return f'<div class="charts">{"".join(charts)}</div>'


def _errors(report: Report) -> str:
    """How far notes start from their step, in files that were read."""
    counts = report.error_histogram
    width = (len(counts) - 1) // _ERROR_BINS
    rebinned = np.append(counts[0], counts[1:].reshape(_ERROR_BINS, width).sum(1))
    step = 0.5 / _ERROR_BINS
    names = ["on the step", *(f"{i * step:.3f} to {(i + 1) * step:.3f} steps away" for i in range(_ERROR_BINS))]
    ticks = {0: "0", 1 + _ERROR_BINS // 4: "1/8", 1 + _ERROR_BINS // 2: "1/4", 1 + _ERROR_BINS: "1/2"}
    caption = ""
    if counts.sum():
        caption = f"median {report.median_error_steps:.3f} steps, {report.off_grid_share:.1%} over 1/8 step"
        if report.regridded:
            caption += f" ({report.off_grid_share_before:.1%} before files were moved to their beat)"
    return _chart("Distance of notes from their step", rebinned, names, ticks, "note", caption)


def _shares(report: Report) -> str:
    rows = []
    for k, (name, number) in enumerate(report.sounding_bars.items()):
        width = 100 * number / max(report.n_bars, 1)
        rows.append(
            f"<div><span>{_text(name)}</span><b>{_share(number, report.n_bars)}</b>"
            f'<i style="width:{width:.2f}%;background:{PALETTE[k % len(PALETTE)]}"></i></div>'
        )
    return f'<p class="soft">Share of the bars in which a track sounds.</p>\n<div class="bars">{"".join(rows)}</div>'


def _tracks(spec: RollSpec, statistics: Statistics) -> Iterable[str]:
    for k, track in enumerate(spec.tracks):
        n_notes = int(statistics.pitches[k].sum())
        yield f'<h3>{_text(track.name)} <span class="soft">{_text(program_name(track))}, {_count(n_notes, "note")}</span></h3>'
        if n_notes:
            yield f'<div class="charts">{"".join(_track_charts(spec, statistics, k))}</div>'


def _track_charts(spec: RollSpec, statistics: Statistics, k: int) -> Iterable[str]:
    color, is_drum = PALETTE[k % len(PALETTE)], spec.tracks[k].is_drum
    pitches = range(spec.lowest_pitch, spec.lowest_pitch + spec.n_pitches)
    names = [f"{drum_name(p) if is_drum else pitch_name(p)} ({p})" for p in pitches]
    ticks = {i: pitch_name(p) for i, p in enumerate(pitches) if p % 12 == 0}
    yield _chart("Drums" if is_drum else "Pitches", statistics.pitches[k], names, ticks, "note", color=color, centred=True)

    steps, beats = spec.steps_per_beat, spec.beats_per_bar
    names = [f"beat {t // steps + 1}, step {t % steps + 1} of {steps}" for t in range(spec.steps_per_bar)]
    ticks = {beat * steps: str(beat + 1) for beat in range(0, beats, 1 + beats // 13)}
    yield _chart("Where in the bar notes start", statistics.onset_steps[k], names, ticks, "note", color=color, centred=True)

    quarter = spec.steps_per_quarter
    if not is_drum:
        names = [f"{_count(n, 'step')}, {n / quarter:.4g} quarter notes" for n in range(1, spec.steps_per_bar + 1)]
        n_quarters = spec.steps_per_bar // quarter
        ticks = {n * quarter - 1: f"{n}" for n in range(1, n_quarters, 1 + n_quarters // 9)}
        ticks[spec.steps_per_bar] = "longer"
        yield _chart(
            "Length of notes, in quarter notes", statistics.lengths[k], [*names, "longer than a bar"], ticks, "note",
            color=color, centred=True,
        )    # fmt: skip

    counts = statistics.notes_in_bar[k]
    counts = counts[: max(int(np.flatnonzero(counts).max(initial=0)) + 1, 9)]
    names = [f"{_count(n, 'note')}{' or more' if n == MAX_NOTES_IN_BAR else ''}" for n in range(len(counts))]
    ticks = {n: f"{n}{'+' if n == MAX_NOTES_IN_BAR else ''}" for n in range(0, len(counts), 4)}
    yield _chart("Notes that start in a bar", counts, names, ticks, "bar", color=color, centred=True)


def _chart(
    title: str,
    counts: np.ndarray,
    names: Sequence[str],
    ticks: Mapping[int, str],
    noun: str,
    caption: str = "",
    color: str = _GREY,
    centred: bool = False,
) -> str:
    """A histogram as a figure with an inline SVG; each bar says its name and count when it is pointed at.

    Args:
        counts: [n].
        names: of the bars.
        ticks: labels by index of the bar, which they stand at the left of.
        caption: small, below the title; by default the highest bar.
        centred: labels stand below the middle of their bars.
    """
    total = int(counts.sum())
    if not total:
        caption = "nothing to count"
    elif not caption:
        top = int(counts.argmax())
        caption = f"most: {names[top]}, {_share(int(counts[top]), total)} of {_count(total, noun)}"
    wide, base = _WIDTH / len(counts), _HEIGHT - _FOOT
    drawn = []
    for i in np.flatnonzero(counts).tolist():
        tall = max((base - _TOP) * int(counts[i]) / int(counts.max()), 0.5)
        drawn.append(
            f'<rect x="{i * wide:.2f}" y="{base - tall:.2f}" width="{0.85 * wide + max(0.15 * wide - 3, 0):.2f}" height="{tall:.2f}">'
            f"<title>{_text(names[i])}: {_text(_count(int(counts[i]), noun))}</title></rect>"
        )
    for i, text in ticks.items():
        x = (i + (0.425 if centred else 0)) * wide
        anchor = "start" if x < 12 else "end" if x > _WIDTH - 16 else "middle"
        x = min(max(x, 0), _WIDTH)
        drawn.append(f'<line x1="{x:.2f}" y1="{base}" x2="{x:.2f}" y2="{base + 4}"/>')
        drawn.append(f'<text x="{x:.2f}" y="{_HEIGHT - 3}" text-anchor="{anchor}">{_text(text)}</text>')
    return (
        f"<figure><figcaption>{_text(title)}<small>{_text(caption)}</small></figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{_text(title)}: {_text(caption)}">'
        f'<line x1="0" y1="{base}" x2="{_WIDTH}" y2="{base}"/><g fill="{color}">{"".join(drawn)}</g></svg></figure>\n'
    )


def _examples(dataset: PackedDataset) -> str:
    starts, n_bars = examples(dataset, N_EXAMPLES)
    figures = []
    for start in starts.split(1):
        (roll,) = dataset.roll(start, n_bars).phrases()
        first = int(dataset.bar_numbers(start)) + 1
        name = dataset.pieces[int(dataset.piece_of(start))]
        where = f"bar {first}" if n_bars == 1 else f"bars {first} to {first + n_bars - 1}"
        n_notes = len(notes(roll.map(lambda plane: plane[None])))
        figures.append(
            f'<figure class="roll"><figcaption>{_text(name)}<small>{where}, {_count(n_notes, "note")}</small></figcaption>'
            f'<img alt="Piano-roll of {where}: {_text(name)}" '
            f'src="data:image/png;base64,{_png(roll, dataset.spec, first)}"></figure>'
        )
    return (
        '<p class="soft">Spread over the pieces, not picked. Strong is where a note starts, faint is how long it sounds.</p>\n'
        f'<div class="rolls">{"".join(figures)}</div>'
    )


def _png(roll: Roll, spec: RollSpec, first_bar: int) -> str:
    """A phrase [K, B, T, P] as a PNG in base64."""
    buffer = io.BytesIO()
    drawn = figure(roll, spec, bar_numbers=[range(first_bar, first_bar + roll.frame.shape[1])])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")    # names are in any script
        drawn.savefig(buffer, format="png", metadata={"Software": None})
    return base64.b64encode(buffer.getvalue()).decode()


def _lists(report: Report) -> str:
    moved = [
        (name, f"{grid.found_bpm:.1f} bpm", f"fit {grid.fit:.2f} before, {grid.found_fit:.2f} after")
        for name, grid in report.regridded.items()
    ]
    parts = [
        _list("Files and pieces left out", ("file", "reason"), list(report.rejected_files.items())),
        _list("Files moved to the beat their notes lie on", ("file", "tempo found", "fit of the notes"), moved),
    ]
    return "<h2>File by file</h2>\n" + "\n".join(parts) if any(parts) else ""


def _list(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that unfolds; "" without rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{_text(column)}</th>" for column in columns)
    body = "\n".join(
        f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows[:MAX_LISTED]
    )
    more = f"<p>and {len(rows) - MAX_LISTED:,} more: report.json lists them all</p>" if len(rows) > MAX_LISTED else ""
    return (
        f"<details><summary>{_text(title)} ({len(rows):,})</summary>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>{more}</details>'
    )
