"""A whole file of music as one roll: what a composer brings, beside the model's tracks and metre."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from musegan.data.bars import Bars, cut_bars
from musegan.data.events import Song, SongError
from musegan.data.reading import read_songs
from musegan.data.sources import Source
from musegan.data.tracks import PRESETS, Feed, Preset, assign
from musegan.ops import unpack
from musegan.roll import Roll, RollSpec, Track


@dataclass(frozen=True)
class Piece:
    """All bars of a song."""

    roll: Roll
    """Planes [1, K, B, T, P] bool, from the bar of the first note to that of the last."""
    first_bar: int
    """How many bars of the song come before."""
    tempo_bpm: np.ndarray
    """[B] float32, mean tempo of each bar in quarter notes a minute."""
    places: dict[str, str | None]
    """Where each of the song's tracks with notes went, by its name or program: the name of a track of the roll, or None."""
    n_out_of_range: int
    """Notes that lie outside the roll's pitches, and are lost."""
    left_out: tuple[tuple[str, int, int], ...] = ()
    """Bars of another length at either end, such as a pick-up: reason, first and last one, counted from 1. At the start they
    count as bars that come before."""

    @property
    def sounding(self) -> torch.Tensor:
        """[K] bool, the tracks that have notes."""
        return self.roll.frame[0].flatten(1).any(1)

    def losses(self, is_padded: bool = False) -> list[str]:
        """What of the song is not in the roll, in words.

        Args:
            is_padded: the bars before the first note come back as silent ones.
        """
        told = []
        for reason, first, last in self.left_out:
            where = f"bar {first} is" if first == last else f"bars {first} to {last} are"
            instead = ", a whole silent bar in its place" if is_padded and last <= self.first_bar else ""
            told.append(f"{where} left out{instead}: {reason}")
        if self.n_out_of_range:
            told.append(f"{self.n_out_of_range} notes lie outside the model's pitches")
        return told


def read_pieces(source: Source, spec: RollSpec, as_track: str | None = None) -> Iterator[Piece]:
    """The pieces of a file; most have one.

    Args:
        source: of any form that `musegan prepare` reads.
        spec: tracks, metre, steps and pitches of the roll.
        as_track: the track that all of the file's notes are for; by default, see `preset_for`.
    Raises:
        SongError: it cannot be read, has no notes for the roll, or bars in it have another metre.
    """
    for song in read_songs(source):
        yield piece_of(song if as_track is None else _all_for(song, spec, as_track), spec)


def read_melodies(source: Source, spec: RollSpec) -> Iterator[Piece]:
    """The pieces of a file as one track: its tracks of that name, or else all that are pitched.

    Args:
        source, spec: see `read_pieces`; of one pitched track.
    Raises:
        SongError: see `read_pieces`.
    """
    (name,) = (track.name for track in spec.tracks)
    for song in read_songs(source):
        named = [k for k, track in enumerate(song.tracks) if track.name.lower() == name.lower()]
        chosen = named or [k for k, track in enumerate(song.tracks) if not track.is_drum]
        notes = song.notes.take(np.isin(song.notes.track, chosen))
        if not len(notes.start):
            raise SongError("it has no notes but drums")
        own = piece_of(replace(_all_for(song, spec, name), notes=notes), spec)
        yield replace(own, places={song.tracks[k].name.strip() or f"program {song.tracks[k].program}": name
                                   for k in np.unique(notes.track).tolist()})


def piece_of(song: Song, spec: RollSpec) -> Piece:
    """See `read_pieces`."""
    preset = preset_for(song, spec)
    bars = cut_bars(song, preset)
    if bars.rejected and not _is_whole(bars):
        reason, first, last = max(bars.rejected, key=lambda run: run[2] - run[1])
        where = f"bar {first} has" if first == last else f"bars {first} to {last} have"
        raise SongError(f"{where} {reason}: the model's metre is {spec.beats_per_bar}/{spec.beat_unit}")
    places = _places(song, preset)
    if not bars.frame.any():
        if bars.n_out_of_range:
            highest = spec.lowest_pitch + spec.n_pitches - 1
            raise SongError(f"its notes lie outside the model's pitches, {spec.lowest_pitch} to {highest}")
        names = ", ".join(track.name for track in spec.tracks)
        raise SongError(f"none of its notes is for one of the tracks {names}: it has {', '.join(places)}")
    planes = (unpack(torch.from_numpy(plane), spec.n_pitches) for plane in (bars.frame, bars.onset))    # [B, K, T, P]
    return Piece(
        roll=Roll(*(plane.transpose(0, 1)[None] for plane in planes)),
        first_bar=int(bars.bar_numbers[0]),
        tempo_bpm=bars.tempo_bpm,
        places=places,
        n_out_of_range=bars.n_out_of_range,
        left_out=tuple(bars.rejected),
    )


def preset_for(song: Song, spec: RollSpec) -> Preset:
    """Which of a song's tracks feed which of the spec's: those of its name, or as the built-in preset that has them says."""
    names = {track.name.lower() for track in spec.tracks}
    by_name = Preset(spec, tuple(Feed(names=(_literal(track.name),)) for track in spec.tracks))
    if all(song.tracks[k].name.lower() in names for k in np.unique(song.notes.track).tolist()):
        return by_name
    for preset in PRESETS.values():
        feeds = dict(zip(preset.spec.tracks, preset.feeds))
        if feeds.keys() >= set(spec.tracks):
            return Preset(spec, tuple(feeds[track] for track in spec.tracks))
    return by_name


def _literal(name: str) -> str:
    """A pattern that matches this name alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _all_for(song: Song, spec: RollSpec, name: str) -> Song:
    (track,) = (track for track in spec.tracks if track.name == name)
    return replace(song, tracks=tuple(Track(name, track.program, track.is_drum) for _ in song.tracks))


def _is_whole(bars: Bars) -> bool:
    """Whether bars follow each other; one before them, a pick-up, and one after, broken off, may be left out."""
    if not len(bars.frame) or (np.diff(bars.bar_numbers) != 1).any():
        return False
    before = sum(last - first + 1 for _, first, last in bars.rejected if first <= bars.bar_numbers[0])
    after = sum(last - first + 1 for _, first, last in bars.rejected) - before
    return before <= 1 and after <= 1


def _places(song: Song, preset: Preset) -> dict[str, str | None]:
    tracks = [song.tracks[index] for index in np.unique(song.notes.track).tolist()]
    places: dict[str, str | None] = {}
    for track, place in zip(tracks, assign(tracks, preset)):
        name = track.name.strip() or ("drums" if track.is_drum else f"program {track.program}")
        places[name] = places.get(name) or (None if place is None else preset.spec.tracks[place].name)
    return places
