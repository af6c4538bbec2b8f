"""What a composer asks of a model that writes token by token, and the music that answers it; melodies also accompanied."""

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
from musegan.data.lines import skyline
from musegan.data.piece import Piece, read_melodies, read_pieces
from musegan.data.sequences import Passage, cut, voices
from musegan.data.sources import find_sources
from musegan.decoding import Decoding
from musegan.errors import UserError
from musegan.export import MAX_TEMPO_BPM, MIN_TEMPO_BPM
from musegan.keys import Key, in_scale, key_shifts, name_of_shift, pitch_class_weights, transpose
from musegan.models import Generator, SequenceModel
from musegan.ops import notes
from musegan.requests import DEFAULT_N, MAX_SAMPLE, Made, Say
from musegan.roll import Roll
from musegan.sampling import exact
from musegan.sequences import Choice, roll_of_voices, sample

DEFAULT_PRIME_BARS = 2
_BATCH = 64    # made at a time, so that memory does not grow with their number


@dataclass(frozen=True)
class SequenceRequest:
    """Everything that decides what is made, but for the model. None: not asked for."""

    n: int | None = None
    seed: int = 0
    sample: int = 0
    """Number of the first."""
    bars: int | None = None
    """Of each, the beginning included."""
    choice: Choice = field(default_factory=Choice)
    prime: Path | None = None
    """File whose first bars all begin with."""
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
    """The beginning that all have."""

    roll: Roll
    """Planes [1, K, B, T, P] bool, as the file has it; of melodies, one note at a time."""
    tokens: np.ndarray
    """[L] int64, in the key that the model was trained in."""
    key_shift: int | None
    """Semitones by which the key of the music lies above C major / A minor; None where drums alone do not say."""
    moved: int
    """Semitones by which music is moved up to lie where the file does."""
    tempo_bpm: list[float]
    """Of each bar."""


def make_sequences(model: SequenceModel, request: SequenceRequest, say: Say = print) -> Iterator[Made]:
    """The music.

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
        for i, music in enumerate(roll.phrases(), first):
            about = {"seed": request.seed, "sample": i} | ({} if prime is None else {"file": request.prime.name})
            yield Made(music, tempo_bpm, about)


def make_accompanied(
    band: Generator, model: SequenceModel, request: SequenceRequest, accompaniment: Accompaniment, say: Say = print
) -> Iterator[Made]:
    """Melodies, and what a generator plays to each in its other tracks.

    Raises:
        UserError: the two do not fit each other, or see `make_sequences`.
    """
    if not model.monophonic:
        raise UserError("--melody-model writes several notes at once, and no melody")
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
    """The beginning of a file, for music of so many bars in all.

    Raises:
        UserError: the file cannot be read, or it has not enough bars or leaves none to be made.
    """
    spec, n_own = model.spec, request.prime_bars or DEFAULT_PRIME_BARS
    if n_own >= n_bars:
        raise UserError(f"--bars counts the beginning too, and must be above its {n_own} (--prime-bars): got {n_bars}")
    piece = _read(model, request.prime)
    frame = piece.roll.frame
    if frame.shape[2] < n_own:
        raise UserError(f"--prime: {request.prime} has {_bars(frame.shape[2])}, fewer than --prime-bars={n_own}"
                        + "".join(f"; {told}" for told in piece.losses()))
    table = notes(piece.roll).numpy()[:, 1:]    # [n, 4]
    table = np.insert(skyline(table[:, 1:]), 0, 0, 1) if model.monophonic else table
    found = pitch_class_weights(frame, spec).any() or request.key is not None
    unknown = 0 if model.facts.key_shifts else None    # in the key that was trained in, or in any
    key_shift = int(key_shifts(frame, spec) if request.key is None else request.key.shift) if found else unknown
    moved = key_shift if model.facts.key_shifts else 0
    own, home = (cut(Passage(voices(table, spec, -semitones), frame.shape[2], 0, 0), 0, n_own, spec.steps_per_bar).notes
                 for semitones in (0, moved))
    tracks = ", ".join(f"{name} -> {place}" for name, place in piece.places.items() if place)
    told = [f"{request.prime.name}: begins with {len(own)} notes in {_bars(n_own)}", f"tracks of the file: {tracks}"]
    if found:
        told.append(f"key: {name_of_shift(key_shift)}" + (" (another: --key)" if request.key is None else ""))
    if n_silent := piece.first_bar - sum(last <= piece.first_bar for _, _, last in piece.left_out):
        told.append(f"{n_silent} silent {'bar' if n_silent == 1 else 'bars'} before them left out")
    say("; ".join(told + piece.losses()))
    tempo_bpm = [round(min(max(float(bpm), MIN_TEMPO_BPM), MAX_TEMPO_BPM), 3) for bpm in piece.tempo_bpm[:n_own]]
    roll = roll_of_voices(np.insert(own, 0, 0, 1), 1, n_own, spec)
    return Prime(roll, model.vocabulary.encode(home, n_own * spec.steps_per_bar), key_shift, moved, tempo_bpm)


def _bars(n: int) -> str:
    return "1 bar" if n == 1 else f"{n} bars"


def _read(model: SequenceModel, path: Path) -> Piece:
    """The one piece of a file, in the model's tracks."""
    sources = find_sources([path])
    if len(sources) != 1:
        raise UserError(f"--prime takes one file of music: {path} holds {len(sources)}")
    read = read_melodies if model.monophonic else read_pieces
    try:
        pieces = list(islice(read(sources[0], model.spec), 2))
    except SongError as err:
        raise UserError(f"--prime: {path}: {err}") from err
    if len(pieces) != 1:
        raise UserError(f"--prime takes one piece of music: {path} has {'several' if pieces else 'none'}")
    return pieces[0]


def _continued(model: SequenceModel, request: SequenceRequest, prime: Prime, n_bars: int, first: int, n: int) -> Roll:
    made = sample(
        model, n, n_bars, request.seed, request.choice, first, prime.tokens, only_scale=request.only_scale,
        in_training_key=True,
    )    # fmt: skip
    made = transpose(made, torch.full((n,), prime.moved), model.spec)
    if request.only_scale:
        is_known = prime.key_shift is not None
        shifts = torch.full((n,), prime.key_shift) if is_known else key_shifts(made.frame, model.spec)
        made = in_scale(made, shifts, model.spec)
    n_own = prime.roll.frame.shape[2]
    begun = prime.roll.map(lambda plane: plane.expand(n, *plane.shape[1:]))
    return Roll(*(torch.cat([own, plane[:, :, n_own:]], 2) for own, plane in zip(begun, made)))
