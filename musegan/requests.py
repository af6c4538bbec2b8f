"""What a composer asks of a trained model, and the music that answers it, one piece after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from musegan.accompaniment import accompany
from musegan.data.events import SongError
from musegan.data.piece import Piece, read_pieces
from musegan.data.sources import find_sources
from musegan.decoding import Decoding
from musegan.errors import UserError
from musegan.export import MAX_TEMPO_BPM, MIN_TEMPO_BPM
from musegan.keys import Key, key_shifts, name_of_shift, pitch_class_weights
from musegan.latents import draw, interpolate, piece, reroll, truncate, vary
from musegan.models import Generator, PhraseEncoder
from musegan.models.generator import MAX_BARS
from musegan.reconstruction import Autoencoder, strung
from musegan.roll import Roll, RollSpec
from musegan.sampling import exact, in_key, render
from musegan.seeding import derived_seed

DEFAULT_N = 8
_BATCH = 64     # phrases made at a time, so that memory does not grow with their number
MAX_SAMPLE = (1 << 31) - 1    # whose random draws end before the stream of 2^63 does, in the largest piece
_FROM_ONE = ("reroll", "vary", "interpolate")
_NOT_WITH_A_FILE = ("bars", "form", *_FROM_ONE)
_NOT_WITH_A_PHRASE = {
    "accompany": "they are two ways to use a file",
    "bars": "the file says the length",
    "form": "the file says the length",
    "interpolate": "a second file is what it interpolates to",
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """Everything that decides what is made, but for the model. None: not asked for."""

    n: int | None = None
    """Number of phrases, of versions, or of steps; of versions of each file of a folder."""
    seed: int = 0
    sample: int = 0
    """Number of the first phrase, or of the one that is changed."""
    bars: int | None = None
    """Of a piece, made in one go."""
    form: str | None = None
    """Sections of a piece, e.g. AABA."""
    reroll: str | None = None
    """Track of the sample that is made anew."""
    vary: float | None = None
    """How far versions of the sample are from it."""
    interpolate: int | None = None
    """Seed of the sample at the other end."""
    truncation: float = 1.0
    """See `musegan.latents.truncate`."""
    accompany: Path | None = None
    """File, or folder of files, to which tracks are made."""
    given: tuple[str, ...] | None = None
    """Tracks of the file that are kept; by default all that sound."""
    as_track: str | None = None
    """The track that all notes of the file are for."""
    phrase: tuple[Path, ...] | None = None
    """File whose latents stand in the place of the sample's; of two files, the ends of an interpolation."""
    more: Mapping[str, float] = field(default_factory=dict)
    """How much more the phrase shall have of attributes, see `musegan.reconstruction.Autoencoder.more`."""
    key: Key | None = None
    """Where what is made shall lie; of a file, its own one, by default as found."""
    only_scale: bool = False
    """See `musegan.sampling.in_key`."""
    decoding: Decoding = field(default_factory=Decoding)

    def __post_init__(self):
        """Raises UserError for what contradicts itself or is out of range."""
        if self.n is not None and self.n < 1:
            raise UserError(f"--n must be at least 1: got {self.n}")
        if not 0 <= self.sample <= MAX_SAMPLE:
            raise UserError(f"--sample must be at least 0, and at most {MAX_SAMPLE}: got {self.sample}")
        for name in ("truncation", "vary"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UserError(f"--{name} must lie in [0, 1]: got {value:g}")
        asked = [name for name in _FROM_ONE if getattr(self, name) is not None]
        if len(asked) > 1:
            raise UserError(f"--{asked[0]} and --{asked[1]} are two ways to change a sample: choose one")
        if self.interpolate is not None and self.n == 1:
            raise UserError("--interpolate needs --n of 2 at least: both ends")
        if self.accompany is not None:
            for name in _NOT_WITH_A_FILE:
                if getattr(self, name) is not None:
                    reason = "the file says the length" if name in ("bars", "form") else "it makes versions already (--n)"
                    raise UserError(f"--{name} does not go with --accompany: {reason}")
        if self.given is not None and not self.given:
            raise UserError("--given names no track; leave it out to keep all that sound")
        if self.phrase is not None:
            self._check_phrase()
        elif self.more:
            raise UserError("--more changes a phrase: it needs --phrase")
        for name, option in (("given", "--given"), ("as_track", "--as")):
            if getattr(self, name) is not None and self.accompany is None:
                raise UserError(f"{option} says what a file's tracks are: it needs --accompany")


    def _check_phrase(self) -> None:
        for name, reason in _NOT_WITH_A_PHRASE.items():
            if getattr(self, name) is not None:
                raise UserError(f"--{name} does not go with --phrase: {reason}")
        if len(self.phrase) > 2:
            raise UserError(f"--phrase takes one file, or two to interpolate between: got {len(self.phrase)}")
        changed = [name for name in ("reroll", "vary") if getattr(self, name) is not None]
        if len(self.phrase) == 2 and self.key is not None:
            raise UserError("--key says one key: --phrase has two files")
        if len(self.phrase) == 2 and changed:
            raise UserError(f"--{changed[0]} changes one phrase: --phrase has two files")
        if len(self.phrase) == 2 and self.n == 1:
            raise UserError("--phrase with two files needs --n of 2 at least: both ends")
        if len(self.phrase) == 1 and not changed and (self.n or 1) > 1:
            raise UserError("--n: one phrase alone is made once; --vary or --reroll makes versions of it")


class Made(NamedTuple):
    """One result."""

    roll: Roll
    """Planes [K, B, T, P] bool."""
    tempo_bpm: list[float] | None
    """Of each bar, where a file says it."""
    about: dict[str, Any]
    """What it is, for those who want to make it again."""


def count(request: Request) -> int | None:
    """How many results there will be; None where files must be read to know."""
    if request.phrase is not None and len(request.phrase) == 1 and request.vary is None and request.reroll is None:
        return 1
    return (request.n or DEFAULT_N) if request.accompany is None else None


def make(model: Generator, request: Request, say: Say = print, encoder: PhraseEncoder | None = None) -> Iterator[Made]:
    """The music.

    Args:
        model: a trained generator.
        encoder: trained with it, where the request has a phrase.
        say: told what became of the tracks of a file, and of files that are left out.
    Raises:
        UserError: the model cannot do what is asked, or a file cannot be used.
    """
    _check_tracks(model, request)
    model = exact(model)
    if request.accompany is not None:
        yield from _accompaniments(model, request, say)
    elif request.phrase is not None:
        yield from _phrases(Autoencoder(model, encoder), request, say)
    elif request.interpolate is not None:
        yield from _interpolated(model, request)
    else:
        yield from _drawn(model, request)


def _check_tracks(model: Generator, request: Request) -> None:
    names = [track.name for track in model.spec.tracks]
    given = (("--given", name) for name in request.given or ())
    for option, asked in (("--reroll", request.reroll), ("--as", request.as_track), *given):
        if asked is not None and asked not in names:
            raise UserError(f"{option}: the model has no track {asked!r}; there are {', '.join(names)}")
    if request.accompany is not None and not model.accompanies:
        raise UserError(
            "--accompany: this model takes no given tracks; --model accompanist does, or one trained with "
            "--model.accompaniment true"
        )


def _base(model: Generator, request: Request, seed: int, sample: int) -> Tensor:
    """[1, ...] latents of a phrase or a piece."""
    if request.bars is None and request.form is None:
        return draw(model, [sample], seed)
    n_bars = len(request.form) * model.n_bars if request.bars is None else request.bars
    return piece(model, n_bars, request.form, seed, sample)


def _drawn(model: Generator, request: Request) -> Iterator[Made]:
    """Samples, or versions of one."""
    n, is_version = request.n or DEFAULT_N, request.reroll is not None or request.vary is not None
    names, others = [track.name for track in model.spec.tracks], None
    for first in range(0, n, _BATCH):
        versions = range(first, min(first + _BATCH, n))
        if is_version:
            numbers = [request.sample] * len(versions)
            z = _base(model, request, request.seed, request.sample)
            z = z.expand(len(versions), *z.shape[1:])
            if z.ndim == 5:    # a piece, whose sections stay sections
                other_seed = derived_seed(request.seed, "versions")
                others = torch.cat([_base(model, request, other_seed, version) for version in versions])
        else:
            numbers = [request.sample + i for i in versions]
            z = torch.cat([_base(model, request, request.seed, number) for number in numbers])
        if request.reroll is not None:
            z = reroll(z, names.index(request.reroll), model, request.seed, first, others)
        if request.vary is not None:
            z = vary(z, request.vary, model, request.seed, first, others)
        roll = _made(model, request, z, request.seed, numbers)
        for version, number, phrase in zip(versions, numbers, roll.phrases()):
            about = {"seed": request.seed, "sample": number} | ({"version": version} if is_version else {})
            yield Made(phrase, None, about)


def _interpolated(model: Generator, request: Request) -> Iterator[Made]:
    """From one sample to another: each half in the key, and with the random draws, of its end."""
    n, seeds = request.n or DEFAULT_N, (request.seed, request.interpolate)
    a, b = (_base(model, request, seed, request.sample)[0] for seed in seeds)
    z, middle = interpolate(a, b, n), (n + 1) // 2
    for seed, steps in zip(seeds, (range(middle), range(middle, n))):
        for first in range(steps.start, steps.stop, _BATCH):
            part = range(first, min(first + _BATCH, steps.stop))
            roll = _made(model, request, z[part.start : part.stop], seed, [request.sample] * len(part))
            for step, phrase in zip(part, roll.phrases()):
                about = {"sample": request.sample, "from_seed": seeds[0], "to_seed": seeds[1], "share": step / (n - 1)}
                yield Made(phrase, None, about)


def _made(model: Generator, request: Request, z: Tensor, seed: int, numbers: list[int]) -> Roll:
    roll = render(model, truncate(z, request.truncation), seed, numbers, request.decoding)
    return in_key(model, roll, seed, numbers, request.key, request.only_scale)


def _phrases(autoencoder: Autoencoder, request: Request, say: Say) -> Iterator[Made]:
    """A given phrase, versions of it, or steps from one to another: each half in the key and the tempo of its end."""
    n, model = count(request), autoencoder.model
    names = [track.name for track in model.spec.tracks]
    track = None if request.reroll is None else names.index(request.reroll)
    given = [autoencoder.read(path, request.key) for path in request.phrase]
    lengths = [each.piece.roll.frame.shape[2] for each in given]
    if len(set(lengths)) > 1:
        raise UserError(f"--phrase: the two files must have as many bars; they have {lengths[0]} and {lengths[1]}")
    for each in given:
        say(_told(each.name, model.spec, each.piece, torch.ones(len(names), dtype=torch.bool), each.shift))
    ends = [[autoencoder.more(window, request.more) for window in each.windows] for each in given]
    steps = interpolate(*map(strung, ends), n) if len(ends) == 2 else None
    for version in range(n):
        own, windows = given[0], ends[0]
        if steps is None:
            z = strung([_version(model, request, window, track, version, i) for i, window in enumerate(windows)])
            about = {"file": own.name, "version": version}
        else:
            z, own = steps[version], given[version >= (n + 1) // 2]
            about = {"from_file": given[0].name, "to_file": given[1].name, "share": version / (n - 1)}
        roll = autoencoder.decode(truncate(z, request.truncation), request.decoding, request.seed, request.sample, track)
        roll = autoencoder.moved_back(roll, own.shift, request.only_scale)
        yield Made(roll.phrases()[0], _tempos(own.piece)[own.piece.first_bar :], about)


def _version(model: Generator, request: Request, z: Tensor, track: int | None, version: int, window: int) -> Tensor:
    """[1, rows, 1 + B', Z] of a version of one window of a phrase."""
    seed = derived_seed(request.seed, "window", window)
    if track is not None:
        z = reroll(z, track, model, seed, version)
    return z if request.vary is None else vary(z, request.vary, model, seed, version)


def _accompaniments(model: Generator, request: Request, say: Say) -> Iterator[Made]:
    sources = find_sources([request.accompany])
    is_one = len(sources) == 1
    is_file = is_one and not request.accompany.is_dir() and not sources[0].entry    # not the only one of a folder or zip
    n, n_used = request.n or (DEFAULT_N if is_file else 1), 0
    for source in sources:
        try:
            pieces = list(read_pieces(source, model.spec, request.as_track))
            tracks = [_given(model, request, each) for each in pieces]
        except SongError as err:
            if is_one:
                raise UserError(f"{request.accompany}: {err}") from err
            say(f"left out {source.name}: {err}")
            continue
        for each, own in zip(pieces, tracks):
            n_used += 1
            shifts = _shifts(model, request, each)
            say(_told(source.name, model.spec, each, own, shifts, is_padded=True))
            n_silent = torch.zeros(len(own), dtype=torch.int64)
            for version in range(n):
                number = request.sample + version
                made = accompany(
                    model, each.roll, own, request.seed, [number], request.decoding, request.truncation, request.only_scale,
                    shifts,
                )    # fmt: skip
                about = {"file": source.name, "seed": request.seed, "sample": number}
                yield Made(_from_first_bar(made, each.first_bar).phrases()[0], _tempos(each), about)
                n_silent += ~made.frame[0].flatten(1).any(1)
            for track, silent in zip(model.spec.tracks, n_silent.tolist()):
                if silent:
                    where = "" if silent == n else f" in {silent} of {n} versions"
                    say(f"{source.name}: no notes were made for {track.name}{where}")
    if not n_used:
        raise UserError(f"none of the {len(sources)} files in {request.accompany} can be accompanied")


def _given(model: Generator, request: Request, own: Piece) -> Tensor:
    """[K] bool, the tracks that are kept."""
    names, sounding = [track.name for track in model.spec.tracks], own.sounding.tolist()
    if model.any_length and own.roll.frame.shape[2] > MAX_BARS:
        raise SongError(f"has {own.roll.frame.shape[2]} bars, more than {MAX_BARS}")
    there = [name for name, sounds in zip(names, sounding) if sounds]
    if missing := [name for name in request.given or () if name not in there]:
        raise SongError(f"has no notes for {missing[0]} (--given); it has some for {', '.join(there)}; see --as")
    given = set(there if request.given is None else request.given)
    if len(names) == 1:
        raise SongError(f"the model makes {names[0]} alone: there is no other track to play to it")
    if len(given) == len(names):
        raise SongError("has notes for every track: say with --given which are kept, and the others are made")
    return torch.tensor([name in given for name in names])


def _shifts(model: Generator, request: Request, own: Piece) -> Tensor | None:
    """[1] semitones by which the file's key lies above C major / A minor; None where nothing tells."""
    if request.key is not None:
        return torch.tensor([request.key.shift])
    has_pitch = pitch_class_weights(own.roll.frame, model.spec).sum() > 0
    return key_shifts(own.roll.frame, model.spec) if has_pitch else None    # of all its tracks, not of the given alone


def _told(
    name: str, spec: RollSpec, own: Piece, tracks: Tensor, shifts: Tensor | None = None, is_padded: bool = False
) -> str:
    """One line on what becomes of a file's tracks and bars, and in which key it is taken to be.

    Args:
        is_padded: the bars before the first note come back as silent ones.
    """
    given = [track.name for track, kept in zip(spec.tracks, tracks) if kept]
    used = [f"{track} -> {place}" for track, place in own.places.items() if place in given]
    unused = [track for track, place in own.places.items() if place not in given]
    n_bars = own.roll.frame.shape[2]
    parts = [f"{name}: {n_bars} {'bar' if n_bars == 1 else 'bars'}; given: {', '.join(used)}"]
    if unused:
        parts.append(f"not used: {', '.join(unused)}")
    if shifts is not None:
        parts.append(f"key: {name_of_shift(int(shifts))} (another: --key)")
    return "; ".join(parts + own.losses(is_padded))


def _from_first_bar(roll: Roll, n_silent: int) -> Roll:
    """With the silent bars that the file begins with, so that the two lie side by side in a sequencer."""
    return roll.map(lambda plane: torch.nn.functional.pad(plane, (0, 0, 0, 0, n_silent, 0)))


def _tempos(own: Piece) -> list[float]:
    tempos = [round(min(max(float(bpm), MIN_TEMPO_BPM), MAX_TEMPO_BPM), 3) for bpm in own.tempo_bpm]
    return [tempos[0]] * own.first_bar + tempos
