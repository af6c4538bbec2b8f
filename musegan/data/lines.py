"""One line of phrases of many tracks: of a pitched track, or of all of them, the highest of what sounds at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from musegan.data.sequences import LEAD, skyline
from musegan.errors import UserError
from musegan.ops import notes, roll_from_notes
from musegan.roll import Roll, RollSpec, Track


def line_spec(spec: RollSpec, name: str) -> RollSpec:
    """The spec of a line of some music: one track.

    Args:
        name: a pitched track's, or `lead` for all of them together.
    Raises:
        UserError: there is no such track.
    """
    first, *_ = _tracks(spec, name)
    return replace(spec, tracks=(Track(LEAD) if name == LEAD else spec.tracks[first],))


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
    chosen = _tracks(spec, name)
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


def _tracks(spec: RollSpec, name: str) -> list[int]:
    """Indices of those that a line is taken from."""
    pitched = {k: track.name for k, track in enumerate(spec.tracks) if not track.is_drum}
    found = [k for k, each in pitched.items() if name in (each, LEAD)]
    if not found:
        names = dict.fromkeys([LEAD, *pitched.values()]) if pitched else ["none"]
        raise UserError(f"no pitched track named {name!r}; there are {', '.join(names)}")
    return found
