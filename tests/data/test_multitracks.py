"""pypianoroll's .npz multitracks to songs."""

import io
import json
import zipfile

import numpy as np
import pypianoroll
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csc_matrix

from musegan.data import multitracks
from musegan.data.events import Notes, Song, SongError, steady_tempo
from musegan.data.pianorolls import from_multitrack, to_multitrack
from musegan.data.midi import load_midi
from musegan.data.multitracks import load_multitrack
from musegan.data.reading import read_songs
from musegan.data.sources import Source
from musegan.roll import Track
from tests.data.songs import midi, scale


def npz(info, compress=zipfile.ZIP_DEFLATED, **members) -> bytes:
    """A multitrack by hand; a member is an array, or the bytes of its file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compress) as archive:
        for name, value in members.items():
            if not isinstance(value, bytes):
                content = io.BytesIO()
                np.save(content, value)
                value = content.getvalue()
            archive.writestr(f"{name}.npy", value)
        archive.writestr("info.json", info if isinstance(info, (bytes, str)) else json.dumps(info))
    return file.getvalue()


def csc(pianoroll, index=0) -> dict:
    """The four parts of a track."""
    matrix = csc_matrix(pianoroll)
    parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "shape": matrix.shape}
    return {f"pianoroll_{index}_csc_{name}": np.array(value) for name, value in parts.items()}


def roll(n_steps=96, notes=((0, 24, 60),), value=90, dtype=np.uint8):
    pianoroll = np.zeros((n_steps, 128), dtype)
    for start, end, pitch in notes:
        pianoroll[start:end, pitch] = value
    return pianoroll


def info(n_tracks=1, **others) -> dict:
    tracks = {str(i): {"program": 33, "is_drum": False, "name": f"t{i}"} for i in range(n_tracks)}
    return {"resolution": 24, "name": "x", **tracks, **others}


def notes_of(song: Song) -> list[tuple[int, ...]]:
    return sorted(zip(*(column.tolist() for column in song.notes)))


def saved(multitrack) -> bytes:
    file = io.BytesIO()
    pypianoroll.save(file, multitrack)
    return file.getvalue()


def assert_same(a: Song, b: Song) -> None:
    assert notes_of(a) == notes_of(b)
    assert a.tracks == b.tracks and a.ticks_per_quarter == b.ticks_per_quarter
    assert a.downbeats.tolist() == b.downbeats.tolist()
    assert a.tempo.tick.tolist() == b.tempo.tick.tolist() and a.tempo.bpm.tolist() == b.tempo.bpm.tolist()


notes_strategy = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 90), st.integers(1, 40), st.integers(0, 127), st.integers(1, 127)),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(notes_strategy, st.booleans())
def test_what_pypianoroll_saves_reads_as_pypianoroll_loads_it(drawn, is_drum):
    track, start, length, pitch, velocity = (np.array(column, np.int64) for column in zip(*drawn))
    tracks = (Track("a", 3, is_drum), Track("b", 40))
    song = Song(24, tracks, Notes(track, start, start + length, pitch, velocity), steady_tempo(97), np.arange(0, 193, 96))
    multitrack = to_multitrack(song, 24)
    content = saved(multitrack)
    assert_same(load_multitrack(content), from_multitrack(multitrack))


def test_a_saved_midi_file_keeps_its_notes_tempos_and_bars():
    song = load_midi(
        midi([(5, False, scale(3)), (0, True, [(0, 10, 36), (480, 10, 38)])], 480, ((0, 100.0), (1440, 50.0)), ((0, 3, 4),))
    )
    read = load_multitrack(saved(to_multitrack(song, 24)))
    expected = [(t, s // 20, p) for t, s, p in zip(song.notes.track, song.notes.start, song.notes.pitch)]
    assert sorted((t, s, p) for t, s, _, p, _ in notes_of(read)) == sorted(expected)
    assert [track.program for track in read.tracks] == [5, 0] and read.tracks[1].is_drum
    assert read.downbeats.tolist() == [0, 72, 144, 216, 288]
    assert read.tempo.tick.tolist() == [0, 72] and read.tempo.bpm.round(3).tolist() == [100, 50]


def test_the_old_form_of_the_lakh_pianoroll_dataset():
    """As pypianoroll 0.1 wrote it: beat_resolution, tempo and downbeat of one axis, an empty track of no steps."""
    entries = {
        "0": {"program": 0, "is_drum": True, "name": "Drums"},
        "1": {"program": 24, "is_drum": False, "name": "Guitar"},
        "2": {"program": 32, "is_drum": False, "name": "Bass"},
    }
    members = {
        **csc(roll(240, ((0, 1, 36), (24, 25, 38)), 101), 0),
        **csc(np.zeros((0, 128), bool), 1),
        **csc(roll(240, ((0, 23, 40), (24, 48, 40)), 200.0, float), 2),
    }
    song = load_multitrack(
        npz({"beat_resolution": 24, "name": "0f1e", **entries}, tempo=np.full(240, 120.0), downbeat=np.arange(240) == 0,
            **members)
    )
    assert [(t.name, t.program, t.is_drum) for t in song.tracks] == [
        ("Drums", 0, True), ("Guitar", 24, False), ("Bass", 32, False)]
    assert notes_of(song) == [(0, 0, 1, 36, 101), (0, 24, 25, 38, 101), (2, 0, 24, 40, 127), (2, 24, 48, 40, 127)]
    assert song.downbeats.tolist() == [0, 96, 192, 288], "with one signature only the first bar is marked"
    assert song.name == ""


def test_tempos_that_pypianoroll_tiles_are_put_right():
    bpm = np.array([100.0, 100 + 1e-12, 50, 50, 50, 50])
    members = {**csc(roll(144)), "tempo": np.tile(bpm, (1, 24)).reshape(-1, 1)}
    tempo = load_multitrack(npz(info(), **members)).tempo
    assert tempo.tick.tolist() == [0, 48] and tempo.bpm.tolist() == [100, 50]


@pytest.mark.parametrize("length", [1, 10, 500])
def test_tempo_and_downbeat_may_be_of_another_length_or_missing(length):
    members = {**csc(roll(96)), "tempo": np.full(length, 90), "downbeat": np.arange(length) % 48 == 0}
    song = load_multitrack(npz(info(), **members))
    assert song.tempo.bpm.tolist() == [90] and song.downbeats[0] == 0 and song.downbeats[-1] == 96
    bare = load_multitrack(npz(info(), **csc(roll(96))))
    assert bare.tempo.bpm.tolist() == [120] and bare.downbeats.tolist() == [0, 96]


def test_dense_uncompressed_and_big_endian_parts_are_read():
    dense = load_multitrack(npz(info(), zipfile.ZIP_STORED, pianoroll_0=roll()))
    parts = csc(roll())
    swapped = {name: value.astype(value.dtype.newbyteorder(">")) for name, value in parts.items()}
    for content in (npz(info(), zipfile.ZIP_STORED, **parts), npz(info(), **swapped)):
        assert_same(load_multitrack(content), dense)


def test_unsorted_parts_and_stored_zeros_are_no_damage():
    parts = csc(roll(96, ((3, 5, 60),)))
    parts["pianoroll_0_csc_indices"] = np.array([9, 4, 3])
    parts["pianoroll_0_csc_data"] = np.array([0, 7, 8])
    parts["pianoroll_0_csc_indptr"] = np.where(np.arange(129) > 60, 3, 0)
    assert notes_of(load_multitrack(npz(info(), **parts))) == [(0, 3, 5, 60, 8)]


def test_drums_below_twelve_steps_are_struck_at_each_step():
    drums = {"0": {"program": 0, "is_drum": True, "name": "d"}}
    parts = csc(roll(16, ((0, 4, 42),)))
    strokes = [(0, i, i + 1, 42, 90) for i in range(4)]
    assert notes_of(load_multitrack(npz(info(resolution=4, **drums), **parts))) == strokes
    track = pypianoroll.StandardTrack("d", 0, True, roll(16, ((0, 4, 42),)))
    assert notes_of(from_multitrack(pypianoroll.Multitrack(resolution=4, tracks=[track]))) == strokes
    assert notes_of(load_multitrack(npz(info(resolution=12, **drums), **parts))) == [(0, 0, 4, 42, 90)]


def test_odd_values_of_a_track_do_not_matter():
    odd = {"0": {"program": 4711, "is_drum": None, "name": "half \ud800"}}
    assert load_multitrack(npz(info(**odd), **csc(roll()))).tracks == (Track("half ?", 0, False),)


def without(name):
    return {key: value for key, value in csc(roll()).items() if not key.endswith(name)}


def parts(**changed):
    return {**csc(roll()), **{f"pianoroll_0_csc_{name}": value for name, value in changed.items()}}


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{}], object), allow_pickle=True)
    return file.getvalue()


def claims(shape: str, n_bytes=8) -> bytes:
    header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}"
    header = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(n_bytes)


DAMAGE = {
    "text": (b"these are not notes", "cannot be read as arrays: File is not a zip file"),
    "empty": (b"", "cannot be read as arrays"),
    "cut": (npz(info(), **csc(roll()))[:-40], "cannot be read as arrays"),
    "no info": (npz(info(), **csc(roll())).replace(b"info.json", b"info.jsun"), "there is no info.json"),
    "info no json": (npz("{", **csc(roll())), "info.json is no JSON"),
    "info deep": (npz("[" * 100_000, **csc(roll())), "info.json is no JSON"),
    "info a list": (npz("[]", **csc(roll())), "info.json is no table"),
    "info large": (npz(b" " * (1 << 21)), "info.json is larger than"),
    "no resolution": (npz({"0": {}}, **csc(roll())), "resolution must be 1 to 32,767.*got None"),
    "resolution 0": (npz(info(resolution=0), **csc(roll())), "resolution must be.*got 0"),
    "resolution part": (npz(info(resolution=1.5), **csc(roll())), "resolution must be.*got 1.5"),
    "track no table": (npz(info(**{"0": 3}), **csc(roll())), "no table for a track"),
    "no tracks": (npz(info(0)), "has no tracks"),
    "no notes": (npz(info(), **csc(roll(96, ()))), "has no notes"),
    "bzip2": (npz(info(), zipfile.ZIP_BZIP2, **csc(roll())),
              "info.json is encrypted or packed in a way that numpy does not"),
    "no data": (npz(info(), **without("data")), "there is no pianoroll_0_csc_data"),
    "no second track": (npz(info(2), **csc(roll())), "there is no pianoroll_1_csc_data"),
    "pickled": (npz(info(), **parts(data=pickled())), "pianoroll_0_csc_data holds pickled objects, which are never read"),
    "pickled tempo": (npz(info(), tempo=pickled(), **csc(roll())), "tempo holds pickled objects"),
    "text in tempo": (npz(info(), tempo=np.array(["a"]), **csc(roll())), "tempo must hold numbers: got text"),
    "complex": (npz(info(), **parts(data=np.ones(24, complex))), "must hold numbers or text: got complex"),
    "tempo 0": (npz(info(), tempo=np.zeros(96), **csc(roll())), "a tempo is not positive"),
    "tempo nan": (npz(info(), tempo=np.full(96, np.nan), **csc(roll())), "a tempo is not positive"),
    "value nan": (npz(info(), **csc(roll(value=np.nan, dtype=float))), "values that are no numbers"),
    "127 pitches": (npz(info(), **parts(shape=np.array([96, 127]))), r"must be \[steps, 128\]: got \[96, 127\]"),
    "negative steps": (npz(info(), **parts(shape=np.array([-1, 128]))), r"must be \[steps, 128\]: got \[-1, 128\]"),
    "shape bomb": (npz(info(), **parts(shape=np.array([1 << 60, 128]))), "too long: 1,152,921,504,606,846,976 steps"),
    "too long": (npz(info(resolution=1), **parts(shape=np.array([20_000, 128]))), "too long: 20,000 quarter notes"),
    "many tracks": (
        npz(info(40), **{k: v for i in range(40) for k, v in csc(roll(100_000), i).items()}),
        r"too long: .* quarter notes \(tracks: ",
    ),
    "outside": (npz(info(), **parts(shape=np.array([23, 128]))), "notes outside its 23 steps"),
    "before": (npz(info(), **parts(indices=np.arange(-1, 23))), "notes outside its 96 steps"),
    "offsets fall": (npz(info(), **parts(indptr=np.append(np.arange(128)[::-1], 24))), "parts that do not fit together"),
    "offsets few": (npz(info(), **parts(indptr=np.array([0, 24]))), "parts that do not fit together"),
    "offsets far": (npz(info(), **parts(indptr=np.where(np.arange(129) > 60, 1 << 62, 0))),
                    "parts that do not fit together"),
    "data few": (npz(info(), **parts(data=np.ones(3))), "parts that do not fit together"),
    "a cell twice": (npz(info(), **parts(indices=np.zeros(24, int))), "pianoroll_0 has a cell twice"),
    "two axes": (npz(info(), **parts(indices=np.zeros((24, 1), int))), "parts of more than one axis"),
    "real places": (npz(info(), **parts(indices=np.arange(24.0))), "places that are no integers"),
    "header bomb": (npz(info(), **parts(data=claims("(1152921504606846976,)"))),
                    "tells of 9,223,372,036,854,775,808 bytes, there are 8"),
    "header negative": (npz(info(), **parts(data=claims("(-1, -1)"))), "pianoroll_0_csc_data tells of"),
    "header no dict": (npz(info(), **parts(data=claims("(")))  , "has no header of an array"),
    "no array": (npz(info(), **parts(data=b"RIFF" * 20)), "has no header of an array"),
    "dense bomb": (npz(info(), pianoroll_0=np.zeros((0, 127), bool)), r"must be \[steps, 128\]: got \[0, 127\]"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_has_a_reason_in_one_line(name):
    content, reason = DAMAGE[name]
    with pytest.raises(SongError, match=reason) as caught:
        load_multitrack(content)
    assert "\n" not in str(caught.value)


def test_a_zip_bomb_is_refused_by_what_it_claims():
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("pianoroll_0_csc_data.npy", "w") as file:
            file.write(claims(f"({300 << 17},)", 0))
            for _ in range(300):
                file.write(bytes(1 << 20))
        archive.writestr("info.json", json.dumps(info()))
    assert len(bomb.getvalue()) < 1 << 20
    with pytest.raises(SongError, match="pianoroll_0_csc_data is larger than 268,435,456 bytes"):
        load_multitrack(bomb.getvalue())


def test_the_arrays_of_a_multitrack_are_limited_together(monkeypatch):
    content = npz(info(), tempo=np.full(96, 120.0), **csc(roll()))
    monkeypatch.setattr(multitracks, "MAX_FILE_BYTES", 1800)
    assert load_multitrack(content)
    monkeypatch.setattr(multitracks, "MAX_FILE_BYTES", 1300)
    with pytest.raises(SongError, match="tempo is larger than"):
        load_multitrack(content)


def test_a_member_that_unpacks_to_more_than_it_claims_is_damaged():
    content = bytearray(npz(info(), **csc(roll())))
    at = content.index(b"PK\1\2")
    size = int.from_bytes(content[at + 24 : at + 28], "little")
    content[at + 24 : at + 28] = (size - 1).to_bytes(4, "little")
    with pytest.raises(SongError, match="not what its checksum says"):
        load_multitrack(bytes(content))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_gives_another_error(data):
    content = bytearray(npz(info(), tempo=np.full(96, 120.0), **csc(roll())))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        load_multitrack(bytes(content))
    except SongError:
        pass


def test_missing_file(tmp_path):
    with pytest.raises(SongError, match="cannot be read: No such file"):
        load_multitrack(tmp_path / "nowhere.npz")


def test_reading_finds_multitracks(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(npz(info(), **csc(roll())))
    (song,) = read_songs(Source("a.npz", str(path)))
    assert notes_of(song) == [(0, 0, 24, 60, 90)]
