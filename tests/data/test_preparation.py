"""`prepare` as a function and as a command: what is kept, what is left out, what is refused."""

import json
import os
import subprocess
import sys
import zipfile
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import torch

from musegan import prepare as command
from musegan.cli import run
from musegan.data import preparation, processes
from musegan.data.dataset import PackedDataset
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
    with pytest.raises(UserError, match="no bars are left of 1 file: 1 file: sounds in 3 of 4 tracks, fewer than 4"):
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


def test_what_came_meanwhile_is_never_replaced(songs, tmp_path):
    out = tmp_path / "set"

    def user(done, total):
        out.mkdir(exist_ok=True)
        (out / "thesis.txt").write_text("of three years")

    with pytest.raises(UserError, match="holds other things than a data set, e.g. thesis.txt"):
        prepare([songs], out, RULES, progress=user)
    assert (out / "thesis.txt").read_text() == "of three years"
    (out / "thesis.txt").unlink()
    prepare([songs], out, RULES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "songs"]


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
        (["text.mid"], 1, "no bars are left of 1 file: 1 file: not a MIDI file"),
        (["cut.mid"], 1, "no bars are left of 1 file: 1 file: damaged MIDI"),
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
        (["a.mid", "--min-tracks", "4"], 1, "no bars are left of 1 file: 1 file: sounds in 3 of 5 tracks, fewer than 4"),
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


BEAT = [(i * 480, 10, 36 + i % 2) for i in range(16)]
TUNE = scale(4)


def prepared(folder, files, **rules):
    """The report and the pieces of a data set of files by name."""
    (folder / "in").mkdir()
    for name, content in files.items():
        (folder / "in" / name).write_bytes(content)
    report = prepare([folder / "in"], folder / "set", Rules(LPD5, **rules))
    assert PackedDataset.open(folder / "set").pieces == list(report.pieces)
    return report


COPIES = {
    "a.mid": midi([(0, False, TUNE), (0, True, BEAT)]),
    "b.mid": midi([(5, False, TUNE), (0, True, BEAT)], tempos=((0, 90.0),)),
    "c.mid": midi([(0, False, moved(TUNE, 5)), (0, True, BEAT)]),
    "d.mid": midi([(0, False, moved(TUNE, -2)), (0, True, BEAT)], ticks_per_quarter=480),
    "e.mid": midi([(0, False, moved(TUNE, 5)), (0, True, moved(BEAT, 5))]),
}


@pytest.mark.parametrize(
    "duplicates, left_out",
    [
        (
            "drop",
            {
                "b.mid": "the same music as a.mid",
                "c.mid": "the same music as a.mid, transposed by +5 semitones",
                "d.mid": "the same music as a.mid, transposed by -2 semitones",
            },
        ),
        ("exact", {"b.mid": "the same music as a.mid"}),
        ("keep", {}),
    ],
)
def test_pieces_that_are_the_same(tmp_path, duplicates, left_out):
    """The same by another program and tempo, or transposed; drums that are transposed are other drums."""
    report = prepared(tmp_path, COPIES, duplicates=duplicates)
    assert report.rejected_files == left_out
    assert list(report.pieces) == [name for name in COPIES if name not in left_out]
    kinds = {"drop": {"the same music as another": 1, "the same music as another, transposed": 2},
             "exact": {"the same music as another": 1}}
    assert report.reasons() == kinds.get(duplicates, {})
    saved = json.loads((tmp_path / "set" / "report.json").read_text())
    assert saved["reasons"] == kinds.get(duplicates, {})


UNEQUAL = {
    "another onset": [(0, 240, 60), (240, 240, 60), *TUNE[1:]],
    "longer notes": [(start, 480, pitch) for start, _, pitch in TUNE],
    "one step later": [(start + 120, length, pitch) for start, length, pitch in TUNE],
    "another note": [*TUNE[:-1], (15 * 480, 240, 61)],
    "another last bar": TUNE[:12],
    "a second voice": [*TUNE, (0, 480, 48)],
}


@pytest.mark.parametrize("name", UNEQUAL)
def test_unequal_music_is_kept(tmp_path, name):
    report = prepared(tmp_path, {"a.mid": midi([(0, False, TUNE)]), "b.mid": midi([(0, False, UNEQUAL[name])])})
    assert list(report.pieces) == ["a.mid", "b.mid"]


