"""Rolls to pictures: a lane for each track, as in the arrangement window of a sequencer."""

from __future__ import annotations

import colorsys
import os
from collections.abc import Sequence

import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from musegan.export.phrase import phrase_notes
from musegan.files import atomic_write
from musegan.roll import Roll, RollSpec

# One colour a track, over again from the eleventh on.
PALETTE = (
    "#5f6b7a", "#d9822b", "#3a9a5b", "#3b6fc4", "#a24fb5",
    "#c43b4e", "#1f9aa8", "#8a6d3b", "#7a8f1f", "#d65f9e",
)    # fmt: skip
DRUM_NAMES = {
    35: "kick", 36: "kick", 37: "rim", 38: "snare", 39: "clap", 40: "snare", 41: "tom", 42: "hat", 43: "tom",
    44: "hat", 45: "tom", 46: "open hat", 47: "tom", 48: "tom", 49: "crash", 50: "tom", 51: "ride", 52: "china",
    53: "bell", 54: "tamb.", 55: "splash", 56: "cowbell", 57: "crash", 59: "ride", 69: "cabasa", 70: "maracas",
}    # fmt: skip
GREY = "#777777"
SILENT_COLOR = "#b5b5b5"
LANE_INCHES = 0.55    # of a sounding lane on a page of several panels
SINGLE_LANE_INCHES = 0.8    # the same, where the page is one panel
SILENT_LANE = 0.3    # height of a lane that is silent all over the page, a sounding one being 1
LANE_GAP = 0.12
LINE_BARS = 16    # of a longer phrase on one line
MAX_LINES = 32    # of one; the lines of a still longer one are longer
MIN_PITCH_ROWS = 13    # an octave, so that a bass line on one note stays a line
MIN_DRUM_ROWS = 5
MAX_NAMED_DRUMS = 8    # as many names as fit beside a lane
MIN_NOTE_HEIGHT = 0.06    # of a lane, so that notes stay visible in a lane of many octaves


def write_png(
    path: str | os.PathLike[str],
    rolls: Roll | Sequence[Roll],
    spec: RollSpec,
    titles: Sequence[str] | None = None,
    n_columns: int | None = None,
    bar_numbers: Sequence[Sequence[int]] | None = None,
) -> None:
    """Draws one phrase, or a page of several, as a PNG; see `figure`.

    Raises:
        ValueError, TypeError: see `figure`.
        UserError: the file cannot be written.
    """
    page = figure(rolls, spec, titles, n_columns, bar_numbers)
    with atomic_write(path) as temporary:
        page.savefig(temporary, format="png", metadata={"Software": None})


