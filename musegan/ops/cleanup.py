"""Makes generated rolls playable: `cleanup` closes short gaps, limits polyphony and drops short notes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from musegan.ops import _library
from musegan.ops.binarize import DTYPES
from musegan.ops.bits import MAX_PITCHES
from musegan.roll import Roll, check_shape


def cleanup(
    roll: Roll | Tensor,
    logits: Tensor | None = None,
    *,
    min_steps: int | Sequence[int] = 1,
    max_gap_steps: int | Sequence[int] = 0,
    max_pitches: int | None | Sequence[int | None] = None,
) -> Roll | Tensor:
    """Closes short gaps, limits how many pitches sound at once, and drops short notes.

    Each phrase and track by itself, along time through its bars, in this order:

    0. A note starts where `onset` and `frame` are True, and where `frame` rises (before the first step all is
       silent).
    1. A gap of at most `max_gap_steps` between two notes on one pitch is filled: they become one note, and what
       followed the gap starts no more. The silence before the first and after the last note of a pitch stays.
    2. Of the cells that sound in one step, the `max_pitches` with the largest logits stay; of equal logits the
       lower pitch, and NaN counts as -infinity. What sounds after a cell that fell silent starts there.
    3. Notes shorter than `min_steps` fall silent. A note lasts until the next start on its pitch or until
       `frame` falls.

    The result has no note shorter than `min_steps` and no step with more than `max_pitches`. It may have gaps of
    `max_gap_steps` and less, which 2 and 3 leave, so that a second cleanup can change it again; with
    `max_gap_steps` = 0 a second one changes nothing.

    Args:
        roll: planes [N, K, B, T, P] bool, or a frame plane alone; P is at most 128. Onsets outside frame are
            ignored.
        logits: [N, K, B, T, P] float32, float64, float16 or bfloat16, what the roll was made of.
        min_steps: shortest note that stays, from 1.
        max_gap_steps: longest gap that is closed, from 0.
        max_pitches: how many may sound at once, from 0; None for any number. This and the other limits are one
            for all, or K, one for each track.
    Returns:
        What was given, changed: a roll, with an onset at every start, or a frame plane. Contiguous.
    Raises:
        ValueError: shapes differ, lack an axis or have P above 128; a limit is out of range or not one of K;
            `max_pitches` below P comes without logits.
        TypeError: a plane is not bool, logits are not of these dtypes, or a limit is not an integer.
    """
    frame, onset = roll if isinstance(roll, Roll) else (roll, None)
    _check_planes(frame, onset, logits)
    n_tracks, n_pitches = frame.shape[1], frame.shape[-1]
    pitches = _per_track("max_pitches", max_pitches, n_tracks, 0, or_none=True)
    if logits is None and any(limit < n_pitches for limit in pitches):
        raise ValueError(f"max_pitches needs logits to choose by: got max_pitches={max_pitches} without")
    limits = zip(
        _per_track("min_steps", min_steps, n_tracks, 1),
        _per_track("max_gap_steps", max_gap_steps, n_tracks, 0),
        pitches,
    )
    table = torch.tensor(list(limits), dtype=torch.int64, device=frame.device).reshape(n_tracks, 3)
    frame_left, starts = torch.ops.musegan.cleanup(frame, onset, logits, table)
    return frame_left if onset is None else Roll(frame_left, starts)


def _check_planes(frame: Tensor, onset: Tensor | None, logits: Tensor | None) -> None:
    for name, plane in (("frame", frame), ("onset", onset), ("logits", logits)):
        if plane is None and name != "frame":
            continue
        if not isinstance(plane, Tensor):
            raise TypeError(f"{name} must be a tensor: got {type(plane).__name__}")
        if name == "logits" and plane.dtype not in DTYPES:
            raise TypeError(f"logits must be float32, float64, float16 or bfloat16: got {plane.dtype}")
        if name != "logits" and plane.dtype != torch.bool:
            raise TypeError(f"{name} must be bool: got {plane.dtype}")
        check_shape(name, plane)
        if plane.shape != frame.shape:
            shape, got = list(frame.shape), list(plane.shape)
            raise ValueError(f"{name} must have the shape of frame, {shape}: got {got}")
        if plane.device != frame.device:
            raise ValueError(f"{name} must be on the device of frame, {frame.device}: got {plane.device}")
    if frame.shape[-1] > MAX_PITCHES:
        raise ValueError(f"P must be at most {MAX_PITCHES}: got {frame.shape[-1]}")


def _per_track(name: str, limit, n_tracks: int, least: int, or_none: bool = False) -> list[int]:
    """One limit for each track; None becomes MAX_PITCHES, which limits nothing."""
    if isinstance(limit, Sequence) and not isinstance(limit, str):
        limits = list(limit)
        if len(limits) != n_tracks:
            raise ValueError(f"{name} must have one entry for each of {n_tracks} tracks: got {len(limits)}")
    else:
        limits = [limit] * n_tracks
    for i, value in enumerate(limits):
        if value is None and or_none:
            limits[i] = MAX_PITCHES
        elif not isinstance(value, int):
            rule = "an integer or None" if or_none else "an integer"
            raise TypeError(f"{name} must be {rule}: got {type(value).__name__}")
        elif not least <= value < 2**63:
            raise ValueError(f"{name} must be at least {least}, and below 2^63: got {value}")
    return limits


def _cleanup_reference(
    frame: Tensor, onset: Tensor | None, logits: Tensor | None, limits: Tensor
) -> tuple[Tensor, Tensor]:
    """`cleanup` in plain torch.

    Args:
        limits: [K, 3] int64: min_steps, max_gap_steps, max_pitches.
    Returns:
        The frame plane, and the onset plane: bool [0] where none was given.
    """
    shape = frame.shape
    if frame.numel() == 0:
        return frame.new_empty(shape), frame.new_empty(0 if onset is None else shape)
    sounds = frame.flatten(2, 3)    # [N, K, S, P], S = B T steps
    n_steps = sounds.shape[2]
    # No note and no gap is longer than all steps; int32 holds them.
    limits = limits.clamp(max=n_steps + MAX_PITCHES).int()
    min_steps, max_gap_steps, max_pitches = limits.T[..., None, None]    # [K, 1, 1] each
    starts = sounds & ~_later(sounds)
    if onset is not None:
        starts |= sounds & onset.flatten(2, 3)

    step = torch.arange(n_steps, dtype=torch.int32, device=frame.device)[:, None]    # [S, 1]
    if bool((max_gap_steps > 0).any()):
        previous, following = _last_where(sounds, step), _next_where(sounds, step)
        gap = following - previous - 1
        filled = ~sounds & (previous >= 0) & (following < n_steps) & (gap <= max_gap_steps)
        starts &= ~_later(filled)
        sounds = sounds | filled

    if logits is not None:
        sounds = _strongest(sounds, logits.flatten(2, 3), max_pitches)
        starts = (starts & sounds) | (sounds & ~_later(sounds))

    if bool((min_steps > 1).any()):
        start = _last_where(starts, step)
        goes_on = sounds & ~starts
        end = _next_where(~goes_on, step)    # of a cell that goes on; a start ends where the cell after it does
        end = torch.where(starts, torch.nn.functional.pad(end, (0, 0, 0, 1), value=n_steps)[:, :, 1:], end)
        sounds = sounds & (end - start >= min_steps)
        starts &= sounds
    starts = starts.reshape(shape).contiguous() if onset is not None else frame.new_empty(0)
    return sounds.reshape(shape).contiguous(), starts


def _later(plane: Tensor) -> Tensor:
    """A plane [N, K, S, P] one step later."""
    return torch.nn.functional.pad(plane, (0, 0, 1, -1))


def _last_where(plane: Tensor, step: Tensor) -> Tensor:
    """The last step up to each at which a plane [N, K, S, P] is True, -1 where there is none; int32."""
    return torch.where(plane, step, -1).cummax(2).values


def _next_where(plane: Tensor, step: Tensor) -> Tensor:
    """The next step from each on at which a plane [N, K, S, P] is True, S where there is none; int32."""
    return torch.where(plane, step, len(step)).flip(2).cummin(2).values.flip(2)


def _strongest(sounds: Tensor, logits: Tensor, max_pitches: Tensor) -> Tensor:
    """The plane [N, K, S, P] with at most `max_pitches` [K, 1, 1] in each step."""
    too_many = sounds.sum(-1, keepdim=True) > max_pitches    # [N, K, S, 1]
    rows = too_many.squeeze(-1)
    some, value = sounds[rows], logits[rows]    # [rows, P]
    value = torch.where(value.isnan(), -torch.inf, value)
    order = value.sort(dim=-1, descending=True, stable=True).indices
    ranked = some.gather(-1, order)
    ranked &= ranked.cumsum(-1) <= max_pitches.expand(too_many.shape)[rows]
    result = sounds.clone()
    result[rows] = torch.zeros_like(some).scatter_(-1, order, ranked)
    return result


def _cleanup_fake(
    frame: Tensor, onset: Tensor | None, logits: Tensor | None, limits: Tensor
) -> tuple[Tensor, Tensor]:
    shape = list(frame.shape)
    return frame.new_empty(shape), frame.new_empty([0] if onset is None else shape)


_library.define(
    "cleanup(Tensor frame, Tensor? onset, Tensor? logits, Tensor limits) -> (Tensor, Tensor)",
    _cleanup_reference,
    _cleanup_fake,
)