def test_the_same_notes_on_another_track_or_in_other_runs_are_kept(tmp_path):
    """In c, a bar of 3/4 that is left out lies between the halves: the same bars, in two runs."""
    later = [(tick + 1440 * (tick >= 3840), length, pitch) for tick, length, pitch in TUNE]
    signatures = ((0, 4, 4), (3840, 3, 4), (3840 + 1440, 4, 4))
    files = {
        "a.mid": midi([(0, False, TUNE)]),
        "b.mid": midi([(33, False, TUNE)]),
        "c.mid": midi([(0, False, later)], signatures=signatures),
    }
    report = prepared(tmp_path, files)
    assert report.pieces == {"a.mid": 4, "b.mid": 4, "c.mid": 4}
    dataset = PackedDataset.open(tmp_path / "set")
    assert dataset.phrase_starts(4).tolist() == [0, 4]
    a, _, c = (dataset.roll(torch.arange(first, first + 4), 1) for first in (0, 4, 8))
    assert torch.equal(a.frame, c.frame) and torch.equal(a.onset, c.onset)


def test_reasons_are_counted_by_kind(tmp_path):
    rng = np.random.default_rng(5)
    noise = [[(int(tick), 10, 60) for tick in np.sort(rng.integers(0, 400_000, 1000))] for _ in range(2)]
    files = {
        "a.mid": midi([(0, False, TUNE)]),
        "b (live).mid": midi([(0, False, TUNE)]),
        "c, transposed.mid": midi([(0, False, TUNE)]),
        "d.mid": midi([(0, False, moved(TUNE, 1))]),
        "e.mid": midi([(0, False, noise[0])]),
        "f.mid": midi([(0, False, noise[1])]),
        "g.mid": midi([(0, False, [(0, 10, 60), (480 * 20_000, 10, 60)])]),
        "h.mid": midi([(0, False, [(0, 10, 60), (480 * 30_000, 10, 60)])]),
    }
    report = prepared(tmp_path, files)
    assert "fit 0.0" in report.rejected_files["e.mid"] and "30,001" not in report.rejected_files["g.mid"]
    assert report.reasons() == {
        "the same music as another": 2,
        "the same music as another, transposed": 1,
        "notes do not lie on the beat nor on any steady one": 2,
        "too long: ... quarter notes": 2,
    }


def test_a_copy_of_a_file_with_an_odd_name_is_another(tmp_path):
    report = prepared(tmp_path, {"a, transposed (2).mid": COPIES["a.mid"], "b.mid": COPIES["a.mid"]})
    assert report.reasons() == {"the same music as another": 1}


def test_pieces_of_few_tracks_are_left_out(tmp_path):
    one, two = midi([(0, False, TUNE)]), midi([(0, False, moved(TUNE, 1)), (33, False, TUNE)])
    report = prepared(tmp_path, {"a.mid": one, "b.mid": two}, min_tracks=2)
    assert report.pieces == {"b.mid": 4}
    assert report.rejected_files == {"a.mid": "sounds in 1 of 5 tracks, fewer than 2"}


def test_a_long_silence_is_left_out_and_told(tmp_path):
    notes = [*scale(1), *((tick + 5 * 1920, length, pitch) for tick, length, pitch in scale(2))]
    report = prepared(tmp_path, {"a.mid": midi([(0, False, notes)])})
    assert report.pieces == {"a.mid": 3} and report.bar_reasons() == {"silence of more than 2 bars": 4}
    assert PackedDataset.open(tmp_path / "set").phrase_starts(2).tolist() == [1]


def test_bars_are_counted_from_the_start_where_signatures_are_ignored(tmp_path):
    """Twelve quarter notes under 3/4 and 5/4 are three bars of 4/4."""
    file = midi([(0, False, scale(3))], signatures=((0, 3, 4), (3 * 1440, 5, 4)))
    (tmp_path / "as they say").mkdir()
    with pytest.raises(UserError, match="3 quarter notes in a bar, not 4"):
        prepared(tmp_path / "as they say", {"a.mid": file})
    report = prepared(tmp_path, {"a.mid": file}, ignore_signatures=True)
    assert report.pieces == {"a.mid": 3} and not report.rejected_bars
    roll = PackedDataset.open(tmp_path / "set").roll(torch.tensor([0]), 3)
    assert roll.onset[0, 1].flatten(0, 1).nonzero().tolist() == [[4 * i, 36 + i] for i in range(12)]


def test_a_process_that_is_lost_is_told(songs, tmp_path, monkeypatch):
    class Pool:
        def __init__(self, *arguments, **keywords):
            pass

        def submit(self, *item):
            future = Future()
            future.set_exception(BrokenProcessPool("A process in the process pool was terminated abruptly"))
            return future

        def shutdown(self, **keywords):
            pass

    monkeypatch.setattr(preparation, "_SMALLEST_BLOCK", 1)
    monkeypatch.setattr(processes, "FILES_PER_PROCESS", 1)
    monkeypatch.setattr(processes, "ProcessPoolExecutor", Pool)
    with pytest.raises(UserError, match="a process was lost, perhaps for want of memory; the same call goes on"):
        prepare([songs], tmp_path / "set", RULES, jobs=2)
