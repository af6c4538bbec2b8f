"""Notes of a roll, and the roll of notes; rolls as bool or packed planes.

A note starts where `onset` is True, and where `frame` is True but was False one step before (before the first
step of a phrase all is silent). It ends at the next start on its pitch or where `frame` falls.
"""

from __future__ import annotations

import torch
from torch import Tensor

from musegan.ops import _library
from musegan.ops.bits import MAX_PITCHES, pack_reference
from musegan.roll import Roll, check_shape

COLUMNS = ("sample", "track", "pitch_index", "start_step", "end_step")

_ONSET_RULE = "an onset must sound: onset is True where frame is False"
_NOTE_RULE = "a note must lie within the roll and last a step"


def notes(roll: Roll | Tensor, n_pitches: int | None = None) -> Tensor:
    """Lists the notes of a roll.

    Args:
        roll: planes [N, K, B, T, P] bool, or packed [N, K, B, T, ceil(P / 8)] uint8; or a frame plane alone,
            whose notes start where it rises. P is at most 128.
        n_pitches: P of packed planes, whose bits past it are ignored; for bool planes the last axis tells it.
    Returns:
        [n, 5] int64 on the device of the roll: sample, track, pitch_index (0 is the spec's lowest pitch),
        start_step, end_step. Steps count through the whole phrase (bar * T + step), half-open. Sorted by
        sample, track, start_step, pitch_index. [0, 5] for a silent or empty roll.
    Raises:
        ValueError: a plane does not have five axes; planes differ in shape; P is above 128, missing, or not that
            of the planes; an onset has no frame.
        TypeError: a plane is neither bool nor uint8, planes differ in dtype, or `n_pitches` is no integer.
    """
    frame, onset = roll if isinstance(roll, Roll) else (roll, None)
    n_pitches = _checked_pitches(frame, onset, n_pitches)
    try:
        return torch.ops.musegan.notes(frame, onset, n_pitches)
    except RuntimeError as err:
        if _ONSET_RULE in str(err):  # found on the way: to look for it first would cost more than the notes
            raise ValueError(_ONSET_RULE) from None
        raise


def roll_from_notes(
    notes: Tensor,
    n_samples: int,
    n_tracks: int,
    n_bars: int,
    steps_per_bar: int,
    n_pitches: int,
    packed: bool = False,
) -> Roll:
    """Draws notes into a roll: the inverse of `notes`.

    Notes may come in any order and more than once. Where two on one pitch overlap, the later one cuts the
    earlier, and the pitch sounds until the last of them ends.

    Args:
        notes: [n, 5] integers as `notes` gives them.
        n_samples, n_tracks, n_bars, steps_per_bar, n_pitches: the shape N, K, B, T, P of the roll; P is at most
            128.
        packed: gives bits instead of bools.
    Returns:
        Planes [N, K, B, T, P] bool, or packed [N, K, B, T, ceil(P / 8)] uint8, on the device of the notes.
    Raises:
        ValueError: not [n, 5], a note that does not fit the shape, one that ends before it lasts a step, or a
            shape that no roll has.
        TypeError: the notes are not integers.
    """
    if not isinstance(notes, Tensor):
        raise TypeError(f"notes must be a tensor: got {type(notes).__name__}")
    if notes.ndim != 2 or notes.shape[1] != len(COLUMNS):
        raise ValueError(f"notes: expected [n, 5], got {list(notes.shape)}")
    if notes.is_floating_point() or notes.is_complex() or notes.dtype == torch.bool:
        raise TypeError(f"notes must be integers: got {notes.dtype}")
    shape = [n_samples, n_tracks, n_bars, steps_per_bar, n_pitches]
    for name, size in zip(("n_samples", "n_tracks", "n_bars", "steps_per_bar", "n_pitches"), shape):
        if not isinstance(size, (int, torch.SymInt)):
            raise TypeError(f"{name} must be an integer: got {type(size).__name__}")
        if size < 0:
            raise ValueError(f"{name} must not be negative: got {size}")
    _check_pitches_fit(n_pitches)
    table = notes.long()
    try:
        return Roll(*torch.ops.musegan.roll_from_notes(table, shape, packed))
    except RuntimeError as err:
        if _NOTE_RULE in str(err):
            _explain(table, shape)
        raise


def _checked_pitches(frame: Tensor, onset: Tensor | None, n_pitches: int | None) -> int:
    """P of planes that `notes` can read; see there for what it raises."""
    for name, plane in (("frame", frame), ("onset", frame if onset is None else onset)):
        if not isinstance(plane, Tensor):
            raise TypeError(f"{name} must be a tensor: got {type(plane).__name__}")
        check_shape(name, plane)
        if plane.dtype not in (torch.bool, torch.uint8):
            raise TypeError(f"{name} must be bool, or uint8 of packed bits: got {plane.dtype}")
    if onset is not None and onset.dtype != frame.dtype:
        raise TypeError(f"planes must have one dtype: frame={frame.dtype}, onset={onset.dtype}")
    if onset is not None and onset.shape != frame.shape:
        raise ValueError(f"planes must have one shape: frame={list(frame.shape)}, onset={list(onset.shape)}")
    if n_pitches is None:
        if frame.dtype == torch.uint8:
            raise ValueError("n_pitches must be given for packed planes: got None")
        n_pitches = frame.shape[-1]
    elif not isinstance(n_pitches, (int, torch.SymInt)):
        raise TypeError(f"n_pitches must be an integer: got {type(n_pitches).__name__}")
    _check_pitches_fit(n_pitches)
    expected = n_pitches if frame.dtype == torch.bool else (n_pitches + 7) // 8
    if frame.shape[-1] != expected:
        shape = list(frame.shape)
        raise ValueError(f"frame: expected rows of {expected} for n_pitches={n_pitches}, got {shape}")
    return n_pitches


