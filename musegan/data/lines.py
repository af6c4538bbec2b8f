"""One line of phrases of many tracks: of a pitched track, or of all of them, the highest of what sounds at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from musegan.errors import UserError
from musegan.ops import notes, roll_from_notes
from musegan.roll import Roll, RollSpec, Track

LEAD = "lead"


def pitched_tracks(spec: RollSpec, name: str) -> list[int]:
    """Indices of those that a line is taken from; see `line_spec`."""
    pitched = {k: track.name for k, track in enumerate(spec.tracks) if not track.is_drum}
    found = [k for k, each in pitched.items() if name in (each, LEAD)]
    if not found:
        names = dict.fromkeys([LEAD, *pitched.values()]) if pitched else ["none"]
        raise UserError(f"no pitched track named {name!r}; there are {', '.join(names)}")
    return found


def line_spec(spec: RollSpec, name: str) -> RollSpec:
    """The spec of a line of some music: one track.

    Args:
        name: a pitched track's, or `lead` for all of them together.
    Raises:
        UserError: there is no such track.
    """
    first, *_ = pitched_tracks(spec, name)
    return replace(spec, tracks=(Track(LEAD) if name == LEAD else spec.tracks[first],))


def skyline(table: np.ndarray) -> np.ndarray:
    """The highest line of notes: each that starts while nothing higher sounds, until the next of them starts.

    A lower note that goes on when a higher one ends does not come back: it would sound like a new one.

    Args:
        table: [n, 3] int64, pitch, start and end step, in any order.
    Returns:
        [m, 3] int64, in order and without overlap.
    """
    line: list[list[int]] = []
    for pitch, start, end in table[np.lexsort((-table[:, 2], -table[:, 0], table[:, 1]))].tolist():
        if line and line[-1][2] > start:
            if line[-1][0] > pitch or line[-1][1] == start:
                continue
            line[-1][2] = start
        line.append([pitch, start, end])
    return np.array(line, dtype=np.int64).reshape(-1, 3)


def lines_of(roll: Roll, spec: RollSpec, name: str) -> list[np.ndarray]:
    """The line of each of N phrases.

    Args:
        roll: planes [N, K, B, T, P] bool, or packed [N, K, B, T, ceil(P / 8)] uint8.
        spec, name: see `line_spec`.
    Returns:
        N tables [n, 3] int64: pitch index, start and end step, in order and without overlap.
    Raises:
        UserError: there is no such track.
    """
    chosen = pitched_tracks(spec, name)
    table = notes(roll.map(lambda plane: plane[:, chosen]), spec.n_pitches).numpy()
    phrases = np.split(table, np.searchsorted(table[:, 0], np.arange(len(roll.frame))))[1:]
    return [skyline(phrase[:, 2:]) for phrase in phrases]


def roll_of_lines(lines: Sequence[np.ndarray], n_bars: int, spec: RollSpec, packed: bool = False) -> Roll:
    """Lines as planes [N, 1, B, T, P] bool, or packed.

    Args:
        lines: N tables as of `lines_of`.
        n_bars: B.
        spec: of the line.
    """
    rows = [np.concatenate([np.tile([[i, 0]], (len(line), 1)), line], 1) for i, line in enumerate(lines)]    # [n, 5] each
    table = torch.from_numpy(np.concatenate([np.zeros((0, 5), np.int64), *rows]))
    return roll_from_notes(table, len(lines), 1, n_bars, spec.steps_per_bar, spec.n_pitches, packed)
