"""Any file of music as songs: the one place that knows which reader reads what."""

from __future__ import annotations

from collections.abc import Iterator

from musegan.data.events import Song, SongError
from musegan.data.midi import load_midi
from musegan.data.scores import load_scores
from musegan.data.sources import MIDI_SUFFIXES, SCORE_SUFFIXES, Source


def read_songs(source: Source) -> Iterator[Song]:
    """The songs of a file: one of a MIDI file, a multitrack or a score; many of an array of phrases.

    Raises:
        SongError: it cannot be read, or is not what its name says.
    """
    if source.suffix in MIDI_SUFFIXES:
        yield load_midi(source.read())
    elif source.suffix in SCORE_SUFFIXES:
        yield from load_scores(source.read(), source.suffix)
    else:
        raise SongError(f"no reader for {source.suffix}")
