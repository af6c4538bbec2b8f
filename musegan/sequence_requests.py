"""What a composer asks of a model of melodies, and the melodies that answer it, alone or accompanied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from musegan.accompaniment import accompany
from musegan.data.events import SongError
from musegan.data.sequences import Line, cut, skyline
from musegan.data.piece import read_melodies
from musegan.data.sources import find_sources
from musegan.decoding import Decoding
from musegan.errors import UserError
from musegan.export import MAX_TEMPO_BPM, MIN_TEMPO_BPM
from musegan.keys import Key, in_scale, key_shifts, name_of_shift, transpose
from musegan.sequences import Choice, sample
from musegan.models import Generator, SequenceModel
from musegan.ops import notes
from musegan.ops.notes import roll_from_notes
from musegan.requests import DEFAULT_N, MAX_SAMPLE, Made, Say
from musegan.roll import Roll, RollSpec
from musegan.sampling import exact

DEFAULT_PRIME_BARS = 2
_BATCH = 64    # melodies made at a time, so that memory does not grow with their number


@dataclass(frozen=True)
class SequenceRequest:
    """Everything that decides what is made, but for the model. None: not asked for."""

    n: int | None = None
    seed: int = 0
    sample: int = 0
    """Number of the first melody."""
    bars: int | None = None
    """Of each melody, the beginning included."""
    choice: Choice = field(default_factory=Choice)
    prime: Path | None = None
    """File whose first bars all melodies begin with."""
    prime_bars: int | None = None
    key: Key | None = None
    """Where what is made shall lie; of a file, its own one, by default as found."""
    only_scale: bool = False
    """See `musegan.sampling.in_key`."""

    def __post_init__(self):
        """Raises UserError for what contradicts itself or is out of range."""
        if self.n is not None and self.n < 1:
            raise UserError(f"--n must be at least 1: got {self.n}")
        if not 0 <= self.sample <= MAX_SAMPLE:
            raise UserError(f"--sample must be at least 0, and at most {MAX_SAMPLE}: got {self.sample}")
        if self.prime_bars is not None and self.prime is None:
            raise UserError("--prime-bars says how much of a file is taken: it needs --prime")
        if self.prime_bars is not None and self.prime_bars < 1:
            raise UserError(f"--prime-bars must be at least 1: got {self.prime_bars}")

    @property
    def count(self) -> int:
        """How many results there will be."""
        return self.n or DEFAULT_N


@dataclass(frozen=True)
class Accompaniment:
    """What is played to melodies, but for the models."""

    as_track: str | None = None
    """The generator's track that plays the melody; by default that of the melody's name."""
    decoding: Decoding = field(default_factory=Decoding)
    truncation: float = 1.0
    """See `musegan.latents.truncate`."""

    def __post_init__(self):
        """Raises UserError for what is out of range."""
        if not 0 <= self.truncation <= 1:
            raise UserError(f"--truncation must lie in [0, 1]: got {self.truncation:g}")


class Prime(NamedTuple):
    """The beginning that all melodies have."""

    roll: Roll
    """Planes [1, 1, B, T, P] bool, as the file has it, one note at a time."""
    tokens: np.ndarray
    """[L] int64, in the key that the model was trained in."""
    key_shift: int
    """Semitones by which the file's key lies above C major / A minor."""
    moved: int
    """Semitones by which melodies are moved up to lie where the file does."""
    tempo_bpm: list[float]
    """Of each bar."""


def make_sequences(model: SequenceModel, request: SequenceRequest, say: Say = print) -> Iterator[Made]:
    """The melodies.

    Args:
        model: a trained one.
        say: told what became of the tracks of a file.
    Raises:
        UserError: the model cannot do what is asked, or the file cannot be used.
    """
    model, n_bars = exact(model), model.n_bars if request.bars is None else request.bars
    prime = None if request.prime is None else read_prime(model, request, n_bars, say)
    tempo_bpm = None if prime is None else prime.tempo_bpm + [prime.tempo_bpm[-1]] * (n_bars - len(prime.tempo_bpm))
    for first in range(request.sample, request.sample + request.count, _BATCH):
        n = min(_BATCH, request.sample + request.count - first)
        if prime is None:
            roll = sample(model, n, n_bars, request.seed, request.choice, first, None, request.key, request.only_scale)
        else:
            roll = _continued(model, request, prime, n_bars, first, n)
        for i, melody in enumerate(roll.phrases(), first):
            about = {"seed": request.seed, "sample": i} | ({} if prime is None else {"file": request.prime.name})
            yield Made(melody, tempo_bpm, about)


