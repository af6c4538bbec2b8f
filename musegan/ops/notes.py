"""Notes of a roll, and the roll of notes.

A note starts where `onset` is True, and where `frame` is True but was False one step before (before the first
step of a phrase all is silent). It ends at the next start on its pitch or where `frame` falls.
"""

from __future__ import annotations

import torch
from torch import Tensor

from musegan.ops import _library
from musegan.roll import Roll, check_roll

COLUMNS = ("sample", "track", "pitch_index", "start_step", "end_step")


def notes(roll: Roll) -> Tensor:
    """Lists the notes of a roll.

    Args:
        roll: planes [N, K, B, T, P] bool.
    Returns:
        [n, 5] int64 on the device of the roll: sample, track, pitch_index (0 is the spec's lowest pitch),
        start_step, end_step. Steps count through the whole phrase (bar * T + step), half-open. Sorted by
        sample, track, start_step, pitch_index. [0, 5] for a silent or empty roll.
    Raises:
        ValueError, TypeError: see `check_roll`.
    """
    check_roll(roll)
    _, n_tracks, _, _, n_pitches = roll.frame.shape
    # Time last, so that along the flattened memory each start is followed by its own end.
    frame, onset = roll.map(lambda plane: plane.flatten(2, 3).transpose(2, 3))    # [N, K, P, B*T]
    n_steps = frame.shape[-1]
    starts = onset.clone()
    starts[..., :1] |= frame[..., :1]
    starts[..., 1:] |= frame[..., 1:] & ~frame[..., :-1]
    last_steps = frame.clone()
    last_steps[..., :-1] &= starts[..., 1:] | ~frame[..., 1:]

    sample, track, pitch_index, start_step = starts.nonzero(as_tuple=True)
    end_step = last_steps.nonzero(as_tuple=True)[-1] + 1
    order = (((sample * n_tracks + track) * n_steps + start_step) * n_pitches + pitch_index).argsort()
    return torch.stack([sample, track, pitch_index, start_step, end_step], dim=1)[order]    # [n, 5]


def roll_from_notes(
    notes: Tensor, n_samples: int, n_tracks: int, n_bars: int, steps_per_bar: int, n_pitches: int
) -> Roll:
    """Draws notes into a roll: the inverse of `notes`.

    Notes may come in any order. Where two on one pitch overlap, the later one cuts the earlier.

    Args:
        notes: [n, 5] integers as `notes` gives them.
        n_samples, n_tracks, n_bars, steps_per_bar, n_pitches: the shape N, K, B, T, P of the roll.
    Returns:
        Planes [N, K, B, T, P] bool on the device of the notes.
    Raises:
        ValueError: not [n, 5], a note that does not fit the shape, or one that ends before it lasts a step.
        TypeError: the notes are not integers.
    """
    n_steps = n_bars * steps_per_bar
    if notes.ndim != 2 or notes.shape[1] != len(COLUMNS):
        raise ValueError(f"notes: expected [n, 5], got {list(notes.shape)}")
    if notes.is_floating_point() or notes.is_complex() or notes.dtype == torch.bool:
        raise TypeError(f"notes must be integers: got {notes.dtype}")
    for name, column, size in zip(COLUMNS, notes.T, (n_samples, n_tracks, n_pitches, n_steps, n_steps + 1)):
        if bool(((column < 0) | (column >= size)).any()):
            raise ValueError(f"{name} must be 0 to {size - 1}: got {column.min()} to {column.max()}")
    sample, track, pitch_index, start_step, end_step = notes.long().T
    if bool((end_step <= start_step).any()):
        raise ValueError("end_step must be after start_step")

    # +1 where a note starts and -1 where it ends; the running sum counts the notes that sound.
    changes = torch.zeros(n_samples, n_tracks, n_steps + 1, n_pitches, dtype=torch.int32, device=notes.device)
    one = changes.new_ones(())
    changes.index_put_((sample, track, start_step, pitch_index), one, accumulate=True)
    changes.index_put_((sample, track, end_step, pitch_index), -one, accumulate=True)
    frame = changes.cumsum(2)[:, :, :n_steps] > 0    # [N, K, B*T, P]
    onset = torch.zeros_like(frame)
    onset[sample, track, start_step, pitch_index] = True
    return Roll(frame, onset).map(lambda plane: plane.unflatten(2, (n_bars, steps_per_bar)))


def _notes_reference(frame: Tensor, onset: Tensor | None, n_pitches: int) -> Tensor:
    if frame.dtype == torch.uint8:
        frame = torch.ops.musegan.unpack(frame, n_pitches, False)
        onset = None if onset is None else torch.ops.musegan.unpack(onset, n_pitches, False)
    if onset is not None and bool((onset & ~frame).any()):
        raise RuntimeError("an onset must sound: onset is True where frame is False")
    return notes(Roll(frame, torch.zeros_like(frame) if onset is None else onset))


def _draw_reference(notes: Tensor, shape, packed: bool):
    roll = roll_from_notes(notes, *shape)
    planes = roll.frame.contiguous(), roll.onset.contiguous()
    return tuple(torch.ops.musegan.pack(plane) for plane in planes) if packed else planes


def _notes_fake(frame, onset, n_pitches):
    n = torch.library.get_ctx().new_dynamic_size()
    return frame.new_empty([n, 5], dtype=torch.int64)


def _draw_fake(notes, shape, packed):
    shape = [*shape[:-1], (shape[-1] + 7) // 8] if packed else shape
    return tuple(notes.new_empty(shape, dtype=torch.uint8 if packed else torch.bool) for _ in range(2))


_library.define("notes(Tensor frame, Tensor? onset, SymInt n_pitches) -> Tensor", _notes_reference, _notes_fake)
_library.define("roll_from_notes(Tensor notes, SymInt[] shape, bool packed) -> (Tensor, Tensor)", _draw_reference, _draw_fake)
