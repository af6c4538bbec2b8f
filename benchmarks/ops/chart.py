"""The chart of the kernels: speed-up over the rival by op, CPU level and reference, on a batch and one thread."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from musegan.files import atomic_write

# Ways that the chart shows, best first: label and colour.
WAYS = {
    "native@avx512": ("C++, AVX-512", "#1b4f8f"),
    "native@avx2": ("C++, AVX2", "#4a8fd0"),
    "native@generic": ("C++, generic", "#a9cdee"),
    "reference": ("reference, plain torch", "#d9822b"),
}
SIZE = "batch"
GREY = "#666666"
WIDTH_INCHES, CASE_INCHES, EDGE_INCHES = 8.3, 0.62, 1.0
BAR = 0.8    # of a case's lane, all its bars together


def write_chart(path: Path, lines: list[dict]) -> None:
    """Draws the speed-ups of results of `python -m benchmarks.ops` as a PNG.

    Args:
        lines: of the result file; those of the batch on the fewest threads are drawn.
    Raises:
        UserError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        figure(lines).savefig(temporary, format="png", metadata={"Software": None})


def figure(lines: list[dict]) -> Figure:
    """The chart as a matplotlib figure."""
    n_threads = min(line["threads"] for line in lines)
    cases: dict[str, dict[str, dict]] = {}
    for line in lines:
        if line["size"] == SIZE and line["threads"] == n_threads and line["way"] in WAYS:
            cases.setdefault(_label(line), {})[line["way"]] = line

    height = EDGE_INCHES + CASE_INCHES * len(cases)
    page = Figure(figsize=(WIDTH_INCHES, height), dpi=200, layout="constrained")
    FigureCanvasAgg(page)
    axes = page.add_subplot()
    shown = [way for way in WAYS if any(way in ways for ways in cases.values())]
    for i, ways in enumerate(cases.values()):
        _draw_case(axes, i, ways, shown)
    _draw_scale(axes, list(cases))
    for way in shown:
        axes.barh(0, 0, color=WAYS[way][1], label=WAYS[way][0])
    page.legend(loc="outside upper center", ncols=len(shown), frameon=False, fontsize=9)
    shape = next((" x ".join(map(str, line["shape"])) for line in lines if line["size"] == SIZE), "")
    axes.set_xlabel(
        f"times as fast as the way named below each op\n"
        f"{shape}, {n_threads} thread{'s' if n_threads > 1 else ''}, {lines[0]['cpu']}, "
        f"torch {lines[0]['versions']['torch']}",
        fontsize=8.5, color=GREY,
    )    # fmt: skip
    return page


def _label(line: dict) -> str:
    dtype = f", {line['dtype']}" if line["dtype"] in ("float16", "bfloat16") else ""
    return f"{line['op']}{dtype}\n{line['rival']}"


def _draw_case(axes: Axes, lane: int, ways: dict[str, dict], shown: list[str]) -> None:
    """Bars from 1, one below the other; the best native one is told in a number."""
    thickness = BAR / len(shown)
    for j, way in enumerate(shown):
        if way not in ways:
            continue
        speed_up = ways[way]["speed_up"]
        y = lane - BAR / 2 + (j + 0.5) * thickness
        axes.barh(y, speed_up - 1, thickness * 0.92, left=1, color=WAYS[way][1])
        axes.annotate(
            f"{speed_up:.2g}" if speed_up < 100 else f"{speed_up:.0f}",
            (speed_up, y), (3 if speed_up >= 1 else -3, 0), textcoords="offset points",
            va="center", ha="left" if speed_up >= 1 else "right", fontsize=6.5, color="#333333" if j == 0 else GREY,
        )    # fmt: skip


def _draw_scale(axes: Axes, labels: list[str]) -> None:
    axes.set_xscale("log")
    axes.margins(x=0.08)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(1, color="#333333", linewidth=0.8)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_yticks([])
    for lane, label in enumerate(labels):
        op, rival = label.split("\n")
        at = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right"}
        axes.annotate(op, (0, lane), (-6, 1), va="bottom", fontsize=9, **at)
        axes.annotate(rival, (0, lane), (-6, -1), va="top", fontsize=6.5, color=GREY, **at)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=8, colors=GREY)
