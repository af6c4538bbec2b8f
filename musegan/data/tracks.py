"""Presets: which of a file's tracks feed which track of a roll."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pypianoroll import Multitrack, StandardTrack

from musegan import roll
from musegan.errors import UserError

# The sixteen families of General MIDI, eight programs each; program // 8 is the index.
FAMILIES = (
    "piano", "chromatic percussion", "organ", "guitar", "bass", "strings", "ensemble", "brass",
    "reed", "pipe", "synth lead", "synth pad", "synth effects", "ethnic", "percussive", "sound effects",
)    # fmt: skip
DRUMS = "drums"


@dataclass(frozen=True)
class Preset:
    """Tracks of a roll, and where their notes come from."""

    tracks: tuple[roll.Track, ...]
    """The K tracks of the roll."""
    families: Mapping[str, tuple[str, ...]] | None = None
    """Families of General MIDI (or "drums") by track name; None: the k-th pitched track feeds track k."""


PRESETS: dict[str, Preset] = {
    # As LPD-5 merges programs; there, too, all that sustains counts as strings (Dong et al. 2018).
    "lpd5": Preset(
        roll.PRESETS["lpd5"],
        {
            "drums": (DRUMS,),
            "piano": ("piano", "chromatic percussion", "organ"),
            "guitar": ("guitar",),
            "bass": ("bass",),
            "strings": ("strings", "ensemble", "brass", "reed", "pipe", "synth lead", "synth pad"),
        },
    ),
    "satb": Preset(roll.PRESETS["satb"]),
}


class TrackError(UserError):
    """A file without the tracks that a preset wants; the message is the reason, without the file's name."""


class Assignment(NamedTuple):
    """A file's tracks, sorted out."""

    sources: list[list[StandardTrack]]
    """For each of the K tracks of the roll, the tracks that feed it."""
    dropped: list[tuple[str, StandardTrack]]
    """Tracks that feed none, each with its family (or "drums", or "beyond the 4 voices")."""


def family(track: StandardTrack) -> str:
    """The General MIDI family of a track, or "drums"."""
    return DRUMS if track.is_drum else FAMILIES[track.program // 8]


def assign(multitrack: Multitrack, preset: Preset) -> Assignment:
    """Sorts a file's tracks into those of a preset.

    Raises:
        TrackError: a preset by order, and fewer pitched tracks with notes than it has.
    """
    n_tracks = len(preset.tracks)
    sources: list[list[StandardTrack]] = [[] for _ in range(n_tracks)]
    if preset.families is None:
        voices = [track for track in multitrack.tracks if not track.is_drum]
        if len(voices) < n_tracks:
            raise TrackError(f"has {len(voices)} pitched tracks with notes, not {n_tracks}")
        beyond = [(f"beyond the {n_tracks} voices", track) for track in voices[n_tracks:]]
        drums = [(DRUMS, track) for track in multitrack.tracks if track.is_drum]
        return Assignment([[voice] for voice in voices[:n_tracks]], beyond + drums)

    place = {name: k for k, track in enumerate(preset.tracks) for name in preset.families[track.name]}
    dropped = []
    for track in multitrack.tracks:
        name = family(track)
        if name in place:
            sources[place[name]].append(track)
        else:
            dropped.append((name, track))
    return Assignment(sources, dropped)
