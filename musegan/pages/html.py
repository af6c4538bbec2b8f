"""What the pages share: escaping, the document, tables, histograms and pictures of phrases.

Names are from strangers: whatever is no markup of the pages goes through `text`.
"""

from __future__ import annotations

import base64
import html
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from musegan.export.png import PALETTE, figure
from musegan.roll import Roll, RollSpec

MAX_LISTED = 5000    # rows of a list
GREY = PALETTE[0]
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_WIDTH, _HEIGHT, _TOP, _FOOT = 320, 112, 6, 18    # of a chart, in its own units
STYLE = """
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
figure { margin: 0; padding: 0.6rem 0.8rem; min-width: 0;
  display: flex; flex-direction: column; justify-content: space-between; }
figcaption { font-size: 0.9rem; font-weight: 600; }
figcaption small { display: block; } svg, .roll img { display: block; width: 100%; height: auto; margin-top: 0.3rem; }
svg text { fill: var(--soft); font-size: 10px; } svg line { stroke: var(--line); }
.roll { justify-content: flex-start; } .roll img { border-radius: 4px; }
.bars { padding: 0.4rem 0.8rem; margin: 0.4rem 0 0.9rem; }
.bars > div { display: grid; grid-template-columns: minmax(8rem, 2fr) 6.5rem minmax(3rem, 3fr);
  gap: 0 0.8rem; align-items: center;  padding: 0.15rem 0; font-size: 0.92rem; }
.bars b { text-align: right; font-weight: 600; font-variant-numeric: tabular-nums; }
.bars i { display: block; height: 0.7rem; border-radius: 3px; min-width: 1px; }
@media (max-width: 40rem) {
  .bars > div { grid-template-columns: 1fr auto; padding: 0.25rem 0; } .bars i { grid-column: 1 / 3; }
}
.scroll { max-height: 34rem; overflow: auto; border: 1px solid var(--line); border-radius: 8px; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: 0.88rem; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.8rem; border-bottom: 1px solid var(--line); }
details { margin: 0.6rem 0; } summary { cursor: pointer; font-weight: 600; padding: 0.3rem 0; }
"""


def document(title: str, parts: Iterable[str], style: str = "") -> str:
    """A whole page, which runs and loads nothing.

    Args:
        title: plain text.
        parts: HTML below the heading; empty ones are left out.
        style: CSS after `STYLE`.
    """
    head = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Should a name get past the escaping, a browser still runs and fetches nothing.
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>{text(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n<h1>{text(title)}</h1>",
    ]
    return "\n".join(part for part in [*head, *parts, "</body>\n</html>\n"] if part)


def text(value: object) -> str:
    """Text as HTML, without control and direction characters."""
    return html.escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value)))


def plural(number: int, noun: str) -> str:
    """E.g. `1 note` or `1,200 notes`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def share(part: float, whole: float) -> str:
    """In percent; `none` of nothing."""
    return f"{part / whole:.1%}" if whole else "none"


def cards(numbers: Mapping[str, str]) -> str:
    """Headline numbers by what they are."""
    found = "".join(f"<div><b>{text(number)}</b>{text(name)}</div>" for name, number in numbers.items())
    return f'<div class="cards">{found}</div>'


class Cell(NamedTuple):
    """A cell of a table."""

    text: str
    is_off: bool = False
    """Whether it stands out."""
    title: str = ""
    """Shown when it is pointed at."""


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str | Cell]],
    groups: Sequence[tuple[str, int]] = (),
    is_numbers: bool = False,
) -> str:
    """A table that scrolls where it has no room.

    Args:
        columns: heads.
        rows: as many cells each.
        groups: heads over so many columns each.
        is_numbers: all but the first column stand to the right.
    """
    head = "".join(f'<th colspan="{n}">{text(name)}</th>' for name, n in groups)
    heads = (f"<tr>{head}</tr>" if groups else "") + f"<tr>{''.join(f'<th>{text(column)}</th>' for column in columns)}</tr>"
    body = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f'<div class="scroll{" numbers" if is_numbers else ""}"><table><thead>{heads}</thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(cell: str | Cell) -> str:
    cell = cell if isinstance(cell, Cell) else Cell(cell)
    title = f' title="{text(cell.title)}"' if cell.title else ""
    off = ' class="off"' if cell.is_off else ""
    return f"<td{title}{off}>{text(cell.text)}</td>"


def listing(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], whole: str) -> str:
    """A table that unfolds; "" without rows.

    Args:
        whole: name of the file that has the rows beyond `MAX_LISTED`.
    """
    if not rows:
        return ""
    more = f"<p>and {len(rows) - MAX_LISTED:,} more: {text(whole)} lists them all</p>" if len(rows) > MAX_LISTED else ""
    return (
        f"<details><summary>{text(title)} ({len(rows):,})</summary>"
        f"{table(columns, rows[:MAX_LISTED])}{more}</details>"
    )


def phrase_figure(roll: Roll, spec: RollSpec, title: str, caption: str, label: str, first_bar: int = 1) -> str:
    """A phrase as a picture with a caption.

    Args:
        roll: planes [K, B, T, P] bool.
        caption: small, below the title.
        label: what the picture is of, for who cannot see it.
        first_bar: number below its first bar.
    """
    return (
        f'<figure class="roll"><figcaption>{text(title)}<small>{text(caption)}</small></figcaption>'
        f'<img alt="{text(label)}" src="data:image/png;base64,{png(roll, spec, first_bar)}"></figure>'
    )


def png(roll: Roll, spec: RollSpec, first_bar: int = 1) -> str:
    """A phrase [K, B, T, P] as a PNG in base64."""
    buffer = io.BytesIO()
    drawn = figure(roll, spec, bar_numbers=[range(first_bar, first_bar + roll.frame.shape[1])])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")    # names are in any script
        drawn.savefig(buffer, format="png", metadata={"Software": None})
    return base64.b64encode(buffer.getvalue()).decode()


def chart(
    title: str,
    counts: np.ndarray,
    names: Sequence[str],
    ticks: Mapping[int, str],
    noun: str,
    caption: str = "",
    color: str = GREY,
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
        caption = f"most: {names[top]}, {share(int(counts[top]), total)} of {plural(total, noun)}"
    wide, base = _WIDTH / len(counts), _HEIGHT - _FOOT
    drawn = []
    for i in np.flatnonzero(counts).tolist():
        tall = max((base - _TOP) * int(counts[i]) / int(counts.max()), 0.5)
        bar = 0.85 * wide + max(0.15 * wide - 3, 0)
        drawn.append(
            f'<rect x="{i * wide:.2f}" y="{base - tall:.2f}" width="{bar:.2f}" height="{tall:.2f}">'
            f"<title>{text(names[i])}: {text(plural(int(counts[i]), noun))}</title></rect>"
        )
    for i, tick in ticks.items():
        x = (i + (0.425 if centred else 0)) * wide
        anchor = "start" if x < 12 else "end" if x > _WIDTH - 16 else "middle"
        x = min(max(x, 0), _WIDTH)
        drawn.append(f'<line x1="{x:.2f}" y1="{base}" x2="{x:.2f}" y2="{base + 4}"/>')
        drawn.append(f'<text x="{x:.2f}" y="{_HEIGHT - 3}" text-anchor="{anchor}">{text(tick)}</text>')
    return (
        f"<figure><figcaption>{text(title)}<small>{text(caption)}</small></figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(title)}: {text(caption)}">'
        f'<line x1="0" y1="{base}" x2="{_WIDTH}" y2="{base}"/><g fill="{color}">{"".join(drawn)}</g></svg></figure>\n'
    )
