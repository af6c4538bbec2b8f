"""What music does over time: bars that come back, and what happens at the bar line.

Each function takes `Music` and returns a `Tally` with a column for each of the K tracks.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from musegan.metrics.music import Music, Tally

LAGS = (1, 2, 4, 8)    # bars


def self_similarity(music: Music, lag: int) -> Tally:
    """How alike bars are that lie `lag` bars apart, in [0, 1]: shared note starts over all their note starts (Jaccard).

    Over the pairs of bars in which one at least has a note start; NaN where a phrase has no two bars so far apart.
    """
    similarity, counts = bar_similarity(music, lag)
    return Tally((similarity * counts).sum(2), counts.sum(2).float())


def bar_similarity(music: Music, lag: int) -> tuple[Tensor, Tensor]:
    """The similarity of each pair of bars and whether it counts: [N, K, B - lag] float32 and bool."""
    bits = music.start_bits
    cells = bits.reshape(*bits.shape[:3], bits.shape[3] * bits.shape[4])    # [N, K, B, bytes]
    here, there = cells[:, :, : max(music.n_bars - lag, 0)], cells[:, :, lag:]
    both, either = (_ones(pair) for pair in (here & there, here | there))
    return both / either.clamp(min=1), either > 0


def groove_consistency(music: Music) -> Tally:
    """How alike the rhythms of neighbouring bars are, in [0, 1]: share of steps at which both have or have not a start.

    Over the pairs of bars in which one at least has a note start.

    Source: Wu and Yang 2020, grooving pattern similarity; muspy's `groove_consistency` counts silent pairs too.
    """
    steps = music.starts > 0    # [N, K, B, T]
    here, there = steps[:, :, :-1], steps[:, :, 1:]
    counts = (here | there).any(3)
    same = (here == there).float().mean(3)
    return Tally((same * counts).sum(2), counts.sum(2).float())


def held_over_rate(music: Music) -> Tally:
    """Share of the bar lines across which a note is held, of those with sound in the bars on both sides, in [0, 1].

    Not of drums.
    """
    note, bar, _ = music.spans(music.steps_per_bar)
    entered = music.start[note] < bar * music.steps_per_bar
    index = (music.voice[note] * music.n_bars + bar)[entered]
    held = music.counts(index, music.n_bars)[:, :, 1:] > 0    # [N, K, B - 1]
    both = music.sounds[:, :, :-1] & music.sounds[:, :, 1:] & ~music.is_drum[:, None]
    return Tally((held & both).sum(2).float(), both.sum(2).float())


def leap_at_bar_lines(music: Music, shuffled: bool = False) -> Tally:
    """Semitones from the last skyline note that starts in a bar to the first that starts in the next one. Not of drums.

    A mean over bar lines with such notes on both sides. Beside `leap_within_bars`, and beside what it would be were the bars
    in other orders, it tells whether bars go on from each other or were made apart.

    Args:
        shuffled: from each bar to every other one but itself and the next: what chance gives.
    """
    first, last = (_edge_pitches(music, edge) for edge in ("first", "last"))    # [N, K, B]
    leaps = (first[:, :, None] - last[..., None]).abs()    # [N, K, from bar, to bar]
    counts = (first[:, :, None] > 0) & (last[..., None] > 0) & ~music.is_drum[:, None, None]
    bars = torch.arange(music.n_bars)
    step = bars - bars[:, None]
    counts = counts & ((step != 0) & (step != 1) if shuffled else step == 1)
    return Tally((leaps * counts).sum((2, 3)), counts.sum((2, 3)).float())


def leap_within_bars(music: Music) -> Tally:
    """Semitones between skyline notes that follow each other within a bar; a mean over such steps. Not of drums."""
    first, second = music.steps_of_melody
    bar = music.start // music.steps_per_bar
    same = bar[first] == bar[second]
    voice = music.voice[first[same]]
    semitones = (music.pitch[second] - music.pitch[first]).abs()[same].double()
    return Tally(music.counts(voice, weights=semitones), music.counts(voice))


def _edge_pitches(music: Music, edge: str) -> Tensor:
    """1 + MIDI pitch of the first or last skyline note that starts in each bar, 0 where none does: [N, K, B] float32."""
    notes = music.top_notes
    place = music.voice[notes] * music.n_bars + music.start[notes] // music.steps_per_bar    # ascending
    differs = place[1:] != place[:-1]
    one = differs.new_ones(min(len(place), 1))
    chosen = torch.cat([one, differs] if edge == "first" else [differs, one])
    return music.counts(place[chosen], music.n_bars, weights=(1 + music.pitch[notes[chosen]]).double())


def _ones(cells: np.ndarray) -> Tensor:
    """Bits that are set in the last axis: [...] float32."""
    return torch.from_numpy(np.bitwise_count(cells).sum(-1, dtype=np.int32)).float()
