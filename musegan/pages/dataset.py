"""The page `report.html` of a data set: counts, histograms and rolls in one file, without scripts or network.

Names are from strangers: whatever is no markup of this file goes through `text`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from musegan import __version__
from musegan.data.facts import drum_name, pitch_name, program_name
from musegan.data.dataset import PackedDataset
from musegan.data.report import Report
from musegan.data.statistics import MAX_NOTES_IN_BAR, PHRASE_BARS, Statistics, count, examples
from musegan.export.png import PALETTE
from musegan.files import atomic_write
from musegan.ops import notes
from musegan.pages.html import GREY, cards, chart, document, listing, phrase_figure, plural, share, text
from musegan.roll import RollSpec

N_EXAMPLES = 8
_TEMPO_BPM = (40, 240, 10)    # lowest and highest border of the histogram, and its steps
_ERROR_BINS = 20    # over [0, 0.5] steps


def write_page(out: Path, report: Report, dataset: PackedDataset | None) -> None:
    """Writes the page; the same report and data set give the same bytes.

    Args:
        out: the file.
        dataset: what was made; None where no bars are left.
    Raises:
        UserError: the file cannot be written.
    """
    with atomic_write(out) as temporary:
        temporary.write_bytes(page(report, dataset).encode("utf-8", "replace"))


def page(report: Report, dataset: PackedDataset | None) -> str:
    """The page as HTML; see `write_page`."""
    title = f"Data set: {plural(len(report.pieces), 'piece')}, {plural(report.n_bars, 'bar')}"
    parts = []
    if dataset is not None:
        statistics = count(dataset)
        parts += [_spec_line(dataset.spec), _headline(report, dataset), _kept(report), "<h2>Music</h2>"]
        parts += [_counted(statistics, dataset), _overview(report, dataset, statistics)]
        parts += ["<h2>Tracks</h2>", _shares(report), *_tracks(dataset.spec, statistics)]
        parts += ["<h2>Examples</h2>", _examples(dataset)]
    else:
        parts += ['<p class="soft">No bars are left.</p>', _headline(report, None), _kept(report)]
        parts += ['<div class="charts">', _errors(report), "</div>"]
    return document(title, [*parts, _lists(report), f'<p class="soft">musegan {text(__version__)}</p>'])


def _spec_line(spec: RollSpec) -> str:
    low, high = spec.lowest_pitch, spec.lowest_pitch + spec.n_pitches - 1
    return (
        f'<p class="soft">{spec.beats_per_bar}/{spec.beat_unit}, {plural(spec.steps_per_beat, "step")} a beat, '
        f"pitches {pitch_name(low)} to {pitch_name(high)}</p>"
    )


def _headline(report: Report, dataset: PackedDataset | None) -> str:
    numbers = {
        "files": report.n_files, "pieces": len(report.pieces), "bars kept": report.n_bars, "notes read": report.n_notes,
    }    # fmt: skip
    texts = {name: f"{number:,}" for name, number in numbers.items()}
    if dataset is not None:
        tempo = dataset.tempo_bpm[dataset.phrase_starts(1)].to(torch.float64)
        minutes = round(float((dataset.spec.quarters_per_bar / tempo).sum()))
        texts["playing time"] = f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
    return cards(texts)


def _bars(rows: Iterable[tuple[str, int, str]]) -> str:
    """Counts as a list of bars, which add up to all.

    Args:
        rows: name, count, colour.
    """
    rows = list(rows)
    total = sum(number for _, number, _ in rows)
    lines = [
        f"<div><span>{text(name)}</span><b>{number:,}</b>"
        f'<i style="width:{100 * number / max(total, 1):.2f}%;background:{color}"></i></div>'
        for name, number, color in rows
    ]
    return f'<div class="bars">{"".join(lines)}</div>'


def _kept(report: Report) -> str:
    good, bad = PALETTE[2], PALETTE[5]
    files = [("pieces kept", len(report.pieces), good), *((r, n, bad) for r, n in report.reasons().most_common())]
    bars = [("kept", report.n_bars, good), *((r, n, bad) for r, n in report.bar_reasons().most_common())]
    if report.n_silent_bars:
        bars.append(("silent before the first or after the last note", report.n_silent_bars, GREY))
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
    sounding = [plural(k, "track") for k in range(n_tracks + 1)]
    charts = [
        chart("Tempo", counts, names, ticks, "bar"),
        chart(
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
    return chart("Distance of notes from their step", rebinned, names, ticks, "note", caption)


def _shares(report: Report) -> str:
    rows = []
    for k, (name, number) in enumerate(report.sounding_bars.items()):
        width = 100 * number / max(report.n_bars, 1)
        rows.append(
            f"<div><span>{text(name)}</span><b>{share(number, report.n_bars)}</b>"
            f'<i style="width:{width:.2f}%;background:{PALETTE[k % len(PALETTE)]}"></i></div>'
        )
    return f'<p class="soft">Share of the bars in which a track sounds.</p>\n<div class="bars">{"".join(rows)}</div>'


def _tracks(spec: RollSpec, statistics: Statistics) -> Iterable[str]:
    for k, track in enumerate(spec.tracks):
        n_notes = int(statistics.pitches[k].sum())
        yield f'<h3>{text(track.name)} <span class="soft">{text(program_name(track))}, {plural(n_notes, "note")}</span></h3>'
        if n_notes:
            yield f'<div class="charts">{"".join(_track_charts(spec, statistics, k))}</div>'


def _track_charts(spec: RollSpec, statistics: Statistics, k: int) -> Iterable[str]:
    color, is_drum = PALETTE[k % len(PALETTE)], spec.tracks[k].is_drum
    pitches = range(spec.lowest_pitch, spec.lowest_pitch + spec.n_pitches)
    names = [f"{drum_name(p) if is_drum else pitch_name(p)} ({p})" for p in pitches]
    ticks = {i: pitch_name(p) for i, p in enumerate(pitches) if p % 12 == 0}
    yield chart("Drums" if is_drum else "Pitches", statistics.pitches[k], names, ticks, "note", color=color, centred=True)

    steps, beats = spec.steps_per_beat, spec.beats_per_bar
    names = [f"beat {t // steps + 1}, step {t % steps + 1} of {steps}" for t in range(spec.steps_per_bar)]
    ticks = {beat * steps: str(beat + 1) for beat in range(0, beats, 1 + beats // 13)}
    yield chart("Where in the bar notes start", statistics.onset_steps[k], names, ticks, "note", color=color, centred=True)

    quarter = spec.steps_per_quarter
    if not is_drum:
        names = [f"{plural(n, 'step')}, {n / quarter:.4g} quarter notes" for n in range(1, spec.steps_per_bar + 1)]
        n_quarters = spec.steps_per_bar // quarter
        ticks = {n * quarter - 1: f"{n}" for n in range(1, n_quarters, 1 + n_quarters // 9)}
        ticks[spec.steps_per_bar] = "longer"
        yield chart(
            "Length of notes, in quarter notes", statistics.lengths[k], [*names, "longer than a bar"], ticks, "note",
            color=color, centred=True,
        )    # fmt: skip

    counts = statistics.notes_in_bar[k]
    counts = counts[: max(int(np.flatnonzero(counts).max(initial=0)) + 1, 9)]
    names = [f"{plural(n, 'note')}{' or more' if n == MAX_NOTES_IN_BAR else ''}" for n in range(len(counts))]
    ticks = {n: f"{n}{'+' if n == MAX_NOTES_IN_BAR else ''}" for n in range(0, len(counts), 4)}
    yield chart("Notes that start in a bar", counts, names, ticks, "bar", color=color, centred=True)


def _examples(dataset: PackedDataset) -> str:
    starts, n_bars = examples(dataset, N_EXAMPLES)
    figures = []
    for start in starts.split(1):
        (roll,) = dataset.roll(start, n_bars).phrases()
        first = int(dataset.bar_numbers(start)) + 1
        name = dataset.pieces[int(dataset.piece_of(start))]
        where = f"bar {first}" if n_bars == 1 else f"bars {first} to {first + n_bars - 1}"
        n_notes = len(notes(roll.map(lambda plane: plane[None])))
        caption, label = f"{where}, {plural(n_notes, 'note')}", f"Piano-roll of {where}: {name}"
        figures.append(phrase_figure(roll, dataset.spec, name, caption, label, first))
    return (
        '<p class="soft">Spread over the pieces, not picked. Strong is where a note starts, faint is how long it sounds.'
        "</p>\n"
        f'<div class="rolls">{"".join(figures)}</div>'
    )


def _lists(report: Report) -> str:
    moved = [
        (name, f"{grid.found_bpm:.1f} bpm", f"fit {grid.fit:.2f} before, {grid.found_fit:.2f} after")
        for name, grid in report.regridded.items()
    ]
    parts = [
        listing("Files and pieces left out", ("file", "reason"), list(report.rejected_files.items()), "report.json"),
        listing(
            "Files moved to the beat their notes lie on", ("file", "tempo found", "fit of the notes"), moved, "report.json"
        ),
    ]
    return "<h2>File by file</h2>\n" + "\n".join(parts) if any(parts) else ""
