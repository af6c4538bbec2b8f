"""What every exporter takes: one phrase, a roll without its batch axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

from torch import Tensor

from musegan.errors import UserError
from musegan.ops.notes import notes
from musegan.roll import Roll, RollSpec, check_roll

DEFAULT_VELOCITY = 90
MAX_TEMPO_BPM = 1000.0
MIN_TEMPO_BPM = 4.0    # MIDI holds at most 2^24 - 1 microseconds a quarter note: 3.58 a minute


def phrase_notes(roll: Roll, spec: RollSpec) -> Tensor:
    """Lists the notes of one phrase.

    Args:
        roll: planes [K, B, T, P] bool that fit `spec`.
    Returns:
        [n, 4] int64 on the CPU: track, MIDI pitch, start_step, end_step; sorted as `musegan.ops.notes.notes`.
    Raises:
        ValueError, TypeError: see `check_roll`.
    """
    for name, plane in zip(Roll._fields, roll):
        if plane.ndim != 4:
            raise ValueError(f"{name}: expected one phrase [K, B, T, P], got {list(plane.shape)}")
    batch = roll.map(lambda plane: plane.unsqueeze(0))    # [1, K, B, T, P]
    check_roll(batch, spec)
    found = notes(batch).cpu()[:, 1:]
    found[:, 1] += spec.lowest_pitch
    return found    # [n, 4]


def bar_tempos(tempo_bpm: float | Sequence[float], n_bars: int) -> list[float]:
    """The tempo of each bar, whether one is given for all or one for each.

    Raises:
        ValueError: another number of tempos than bars.
    """
    if isinstance(tempo_bpm, Real):
        return [float(tempo_bpm)] * n_bars
    if len(tempo_bpm) != n_bars:
        raise ValueError(f"tempo_bpm must be one number, or one for each of {n_bars} bars: got {len(tempo_bpm)}")
    return [float(bpm) for bpm in tempo_bpm]


def check_sound(tempo_bpm: float | Sequence[float], velocity: int = DEFAULT_VELOCITY) -> None:
    """Checks tempo or tempos, in quarter notes a minute, and velocity.

    Raises:
        UserError: a value that a MIDI file cannot hold, or that nobody can have meant.
    """
    for bpm in [tempo_bpm] if isinstance(tempo_bpm, Real) else tempo_bpm:
        if not math.isfinite(bpm) or not MIN_TEMPO_BPM <= bpm <= MAX_TEMPO_BPM:
            raise UserError(f"tempo_bpm must be {MIN_TEMPO_BPM:g} to {MAX_TEMPO_BPM:g}: got {bpm}")
    if not 1 <= velocity <= 127:
        raise UserError(f"velocity must be 1 to 127: got {velocity}")
