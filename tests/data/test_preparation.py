"""`prepare` as a function and as a command: what is kept, what is left out, what is refused."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from musegan import prepare as command
from musegan.cli import run
from musegan.data import preparation
from musegan.data.packed import PackedDataset
from musegan.data.preparation import Rules, prepare
from musegan.data.tracks import PRESETS
from musegan.errors import UserError
from musegan.resources import dataset_path
from tests.data.songs import midi, moved, scale

LPD5 = PRESETS["lpd5"]
RULES = Rules(LPD5)
SONG = midi([(0, False, scale(4)), (33, False, scale(4)), (0, True, [(i * 480, 10, 36) for i in range(16)])])
OTHER = midi([(48, False, scale(6))])


@pytest.fixture
def songs(tmp_path):
    folder = tmp_path / "songs"
    folder.mkdir()
    (folder / "a.mid").write_bytes(SONG)
    (folder / "b.mid").write_bytes(OTHER)
    return folder


@pytest.fixture(scope="module")
def freedoom(tmp_path_factory):
    out = tmp_path_factory.mktemp("freedoom") / "set"
    rules = Rules(LPD5, max_silence=None, duplicates="exact")
    return prepare([dataset_path("freedoom")], out, rules), PackedDataset.open(out)


def test_the_embedded_music(freedoom):
    report, dataset = freedoom
    assert (report.n_files, len(report.pieces), report.n_bars) == (67, 59, 4313) and dataset.n_bars == 4313
    assert dataset.pieces == list(report.pieces)
    assert len(report.regridded) == 10
    assert report.off_grid_share_before == pytest.approx(0.109, abs=0.001)
    assert report.off_grid_share == pytest.approx(0.026, abs=0.001)
    reasons = report.rejected_files
    assert "nor on any steady one" in reasons["phase1-bunny.mid"]
    assert reasons["phase1-e2m6.mid"] == "the same music as phase1-e1m5.mid"
    assert reasons["phase2-ampie.mid"] == "3 quarter notes in a bar, not 4"
    assert len(reasons) == 8
    shares = [count / report.n_bars for count in report.sounding_bars.values()]
    assert shares == pytest.approx([0.885, 0.299, 0.607, 0.685, 0.778], abs=0.001)


def test_planes_of_the_embedded_music(freedoom):
    _, dataset = freedoom
    roll = dataset.roll(dataset.phrase_starts(4)[::40], 4)
    assert not (roll.onset & ~roll.frame).any()
    assert torch.equal(roll.onset[:, 0], roll.frame[:, 0])
    assert roll.frame.any((0, 2, 3, 4)).all()
    backbeat = roll.onset[:, 0, :, :, 38 - 24].sum((0, 1))    # [T], snare
    assert set(backbeat.topk(2).indices.tolist()) == {4, 12}
    assert dataset.tempo_bpm.min() > 60 and dataset.tempo_bpm.max() < 200


def test_the_same_input_gives_the_same_bytes(songs, tmp_path):
    for out in ("one", "two"):
        prepare([songs], tmp_path / out, RULES)
    files = [{path.name: path.read_bytes() for path in (tmp_path / out).iterdir()} for out in ("one", "two")]
    assert files[0] == files[1] and set(files[0]) == {"shard-00000.safetensors", "report.json"}


def test_bad_files_among_good_ones_are_left_out_with_a_reason(songs, tmp_path):
    (songs / "c.mid").write_text("no music")
    (songs / "d.mid").write_bytes(SONG[:-30])
    (songs / "e.mid").write_bytes(midi([(0, False, scale(2))], signatures=((0, 5, 4),)))
    (songs / "f.mid").write_bytes(midi([(120, False, scale(2))]))
    (songs / "g.mid").write_bytes(SONG)
    with zipfile.ZipFile(songs / "h.zip", "w") as archive:
        archive.writestr("good.mid", midi([(24, False, scale(3))]))
        archive.writestr("bad.mid", b"MThd and no more")
    report = prepare([songs], tmp_path / "set", RULES)
    assert report.pieces == {"a.mid": 4, "b.mid": 6, "h.zip/good.mid": 3}
    reasons = dict(report.rejected_files)
    assert reasons.pop("d.mid").startswith("damaged MIDI") and reasons.pop("h.zip/bad.mid").startswith("damaged MIDI")
    assert reasons == {
        "c.mid": "not a MIDI file: does not begin with MThd",
        "e.mid": "5 quarter notes in a bar, not 4",
        "f.mid": "silent in every track of the roll",
        "g.mid": "the same music as a.mid",
    }
    assert report.rejected_bars == [("e.mid", "5 quarter notes in a bar, not 4", 1, 2)]
    saved = json.loads((tmp_path / "set" / "report.json").read_text())
    assert saved["rejected_files"] == report.rejected_files and saved["n_bars"] == 13


def test_counts(tmp_path):
    path = tmp_path / "song.mid"
    twice = [(0, 20, 60), (40, 20, 60)]
    path.write_bytes(midi([(0, False, [*twice, (480, 100, 12), (960 + 30, 100, 64)]), (97, False, scale(1))]))
    report = prepare([path], tmp_path / "set", RULES)
    assert (report.n_notes, report.n_out_of_range, report.n_merged) == (4, 1, 1)
    assert report.dropped_notes == {"synth effects": 4}
    assert report.sounding_bars == {"drums": 0, "piano": 1, "guitar": 0, "bass": 0, "strings": 0}
    # Of the eight notes, 40 ticks are 1/3 step, 30 are 1/4.
    assert report.off_grid_share == 2 / 8 and report.median_error_steps == 0


def test_satb(tmp_path):
    path, voices = tmp_path / "song.mid", [(52, False, [(0, 1920, pitch)]) for pitch in (72, 67, 64, 48, 36)]
    path.write_bytes(midi(voices))
    report = prepare([path], tmp_path / "set", Rules(PRESETS["satb"]))
    roll = PackedDataset.open(tmp_path / "set").roll(torch.tensor([0]), 1)
    assert (roll.onset[0, :, 0, 0].nonzero() + torch.tensor([0, 24])).tolist() == [[0, 72], [1, 67], [2, 64], [3, 48]]
    assert report.dropped_notes == {"ensemble": 1}
    path.write_bytes(midi(voices[:3]))
    with pytest.raises(UserError, match="no bars are left of 1 files: 1 file: sounds in 3 of 4 tracks, fewer than 4"):
        prepare([path], tmp_path / "other", Rules(PRESETS["satb"], min_tracks=4))


def test_an_empty_result_says_why_and_writes_nothing(songs, tmp_path):
    message = "no bars are left of 2 files: 2 files: 4 quarter notes in a bar, not 5"
    with pytest.raises(UserError, match=message):
        prepare([songs], tmp_path / "set", Rules(LPD5.with_spec(beats_per_bar=5)))
    assert [path.name for path in tmp_path.iterdir()] == ["songs"]


def test_a_data_set_is_replaced_only_on_demand_and_stays_when_that_fails(songs, tmp_path, monkeypatch):
    out = tmp_path / "set"
    prepare([songs], out, RULES)
    with pytest.raises(UserError, match="is a data set already: .*--overwrite"):
        prepare([songs / "a.mid"], out, RULES)
    rename, n_calls = Path.rename, 0

    def second_fails(path, target):
        nonlocal n_calls
        n_calls += 1
        if n_calls == 2:
            raise OSError(28, "disk full")
        return rename(path, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", second_fails)
        with pytest.raises(UserError, match="cannot write .*: disk full"):
            prepare([songs / "a.mid"], out, RULES, overwrite=True)
    assert n_calls == 3 and PackedDataset.open(out).pieces == ["a.mid", "b.mid"]
    prepare([songs / "a.mid"], out, RULES, overwrite=True)
    assert PackedDataset.open(out).pieces == ["a.mid"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "songs"]


def test_a_folder_of_other_things_is_never_replaced(songs, tmp_path):
    with pytest.raises(UserError, match="holds other things than a data set, e.g. [ab].mid"):
        prepare([songs], songs, RULES, overwrite=True)
    assert sorted(path.name for path in songs.iterdir()) == ["a.mid", "b.mid"]


def test_an_empty_folder_is_filled(songs, tmp_path):
    (tmp_path / "set").mkdir()
    prepare([songs], tmp_path / "set", RULES)
    assert PackedDataset.open(tmp_path / "set").n_bars == 10


def test_an_output_that_cannot_be_written_is_told_before_the_work(songs, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "read_songs", lambda source: pytest.fail("read a file first"))
    for out in (songs / "a.mid" / "set", songs / "a.mid"):
        with pytest.raises(UserError, match="cannot write .*Not a directory"):
            prepare([songs], out, RULES)


def test_progress_counts_to_the_end(songs, tmp_path, monkeypatch):
    seen = []
    prepare([songs], tmp_path / "set", RULES, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 2)]
    monkeypatch.setattr(preparation, "_SMALLEST_BLOCK", 1)
    seen.clear()
    prepare([songs], tmp_path / "other", RULES, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_the_command_prints_what_became_of_each_file(songs, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    (songs / "[bad].mid").write_text("no music")
    signatures = ((0, 4, 4), (1920, 3, 4), (1920 + 1440, 4, 4))
    (songs / "c.mid").write_bytes(midi([(0, False, scale(6))], signatures=signatures))
    code = run(command.main, [str(songs), "-o", str(tmp_path / "set"), "--steps-per-beat", "12"])
    lines = [" ".join(line.replace("│", "|").split()) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    for line in (
        "| files | 4 |",
        "| pieces | 3 |",
        "| bars kept | 16 |",
        "| strings | 37.5% |",
        "| [bad].mid | all | not a MIDI file: does not begin with MThd |",
        "| c.mid | 2 | 3 quarter notes in a bar, not 4 |",
    ):
        assert line in lines
    assert PackedDataset.open(tmp_path / "set").spec == LPD5.with_spec(steps_per_beat=12).spec


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["nowhere"], 1, "no such file or folder: nowhere"),
        (["empty"], 1, "no music in empty"),
        (["text.mid"], 1, "no bars are left of 1 files: 1 file: not a MIDI file"),
        (["cut.mid"], 1, "no bars are left of 1 files: 1 file: damaged MIDI"),
        (["a.mid", "-o", "a.mid/set"], 1, "cannot write a.mid/set"),
        (["a.mid", "-o", "/proc/set"], 1, "cannot write /proc/set"),
        (["a.mid", "--n-pitches", "120"], 1, "stay within MIDI's 0 to 127"),
        (["a.mid", "--steps-per-beat", "0"], 1, "steps_per_beat must be at least 1: got 0"),
        (["a.mid", "--n-pitches", "many"], 2, "invalid int value: 'many'"),
        (["a.mid", "--preset", "trio"], 2, "invalid choice: 'trio'"),
        (["a.mid", "--tempo", "7"], 2, "unrecognized arguments: --tempo 7"),
        (["a.mid", "--shard", "4/3"], 2, "must be such as 3/100: got '4/3'"),
        (["a.mid", "--shard", "0/3"], 2, "must be such as 3/100: got '0/3'"),
        (["a.mid", "--jobs", "0"], 2, "must be a number from 1 on: got '0'"),
        (["a.mid", "--min-tracks", "none"], 2, "must be a number from 1 on: got 'none'"),
        (["a.mid", "--duplicates", "all"], 2, "invalid choice: 'all'"),
        (["a.mid", "--spec", "my.yaml", "--preset", "satb"], 2, "not allowed with argument"),
        (["a.mid", "--spec", "my.yaml"], 1, "cannot read my.yaml: No such file"),
        (["a.mid", "--spec", "text.mid"], 1, "text.mid: the preset must be keys and values: got 'no music'"),
        (["a.mid", "--min-tracks", "4"], 1, "no bars are left of 1 files: 1 file: sounds in 3 of 5 tracks, fewer than 4"),
    ],
)
def test_mistakes_end_with_one_clear_line(songs, monkeypatch, capsys, arguments, code, message):
    monkeypatch.chdir(songs)
    (songs / "empty").mkdir()
    (songs / "text.mid").write_text("no music")
    (songs / "cut.mid").write_bytes(SONG[:-30])
    arguments = arguments if "-o" in arguments else [*arguments, "-o", "set"]
    try:
        got = run(command.main, arguments)
    except SystemExit as stop:
        got = stop.code
    error = capsys.readouterr().err
    assert got == code and message in error.strip().splitlines()[-1]
    if code == 1:
        assert len(error.strip().splitlines()) == 1
    assert not (songs / "set").exists()


def test_the_command_as_a_process(songs, tmp_path):
    arguments = [sys.executable, "-m", "musegan.prepare", str(songs / "a.mid"), "-o", str(tmp_path / "set")]
    first = subprocess.run(arguments, capture_output=True, text=True, env=os.environ, timeout=60)
    assert first.returncode == 0 and "wrote" in first.stdout and not first.stderr
    again = subprocess.run(arguments, capture_output=True, text=True, env=os.environ, timeout=60)
    assert again.returncode == 1
    assert again.stderr.startswith("musegan: error: ") and again.stderr.count("\n") == 1
