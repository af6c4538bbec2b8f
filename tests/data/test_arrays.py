"""Arrays of phrases to songs."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musegan.data import arrays
from musegan.data.arrays import load_phrases
from musegan.data.events import SongError
from musegan.data.reading import read_songs
from musegan.data.sources import Source
from musegan.roll import PRESETS, Track


def npz(compressed=True, **members) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **members)
    return file.getvalue()


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def sparse(phrases, compressed=True, dtype=np.int64, **others) -> bytes:
    """The reference project's form of [N, B, T, P, K]."""
    return npz(compressed, nonzero=np.array(np.nonzero(phrases), dtype), shape=phrases.shape, **others)


def packed(phrases, **others) -> bytes:
    return npz(packed=np.packbits(phrases, axis=-2), shape=phrases.shape, **others)


def forms(phrases) -> dict[str, bytes]:
    """Every form of the same phrases [N, B, T, P, K]."""
    ours = np.ascontiguousarray(phrases.transpose(0, 4, 1, 2, 3))
    return {
        "sparse": sparse(phrases),
        "sparse stored": sparse(phrases, compressed=False),
        "sparse uint16": sparse(phrases, dtype=np.uint16),
        "sparse Fortran": npz(nonzero=np.asfortranarray(np.nonzero(phrases)), shape=phrases.shape),
        "packed": packed(phrases),
        "npz": npz(train=phrases, note=np.zeros(3)),
        "npy": npy(phrases),
        "npy of velocities": npy(phrases.astype(np.uint8) * 77),
        "npy -1 and 1": npy(phrases.astype(np.float32) * 2 - 1),
        "npy tracks first": npy(ours),
        "npz tracks first": npz(x=ours.astype(np.float64)),
    }


def plain(songs):
    """Songs as plain values."""
    return [
        (s.name, s.ticks_per_quarter, s.tracks, s.downbeats.tolist(), sorted(zip(*(c.tolist() for c in s.notes))))
        for s in songs
    ]


def loop_notes(phrase, lowest_pitch, steps_per_beat, tracks):
    """Notes of [B, T, P, K] by the definition in the docstring, a cell at a time."""
    grid = phrase.reshape(-1, *phrase.shape[2:])
    found = []
    for k, track in enumerate(tracks):
        for p in range(grid.shape[1]):
            line = [bool(cell) for cell in grid[:, p, k]]
            for step in range(len(line)):
                if not line[step] or (not track.is_drum and step and line[step - 1]):
                    continue
                end = step + 1
                while not track.is_drum and end < len(line) and line[end]:
                    end += 1
                if not track.is_drum and steps_per_beat >= 12 and end + 1 < len(line) and line[end + 1]:
                    end += 1
                found.append((k, step, end, p + lowest_pitch, 90))
    return sorted(found)


def phrases(n=3, bars=2, steps=16, pitches=84, k=5):
    return np.zeros((n, bars, steps, pitches, k), bool)


def one_note(k=5, pitches=84, steps=16):
    array = phrases(1, 2, steps, pitches, k)
    array[0, 0, 2:5, 36, 1 % k] = True
    return array


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from([(16, 84, 5), (48, 84, 3), (8, 128, 1), (96, 128, 5)]), st.integers(1, 4))
def test_every_form_gives_the_notes_of_a_loop_over_the_cells(seed, sizes, n):
    steps, pitches, k = sizes
    rng = np.random.default_rng(seed)
    array = phrases(n, 2, steps, pitches, k)
    few = rng.integers(0, pitches, 3)
    array[..., few, :] = rng.random((n, 2, steps, 3, k)) < rng.choice([0.02, 0.5, 0.9])
    array[0, 0, 0, few[0], 0] = True
    array[1:2] = False
    tracks = PRESETS["lpd5"] if k == 5 else tuple(Track(f"track {i + 1}") for i in range(k))
    lowest, beat = {84: 24, 128: 0}[pitches], steps // 4
    expected = [
        (f"phrase {i:06d}", beat, tracks, [0, steps, 2 * steps], loop_notes(phrase, lowest, beat, tracks))
        for i, phrase in enumerate(array)
        if phrase.any()
    ]
    for name, content in forms(array).items():
        assert plain(load_phrases(content)) == expected, name


