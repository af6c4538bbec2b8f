"""A large packed data set: some music again and again, each time in another key."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.music import BAND
from musegan import resources
from musegan.data.bars import Bars
from musegan.data.dataset import PackedDataset
from musegan.data.packed import SHARD_PATTERN, ShardWriter, pack
from musegan.data.preparation import Rules, prepare


def write_repeated(folder: Path, music: Path | None, n_phrases: int, n_bars: int, apart: bool) -> None:
    """Writes a data set of at least `n_phrases` phrases.

    Args:
        folder: where to; must exist.
        music: a packed data set, or MIDI files as `musegan prepare` takes them; None for the embedded songs.
        n_phrases: that `phrase_starts(n_bars)` of the result gives at least; it ends with a piece.
        n_bars: in a phrase.
        apart: store each phrase by itself, four bars on disk for each, instead of songs, in which a phrase begins at
            every bar. So are the phrases of the Lakh Pianoroll Dataset's phrase file.
    """
    with tempfile.TemporaryDirectory() as temporary:
        source = _open(music, Path(temporary) / "songs")
        writer, n_written = ShardWriter(folder, source.spec), 0
        for semitones in itertools.chain.from_iterable((move, -move) if move else (0,) for move in itertools.count()):
            for name, bars in _pieces(source, semitones, n_bars, apart):
                writer.add(pack(f"{name} {semitones:+d}", [bars], source.spec, "keep"))
                runs = np.split(bars.bar_numbers, np.flatnonzero(np.diff(bars.bar_numbers) != 1) + 1)
                n_written += sum(max(0, len(run) - n_bars + 1) for run in runs)
                if n_written >= n_phrases:
                    writer.close()
                    return


def _open(music: Path | None, prepared: Path) -> PackedDataset:
    if music is not None and any(music.glob(SHARD_PATTERN)):
        return PackedDataset.open(music)
    prepare([music or resources.dataset_path("freedoom")], prepared, Rules(BAND))
    return PackedDataset.open(prepared)    # stays mapped when the files are gone


def _pieces(source: PackedDataset, semitones: int, n_bars: int, apart: bool) -> Iterator[tuple[str, Bars]]:
    """Names and bars of all pieces in another key."""
    starts, length = (source.phrase_starts(n_bars), n_bars) if apart else (source.phrase_starts(1), 1)
    piece = source.piece_of(starts)
    follows = torch.zeros(len(source.tempo_bpm) + 1, dtype=torch.bool)
    follows[source.phrase_starts(2) + 1] = True    # the bar before, in one run
    for i, name in enumerate(source.pieces):
        own = starts[piece == i]
        if not len(own):
            continue
        roll = source.roll(own, length, torch.full_like(own, semitones))
        planes = [plane.transpose(1, 2).flatten(0, 1).numpy() for plane in roll]    # [n * length, K, T, P]
        bars = (own[:, None] + torch.arange(length)).flatten()
        gap = torch.arange(len(bars)) % length == 0 if apart else ~follows[bars]
        numbers = (torch.arange(len(bars)) + gap.long().cumsum(0)).numpy()    # one is left out before each run
        frame, onset = (np.packbits(plane, axis=-1) for plane in planes)
        yield name, Bars(frame, onset, source.tempo_bpm[bars].numpy(), numbers, sounding=frame.any((2, 3)))