def figure(
    rolls: Roll | Sequence[Roll],
    spec: RollSpec,
    titles: Sequence[str] | None = None,
    n_columns: int | None = None,
    bar_numbers: Sequence[Sequence[int]] | None = None,
) -> Figure:
    """One phrase, or a page of several, as a matplotlib figure.

    Each panel stacks the tracks of `spec`, the first on top, in their colours: a note is light, its onset dark.
    A pitched lane spans the pitches that sound in its panel, with the Cs marked; a drum lane has a row for each drum. A
    phrase of more than 16 bars goes over several panels, line by line.

    Args:
        rolls: a phrase with planes [K, B, T, P] bool, or a sequence of such.
        titles: one line over each panel.
        n_columns: panels side by side; by default two, or one for a single phrase and for more than eight bars.
        bar_numbers: of each panel, the numbers below its bars; by default from 1.
    Raises:
        ValueError: no rolls, rolls that do not fit `spec`, another number of titles than rolls, or of bar numbers
            than bars.
        TypeError: a plane is not bool.
    """
    rolls = [rolls] if isinstance(rolls, Roll) else list(rolls)
    titles = [""] * len(rolls) if titles is None else list(titles)
    if not rolls:
        raise ValueError("rolls must not be empty")
    if len(titles) != len(rolls):
        raise ValueError(f"titles must be one for each roll: got {len(titles)} for {len(rolls)}")
    counts = [roll.frame.shape[1] for roll in rolls]
    numbers = [list(range(1, count + 1)) for count in counts] if bar_numbers is None else [list(n) for n in bar_numbers]
    if [len(own) for own in numbers] != counts:
        raise ValueError(f"bar_numbers must be one for each bar: got {[len(own) for own in numbers]} for {counts}")
    rolls, titles, numbers = _in_lines(rolls, titles, numbers)
    n_bars = max(len(own) for own in numbers)
    found_by_panel = [phrase_notes(roll, spec).numpy() for roll in rolls]    # each [n, 4]
    sounding = set(np.concatenate(found_by_panel)[:, 0].tolist())
    heights = [1.0 if index in sounding else SILENT_LANE for index in range(spec.n_tracks)]
    bottoms = np.cumsum([0.0] + [-height - LANE_GAP for height in heights])[1:]
    lane_inches = SINGLE_LANE_INCHES if len(rolls) == 1 else LANE_INCHES
    panel_inches = (
        float(np.clip(1.6 * n_bars, 4, 16)) + 1.1,
        lane_inches * -bottoms[-1] + (0.5 if any(titles) else 0.3),
    )

    page = _empty_page(len(rolls), n_columns or (1 if len(rolls) == 1 or n_bars > 8 else 2), panel_inches)
    for axes, own_numbers, found, title in zip(page.axes, numbers, found_by_panel, titles):
        axes.set_xlim(0, max(n_bars, 1) * spec.steps_per_bar)
        axes.set_ylim(bottoms[-1] - LANE_GAP, LANE_GAP)
        axes.set_title(title, loc="left", fontsize=9, parse_math=False)
        for index, lane in enumerate(zip(bottoms, heights)):
            _draw_track(axes, found[found[:, 0] == index, 1:], spec, index, *lane)
        _draw_time(axes, own_numbers, spec)
    return page


