"""The key of a phrase, and moving rolls between keys.

Source: Krumhansl 1990, key profiles: the key is the one whose profile correlates best with how long each
pitch class sounds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from musegan.roll import Roll, RollSpec

LOWEST_SHIFT, HIGHEST_SHIFT = -5, 6    # semitones, one for each of the twelve keys
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


def pitch_class_weights(frame: Tensor, spec: RollSpec) -> Tensor:
    """How long each pitch class sounds in each phrase, drums left out.

    Args:
        frame: [N, K, B, T, P] bool.
    Returns:
        [N, 12] int64 counts of cells; 0 is C.
    """
    pitched = [k for k, track in enumerate(spec.tracks) if not track.is_drum]
    per_pitch = frame[:, pitched].sum((1, 2, 3))    # [N, P]
    classes = (torch.arange(spec.n_pitches) + spec.lowest_pitch) % 12
    return torch.zeros(len(frame), 12, dtype=torch.int64).index_add_(1, classes, per_pitch)


def key_shifts(frame: Tensor, spec: RollSpec) -> Tensor:
    """How far above C major or A minor each phrase lies.

    Args:
        frame: [N, K, B, T, P] bool.
    Returns:
        [N] int64 semitones in [-5, 6]; 0 for a phrase without pitched notes.
    """
    return shifts_of_weights(pitch_class_weights(frame, spec))


def shifts_of_weights(weights: Tensor) -> Tensor:
    """`key_shifts` of phrases whose `pitch_class_weights` [N, 12] are known: [N] int64."""
    weights = weights.double()
    # Minor profiles are rotated so that row s of both is the key s semitones above C major / A minor.
    profiles = torch.tensor([_MAJOR, _MINOR], dtype=torch.float64)
    profiles = (profiles - profiles.mean(1, keepdim=True)) / profiles.std(1, keepdim=True)
    major = torch.stack([profiles[0].roll(s) for s in range(12)])    # [12, 12]
    minor = torch.stack([profiles[1].roll(s + 9) for s in range(12)])    # [12, 12]
    fit = torch.maximum(weights @ major.T, weights @ minor.T)    # [N, 12]
    # A diminished seventh fits four keys alike: rounded, or its place in the batch would decide by the last bits.
    shift = (fit / weights.sum(1, keepdim=True).clamp(min=1) * 1e9).round().argmax(1)
    shift = torch.where(shift > HIGHEST_SHIFT, shift - 12, shift)
    return torch.where(weights.sum(1) > 0, shift, 0)


def transpose(roll: Roll, semitones: Tensor, spec: RollSpec) -> Roll:
    """Moves each phrase's pitched tracks; drums never move, nothing wraps, time does not shift.

    Args:
        roll: planes [N, K, B, T, P].
        semitones: [N] int64, up where positive; what leaves the pitch range is cut.
    """
    return transpose_tracks(roll, semitones[:, None].expand(-1, spec.n_tracks), spec)


def transpose_tracks(roll: Roll, semitones: Tensor, spec: RollSpec) -> Roll:
    """`transpose` by a number of semitones for each track, [N, K] int64; drums never move."""
    is_drum = torch.tensor([track.is_drum for track in spec.tracks])
    shift = torch.where(is_drum, 0, semitones)    # [N, K]
    source = torch.arange(spec.n_pitches) - shift[..., None]    # [N, K, P]
    inside = (source >= 0) & (source < spec.n_pitches)
    index = source.clamp(0, spec.n_pitches - 1)[:, :, None, None]    # [N, K, 1, 1, P]
    inside = inside[:, :, None, None]
    return roll.map(lambda plane: plane.gather(-1, index.expand_as(plane)) & inside)
