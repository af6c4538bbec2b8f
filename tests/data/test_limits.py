"""Limits that keep what a damaged file asks for small, and what is drawn by another way where there is much of it."""

import zipfile

import numpy as np
import pytest

from musegan.data import events, pianorolls
from musegan.data.events import Notes, Song, SongError, steady_tempo
from musegan.data.pianorolls import from_multitrack, to_multitrack, track_notes
from musegan.data.midi import load_midi
from musegan.data.sources import find_sources
from musegan.roll import Track
from tests.data.damaged import END, NOTE, header, midi_seeds, track


def random_song(rng, n_notes, n_tracks=5):
    start = rng.integers(0, 200, n_notes)
    columns = (rng.integers(0, n_tracks, n_notes), start, start + rng.integers(0, 60, n_notes),
               rng.integers(58, 66, n_notes))
    notes = Notes(*columns, rng.integers(1, 128, n_notes))
    tracks = tuple(Track(str(k), is_drum=k == 3) for k in range(n_tracks))
    return Song(12, tracks, notes, steady_tempo(), np.arange(0, 300, 48))


@pytest.mark.parametrize("seed", range(5))
def test_long_and_short_notes_are_drawn_alike(monkeypatch, seed):
    song = random_song(np.random.default_rng(seed), 3 * 10**seed // 10 + 1)
    drawn = []
    for many_cells in (1 << 22, 0):
        monkeypatch.setattr(pianorolls, "_MANY_CELLS", many_cells)
        drawn.append([track.pianoroll for track in to_multitrack(song, 12).tracks])
    assert len(drawn[0]) == len(drawn[1]) == len(set(song.notes.track.tolist()))
    assert all(map(np.array_equal, *drawn))


def test_each_track_has_its_own_notes():
    song = random_song(np.random.default_rng(0), 40)
    for track in to_multitrack(song, 12).tracks:
        of_track = song.notes.take(song.notes.track == int(track.name))
        assert set(np.flatnonzero(track.pianoroll.any(0))) == set(of_track.pitch)


def test_too_many_tracks():
    with pytest.raises(SongError, match="has 1,025 tracks, more than 1,024"):
        random_song(np.random.default_rng(0), 9, 1025)


def test_too_many_notes_in_a_piano_roll(monkeypatch):
    monkeypatch.setattr(events, "MAX_NOTES", 99)
    pianoroll = np.zeros((20, 128), np.uint8)
    pianoroll[::2, :10] = 1
    assert len(track_notes(pianoroll[:18])[0]) == 90
    with pytest.raises(SongError, match="has 100 notes, more than 99"):
        track_notes(pianoroll)


@pytest.mark.parametrize("resolution", [0, -1, 1 << 15])
def test_a_resolution_out_of_range(resolution):
    multitrack = to_multitrack(random_song(np.random.default_rng(0), 9), 12)
    multitrack.resolution = resolution
    with pytest.raises(SongError, match=f"damaged: {resolution} steps in a quarter note"):
        from_multitrack(multitrack)


@pytest.mark.parametrize("bpm", [0.0, -1.0, np.nan, np.inf, 1e-320, 1e300])
def test_a_tempo_out_of_range(bpm):
    multitrack = to_multitrack(random_song(np.random.default_rng(0), 9), 12)
    multitrack.tempo[50:] = bpm
    with pytest.raises(SongError, match="a tempo is not positive, or not in 0.001 to 1e"):
        from_multitrack(multitrack)


def test_the_same_name_many_times_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        for name in ("a.mid", "a.mid", "a.mid (2)/../x.mid", "a.mid"):
            archive.writestr(name, midi_seeds()[0])
    names = [source.name for source in find_sources([tmp_path / "s.zip"])]
    assert names == ["s.zip/a.mid", "s.zip/a.mid (2)", "s.zip/a.mid (3)", "s.zip/a.mid (2)/x.mid"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_limit(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "s.zip", "w", method) as archive:
        archive.writestr("a.mid", midi_seeds()[0])
    with pytest.raises(SongError, match="packed by (bzip2|lzma), not deflate"):
        find_sources([tmp_path / "s.zip"])[0].read()


@pytest.mark.parametrize("claimed, there, read", [(1, 1, 1), (9, 2, 2), (1, 3, 1), (65535, 1, 1)])
@pytest.mark.parametrize("behind", [b"", b"\0", b"MTrk", b"MTrk\0\0\0"])
def test_as_many_tracks_as_are_claimed_and_there(claimed, there, read, behind):
    content = header(claimed) + track(NOTE + END) * there + behind
    assert len(load_midi(content).tracks) == read


@pytest.mark.parametrize("tail, bpm", [(b"\0\xff\x51\0", [120]), (b"\0\xff\x51\1\1", [120, 60e6 / 0x010000])])
def test_a_value_that_is_cut_off_is_not_what_lies_behind(tail, bpm):
    """symusic takes the bytes behind the file for it: here they are zeros."""
    assert load_midi(header() + track(NOTE + tail)).tempo.bpm.tolist() == bpm