def _in_lines(
    rolls: list[Roll], titles: list[str], numbers: list[list[int]]
) -> tuple[list[Roll], list[str], list[list[int]]]:
    """Phrases, their titles and the numbers of their bars, cut into panels; only the first panel of each has a title."""
    panels = []
    for roll, title, own in zip(rolls, titles, numbers):
        size = max(LINE_BARS, -(-len(own) // MAX_LINES))
        for first in range(0, max(len(own), 1), size):
            bars = slice(first, first + size)
            panels.append((Roll(*(plane[:, bars] for plane in roll)), title if first == 0 else "", own[bars]))
    return tuple(map(list, zip(*panels)))


def _empty_page(n_panels: int, n_columns: int, panel_inches: tuple[float, float]) -> Figure:
    """A figure with at least `n_panels` axes, in lines, on which nothing is drawn."""
    n_lines = -(-n_panels // n_columns)
    width, height = panel_inches
    page = Figure(figsize=(n_columns * width, n_lines * height), dpi=120, layout="constrained")
    FigureCanvasAgg(page)    # without pyplot, which keeps figures alive and may want a display
    for axes in page.subplots(n_lines, n_columns, squeeze=False).flat:
        axes.set_axis_off()
    return page


def _draw_time(axes: Axes, bar_numbers: list[int], spec: RollSpec) -> None:
    """Draws bar and beat lines and numbers the bars."""
    n_bars = len(bar_numbers)
    bars = np.arange(n_bars + 1) * spec.steps_per_bar
    beats = np.arange(n_bars * spec.beats_per_bar) * spec.steps_per_beat
    heights = axes.get_xaxis_transform()
    axes.vlines(beats, 0, 1, transform=heights, color="#dcdcdc", linewidth=0.5, zorder=1)
    axes.vlines(bars, 0, 1, transform=heights, color="#8c8c8c", linewidth=0.8, zorder=1, clip_on=False)
    for bar, step in zip(bar_numbers, bars[:-1].tolist()):
        axes.text(step, 0, f" {bar}", transform=heights, ha="left", va="top", fontsize=6.5, color=GREY)


def _draw_track(
    axes: Axes, found: np.ndarray, spec: RollSpec, index: int, bottom: float, height: float
) -> None:
    """Draws the notes [n, 3] (pitch, start_step, end_step) of one track into its lane, and names it."""
    track, color = spec.tracks[index], PALETTE[index % len(PALETTE)]
    pitches, start, end = found.T
    beside = axes.get_yaxis_transform()
    axes.text(
        -0.01, bottom + height / 2, track.name, transform=beside,
        ha="right", va="center", fontsize=8, color=color if len(found) else SILENT_COLOR, parse_math=False,
    )    # fmt: skip
    axes.axhspan(bottom, bottom + height, color="#f6f6f6", linewidth=0, zorder=0)
    if not len(found):
        return
    rows, names = _drum_rows(pitches) if track.is_drum else _pitch_rows(pitches)
    row_height = height / len(rows)
    for pitch, name in names.items():
        axes.text(1.004, bottom + (rows[pitch] + 0.5) * row_height, name, transform=beside,
                  ha="left", va="center", fontsize=5, color=GREY)    # fmt: skip
    if not track.is_drum:
        axes.hlines([bottom + rows[pitch] * row_height for pitch in names], *axes.get_xlim(),
                    color="#e2e2e2", linewidth=0.5, zorder=0.5)    # fmt: skip
    low = bottom + np.array([rows[pitch] for pitch in pitches.tolist()]) * row_height
    note_height = max(0.84 * row_height, MIN_NOTE_HEIGHT)
    margin = min(0.02 * spec.steps_per_quarter, 0.2)    # keeps notes apart that follow at once
    onset_end = np.minimum(start + max(spec.steps_per_quarter / 6, 1), end)    # a fine step alone would be a hairline
    for right, shade in ((end, _lighter(color)), (onset_end, color)):
        corners = _boxes(start + margin, right - margin, low, low + note_height)
        axes.add_collection(PolyCollection(corners, facecolor=shade, linewidth=0, zorder=2))


def _pitch_rows(pitches: np.ndarray) -> tuple[dict[int, int], dict[int, str]]:
    """A row for each semitone between the outer pitches, and the names of the Cs."""
    low, high = pitches.min().item(), pitches.max().item()
    spare = max(MIN_PITCH_ROWS - (high - low + 1), 0)
    rows = {pitch: row for row, pitch in enumerate(range(low - spare // 2, high + 1 + (spare + 1) // 2))}
    return rows, {pitch: f"C{pitch // 12 - 1}" for pitch in rows if pitch % 12 == 0}


def _drum_rows(pitches: np.ndarray) -> tuple[dict[int, int], dict[int, str]]:
    """A row for each drum that sounds, and their names if they have room."""
    drums = np.unique(pitches).tolist()
    rows = {pitch: row for row, pitch in enumerate(drums)}
    rows |= {-row: row for row in range(len(drums), MIN_DRUM_ROWS)}    # left empty
    names = {pitch: DRUM_NAMES.get(pitch, str(pitch)) for pitch in drums}
    return rows, names if len(drums) <= MAX_NAMED_DRUMS else {}


def _boxes(left: np.ndarray, right: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Corners of boxes: [n, 4, 2]."""
    return np.stack([np.stack([x, y], -1) for x, y in ((left, low), (right, low), (right, high), (left, high))], 1)


def _lighter(color: str) -> tuple[float, float, float]:
    """The same hue, nearer to white."""
    hue, light, saturation = colorsys.rgb_to_hls(*matplotlib.colors.to_rgb(color))
    return colorsys.hls_to_rgb(hue, 0.45 * light + 0.55 * 0.97, saturation)
