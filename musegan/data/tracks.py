"""Presets: what a data set's rolls are, and which of a file's tracks feed which track of a roll."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import yaml

from musegan import roll
from musegan.errors import UserError, one_line
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
    feeds: tuple[Feed, ...]
    """One for each track of the spec. Drum tracks feed drums, pitched tracks the others; the first that takes a track
    has it."""

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
    # From 22, where electronic kits have the edge of the hi-hat, to 81, the last of General MIDI.
    "drums": Preset(RollSpec((Track("drums", is_drum=True),), steps_per_beat=12, lowest_pitch=22, n_pitches=60), (Feed(),)),
}


_NUMBERS = tuple(item.name for item in fields(RollSpec) if item.name != "tracks")
_TRACK_KEYS = (*(item.name for item in fields(Track)), "from")


def load_preset(path: Path) -> Preset:
    """Reads a preset of the user's own from YAML: the keys of `RollSpec`, and `from` with the keys of `Feed` in each track.

    Raises:
        UserError: no such file, no YAML, an unknown key (the nearest is named), or a value out of range.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise UserError(f"cannot read {path}: {err.strerror}") from err
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise UserError(f"{path} is not YAML: {one_line(err)}") from err
    try:
        _check_keys(values, (*_NUMBERS, "tracks"), "the preset")
        for name in _NUMBERS:
            if name in values and (not isinstance(values[name], int) or isinstance(values[name], bool)):
                raise UserError(f"{name} must be a whole number: got {values[name]!r}")
        if not isinstance(values.get("tracks"), list):
            raise UserError("tracks must be a list, with a name in each")
        parts = [_track_and_feed(entry) for entry in values["tracks"]]
        spec = RollSpec(**{**values, "tracks": tuple(track for track, _ in parts)})
        return Preset(spec, tuple(feed for _, feed in parts))
    except UserError as err:
        raise UserError(f"{path}: {err}") from err


def _track_and_feed(entry: object) -> tuple[Track, Feed]:
    _check_keys(entry, _TRACK_KEYS, "a track")
    if "name" not in entry:
        raise UserError(f"a track has no name: got {entry}")
    where = f"track {entry['name']!r}"
    for name, kind in (("program", int), ("is_drum", bool)):
        if name in entry and type(entry[name]) is not kind:
            rule = "true or false" if kind is bool else "a number"
            raise UserError(f"{where}: {name} must be {rule}: got {entry[name]!r}")
    feed = entry.get("from", {})
    _check_keys(feed, tuple(item.name for item in fields(Feed)), f"`from` of {where}")
    lists = {name: value if isinstance(value, list) else [value] for name, value in feed.items() if name != "order"}
    for name, kind in (("families", str), ("programs", int), ("names", str)):
        if not all(type(value) is kind for value in lists.get(name, ())):
            raise UserError(f"{where}: {name} must be {'numbers' if kind is int else 'texts'}: got {feed[name]!r}")
    if "order" in feed and type(feed["order"]) is not int:
        raise UserError(f"{where}: order must be a number: got {feed['order']!r}")
    own = {name: value for name, value in entry.items() if name != "from"}
    return Track(**own), Feed(**{name: tuple(values) for name, values in lists.items()}, order=feed.get("order"))


def _check_keys(values: object, known: Sequence[str], where: str) -> None:
    if not isinstance(values, dict):
        raise UserError(f"{where} must be keys and values: got {values!r}")
    for key in values:
        if key not in known:
            nearest = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(known)}"
            raise UserError(f"{where} has no key {key!r}: {hint}")


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