def _check_pitches_fit(n_pitches: int) -> None:
    if not 0 <= n_pitches <= MAX_PITCHES:
        raise ValueError(f"P must be at most {MAX_PITCHES}: got {n_pitches}")


def _explain(notes: Tensor, shape: list[int]) -> None:
    """Raises the ValueError that tells which column of some notes does not fit a roll."""
    n_samples, n_tracks, n_bars, steps_per_bar, n_pitches = shape
    n_steps = n_bars * steps_per_bar
    for name, column, size in zip(COLUMNS, notes.T, (n_samples, n_tracks, n_pitches, n_steps, n_steps + 1)):
        low, high = column.min().item(), column.max().item()
        if low < 0 or high >= size:
            raise ValueError(f"{name} must be 0 to {size - 1}: got {low} to {high}") from None
    raise ValueError("end_step must be after start_step") from None


def _unpacked(plane: Tensor, n_pitches: int) -> Tensor:
    """Cells of packed bits: [..., ceil(P / 8)] uint8 to [..., P] bool."""
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=plane.device)
    return ((plane.unsqueeze(-1) >> shifts) & 1).flatten(-2)[..., :n_pitches].bool()


def _notes_reference(frame: Tensor, onset: Tensor | None, n_pitches: int) -> Tensor:
    """`notes` in plain torch; refuses a silent onset with RuntimeError, as the native kernel does."""
    if frame.dtype == torch.uint8:
        frame = _unpacked(frame, n_pitches)
        onset = None if onset is None else _unpacked(onset, n_pitches)
    onset = torch.zeros_like(frame) if onset is None else onset
    if bool((onset & ~frame).any()):
        raise RuntimeError(_ONSET_RULE)
    n_tracks = frame.shape[1]
    # Time last, so that along the flattened memory each start is followed by its own end.
    frame, onset = (plane.flatten(2, 3).transpose(2, 3) for plane in (frame, onset))    # [N, K, P, B*T]
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


def _roll_from_notes_reference(notes: Tensor, shape: list[int], packed: bool) -> tuple[Tensor, Tensor]:
    """`roll_from_notes` in plain torch; refuses a note that does not fit with RuntimeError."""
    n_samples, n_tracks, n_bars, steps_per_bar, n_pitches = shape
    n_steps = n_bars * steps_per_bar
    sample, track, pitch_index, start_step, end_step = notes.T
    sizes = notes.new_tensor([n_samples, n_tracks, n_pitches, n_steps, n_steps + 1])
    if bool(((notes < 0) | (notes >= sizes)).any() | (end_step <= start_step).any()):
        raise RuntimeError(_NOTE_RULE)

    # +1 where a note starts and -1 where it ends; the running sum counts the notes that sound.
    changes = torch.zeros(n_samples, n_tracks, n_steps + 1, n_pitches, dtype=torch.int32, device=notes.device)
    one = changes.new_ones(())
    changes.index_put_((sample, track, start_step, pitch_index), one, accumulate=True)
    changes.index_put_((sample, track, end_step, pitch_index), -one, accumulate=True)
    frame = changes.cumsum(2)[:, :, :n_steps] > 0    # [N, K, B*T, P]
    onset = torch.zeros_like(frame)
    onset[sample, track, start_step, pitch_index] = True
    planes = (plane.unflatten(2, (n_bars, steps_per_bar)).contiguous() for plane in (frame, onset))
    return tuple(pack_reference(plane) if packed else plane for plane in planes)    # [N, K, B, T, P or bytes]


def _notes_fake(frame: Tensor, onset: Tensor | None, n_pitches: int) -> Tensor:
    n_notes = torch.library.get_ctx().new_dynamic_size()
    return frame.new_empty((n_notes, len(COLUMNS)), dtype=torch.int64)


def _roll_from_notes_fake(notes: Tensor, shape: list[int], packed: bool) -> tuple[Tensor, Tensor]:
    *outer, n_pitches = shape
    row, dtype = ((n_pitches + 7) // 8, torch.uint8) if packed else (n_pitches, torch.bool)
    return notes.new_empty((*outer, row), dtype=dtype), notes.new_empty((*outer, row), dtype=dtype)


_library.define(
    "notes(Tensor frame, Tensor? onset, SymInt n_pitches) -> Tensor", _notes_reference, _notes_fake
)
_library.define(
    "roll_from_notes(Tensor notes, SymInt[] shape, bool packed) -> (Tensor, Tensor)",
    _roll_from_notes_reference,
    _roll_from_notes_fake,
)
