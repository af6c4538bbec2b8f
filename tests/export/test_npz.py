"""pypianoroll files: the same notes, no pickle, and pypianoroll's own functions work on them."""

import numpy as np
import pretty_midi
import pypianoroll
import pytest

from musegan.errors import UserError
from musegan.export import write_npz
from musegan.export.npz import multitrack
from musegan.roll import PRESETS, RollSpec


def runs(line: np.ndarray) -> list[tuple[int, int]]:
    """Half-open runs of non-zeros."""
    edges = np.flatnonzero(np.diff(np.pad(line > 0, 1).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist()))


@pytest.mark.parametrize(
    ("steps_per_beat", "resolution"), [(1, 25), (2, 26), (3, 27), (4, 28), (6, 30), (8, 24), (12, 36), (24, 72)]
)
def test_resolution(steps_per_beat, resolution):
    assert RollSpec(PRESETS["satb"], steps_per_beat=steps_per_beat).multitrack_resolution == resolution


@pytest.mark.parametrize("case", ["band", "waltz", "silence", "jig", "seven", "march"])
def test_load_gives_back_the_notes(case, request, tmp_path):
    spec, notes, roll = request.getfixturevalue(case)
    write_npz(tmp_path / "song.npz", roll, spec, tempo_bpm=97.0)
    loaded = pypianoroll.load(tmp_path / "song.npz")
    loaded.validate()
    assert loaded.resolution == spec.multitrack_resolution
    fine = loaded.resolution * 4 // (spec.steps_per_beat * spec.beat_unit)
    found = [
        (index, pitch, start / fine, -(-end // fine))    # a note may end a fine step early
        for index, track in enumerate(loaded.tracks)
        for pitch in range(128)
        for start, end in runs(track.pianoroll[:, pitch])
    ]
    assert sorted(found) == sorted(notes)
    assert [(track.name, track.program, track.is_drum) for track in loaded.tracks] == [
        (track.name, track.program, track.is_drum) for track in spec.tracks
    ]


def test_only_a_note_struck_again_at_once_ends_early(band):
    spec, _, roll = band
    bass = multitrack(roll, spec).tracks[3].pianoroll
    assert runs(bass[:, 36]) == [(step * 7, step * 7 + 13) for step in range(0, 14, 2)] + [(98, 112)]
    assert runs(bass[:, 41]) == [(112, 203)]


def test_tempo_downbeats_and_velocity(waltz):
    spec, _, roll = waltz
    music = multitrack(roll, spec, tempo_bpm=97.0, velocity=70)
    assert music.get_downbeat_steps().tolist() == [0, 108, 216]
    assert music.tempo.shape == music.downbeat.shape == (324,)
    assert set(music.tempo) == {97.0}
    assert set(np.unique(music.stack())) == {0, 70}


@pytest.mark.parametrize(("case", "downbeats", "steps"), [
    ("jig", [0, 3 * 28], 6 * 28), ("seven", [0, 98], 7 * 28), ("march", [0, 4 * 28], 8 * 28),
])
def test_bars_of_another_beat(case, downbeats, steps, request):
    spec, _, roll = request.getfixturevalue(case)
    music = multitrack(roll, spec)
    assert music.resolution == 28    # of a quarter note
    assert music.get_downbeat_steps().tolist() == downbeats
    assert music.downbeat.size == steps


def test_seconds_of_seven_eighths(seven, tmp_path):
    spec, _, roll = seven
    pypianoroll.write(tmp_path / "song.mid", multitrack(roll, spec, tempo_bpm=60.0))
    music = pretty_midi.PrettyMIDI(str(tmp_path / "song.mid"))
    assert [note.start for note in music.instruments[1].notes] == pytest.approx([0, 3.5, 3.75], abs=0.01)


def test_no_pickle_inside(band, tmp_path):
    spec, _, roll = band
    write_npz(tmp_path / "song.npz", roll, spec)
    with np.load(tmp_path / "song.npz", allow_pickle=False) as file:
        assert "info.json" in file.files
        assert all(file[name] is not None for name in file.files)


def test_pypianoroll_writes_it_as_midi(band, tmp_path):
    spec, notes, roll = band
    pypianoroll.write(tmp_path / "song.mid", multitrack(roll, spec, tempo_bpm=60.0))
    music = pretty_midi.PrettyMIDI(str(tmp_path / "song.mid"))
    assert sum(len(track.notes) for track in music.instruments) == len(notes)
    assert [note.start for note in music.instruments[3].notes][:4] == pytest.approx([0, 0.5, 1, 1.5], abs=0.01)


def test_a_name_without_suffix_makes_one_file(band, tmp_path):
    spec, _, roll = band
    write_npz(tmp_path / "song", roll, spec)
    assert [file.name for file in tmp_path.iterdir()] == ["song"]
    assert len(pypianoroll.load(tmp_path / "song").tracks) == 5


def test_bad_arguments(band, tmp_path):
    spec, _, roll = band
    with pytest.raises(ValueError, match="tempo_bpm must be 4 to 1000: got -3"):
        multitrack(roll, spec, tempo_bpm=-3)
    with pytest.raises(UserError, match="cannot write"):
        write_npz(tmp_path / "no" / "song.npz", roll, spec)
