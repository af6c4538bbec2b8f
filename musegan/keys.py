"""The key of a phrase, and moving rolls between keys.

Source: Krumhansl 1990, key profiles: the key is the one whose profile correlates best with how long each
pitch class sounds.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import torch
from torch import Tensor

from musegan.errors import UserError
from musegan.roll import Roll, RollSpec

LOWEST_SHIFT, HIGHEST_SHIFT = -5, 6    # semitones, one for each of the twelve keys
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
SCALE = (0, 2, 4, 5, 7, 9, 11)
"""Pitch classes of C major, and of A natural minor."""
_NATURALS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"#": 1, "♯": 1, "b": -1, "♭": -1}
_NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")    # of major keys with the fewest accidentals
_MINOR_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")


class Key(NamedTuple):
    """A major or minor key."""

    tonic: int
    """Pitch class, 0 is C."""
    is_minor: bool

    @classmethod
    def parse(cls, text: str) -> Key:
        """Reads "A minor", "C major", "F#m", "Bb": major where no mode is said.

        Raises:
            UserError: not such a name.
        """
        found = re.fullmatch(r"([A-Ga-g])([#♯b♭]{0,2})[ -]*(m|min|minor|M|maj|major|)", text.strip())
        if not found:
            raise UserError(f'no key {text!r}: write one as "A minor", "C major", "F#m" or "Bb"')
        letter, accidentals, mode = found.groups()
        tonic = _NATURALS[letter.upper()] + sum(_ACCIDENTALS[sign] for sign in accidentals)
        return cls(tonic % 12, mode in ("m", "min", "minor"))

    @property
    def shift(self) -> int:
        """Semitones above A minor, or C major, in [-5, 6]."""
        return int(nearest_shift(torch.tensor(self.tonic - (9 if self.is_minor else 0))))


def name_of_shift(shift: int) -> str:
    """The two keys that lie `shift` semitones above C major and A minor: 2 is "D major / B minor"."""
    return f"{_NAMES[shift % 12]} major / {_MINOR_NAMES[(shift + 9) % 12]} minor"


def nearest_shift(semitones: Tensor) -> Tensor:
    """The shortest way, in [-5, 6], to the pitch classes that lie `semitones` away."""
    return (semitones - LOWEST_SHIFT) % 12 + LOWEST_SHIFT


def in_scale(roll: Roll, shifts: Tensor, spec: RollSpec) -> Roll:
    """Leaves out the notes of pitched tracks that are not in the scale of a key: C major, or A natural minor, moved.

    Args:
        roll: planes [N, K, B, T, P].
        shifts: [N] int64, semitones by which each phrase's key lies above C major / A minor.
    """
    classes = (torch.arange(spec.n_pitches) + spec.lowest_pitch - shifts[:, None]) % 12    # [N, P]
    kept = torch.isin(classes, torch.tensor(SCALE))[:, None]    # [N, 1, P]
    is_drum = torch.tensor([track.is_drum for track in spec.tracks])
    kept = (kept | is_drum[:, None])[:, :, None, None]    # [N, K, 1, 1, P]
    return roll.map(lambda plane: plane & kept)


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


def median_pitches(weights: Tensor, spec: RollSpec) -> Tensor:
    """The MIDI pitch above and below which a track sounds equally long.

    Args:
        weights: [..., K, P] how long each pitch sounds.
    Returns:
        [..., K] int64; 0 for drums, and where nothing sounds.
    """
    below = weights.cumsum(-1)
    total = below[..., -1:]
    median = (2 * below < total).sum(-1) + spec.lowest_pitch    # [..., K]
    is_drum = torch.tensor([track.is_drum for track in spec.tracks])
    return torch.where((total.squeeze(-1) > 0) & ~is_drum, median, 0)
