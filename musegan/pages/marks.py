"""Charts of an evaluation as inline SVG: numbers with their intervals, and two histograms over each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from musegan.evaluation.comparison import Estimate
from musegan.pages.bins import Bins
from musegan.pages.html import text

_WIDTH = 320    # of a chart, in its own units
_LABEL, _TEXT = 88, 48    # of it, for what stands on the left and on the right
WIDE_LABEL = 140    # on the left, for long names
_LANE, _AXIS = 20, 20    # height of a lane and of the axis
_LOG_FROM = 12    # times the smallest number that the largest must be for a logarithmic axis
_LETTER = 5.5    # width of a label's letters
_HISTOGRAM = (108, 6, 18)    # height, of which above and below the bars
STYLE = """
:root { --data: #aeb6bf; --gen: #1f63c6; --off: #c22f45; --naive: #8a6d3b; }
@media (prefers-color-scheme: dark) { :root { --data: #56606b; --gen: #79aefc; --off: #ff7d8c; --naive: #cdb27a; } }
svg .data { fill: var(--data); } svg line.middle { stroke: var(--soft); stroke-width: 1.5; }
svg .gen { fill: var(--gen); stroke: var(--gen); } svg .naive { fill: var(--naive); stroke: var(--naive); }
svg g.off * { fill: var(--off); stroke: var(--off); } svg .reach { stroke-width: 2; } svg text { stroke: none; }
svg text.strong { fill: var(--ink); font-weight: 600; } svg text.off { fill: var(--off); font-weight: 700; }
svg path.line { fill: none; stroke: var(--gen); stroke-width: 1.8; stroke-linejoin: round; }
svg path.line.off { stroke: var(--off); }
svg .hover { fill: transparent; }
"""
"""CSS of the charts."""


class Scale(NamedTuple):
    """An axis."""

    low: float
    high: float
    is_log: bool
    label: float = _LABEL
    """Room on the left of it."""

    def at(self, value: float) -> float:
        """Where a number lies, 0 to 1 from the lower to the upper end; beyond the ends at the ends."""
        low, high, value = (math.log(max(v, 1e-300)) if self.is_log else v for v in (self.low, self.high, value))
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def ticks(self) -> list[float]:
        """Two to six round numbers on it."""
        if self.is_log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for digits in ((1,), (1, 3), (1, 2, 5)):
                found = [v for d in decades for n in digits if self.low <= (v := n * 10.0**d) <= self.high]
                if len(found) >= 3:
                    break
            return found[:: 1 + len(found) // 7]
        rough = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def scale_of(values: Iterable[float], may_be_log: bool = False) -> Scale:
    """The axis that shows all of some numbers; those that are not finite do not count.

    Args:
        may_be_log: logarithmic where the numbers are positive and far apart.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if may_be_log and low > 0 and high > _LOG_FROM * low:
        return Scale(low / 1.15, high * 1.15, True)
    if low == high:
        half = abs(low) / 10 or 1.0
        return Scale(low - half, high + half, False)
    if 0 <= low < high / 2:
        return Scale(0.0, high + 0.03 * high, False)
    spare = 0.06 * (high - low)
    return Scale(low - spare, high + spare, False)


class Mark(NamedTuple):
    """A number in a lane."""

    kind: str
    """`data`: interval as a bar; `gen` or `naive`: a dot with its interval; `tick`: a stroke."""
    estimate: Estimate
    title: str
    """Shown when it is pointed at."""


class Lane(NamedTuple):
    """A line of a chart."""

    label: str
    marks: Sequence[Mark]
    text: str
    """On the right."""
    is_off: bool
    """Whether dots and text stand out."""
    is_strong: bool = False


def lanes_chart(
    title: str, caption: str, lanes: Sequence[Lane], scale: Scale, number: Callable[[float], str], band: Mark | None = None
) -> str:
    """Numbers with intervals, in lanes under each other, as a figure.

    Args:
        title, caption: plain text.
        number: text of a tick.
        band: an interval that goes through all lanes.
    """
    base = 4 + _LANE * len(lanes)
    drawn = [f'<line x1="{scale.label}" y1="{base}" x2="{_WIDTH - _TEXT}" y2="{base}"/>']
    drawn += [_band(band, scale, 2, base - 2)] if band is not None else []
    for tick in scale.ticks():
        x = _x(scale, tick)
        drawn.append(f'<line x1="{x:.2f}" y1="{base}" x2="{x:.2f}" y2="{base + 4}"/>')
        drawn.append(f'<text x="{x:.2f}" y="{base + 15}" text-anchor="middle">{text(number(tick))}</text>')
    for i, lane in enumerate(lanes):
        y = 4 + _LANE * (i + 0.5)
        drawn.append(_lane(lane, scale, y))
    return (
        f"<figure><figcaption>{text(title)}<small>{text(caption)}</small></figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {base + _AXIS}" role="img" aria-label="{text(title)}: {text(caption)}">'
        f"{''.join(drawn)}</svg></figure>\n"
    )


def _lane(lane: Lane, scale: Scale, y: float) -> str:
    drawn = [_mark(mark, scale, y, lane.is_off) for mark in lane.marks]
    most = int(scale.label / _LETTER)
    short = lane.label if len(lane.label) <= most else lane.label[: most - 1] + "…"
    strong = ' class="strong"' if lane.is_strong else ""
    off = ' class="off"' if lane.is_off else strong
    return (
        f'<text x="0" y="{y + 3.5:.2f}"{strong}>{text(short)}<title>{text(lane.label)}</title></text>{"".join(drawn)}'
        f'<text x="{_WIDTH}" y="{y + 3.5:.2f}" text-anchor="end"{off}>{text(lane.text)}</text>'
    )


def _mark(mark: Mark, scale: Scale, y: float, is_off: bool) -> str:
    value, low, high = mark.estimate
    if math.isnan(value):
        return ""
    if mark.kind == "data":
        return _band(mark, scale, y - 7, y + 7)
    x, title = _x(scale, value), f"<title>{text(mark.title)}</title>"
    if mark.kind == "tick":
        if not scale.low <= value <= scale.high:    # an arrow at the end that it lies beyond
            tip = 4 if value > scale.high else -4
            return f'<path class="naive" opacity="0.7" d="M{x:.2f} {y - 3:.2f}l{tip} 3l{-tip} 3z">{title}</path>'
        ends = f'x1="{x:.2f}" y1="{y - 6:.2f}" x2="{x:.2f}" y2="{y + 6:.2f}"'
        return f'<line class="naive" opacity="0.7" {ends}>{title}</line>'
    left, right = (_x(scale, value if math.isnan(end) else end) for end in (low, high))
    return (
        f'<g class="{"off" if is_off else mark.kind}">{title}'
        f'<line class="reach {mark.kind}" x1="{left:.2f}" y1="{y:.2f}" x2="{right:.2f}" y2="{y:.2f}"/>'
        f'<circle class="{mark.kind}" cx="{x:.2f}" cy="{y:.2f}" r="{3.6 if mark.kind == "gen" else 2.8}"/></g>'
    )


def _band(mark: Mark, scale: Scale, top: float, foot: float) -> str:
    """An interval as an area, with a stroke at its value."""
    value, low, high = mark.estimate
    if math.isnan(value):
        return ""
    left, right = (_x(scale, value if math.isnan(end) else end) for end in (low, high))
    x, wide = _x(scale, value), max(right - left, 1)
    return (
        f'<g><title>{text(mark.title)}</title>'
        f'<rect class="data" x="{left:.2f}" y="{top:.2f}" width="{wide:.2f}" height="{foot - top:.2f}"/>'
        f'<line class="middle" x1="{x:.2f}" y1="{top:.2f}" x2="{x:.2f}" y2="{foot:.2f}"/></g>'
    )


def _x(scale: Scale, value: float) -> float:
    left, right = scale.label + 5, _WIDTH - _TEXT - 5
    return left + (right - left) * scale.at(value)


def overlay_chart(
    title: str, caption: str, real: Sequence[float], generated: Sequence[float], bins: Bins, is_off: bool
) -> str:
    """Two histograms over each other, as a figure: the data's filled, the generated one as a line.

    Bins at both ends that neither has are left out.

    Args:
        title, caption: plain text.
        real, generated: shares, as many as there are bins, at least one above 0.
    """
    height, top, foot = _HISTOGRAM
    base = height - foot
    filled = [i for i, pair in enumerate(zip(real, generated)) if max(pair) > 0]
    first, last = filled[0], filled[-1] + 1
    wide, highest = _WIDTH / (last - first), max(*real, *generated)
    tops = [[base - (base - top) * share / highest for share in side[first:last]] for side in (real, generated)]
    bars = "".join(
        f"M{i * wide + 0.08 * wide:.2f} {base}V{y:.2f}h{0.84 * wide:.2f}V{base}z" for i, y in enumerate(tops[0]) if y < base
    )
    line = f"M0 {base}" + "".join(f"V{y:.2f}H{(i + 1) * wide:.2f}" for i, y in enumerate(tops[1])) + f"V{base}"
    hover = "".join(
        f'<rect class="hover" x="{(i - first) * wide:.2f}" y="0" width="{wide:.2f}" height="{base}">'
        f"<title>{text(bins.names[i])}: data {real[i]:.1%}, generated {generated[i]:.1%}</title></rect>"
        for i in range(first, last) if max(real[i], generated[i]) > 0
    )    # fmt: skip
    ticks = []
    for i, name in bins.ticks.items():
        if first <= i < last:
            x = (i - first + 0.5) * wide
            anchor = "start" if x < 10 else "end" if x > _WIDTH - 10 else "middle"
            x = 0 if anchor == "start" else _WIDTH if anchor == "end" else x
            ticks.append(f'<text x="{x:.2f}" y="{height - 4}" text-anchor="{anchor}">{text(name)}</text>')
    return (
        f"<figure><figcaption>{text(title)}<small>{text(caption)}</small></figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{text(title)}: {text(caption)}">'
        f'<line x1="0" y1="{base}" x2="{_WIDTH}" y2="{base}"/><path class="data" d="{bars}"/>'
        f'<path class="line{" off" if is_off else ""}" d="{line}"/>{"".join(ticks)}{hover}</svg></figure>\n'
    )