def make_accompanied(
    band: Generator, model: SequenceModel, request: SequenceRequest, accompaniment: Accompaniment, say: Say = print
) -> Iterator[Made]:
    """Melodies, and what a generator plays to each in its other tracks.

    Raises:
        UserError: the two do not fit each other, or see `make_sequences`.
    """
    name = accompaniment.as_track or model.spec.tracks[0].name
    names = [track.name for track in band.spec.tracks if not track.is_drum]
    if name not in names and accompaniment.as_track is None:
        raise UserError(f"--melody-model needs --as: which of {', '.join(names)} plays the melody")
    if name not in names:
        raise UserError(f"--as: the model that accompanies has no pitched track {name!r} for the melody; "
                        f"there are {', '.join(names)}")
    if not band.accompanies:
        raise UserError("--melody-model: this model plays to nothing; --model accompanist does, or one trained with "
                        "--model.accompaniment true")
    if replace(band.spec, tracks=model.spec.tracks) != model.spec:
        raise UserError("--melody-model: the two models differ in metre, steps or pitches")
    tracks, band = torch.tensor([track.name == name for track in band.spec.tracks]), exact(band)
    for made in make_sequences(model, request, say):
        roll = made.roll.map(lambda plane: plane[None] & tracks[None, :, None, None, None])    # [1, K, B, T, P]
        played = accompany(
            band, roll, tracks, request.seed, [made.about["sample"]], accompaniment.decoding, accompaniment.truncation,
            request.only_scale,
        )    # fmt: skip
        yield made._replace(roll=played.phrases()[0])


def read_prime(model: SequenceModel, request: SequenceRequest, n_bars: int, say: Say) -> Prime:
    """The beginning of a file, for melodies of so many bars in all.

    Raises:
        UserError: the file cannot be read, or it has not enough bars or leaves none to be made.
    """
    spec, n_own = model.spec, request.prime_bars or DEFAULT_PRIME_BARS
    if n_own >= n_bars:
        raise UserError(f"--bars counts the beginning too, and must be above its {n_own} (--prime-bars): got {n_bars}")
    sources = find_sources([request.prime])
    if len(sources) != 1:
        raise UserError(f"--prime takes one file of music: {request.prime} holds {len(sources)}")
    try:
        pieces = list(islice(read_melodies(sources[0], spec), 2))
    except SongError as err:
        raise UserError(f"--prime: {request.prime}: {err}") from err
    if len(pieces) != 1:
        raise UserError(f"--prime takes one piece of music: {request.prime} has {'several' if pieces else 'none'}")
    (piece,) = pieces
    if piece.roll.frame.shape[2] < n_own:
        raise UserError(f"--prime: {request.prime} has {piece.roll.frame.shape[2]} bars, fewer than --prime-bars={n_own}"
                        + "".join(f"; {told}" for told in piece.losses()))
    table = notes(piece.roll).numpy()[:, 2:]    # [n, 3]
    line = cut(Line(skyline(table), piece.roll.frame.shape[2], 0, 0), 0, n_own, spec.steps_per_bar)
    key_shift = int(key_shifts(piece.roll.frame, spec)) if request.key is None else request.key.shift
    moved = key_shift if model.facts.key_shifts else 0
    home = line.notes - np.array([moved, 0, 0])
    home = home[(home[:, 0] >= 0) & (home[:, 0] < spec.n_pitches)]
    told = [f"{request.prime.name}: begins with {len(line.notes)} notes in {n_own} {'bar' if n_own == 1 else 'bars'}",
            f"taken from {', '.join(name for name, place in piece.places.items() if place)}",
            f"key: {name_of_shift(key_shift)} (another: --key)"]    # fmt: skip
    if n_silent := piece.first_bar - sum(last <= piece.first_bar for _, _, last in piece.left_out):
        told.append(f"{n_silent} silent {'bar' if n_silent == 1 else 'bars'} before them left out")
    say("; ".join(told + piece.losses()))
    tempo_bpm = [round(min(max(float(bpm), MIN_TEMPO_BPM), MAX_TEMPO_BPM), 3) for bpm in piece.tempo_bpm[:n_own]]
    return Prime(_roll(line.notes, n_own, spec), model.vocabulary.encode(home, n_own * spec.steps_per_bar), key_shift, moved,
                 tempo_bpm)


def _continued(model: SequenceModel, request: SequenceRequest, prime: Prime, n_bars: int, first: int, n: int) -> Roll:
    made = sample(
        model, n, n_bars, request.seed, request.choice, first, prime.tokens, only_scale=request.only_scale,
        in_training_key=True,
    )    # fmt: skip
    made = transpose(made, torch.full((n,), prime.moved), model.spec)
    if request.only_scale:
        made = in_scale(made, torch.full((n,), prime.key_shift), model.spec)
    n_own = prime.roll.frame.shape[2]
    begun = prime.roll.map(lambda plane: plane.expand(n, *plane.shape[1:]))
    return Roll(*(torch.cat([own, plane[:, :, n_own:]], 2) for own, plane in zip(begun, made)))


def _roll(line: np.ndarray, n_bars: int, spec: RollSpec) -> Roll:
    table = torch.from_numpy(np.concatenate([np.zeros((len(line), 2), np.int64), line], 1))
    return roll_from_notes(table, 1, 1, n_bars, spec.steps_per_bar, spec.n_pitches)
