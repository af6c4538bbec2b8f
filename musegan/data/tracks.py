"""Presets: what a data set's rolls are, and which of a file's tracks feed which track of a roll."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from musegan import roll
from musegan.errors import UserError
from musegan.roll import RollSpec, Track

# The sixteen families of General MIDI, eight programs each; program // 8 is the index.
FAMILIES = (
    "piano", "chromatic percussion", "organ", "guitar", "bass", "strings", "ensemble", "brass",
    "reed", "pipe", "synth lead", "synth pad", "synth effects", "ethnic", "percussive", "sound effects",
)    # fmt: skip
DRUMS = "drums"


@dataclass(frozen=True)
class Feed:
    """Which of a file's tracks feed a track of a roll. A track that is all of what is given feeds it."""

    families: tuple[str, ...] = ()
    """Families of General MIDI."""
    programs: tuple[int, ...] = ()
    """Programs of General MIDI, 0 to 127, beside those of the families."""
    names: tuple[str, ...] = ()
    """Patterns such as "*melody*", of which the track's name matches one, whatever the case."""
    order: int | None = None
    """Only the n-th of the file's pitched tracks with notes (of its drum tracks, for drums), from 1."""

    def __post_init__(self):
        if unknown := set(self.families) - set(FAMILIES):
            raise UserError(f"no family of General MIDI {min(unknown)!r}: there are {', '.join(FAMILIES)}")
        for program in self.programs:
            if not isinstance(program, int) or not 0 <= program < 128:
                raise UserError(f"programs must be 0 to 127: got {program!r}")
        if self.order is not None and self.order < 1:
            raise UserError(f"order must be at least 1: got {self.order}")

    def takes(self, track: Track, order: int) -> bool:
        """Whether a file's track is one of these, apart from being drums or pitched.

        Args:
            track: of a file.
            order: its number among the file's pitched, or drum, tracks, from 1.
        """
        if (self.families or self.programs) and not track.is_drum:
            if FAMILIES[track.program // 8] not in self.families and track.program not in self.programs:
                return False
        if self.names and not any(fnmatch.fnmatch(track.name.lower(), name.lower()) for name in self.names):
            return False
        return self.order in (None, order)


@dataclass(frozen=True)
class Preset:
    """What a data set's rolls are, and where their notes come from."""

    spec: RollSpec
    """Tracks, metre, steps and pitches."""
    feeds: tuple[Feed, ...] = field(default=())
    """One for each track of the spec. Drum tracks feed drums, pitched tracks the others; the first that takes a track has it."""

    def __post_init__(self):
        if len(self.feeds) != self.spec.n_tracks:
            raise UserError(f"one feed for each track: got {len(self.feeds)} for {self.spec.n_tracks} tracks")

    def with_spec(self, **changes: int) -> Preset:
        """The same tracks on another grid, e.g. `with_spec(steps_per_beat=12)`."""
        return replace(self, spec=replace(self.spec, **changes))


PRESETS: dict[str, Preset] = {
    # As LPD-5 merges programs; there, too, all that sustains counts as strings (Dong et al. 2018).
    "lpd5": Preset(
        RollSpec(roll.PRESETS["lpd5"]),
        (
            Feed(),
            Feed(families=("piano", "chromatic percussion", "organ")),
            Feed(families=("guitar",)),
            Feed(families=("bass",)),
            Feed(families=("strings", "ensemble", "brass", "reed", "pipe", "synth lead", "synth pad")),
        ),
    ),
    "satb": Preset(RollSpec(roll.PRESETS["satb"]), tuple(Feed(order=n) for n in (1, 2, 3, 4))),
    "drums": Preset(RollSpec((Track("drums", is_drum=True),), steps_per_beat=12, lowest_pitch=35, n_pitches=47), (Feed(),)),
}


def family(track: Track) -> str:
    """The General MIDI family of a track, or "drums"."""
    return DRUMS if track.is_drum else FAMILIES[track.program // 8]


def assign(tracks: Sequence[Track], preset: Preset) -> list[int | None]:
    """For each of a file's tracks, the index of the roll's track that it feeds, or None.

    Args:
        tracks: of a file, those with notes.
    """
    place: list[int | None] = []
    n_pitched = n_drums = 0
    for track in tracks:
        n_drums, n_pitched = n_drums + track.is_drum, n_pitched + (not track.is_drum)
        order = n_drums if track.is_drum else n_pitched
        takers = (
            k
            for k, (own, feed) in enumerate(zip(preset.spec.tracks, preset.feeds))
            if own.is_drum == track.is_drum and feed.takes(track, order)
        )
        place.append(next(takers, None))
    return place
