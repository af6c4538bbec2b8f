"""Generated music that lies in files: MIDI or anything else that `prepare` reads, as a corpus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from musegan.data.bars import cut_bars
from musegan.data.events import NoNotes, SongError
from musegan.data.piece import preset_for
from musegan.data.reading import read_songs
from musegan.data.sources import MIDI_SUFFIXES, Source, find_sources
from musegan.errors import UserError
from musegan.evaluation.corpus import Corpus, Progress
from musegan.roll import Roll, RollSpec
from musegan.seeding import generator_for


def corpus_of_files(
    path: Path, spec: RollSpec, n_bars: int, limit: int | None = None, seed: int = 0, progress: Progress | None = None
) -> tuple[Corpus, dict[str, str]]:
    """The phrases of the files of a folder, or of one file: every `n_bars` bars in a row of each piece.

    Differs from a data set: nothing is left out for being silent or there twice, for that is what an evaluation must see.
    Bars before a file's first note count, a piece of fewer bars ends in
    silence, and a file without notes is a silent phrase. Where a folder has MIDI files, what
    lies beside them in other forms is the same music once more, and not read.

    Args:
        path: read as `musegan prepare` reads it.
        spec: a file's tracks become those of the same name; where a name is none of the spec's, those of a built-in
            preset go by instrument.
        limit: so many phrases at most, drawn at random.
        seed: of the order and the draw.
        progress: called with the number of files done, and in all.
    Returns:
        The corpus, and why files were left out, by name.
    Raises:
        UserError: there is no such path, no music in it, or no phrase is left.
    """
    sources = find_sources([path])
    midi = [source for source in sources if source.suffix in MIDI_SUFFIXES]
    sources = midi or sources
    drawn = _Draw(limit, seed)
    rejected: dict[str, str] = {}
    for i, source in enumerate(sources):
        try:
            for roll in _phrases(source, spec, n_bars):
                drawn.add(roll, i)
        except SongError as err:
            rejected[source.name] = str(err)
        if progress is not None:
            progress(i + 1, len(sources))
    roll, pieces = drawn.result()
    if not len(pieces):
        reason = next(iter(rejected.values()), f"no {n_bars} bars in a row of {spec.beats_per_bar}/{spec.beat_unit}")
        raise UserError(f"no phrases of {n_bars} bars in {path}: {reason}")
    return Corpus(roll, pieces, spec), rejected


class _Draw:
    """At most so many phrases, drawn at random of all that are added, in random order; never holds many more."""

    def __init__(self, limit: int | None, seed: int):
        self._limit, self._seed = limit, seed
        self._parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []    # keys, pieces, planes
        self._n = self._n_added = 0

    def add(self, roll: Roll, piece: int) -> None:
        n = len(roll.frame)
        keys = torch.rand(n, dtype=torch.float64, generator=generator_for(self._seed, "corpus", self._n_added))
        self._parts.append((keys, torch.full((n,), piece), *roll))
        self._n, self._n_added = self._n + n, self._n_added + n
        if self._limit is not None and self._n > 2 * self._limit:
            self._prune()

    def result(self) -> tuple[Roll | None, Tensor]:
        if not self._n:
            return None, torch.empty(0, dtype=torch.int64)
        self._prune()
        _, pieces, *planes = self._parts[0]
        return Roll(*planes), pieces

    def _prune(self) -> None:
        """Keeps the phrases of the lowest keys."""
        joined = [torch.cat(part) for part in zip(*self._parts)]
        order = joined[0].argsort(stable=True)[: self._limit]
        self._parts, self._n = [tuple(part[order] for part in joined)], len(order)


def _phrases(source: Source, spec: RollSpec, n_bars: int) -> Iterator[Roll]:
    """Packed phrases [n, K, B, T, bytes] of each of a file's songs.

    Raises:
        SongError: the file cannot be read, or none of its notes is one of the spec's tracks.
    """
    try:
        songs = list(read_songs(source))
    except NoNotes:
        yield _silence(spec, n_bars)
        return
    for song in songs:
        preset = preset_for(song, spec)
        bars = cut_bars(song, preset)
        if not len(bars.frame) and bars.rejected:
            raise SongError(bars.rejected[0][0])
        if len(song.notes.start) and not bars.n_notes:
            raise SongError(f"none of its tracks is one of {', '.join(track.name for track in spec.tracks)}")
        numbers = torch.from_numpy(bars.bar_numbers).long()
        n = max(int(numbers.max()) + 1 if len(numbers) else 0, n_bars)
        first, last = (int(numbers[0]), int(numbers[-1])) if len(numbers) else (n, -1)
        fits = torch.ones(n, dtype=torch.bool)    # silent bars before and after
        fits[first : last + 1] = False
        fits[numbers] = True
        starts = torch.nonzero(fits.unfold(0, n_bars, 1).all(1)).squeeze(1)
        yield Roll(*(_windows(torch.from_numpy(plane), numbers, n, starts, n_bars) for plane in (bars.frame, bars.onset)))


def _silence(spec: RollSpec, n_bars: int) -> Roll:
    """One packed phrase."""
    silent = torch.zeros(1, spec.n_tracks, n_bars, spec.steps_per_bar, -(-spec.n_pitches // 8), dtype=torch.uint8)
    return Roll(silent, silent.clone())


def _windows(bars: Tensor, numbers: Tensor, n: int, starts: Tensor, n_bars: int) -> Tensor:
    """[n, K, B, T, bytes] of packed bars [bars, K, T, bytes] that have these numbers."""
    whole = torch.zeros(n, *bars.shape[1:], dtype=torch.uint8)
    whole[numbers] = bars
    return whole[starts[:, None] + torch.arange(n_bars)].transpose(1, 2).contiguous()
