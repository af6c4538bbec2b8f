"""Finding music in files, folders and zips."""

import os
import pickle
import zipfile

import pytest

from musegan.data.events import SongError
from musegan.data.sources import MAX_FILE_BYTES, find_sources, fingerprint
from musegan.errors import UserError
from tests.data.songs import midi, scale

SONG = midi([(0, False, scale(1))])


def names(*inputs):
    return [source.name for source in find_sources(list(inputs))]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b" / "deep").mkdir(parents=True)
    for name in ("z.mid", "A.MIDI", "b/deep/y.smf", "b/x.mid", "b/notes.txt"):
        (tmp_path / name).write_bytes(SONG)
    return tmp_path


def zipped(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def test_folders_are_searched_through_in_a_fixed_order(folder):
    assert names(folder) == ["A.MIDI", "z.mid", "b/x.mid", "b/deep/y.smf"]


def test_the_same_name_twice_is_numbered(folder):
    assert names(folder / "z.mid", folder / "z.mid", folder / "b") == ["z.mid", "z.mid (2)", "x.mid", "deep/y.smf"]


def test_zips_are_read_in_memory(folder):
    path = zipped(folder / "b" / "songs.zip", {"two.mid": SONG, "in/one.mid": SONG, "readme.txt": "hello"})
    sources = find_sources([path])
    assert [source.name for source in sources] == ["songs.zip/in/one.mid", "songs.zip/two.mid"]
    assert [source.read() for source in sources] == [SONG, SONG]
    assert "b/songs.zip/two.mid" in names(folder)


def test_hidden_files_are_passed_over(tmp_path):
    (tmp_path / "._a.mid").write_bytes(b"attributes")
    zipped(tmp_path / "b.zip", {"a.mid": SONG, "__MACOSX/._a.mid": b"attributes", ".b.mid": SONG})
    assert names(tmp_path) == ["b.zip/a.mid"]


def test_a_zip_written_anew_is_opened_anew(tmp_path):
    other = midi([(0, False, scale(2))])
    for content in (SONG, other):
        (source,) = find_sources([zipped(tmp_path / "s.zip", {"a.mid": content})])
        assert source.read() == content


def test_a_file_beside_another(folder):
    """In the same folder, or the same folder of the same zip."""
    (folder / "b" / "x.beats").write_text("1 2 3")
    (source,) = find_sources([folder / "b" / "x.mid"])
    assert source.beside("x.beats") == b"1 2 3"
    with pytest.raises(SongError, match="there is no y.beats beside it"):
        source.beside("y.beats")
    zip_path = zipped(folder / "s.zip", {"in/a.mid": SONG, "in/a.beats": "4 5", "a.beats": "6"})
    (source,) = find_sources([zip_path])
    assert source.beside("a.beats") == b"4 5"
    with pytest.raises(SongError, match="there is no b.beats beside it"):
        source.beside("b.beats")


def test_a_source_goes_to_another_process(folder):
    for source in find_sources([folder, zipped(folder / "s.zip", {"a.mid": SONG})]):
        again = pickle.loads(pickle.dumps(source))
        assert again == source and again.read() == SONG and again.suffix == source.suffix.lower()


def test_the_fingerprint_tells_files_that_come_go_or_change(folder):
    def found():
        return fingerprint(find_sources([folder]))

    first = found()
    assert found() == first
    (folder / "new.mid").write_bytes(SONG)
    assert found() != first
    (folder / "new.mid").unlink()
    assert found() == first
    os.utime(folder / "z.mid", ns=(1, 1))
    assert found() != first


def test_names_in_a_zip_cannot_climb_or_break_a_table(tmp_path):
    entries = ("../../etc/a.mid", "/b.mid", "c\x1b[2J\n.mid", "..\\d.mid")
    path = zipped(tmp_path / "s.zip", dict.fromkeys(entries, SONG))
    assert sorted(names(path)) == ["s.zip/b.mid", "s.zip/c?[2J?.mid", "s.zip/d.mid", "s.zip/etc/a.mid"]


def test_a_bomb_in_a_zip_is_refused(tmp_path):
    path = zipped(tmp_path / "s.zip", {"bomb.mid": bytes(MAX_FILE_BYTES + 1)})
    assert path.stat().st_size < 100_000
    with pytest.raises(SongError, match="larger than 32 MiB"):
        find_sources([path])[0].read()


def test_a_zip_that_lies_about_a_size_gives_no_more_than_the_limit(tmp_path):
    path = zipped(tmp_path / "s.zip", {"bomb.mid": bytes(2 * MAX_FILE_BYTES)})
    real = (2 * MAX_FILE_BYTES).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(real, (1000).to_bytes(4, "little")))
    try:
        assert len(find_sources([path])[0].read()) <= MAX_FILE_BYTES + 1
    except SongError as err:
        assert "cannot be unpacked" in str(err)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 and no more", SONG])
def test_a_broken_zip_is_one_bad_file(tmp_path, data):
    (tmp_path / "s.zip").write_bytes(data)
    (source,) = find_sources([tmp_path])
    assert source.name == "s.zip"
    with pytest.raises(SongError, match="not a readable zip"):
        source.read()


def test_a_broken_entry_is_one_bad_file(tmp_path):
    path = zipped(tmp_path / "s.zip", {"a.mid": SONG * 40})
    data = bytearray(path.read_bytes())
    data[60:70] = bytes(10)
    path.write_bytes(data)
    with pytest.raises(SongError, match="cannot be unpacked"):
        find_sources([path])[0].read()


def test_a_named_file_that_is_no_music_is_one_bad_file(tmp_path):
    (tmp_path / "song.txt").write_text("la la la")
    with pytest.raises(SongError, match="its name ends in none of .mid"):
        find_sources([tmp_path / "song.txt"])[0].read()


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match="no such file or folder: .*nowhere"):
        find_sources([tmp_path, tmp_path / "nowhere"])
    with pytest.raises(UserError,
        match="no music in .*: looked for .mid, .midi, .smf, .npz, .npy, .musicxml, .mxl, .xml, .krn and .zip"):
        find_sources([tmp_path])
