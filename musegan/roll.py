"""The vocabulary of piano-rolls: axes, tracks, RollSpec and Roll.

Axes, everywhere in this package:

| letter | axis |
|---|---|
| N | batch |
| K | tracks |
| B | bars |
| T | time steps in a bar |
| P | pitches, from `lowest_pitch` up |
| Z | latent |
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple

import torch
from torch import Tensor

from musegan.errors import UserError

N_MIDI_PITCHES = 128
AXES = "NKBTP"
MAX_STEPS_PER_BAR = 1 << 12    # 1,024 in a beat of 4/4: two hours of five tracks take 2 GB then


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


@dataclass(frozen=True)
class Track:
    """One instrument of a roll."""

    name: str
    """Name that MIDI files, pictures and tables show."""
    program: int = 0
    """General MIDI program, 0 to 127; without meaning for drums."""
    is_drum: bool = False
    """True for the percussion channel: never transposed, onsets only."""

    def __post_init__(self):
        if not isinstance(self.name, str):
            raise UserError(f"a track's name must be text: got {self.name!r}")
        if not _is_whole(self.program) or not 0 <= self.program < 128:
            raise UserError(f"program must be 0 to 127: got {self.program} for track {self.name!r}")
        if not isinstance(self.is_drum, bool):
            raise UserError(f"is_drum must be true or false: got {self.is_drum!r} for track {self.name!r}")


@dataclass(frozen=True)
class RollSpec:
    """What the numbers of a roll mean; travels with every data set, checkpoint and export."""

    tracks: tuple[Track, ...]
    """The K tracks, in order; each may be given as a dictionary."""
    steps_per_beat: int = 4
    """Time steps in a beat: in a quarter note, unless `beat_unit` says otherwise."""
    beats_per_bar: int = 4
    """Beats in a bar; the time signature is beats_per_bar/beat_unit."""
    lowest_pitch: int = 24
    """MIDI pitch of the first of the P pitches."""
    n_pitches: int = 84
    """Number of pitches P."""
    beat_unit: int = 4
    """The note that is a beat, 4 a quarter, 8 an eighth: a power of two from 1 to 32. Tempo counts quarter notes
    in every metre."""

    def __post_init__(self):
        tracks = (track if isinstance(track, Track) else Track(**track) for track in self.tracks)
        object.__setattr__(self, "tracks", tuple(tracks))
        if not self.tracks:
            raise UserError("tracks must not be empty")
        names = [track.name for track in self.tracks]
        if len(set(names)) < len(names):
            raise UserError(f"track names must differ: got {names}")
        for name in ("steps_per_beat", "beats_per_bar", "lowest_pitch", "n_pitches", "beat_unit"):
            if not _is_whole(getattr(self, name)):
                raise UserError(f"{name} must be a whole number: got {getattr(self, name)!r}")
        for name in ("steps_per_beat", "beats_per_bar", "n_pitches"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1: got {getattr(self, name)}")
        if self.steps_per_bar > MAX_STEPS_PER_BAR:
            raise UserError(
                f"a bar may have {MAX_STEPS_PER_BAR:,} steps: "
                f"steps_per_beat={self.steps_per_beat}, beats_per_bar={self.beats_per_bar}"
            )
        if self.beat_unit not in (1, 2, 4, 8, 16, 32):
            raise UserError(f"beat_unit must be a power of two from 1 to 32: got {self.beat_unit}")
        if self.steps_per_beat * self.beat_unit % 4:
            raise UserError(
                f"steps_per_quarter = steps_per_beat * beat_unit / 4 must be a whole number: "
                f"steps_per_beat={self.steps_per_beat}, beat_unit={self.beat_unit}"
            )
        if not 0 <= self.lowest_pitch <= N_MIDI_PITCHES - self.n_pitches:
            raise UserError(
                f"lowest_pitch and n_pitches must stay within MIDI's 0 to 127: "
                f"lowest_pitch={self.lowest_pitch}, n_pitches={self.n_pitches}"
            )

    @property
    def n_tracks(self) -> int:
        """K."""
        return len(self.tracks)

    @property
    def steps_per_bar(self) -> int:
        """T."""
        return self.steps_per_beat * self.beats_per_bar

    @property
    def steps_per_quarter(self) -> int:
        """Time steps in a quarter note."""
        return self.steps_per_beat * self.beat_unit // 4

    @property
    def quarters_per_bar(self) -> float:
        """Quarter notes in a bar, exact: 3.0 for both 3/4 and 6/8, 3.5 for 7/8."""
        return self.beats_per_bar * 4 / self.beat_unit

    @property
    def multitrack_resolution(self) -> int:
        """Fine steps in a quarter note of a `pypianoroll.Multitrack` of such rolls (4 -> 28, 12 -> 36, 24 -> 72).

        `steps_per_quarter` times the smallest odd number from 3 that makes at least 24: fine enough for a gap of one
        fine step between a note and its next strike, and odd, so that rounding to fine steps and then to steps is
        the same as rounding once: no fine step lies half-way between two steps.
        """
        fine_steps = 3
        while self.steps_per_quarter * fine_steps < 24:
            fine_steps += 2
        return self.steps_per_quarter * fine_steps

    def to_json(self) -> str:
        """The spec as one line of JSON; `from_json` is the inverse."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> RollSpec:
        """Reads what `to_json` wrote.

        Raises:
            UserError: not JSON, an unknown or missing key, or a value out of range.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, json.JSONDecodeError) as err:
            raise UserError(f"not a RollSpec: {err} in {text[:200]!r}") from err


PRESETS: dict[str, tuple[Track, ...]] = {
    # The five tracks of the Lakh Pianoroll Dataset, LPD-5 (Dong et al. 2018).
    "lpd5": (
        Track("drums", is_drum=True),
        Track("piano", program=0),
        Track("guitar", program=25),
        Track("bass", program=33),
        Track("strings", program=48),
    ),
    # Four voices, as in the Bach chorales.
    "satb": (
        Track("soprano", program=52),
        Track("alto", program=52),
        Track("tenor", program=52),
        Track("bass", program=52),
    ),
}


class Roll(NamedTuple):
    """The two planes of a roll, both [N, K, B, T, P] (or any one shape that ends in T, P).

    An onset always sounds (`onset <= frame`), and drums have onsets only (`frame == onset`). A frame
    that begins to sound without an onset (where a phrase was cut inside a note) counts as a start.
    """

    frame: Tensor
    """bool, True while a note sounds."""
    onset: Tensor
    """bool, True where a note starts."""

    def map(self, function) -> Roll:
        """The roll with `function` applied to each plane."""
        return Roll(function(self.frame), function(self.onset))

    def phrases(self) -> list[Roll]:
        """The phrases of a batch [N, K, B, T, P]: N rolls [K, B, T, P]."""
        return [Roll(*planes) for planes in zip(*self)]


def check_shape(name: str, tensor: Tensor, spec: RollSpec | None = None) -> None:
    """Checks that a tensor is [N, K, B, T, P], and that K, T and P are those of `spec` if given.

    Raises:
        ValueError: with the axis, what was expected and what came.
    """
    shape = list(tensor.shape)
    if len(shape) != len(AXES):
        raise ValueError(f"{name}: expected five axes [N, K, B, T, P], got {shape}")
    if spec is None:
        return
    for axis, expected in (("K", spec.n_tracks), ("T", spec.steps_per_bar), ("P", spec.n_pitches)):
        got = shape[AXES.index(axis)]
        if got != expected:
            raise ValueError(f"{axis}: expected {expected}, got {got} in {name} {shape}")


def check_roll(roll: Roll, spec: RollSpec | None = None) -> None:
    """Checks shapes, that both planes are bool, and that every onset sounds.

    Raises:
        ValueError: shapes differ or do not fit `spec`, or an onset has no frame.
        TypeError: a plane is not bool.
    """
    for name, plane in zip(Roll._fields, roll):
        check_shape(name, plane, spec)
        if plane.dtype != torch.bool:
            raise TypeError(f"{name} must be bool: got {plane.dtype}")
    if roll.frame.shape != roll.onset.shape:
        raise ValueError(f"planes must have one shape: frame={list(roll.frame.shape)}, onset={list(roll.onset.shape)}")
    if bool((roll.onset & ~roll.frame).any()):
        raise ValueError("an onset must sound: onset is True where frame is False")
