"""Files that hold several songs, beats from annotations, and what the report says where there is nothing to say."""

import json

import numpy as np
import pytest
import torch

from musegan import prepare as command
from musegan.cli import run
from musegan.data.dataset import PackedDataset
from musegan.data.preparation import Rules, prepare
from musegan.data.tracks import PRESETS
from musegan.errors import UserError
from musegan.ops import notes
from tests.data.songs import midi, scale

RULES = Rules(PRESETS["lpd5"].with_spec(steps_per_beat=12))
PIANO = 1


def phrases(n, fill):
    """[N, 4, 48, 84, 5] bool with a note of each phrase's own in the piano; `fill` says which phrases have one."""
    result = np.zeros((n, 4, 48, 84, 5), bool)
    for i in range(n):
        if fill[i]:
            result[i, i % 4, : 5 + i, 30 + 2 * i, PIANO] = True
            result[i, 3, 40:, 20 + i * i % 7, PIANO] = True
    return result


def test_phrases_of_one_song_are_one_piece_without_running_into_each_other(tmp_path):
    np.savez(tmp_path / "x.npz", phrases=phrases(5, [1] * 5), song=np.array([0, 0, 1, 1, 1]), names=np.array(["a", "b"]))
    report = prepare([tmp_path / "x.npz"], tmp_path / "set", RULES)
    dataset = PackedDataset.open(tmp_path / "set")
    assert dataset.pieces == ["x.npz/a", "x.npz/b"] and report.n_songs == 5
    # Bars are cut at both ends of a phrase, so what counts is that no phrase of four bars goes over from one to the next.
    by_piece = [dataset.piece_of(dataset.phrase_starts(n)).tolist() for n in (1, 2)]
    assert len(by_piece[1]) < len(by_piece[0]) - 4 and set(by_piece[0]) == {0, 1}
    starts = dataset.phrase_starts(1)
    roll = dataset.roll(starts, 1)
    assert int(notes(roll)[:, 1].ne(PIANO).sum()) == 0


def test_a_name_that_comes_again_is_a_piece_of_its_own(tmp_path):
    np.savez(tmp_path / "x.npz", phrases=phrases(3, [1] * 3), song=np.array([0, 1, 0]), names=np.array(["a", "b"]))
    report = prepare([tmp_path / "x.npz"], tmp_path / "set", RULES)
    assert list(report.pieces) == ["x.npz/a", "x.npz/b", "x.npz/a (2)"]


def test_a_name_that_ends_like_a_number_of_ours(tmp_path):
    np.savez(tmp_path / "x.npz", phrases=phrases(5, [1] * 5), names=np.array(["a", "a (2)", "b", "a", "a (2)"]))
    report = prepare([tmp_path / "x.npz"], tmp_path / "set", Rules(RULES.preset, duplicates="keep"))
    assert list(report.pieces) == [f"x.npz/{name}" for name in ("a", "a (2)", "b", "a (3)", "a (2) (2)")]
    assert PackedDataset.open(tmp_path / "set").pieces == list(report.pieces)


def test_songs_left_out_of_a_piece_are_counted(tmp_path):
    music = phrases(3, [1] * 3)
    music[1] = False
    music[1, :, :6, 30, 3] = True    # the bass alone
    music[[0, 2], 0, :9, 10, 3] = True
    np.savez(tmp_path / "x.npz", phrases=music, song=np.array([0, 0, 0]), names=np.array(["a"]))
    report = prepare([tmp_path / "x.npz"], tmp_path / "set", Rules(RULES.preset, min_tracks=2))
    assert list(report.pieces) == ["x.npz/a"]
    assert report.rejected_songs == {"sounds in 1 of 5 tracks, fewer than 2": 1}
    saved = json.loads((tmp_path / "set" / "report.json").read_text())
    assert saved["rejected_songs"] == {"sounds in 1 of 5 tracks, fewer than 2": 1}