def test_the_form_of_the_reference_data():
    """[5, n] of places in (N, 4, 48, 84, 5), drums first, 12 steps a beat from MIDI pitch 24."""
    nonzero = [(0, 0, 0, 12, 0), (0, 0, 1, 12, 0), (1, 3, 46, 4, 3), (1, 3, 47, 4, 3), (2, 0, 0, 36, 1), (2, 0, 2, 36, 1)]
    content = npz(nonzero=np.array(nonzero, np.int64).T, shape=np.array([4, 4, 48, 84, 5]))
    songs = list(load_phrases(content))
    assert [s.tracks[0].name for s in songs] == ["drums"] * 3 and songs[0].ticks_per_quarter == 12
    drums, bass, piano = (sorted(zip(*(c.tolist() for c in s.notes))) for s in songs)
    assert drums == [(0, 0, 1, 36, 90), (0, 1, 2, 36, 90)], "each cell of a drum is a stroke"
    assert bass == [(3, 190, 192, 28, 90)]
    assert piano == [(1, 0, 2, 60, 90), (1, 2, 3, 60, 90)], "a gap of one step is the mark of a note struck again"
    assert songs[0].downbeats.tolist() == [0, 48, 96, 144, 192]


def test_a_gap_of_a_sixteenth_is_a_rest():
    array = phrases(1)
    array[0, 0, [0, 2], 36, 1] = True
    assert next(load_phrases(npy(array))).notes.end.tolist() == [1, 3]


def test_phrases_go_on_over_bar_lines_and_parts(monkeypatch):
    """Read some bytes at a time, the same songs come; no phrase is cut where a part ends."""
    rng = np.random.default_rng(1)
    array = rng.random((9, 2, 16, 84, 5)) < 0.03
    whole = {name: plain(load_phrases(content)) for name, content in forms(array).items()}
    for block in (40, 4_000, 30_000):
        monkeypatch.setattr(arrays, "BLOCK_BYTES", block)
        for name, content in forms(array).items():
            assert plain(load_phrases(content)) == whole[name], (name, block)


def test_phrases_are_named_after_their_piece():
    array = np.repeat(one_note(), 3, axis=0)
    names, song = np.array(["verse.mid", "other.mid"]), np.array([1, 1, 0])
    for form in (sparse, packed):
        assert [s.name for s in load_phrases(form(array, names=names, song=song))] == ["other.mid", "other.mid", "verse.mid"]
        assert [s.name for s in load_phrases(form(array, song=song + 6))] == ["song 000007", "song 000007", "song 000006"]
        assert [s.name for s in load_phrases(form(array, names=np.array(["a", "b", "a"])))] == ["a", "b", "a"]


def test_silent_phrases_are_left_out_and_counted():
    array = phrases(4)
    array[[1, 3], 0, 0, 40, 2] = True
    assert [s.name for s in load_phrases(packed(array))] == ["phrase 000001", "phrase 000003"]


def test_tracks_of_the_file_and_of_the_caller():
    array = one_note(k=3)
    named = [t for t in next(load_phrases(packed(array, tracks=np.array(["MELODY", "Drums", "PIANO"])))).tracks]
    assert [(t.name, t.is_drum) for t in named] == [("MELODY", False), ("Drums", True), ("PIANO", False)]
    given = (Track("a", 1), Track("b", 2), Track("c", 3))
    song = next(load_phrases(packed(array), steps_per_beat=8, lowest_pitch=30, tracks=given))
    assert song.tracks == given and song.ticks_per_quarter == 8 and song.notes.pitch.tolist() == [66]


