"""Any file of music as songs: the one place that knows which reader reads what."""

from __future__ import annotations

from collections.abc import Iterator

from musegan.data.events import Song, SongError
from musegan.data.midi import load_midi
from musegan.data.sources import MIDI_SUFFIXES, Source


def read_songs(source: Source) -> Iterator[Song]:
    """The songs of a file: one of a MIDI file, a multitrack or a score; many of an array of phrases.

    Raises:
        SongError: it cannot be read, or is not what its name says.
    """
    if source.problem:
        raise SongError(source.problem)
    if source.suffix in MIDI_SUFFIXES:
        yield load_midi(source.read())
    else:
        raise SongError(f"no reader for {source.suffix}")