@pytest.fixture
def played(tmp_path):
    """A scale played at 93 bpm in a file that says 120 bpm and 1/4, and where its beats are; another without."""
    folder = tmp_path / "songs"
    (folder / "one").mkdir(parents=True)
    ticks_per_beat = 480 * 120 / 93    # at 120 bpm
    start = 0.3    # seconds before the first beat
    tune = [(round(i * ticks_per_beat + start * 960), round(0.8 * ticks_per_beat), 60 + i % 12) for i in range(32)]
    (folder / "one" / "song.mid").write_bytes(midi([(0, False, tune)], signatures=((0, 1, 4),)))
    beats = "".join(f"{start + i * 60 / 93} {float(i % 2 == 0)} {float(i % 4 == 0)}\n" for i in range(33))
    (folder / "one" / "beat_midi.txt").write_text(beats)
    (folder / "song.beats").write_text(beats)
    (folder / "two").mkdir()
    (folder / "two" / "other.mid").write_bytes(midi([(0, False, scale(4))]))
    return folder


def test_notes_are_put_on_annotated_beats(played, tmp_path):
    report = prepare([played], tmp_path / "set", Rules(RULES.preset, beats="beat_midi.txt"))
    assert report.pieces == {"one/song.mid": 8}
    assert report.rejected_files == {"two/other.mid": "there is no beat_midi.txt beside it"}
    assert report.off_grid_share == 0 and report.off_grid_share_before > 0.5
    dataset = PackedDataset.open(tmp_path / "set")
    assert dataset.tempo_bpm.tolist() == pytest.approx([93] * 8, rel=1e-4)
    table = notes(dataset.roll(torch.tensor([0]), 8))
    assert table[:, 3].tolist() == [12 * i for i in range(32)]
    assert (table[:, 2] + 24).tolist() == [60 + i % 12 for i in range(32)]


def test_the_stem_names_an_annotation(played, tmp_path):
    (played / "song.mid").write_bytes((played / "one" / "song.mid").read_bytes())
    report = prepare([played / "song.mid"], tmp_path / "set", Rules(RULES.preset, beats="{stem}.beats"))
    assert report.pieces == {"song.mid": 8}


def test_a_part_without_music_has_a_report_that_json_can_hold(tmp_path, capsys):
    folder = tmp_path / "songs"
    folder.mkdir()
    (folder / "a.mid").write_text("no music")
    for i in range(16):    # a block further on
        (folder / f"b{i:02d}.mid").write_bytes(midi([(0, False, [(0, 480, 60), (1440, 480, 61 + i)])]))
    for k in (1, 2):
        assert run(command.main, [str(folder), "-o", str(tmp_path / "set"), "--shard", f"{k}/2"]) == 0
    assert "nan" not in capsys.readouterr().out
    reports = [json.loads(path.read_text()) for path in sorted((tmp_path / "set").glob("part-*/report.json"))]
    assert [report["n_files"] for report in reports] == [16, 1]
    assert PackedDataset.open(tmp_path / "set").n_bars == 16

    (folder / "b15.mid").write_text("no music")
    assert run(command.main, [str(folder), "-o", str(tmp_path / "set2"), "--shard", "2/2"]) == 0
    report = json.loads((tmp_path / "set2" / "part-002-of-002" / "report.json").read_text())
    assert report["median_error_steps"] is None and report["off_grid_share"] is None


def test_drums_keep_the_edge_of_the_hi_hat(tmp_path):
    kit = [(0, 30, 36), (480, 30, 22), (960, 30, 26), (1440, 30, 81)]
    (tmp_path / "kit.mid").write_bytes(midi([(0, True, kit), (0, False, scale(1))]))
    report = prepare([tmp_path / "kit.mid"], tmp_path / "set", Rules(PRESETS["drums"]))
    assert report.n_notes == 4 and report.n_out_of_range == 0 and report.dropped_notes == {"piano": 4}


def test_a_preset_needs_a_feed_for_each_track():
    with pytest.raises(UserError, match="one feed for each track: got 0 for 5 tracks"):
        type(PRESETS["lpd5"])(PRESETS["lpd5"].spec, ())
