"""Any file of music as songs: the one place that knows which reader reads what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from musegan.data.arrays import load_phrases
from musegan.data.events import Song, SongError
from musegan.data.midi import load_midi
from musegan.data.multitracks import INFO, load_multitrack
from musegan.data.npz import Npz
from musegan.data.scores import load_scores
from musegan.data.sources import ARRAY_SUFFIXES, MAX_FILE_BYTES, MIDI_SUFFIXES, SCORE_SUFFIXES, Source, check_regular


def read_songs(source: Source) -> Iterator[Song]:
    """The songs of a file: one of a MIDI file, a multitrack or a score; many of an array of phrases.

    Raises:
        SongError: it cannot be read, or is not what its name says.
    """
    if source.problem:
        raise SongError(source.problem)
    if source.suffix in MIDI_SUFFIXES:
        yield load_midi(source.read())
    elif source.suffix in ARRAY_SUFFIXES:
        yield from _array_songs(source)
    elif source.suffix in SCORE_SUFFIXES:
        yield from load_scores(source.read(), source.suffix)
    else:
        raise SongError(f"no reader for {source.suffix}")


def _array_songs(source: Source) -> Iterator[Song]:
    """A file of its own may be of any size, for only parts of it are read; one in a zip is unpacked whole."""
    try:
        content = source.read() if source.entry else Path(source.path)
        if not source.entry:
            check_regular(content)
    except SongError as err:
        if str(err).startswith("larger than"):
            limit = MAX_FILE_BYTES >> 20
            raise SongError(f"arrays of more than {limit} MiB in a zip are not read: unpack it first") from err
        raise
    with Npz(content) as file:
        if INFO in file:
            yield load_multitrack(file)
        else:
            yield from load_phrases(file)
