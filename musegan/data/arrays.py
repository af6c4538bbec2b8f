"""Arrays of phrases as songs, one a phrase, read in parts: the reference project's sparse file, packed bits, dense.

| form | members | source |
|---|---|---|
| sparse | `nonzero` [5, n], `shape` (N, B, T, P, K) | `train_x_lpd_5_phr.npz` of the MuseGAN project |
| packed | `packed` = numpy.packbits([N, B, T, P, K], axis=-2), `shape` (N, B, T, P, K) | |
| dense | one array of five axes in an .npz, or an .npy: [N, B, T, P, K], or [N, K, B, T, P] | |

Each may have beside it `song` [N], which piece each phrase is of, and `names`, of the pieces (of the phrases where
there is no `song`); and `tracks` [K], the tracks' names. What a file does not say is taken from the constants below.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from musegan.data.events import DEFAULT_VELOCITY, NoNotes, Notes, Song, SongError, steady_tempo
from musegan.data.pianorolls import FINE_RESOLUTION, runs
from musegan.data.npz import Header, Npz, Stream
from musegan.roll import N_MIDI_PITCHES, PRESETS, Track

BEATS_PER_BAR = 4
LOWEST_PITCHES = {84: 24, 128: 0}    # by P: 84 pitches from C1 in the reference data, all of MIDI
TRACKS = {5: PRESETS["lpd5"]}    # by K: the reference's order is that of LPD-5
BLOCK_BYTES = 2 << 20    # of values read at a time
MAX_PHRASE_CELLS = 1 << 22
MAX_LABEL_BYTES = 64 << 20    # of `song`, `names` or `tracks`
_LABELS = ("song", "names", "tracks", "shape")


class Layout(NamedTuple):
    """What the axes of an array of phrases mean."""

    n_phrases: int
    """N."""
    n_bars: int
    """B."""
    steps_per_bar: int
    """T."""
    n_pitches: int
    """P."""
    tracks: tuple[Track, ...]
    """The K tracks."""
    steps_per_beat: int
    """Steps in a quarter note."""
    lowest_pitch: int
    """MIDI pitch of the first of the P."""

    @property
    def n_steps(self) -> int:
        """Of a phrase: B * T."""
        return self.n_bars * self.steps_per_bar

    @property
    def line(self) -> int:
        """Distance between the lines of a pitch where they are laid end to end for `runs`."""
        return self.n_steps + 2

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """(N, B, T, P, K)."""
        return self.n_phrases, self.n_bars, self.steps_per_bar, self.n_pitches, len(self.tracks)

    @property
    def phrase_cells(self) -> int:
        """Cells of a phrase."""
        return math.prod(self.shape[1:])


def load_phrases(
    source: Path | bytes | Npz,
    steps_per_beat: int | None = None,
    lowest_pitch: int | None = None,
    tracks: tuple[Track, ...] | None = None,
) -> Iterator[Song]:
    """The phrases of an array file, in its order; those without notes are left out.

    Each phrase is a song of its own, of B bars from tick 0, a tick a step: whether two phrases followed each other in
    the piece that they were cut from, no file says. Songs with equal `name` are of one piece, so they belong on one
    side of any split; without `song` or `names`, a phrase is named by its place, "phrase 000123".

    Frames tell no onsets: a note is struck where its pitch begins to sound. From `FINE_RESOLUTION` (12) steps a beat
    on, a gap of one step is the mark of a note struck again, as pypianoroll leaves it, and the note before is taken to
    last until then; a rest as short as that is not written. Below, a gap is a rest: at 4 steps a beat one step is a
    sixteenth. Drums have onsets only, so each of their cells is a note of one step.

    Args:
        source: a path, the bytes of a file, or a file that is open. Of a path no more than some MB are in memory.
        steps_per_beat: by default T / 4.
        lowest_pitch: MIDI pitch of the first of the P; by default 24 of 84, 0 of 128.
        tracks: the K tracks; by default LPD-5's for five, else "track 1" and so on.
    Raises:
        SongError: unreadable, no such file, damaged, or one whose axes need an argument; after some songs, where
            damage shows only further on; at the end, where no phrase has notes.
    """
    if not isinstance(source, Npz):
        with Npz(source) as file:
            yield from load_phrases(file, steps_per_beat, lowest_pitch, tracks)
        return
    layout, blocks = _open(source, steps_per_beat, lowest_pitch, tracks)
    names = _Names(source, layout.n_phrases)
    n_songs = 0
    for cells in blocks:
        for song in _songs(cells, layout, names):
            n_songs += 1
            yield song
    if not n_songs:
        raise NoNotes


def _open(
    file: Npz, steps_per_beat: int | None, lowest_pitch: int | None, tracks: tuple[Track, ...] | None
) -> tuple[Layout, Iterator[np.ndarray]]:
    """The layout of a file, and its sounding cells by whole phrases: ascending numbers of `_cell_numbers`."""
    given = (steps_per_beat, lowest_pitch, tracks)
    if "nonzero" in file and "shape" in file:
        layout = _layout(file, _shape(file), *given)
        header, stream = file.open("nonzero")
        return layout, _sparse_blocks(header, stream, layout)
    if "packed" in file and "shape" in file:
        layout = _layout(file, _shape(file), *given)
        header, stream = file.open("packed")
        n, bars, steps, pitches, k = layout.shape
        expected = (n, bars, steps, (pitches + 7) // 8, k)
        if header.dtype != np.uint8 or header.shape != expected or header.fortran_order:
            raise SongError(f"packed must be uint8 {list(expected)}: got {header.dtype} {list(header.shape)[:8]}")
        return layout, _packed_blocks(stream, layout)
    name, header, stream = _only_array(file)
    if header.fortran_order:
        raise SongError("its axes are stored in Fortran order: save numpy.ascontiguousarray of it")
    tracks_first = _tracks_first(header.shape, lowest_pitch)
    n, a, b, c, d = header.shape
    layout = _layout(file, (n, b, c, d, a) if tracks_first else header.shape, *given)
    return layout, _dense_blocks(header.dtype, stream, layout, tracks_first)


def _only_array(file: Npz) -> tuple[str, Header, Stream]:
    found = []
    for name in file.names:
        if name not in _LABELS:
            header, stream = file.open(name)
            if len(header.shape) == 5:
                found.append((name, header, stream))
    if len(found) != 1:
        names = ", ".join(file.names[:8]) or "nothing"
        raise SongError(
            "expected a multitrack (info.json), or phrases (nonzero and shape, packed and shape, or one array of five "
            f"axes): found {names}"
        )
    return found[0]


def _shape(file: Npz) -> tuple[int, ...]:
    shape = file.array("shape", 1 << 10)
    if shape.shape != (5,) or shape.dtype.kind not in "iu":
        raise SongError(f"shape must be five integers (N, B, T, P, K): got {shape.tolist()!s:.80}")
    return tuple(shape.tolist())


def _tracks_first(shape: tuple[int, ...], lowest_pitch: int | None) -> bool:
    """True for [N, K, B, T, P], False for [N, B, T, P, K]."""
    reference, ours = shape[3] in LOWEST_PITCHES, shape[4] in LOWEST_PITCHES
    if not reference and not ours and lowest_pitch is None:
        raise SongError(
            f"expected [N, B, T, P, K] or [N, K, B, T, P] with P of {' or '.join(map(str, LOWEST_PITCHES))}: got "
            f"{list(shape)}; other P need lowest_pitch"
        )
    return ours and not reference


def _layout(
    file: Npz,
    shape: tuple[int, ...],
    steps_per_beat: int | None,
    lowest_pitch: int | None,
    tracks: tuple[Track, ...] | None,
) -> Layout:
    n, n_bars, steps, n_pitches, k = shape
    if min(shape) < 1:
        raise SongError(f"has no phrases: shape {list(shape)}")
    if math.prod(shape[1:]) > MAX_PHRASE_CELLS:
        raise SongError(f"phrases are too large: shape {list(shape)}")
    if steps_per_beat is None:
        if steps % BEATS_PER_BAR:
            raise SongError(f"T must be {BEATS_PER_BAR} beats: got {steps} steps; other bars need steps_per_beat")
        steps_per_beat = steps // BEATS_PER_BAR
    if not 1 <= steps_per_beat <= steps or steps % steps_per_beat:
        raise SongError(f"steps_per_beat must divide T: T={steps}, steps_per_beat={steps_per_beat}")
    if lowest_pitch is None:
        if n_pitches not in LOWEST_PITCHES:
            known = " or ".join(map(str, LOWEST_PITCHES))
            raise SongError(f"P must be {known}: got {n_pitches}; others need lowest_pitch")
        lowest_pitch = LOWEST_PITCHES[n_pitches]
    if not 0 <= lowest_pitch <= N_MIDI_PITCHES - n_pitches:
        raise SongError(f"pitches must be 0 to 127: lowest_pitch={lowest_pitch}, P={n_pitches}")
    tracks = _named_tracks(file, k) if tracks is None else tuple(tracks)
    if len(tracks) != k:
        raise SongError(f"K must be {len(tracks)} as tracks: got {k} in {list(shape)}")
    return Layout(n, n_bars, steps, n_pitches, tracks, steps_per_beat, lowest_pitch)


def _named_tracks(file: Npz, k: int) -> tuple[Track, ...]:
    if "tracks" not in file:
        return TRACKS.get(k) or tuple(Track(f"track {i + 1}") for i in range(k))
    names = file.array("tracks", MAX_LABEL_BYTES)
    if names.shape != (k,) or names.dtype.kind != "U":
        raise SongError(f"tracks must be {k} names: got {names.dtype} {list(names.shape)[:8]}")
    return tuple(Track(name, is_drum=name.lower().startswith("drum")) for name in names.tolist())


class _Names:
    """The names of phrases."""

    def __init__(self, file: Npz, n_phrases: int):
        self._names = file.array("names", MAX_LABEL_BYTES) if "names" in file else None
        self._song = file.array("song", MAX_LABEL_BYTES) if "song" in file else None
        song, names = self._song, self._names
        if song is not None and (song.shape != (n_phrases,) or song.dtype.kind not in "iu"):
            raise SongError(f"song must be {n_phrases} integers: got {song.dtype} {list(song.shape)[:8]}")
        if names is None:
            return
        if names.ndim != 1 or names.dtype.kind != "U":
            raise SongError(f"names must be a list of text: got {names.dtype} {list(names.shape)[:8]}")
        if song is None and len(names) != n_phrases:
            raise SongError(f"names must be one for each of {n_phrases} phrases, where there is no song: got {len(names)}")
        if song is not None and not 0 <= int(song.min()) <= int(song.max()) < len(names):
            raise SongError(f"song must be places in the {len(names)} names: got {song.min()} to {song.max()}")

    def __getitem__(self, phrase: int) -> str:
        song = phrase if self._song is None else int(self._song[phrase])
        if self._names is not None:
            return str(self._names[song])
        return f"phrase {phrase:06d}" if self._song is None else f"song {song:06d}"


def _cell_numbers(
    phrase: np.ndarray, bar: np.ndarray, step: np.ndarray, pitch: np.ndarray, track: np.ndarray, layout: Layout
) -> np.ndarray:
    """Places of cells, where the lines of all pitches of all tracks and phrases are laid end to end; ascending."""
    row = (phrase * len(layout.tracks) + track) * layout.n_pitches + pitch
    return np.sort(row * layout.line + bar * layout.steps_per_bar + step)


def _songs(cells: np.ndarray, layout: Layout, names: _Names) -> Iterator[Song]:
    """The songs of the sounding cells of some whole phrases."""
    k = len(layout.tracks)
    is_drum = np.array([track.is_drum for track in layout.tracks])
    strokes = is_drum[cells // (layout.line * layout.n_pitches) % k] if is_drum.any() else None
    first, end = runs(cells, layout.steps_per_beat >= FINE_RESOLUTION, strokes)
    row, start = np.divmod(cells[first], layout.line)
    end -= row * layout.line
    row, pitch = np.divmod(row, layout.n_pitches)
    pitch += layout.lowest_pitch
    phrase, track = np.divmod(row, k)
    columns = (track, start, end, pitch, np.full(len(first), DEFAULT_VELOCITY))
    edges = np.append(0, np.flatnonzero(np.diff(phrase)) + 1).tolist()
    tempo, downbeats = steady_tempo(), np.arange(layout.n_bars + 1) * layout.steps_per_bar
    for low, high in zip(edges, [*edges[1:], len(first)]):
        yield Song(
            ticks_per_quarter=layout.steps_per_beat,
            tracks=layout.tracks,
            notes=Notes(*(column[low:high] for column in columns)),
            tempo=tempo,
            downbeats=downbeats,
            name=names[int(phrase[low])],
        )


def _sparse_blocks(header: Header, stream: Stream, layout: Layout) -> Iterator[np.ndarray]:
    if len(header.shape) != 2 or header.shape[0] != 5 or header.dtype.kind not in "iu":
        raise SongError(f"nonzero must be integers [5, n]: got {header.dtype} {list(header.shape)[:8]}")
    rest = np.zeros((5, 0), np.int64)
    for part in _sparse_parts(header, stream):
        for axis, (row, size) in enumerate(zip(part, layout.shape)):
            if row.min() < 0 or row.max() >= size:
                low, high = row.min(), row.max()
                raise SongError(f"damaged: nonzero has {'NBTPK'[axis]} of {low} to {high}, shape says {size}")
        part = np.concatenate([rest, part.astype(np.int64)], axis=1)
        if (np.diff(part[0]) < 0).any():
            raise SongError("nonzero must be sorted by phrase")
        whole = int(np.searchsorted(part[0], part[0, -1]))    # the last phrase may go on in the next part
        rest = part[:, whole:]
        if rest.shape[1] > layout.phrase_cells:
            raise SongError("damaged: nonzero has a cell twice")
        if whole:
            yield _different(_cell_numbers(*part[:, :whole], layout))
    if rest.shape[1]:
        yield _different(_cell_numbers(*rest, layout))


def _different(cells: np.ndarray) -> np.ndarray:
    if not np.diff(cells).all():
        raise SongError("damaged: nonzero has a cell twice")
    return cells


def _sparse_parts(header: Header, stream: Stream) -> Iterator[np.ndarray]:
    """The columns of `nonzero`, some at a time: [5, m].

    Its five rows lie one after the other in a stream that can be read only forwards, so it is read once to where the
    last row begins, and five copies of the stream, one at the begin of each row, then go on in step.
    """
    n, width = header.shape[1], header.dtype.itemsize
    at_once = BLOCK_BYTES // (5 * 8)
    if header.fortran_order:
        for low in range(0, n, at_once):
            m = min(at_once, n - low)
            yield np.frombuffer(stream.read(5 * m * width), header.dtype).reshape(m, 5).T
        return
    rows = []
    for row in range(5):
        rows.append(stream.copy())
        for low in range(0, n * width * (row < 4), BLOCK_BYTES):
            stream.read(min(BLOCK_BYTES, n * width - low))
    for low in range(0, n, at_once):
        m = min(at_once, n - low)
        yield np.stack([np.frombuffer(row.read(m * width), header.dtype) for row in rows])


def _packed_blocks(stream: Stream, layout: Layout) -> Iterator[np.ndarray]:
    _, bars, steps, n_pitches, k = layout.shape
    inner = (bars, steps, (n_pitches + 7) // 8, k)
    for first, content in _phrases(stream, layout.n_phrases, math.prod(inner)):
        values = np.frombuffer(content, np.uint8)
        places = np.flatnonzero(values)
        which, bit = np.nonzero(np.unpackbits(values[places, None], axis=1))
        phrase, bar, step, byte, track = np.unravel_index(places[which], (len(values) // math.prod(inner), *inner))
        pitch = 8 * byte + bit
        if pitch.max(initial=0) >= n_pitches:
            raise SongError(f"damaged: packed has bits past its {n_pitches} pitches")
        if len(pitch):
            yield _cell_numbers(phrase + first, bar, step, pitch, track, layout)


def _dense_blocks(dtype: np.dtype, stream: Stream, layout: Layout, tracks_first: bool) -> Iterator[np.ndarray]:
    if dtype.kind not in "biuf":
        raise SongError(f"phrases must be numbers: got {dtype}")
    _, bars, steps, pitches, k = layout.shape
    inner = (k, bars, steps, pitches) if tracks_first else (bars, steps, pitches, k)
    for first, content in _phrases(stream, layout.n_phrases, math.prod(inner) * dtype.itemsize):
        values = np.frombuffer(content, np.uint8 if dtype == bool else dtype)
        if dtype.kind == "f" and not ((values == np.floor(values)) & (np.abs(values) < 128)).all():
            raise SongError("an array of floats must hold 0 and 1, or -1 and 1: got others; binarize it first")
        places = np.flatnonzero(values > 0)
        if not len(places):
            continue
        phrase, *axes = np.unravel_index(places, (len(values) // math.prod(inner), *inner))
        if tracks_first:
            axes = [*axes[1:], axes[0]]
        yield _cell_numbers(phrase + first, *axes, layout)


def _phrases(stream: Stream, n_phrases: int, phrase_bytes: int) -> Iterator[tuple[int, bytes]]:
    """The bytes of a few phrases at a time, and the place of the first of them."""
    at_once = max(1, BLOCK_BYTES // phrase_bytes)
    for first in range(0, n_phrases, at_once):
        yield first, stream.read(min(at_once, n_phrases - first) * phrase_bytes)