def test_other_pitches_need_the_lowest():
    array = one_note(pitches=40)
    with pytest.raises(SongError, match=r"P of 84 or 128: got \[1, 2, 16, 40, 5\]; other P need lowest_pitch"):
        next(load_phrases(npy(array)))
    with pytest.raises(SongError, match="P must be 84 or 128: got 40; others need lowest_pitch"):
        next(load_phrases(sparse(array)))
    for content in (npy(array), sparse(array)):
        assert next(load_phrases(content, lowest_pitch=10)).notes.pitch.tolist() == [46]


def changed(axis, value):
    places = np.array(np.nonzero(one_note()))
    places[axis, -1] = value
    return npz(nonzero=places, shape=one_note().shape)



def dense_bomb() -> bytes:
    header = b"{'descr': '|b1', 'fortran_order': False, 'shape': (1000000000, 4, 48, 84, 5), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(100)


GOOD = one_note()
DAMAGE = {
    "text": (b"PK these are no arrays", "cannot be read as arrays"),
    "nothing of these": (npz(x=np.zeros(3), y=np.zeros(4)), r"one array of five axes\): found x, y"),
    "a name of two lines": (npz(**{"x\ny": np.zeros(3)}), r"found x\?y"),
    "two arrays": (npz(x=GOOD, y=GOOD), r"one array of five axes\): found x, y"),
    "npy of four axes": (npy(GOOD[0]), "one array of five axes"),
    "no phrases": (npy(GOOD[:0]), r"has no phrases: shape \[0, 2, 16, 84, 5\]"),
    "no notes": (npy(phrases()), "has no notes"),
    "no notes, sparse": (sparse(phrases()), "has no notes"),
    "no notes, packed": (packed(phrases()), "has no notes"),
    "pickled": (npz(x=np.array([{}], object)), "x holds pickled objects, which are never read"),
    "pickled song": (npz(x=GOOD, song=np.array([{}], object)), "song holds pickled objects"),
    "an array of text": (npy(np.full((1, 2, 16, 84, 5), "a")), "phrases must be numbers: got <U1"),
    "probabilities": (npy(GOOD * 0.7), "must hold 0 and 1, or -1 and 1: got others; binarize it first"),
    "no number": (npy(np.where(GOOD, np.nan, 0)), "must hold 0 and 1"),
    "Fortran": (npy(np.asfortranarray(GOOD)), "stored in Fortran order"),
    "bomb": (dense_bomb(), "tells of 80,640,000,000,000 bytes, there are 100"),
    "cut": (npy(GOOD)[:-1], "tells of 13,440 bytes, there are 13,439"),
    "large phrases": (npz(nonzero=np.zeros((5, 1), int), shape=[1, 1 << 40, 4, 84, 5]), "phrases are too large"),
    "negative shape": (npz(nonzero=np.zeros((5, 1), int), shape=[-1, 4, 4, 84, 5]), r"has no phrases: shape \[-1"),
    "shape of four": (npz(nonzero=np.zeros((5, 1), int), shape=[4, 4, 84, 5]), "shape must be five integers"),
    "shape of text": (npz(nonzero=np.zeros((5, 1), int), shape=list("abcde")), "shape must be five integers"),
    "odd bars": (sparse(one_note(steps=18)), "T must be 4 beats: got 18 steps; other bars need steps_per_beat"),
    "nonzero of four rows": (npz(nonzero=np.zeros((4, 3), int), shape=GOOD.shape), r"nonzero must be integers \[5, n\]"),
    "nonzero real": (npz(nonzero=np.zeros((5, 3)), shape=GOOD.shape), r"nonzero must be integers \[5, n\]: got float64"),
    "phrase outside": (changed(0, 1), "nonzero has N of 0 to 1, shape says 1"),
    "track outside": (changed(4, 5), "nonzero has K of 1 to 5, shape says 5"),
    "before": (changed(3, -1), "nonzero has P of -1 to 36, shape says 84"),
    "unsorted": (npz(nonzero=np.array([[1, 0]] + [[0, 0]] * 4), shape=(2, *GOOD.shape[1:])),
                 "nonzero must be sorted by phrase"),
    "a cell twice": (npz(nonzero=np.zeros((5, 2), int), shape=GOOD.shape), "nonzero has a cell twice"),
    "packed shape": (npz(packed=np.zeros((1, 2, 16, 84, 5), np.uint8), shape=GOOD.shape),
                     r"packed must be uint8 \[1, 2, 16, 11, 5\]"),
    "packed bits": (npz(packed=np.full((1, 2, 16, 11, 5), 1, np.uint8), shape=GOOD.shape),
                    "packed has bits past its 84 pitches"),
    "song short": (sparse(GOOD, song=np.zeros(2, int)), "song must be 1 integers"),
    "song far": (sparse(GOOD, song=np.array([3]), names=np.array(["a"])), "song must be places in the 1 names: got 3 to 3"),
    "names few": (sparse(GOOD, names=np.array(["a", "b"])), "names must be one for each of 1 phrases"),
    "names no text": (sparse(GOOD, names=np.array([1])), "names must be a list of text"),
    "tracks few": (sparse(GOOD, tracks=np.array(["a"])), "tracks must be 5 names"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_has_a_reason_in_one_line(name):
    content, reason = DAMAGE[name]
    with pytest.raises(SongError, match=reason) as caught:
        list(load_phrases(content))
    assert "\n" not in str(caught.value)


def test_a_cell_without_end_does_not_fill_memory(monkeypatch):
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 40 * 1000)
    places = np.zeros((5, 20_000), np.uint8)
    with pytest.raises(SongError, match="nonzero has a cell twice"):
        list(load_phrases(npz(nonzero=places, shape=GOOD.shape)))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_gives_another_error(data):
    form = data.draw(st.sampled_from(["sparse", "packed", "npz", "npy", "sparse stored"]))
    content = bytearray(DAMAGED[form])
    for _ in range(data.draw(st.integers(1, 4))):
        near_end = data.draw(st.booleans())    # where a zip's directory is
        place = data.draw(st.integers(0, min(len(content), 800) - 1))
        content[len(content) - 1 - place if near_end else place] = data.draw(st.integers(0, 255))
    try:
        list(load_phrases(bytes(content)))
    except SongError:
        pass


DAMAGED = forms(one_note())


def test_a_large_sparse_file_is_never_whole_in_memory(tmp_path):
    """3 million cells of 5 int64 (120 MB) in 6,000 phrases; beside what is there already, a tenth of it is enough."""
    import tracemalloc

    n, cells = 6_000, 500
    inner = np.array(np.nonzero(np.random.default_rng(0).permutation(4 * 48 * 84 * 5).reshape(4, 48, 84, 5) < cells))
    path = tmp_path / "large.npz"
    np.savez_compressed(path, nonzero=np.vstack([np.repeat(np.arange(n), cells), np.tile(inner, n)]),
                        shape=(n, 4, 48, 84, 5))
    tracemalloc.start()
    assert sum(len(song.tracks) == 5 for song in load_phrases(path)) == n
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_reading_tells_the_forms_apart(tmp_path):
    for name, content in forms(one_note()).items():
        path = tmp_path / f"{name}.{'npy' if content.startswith(bytes([0x93])) else 'npz'}"
        path.write_bytes(content)
        (song,) = read_songs(Source(path.name, str(path)))
        assert song.notes.pitch.tolist() == [60], name


def test_arrays_in_a_zip_are_read_when_they_are_small(tmp_path):
    path = tmp_path / "music.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npz", sparse(one_note()))
        archive.writestr("b.npy", npy(np.zeros((500, 4, 48, 84, 5), bool)))
    (song,) = read_songs(Source("a", str(path), "a.npz"))
    assert song.name == "phrase 000000"
    with pytest.raises(SongError, match="more than 32 MiB in a zip are not read: unpack it first"):
        list(read_songs(Source("b", str(path), "b.npy")))
    with pytest.raises(SongError, match="known already"):
        list(read_songs(Source("c", str(path), "a.npz", "known already")))


def test_missing_file():
    with pytest.raises(SongError, match="cannot be read: No such file"):
        list(load_phrases(Path("nowhere.npz")))
