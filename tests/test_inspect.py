"""`musegan inspect`: facts on screen and as JSON, pictures, and one line for what cannot be read."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from musegan import cli, inspect, resources
from musegan.data.dataset import PackedDataset
from tests.data.songs import midi
from tests.data.test_facts import song

# Two bars of 4/4 and one of 3/4: piano in quarters, drums on the first beat of each bar.
PIANO = [(i * 480, 480, 60 + i) for i in range(11)]
DRUMS = [(0, 100, 36), (1920, 100, 36), (3840, 100, 38)]
TUNE = midi([(0, False, PIANO), (0, True, DRUMS)], signatures=((0, 4, 4), (3840, 3, 4)))


@pytest.fixture
def tune(tmp_path):
    path = tmp_path / "tune.mid"
    path.write_bytes(TUNE)
    return path


def run(capsys, *arguments) -> str:
    assert cli.main(["inspect", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_facts_as_json(tune, capsys):
    facts = json.loads(run(capsys, tune, "--json"))
    assert (facts["kind"], facts["n_songs"], facts["length_bars"], facts["length_quarters"]) == ("MIDI", 1, 3, 11.0)
    assert facts["length_seconds"] == pytest.approx(5.5)
    assert [(metre["first_bar"], metre["signature"]) for metre in facts["metres"]] == [(1, "4/4"), (3, "3/4")]
    piano, drums = facts["tracks"]
    assert (piano["n_notes"], piano["lowest_pitch"], piano["highest_pitch"], piano["polyphony"]) == (11, 60, 70, 1)
    assert (piano["program_name"], piano["family"], piano["n_bars"]) == ("Acoustic Grand Piano", "piano", 3)
    assert (drums["program"], drums["family"], drums["n_notes"], drums["n_bars"]) == (None, "drums", 3, 3)
    assert "events" not in facts


def test_the_same_on_screen(tune, capsys):
    shown = " ".join(run(capsys, tune).split())
    for text in ("3 bars, 11 quarter notes, 0:06", "120 bpm", "bar 1: 4/4", "bar 3: 3/4", "0 Acoustic Grand Piano (piano)",
                 "C4 to A#4 (60 to 70)", "36 to 38", "fit 1.00"):
        assert text in shown


def test_events(tune, capsys):
    events = json.loads(run(capsys, tune, "--json", "--events", "--bars", "2-3"))["events"]
    assert [(row["bar"], row["beat"], row["pitch"]) for row in events if row["track"] == 1] == [
        (2, 1, 64), (2, 2, 65), (2, 3, 66), (2, 4, 67), (3, 1, 68), (3, 2, 69), (3, 3, 70),
    ]    # fmt: skip
    table = run(capsys, tune, "--events", "--limit", "2")
    assert "Bass Drum 1" in table and "1.1.0" in table and "1.2.0" not in table
    assert "3.3.0" in run(capsys, tune, "--events", "--limit", "0")


def test_a_picture_of_the_bars_of_one_metre(tune, tmp_path, capsys):
    printed = run(capsys, tune, "--png", tmp_path / "a.png")
    assert "not drawn, for they are not in 4/4 as the others: bars 3\n" in printed
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > 400 and picture.convert("L").getextrema()[0] < 120
    run(capsys, tune, "--png", tmp_path / "b.png", "--bars", "3")
    assert (tmp_path / "b.png").read_bytes() != (tmp_path / "a.png").read_bytes()


def test_json_stays_json_with_a_picture(tune, tmp_path, capsys):
    assert cli.main(["inspect", str(tune), "--json", "--png", str(tmp_path / "a.png")]) == 0
    printed = capsys.readouterr()
    json.loads(printed.out)
    assert f"wrote {tmp_path / 'a.png'}" in printed.err


@pytest.mark.parametrize("name", ["phase1-e1m1", "phase2-ultima"])
def test_an_embedded_song(name, tmp_path, capsys):
    path = resources.dataset_path("freedoom") / f"{name}.mid"
    facts = json.loads(run(capsys, path, "--json", "--png", tmp_path / "song.png"))
    assert facts["n_notes"] == sum(track["n_notes"] for track in facts["tracks"]) > 1000
    assert 0 < facts["grid"]["fit"] <= 1 and (tmp_path / "song.png").exists()


def test_names_of_strangers_are_no_markup(tmp_path, capsys):
    import symusic

    score = symusic.Score.from_midi(TUNE)
    score.tracks[0].name = "[red]a\x1b[2J"
    (tmp_path / "x[bold].mid").write_bytes(score.dumps_midi())
    shown = run(capsys, tmp_path / "x[bold].mid")
    assert "[red]a?[2J" in shown and "x[bold].mid" in shown and "\x1b" not in shown


def test_a_file_of_several_songs(tune, tmp_path, capsys, monkeypatch):
    def read_songs(source):
        yield from (song([(0, 0, 480 * n, 60 + n)]) for n in (4, 8, 12))

    monkeypatch.setattr(inspect, "read_songs", read_songs)
    facts = json.loads(run(capsys, tune, "--json", "--song", "2"))
    assert facts["all_songs"] == {"n_songs": 3, "n_names": 1, "n_bars": 6, "n_notes": 3, "seconds": 12.0}
    assert (facts["song"], facts["length_bars"], facts["tracks"][0]["lowest_pitch"]) == (2, 2, 68)
    shown = run(capsys, tune)
    assert "3 of 1 name" in shown and "Song 1" in shown
    assert cli.main(["inspect", str(tune), "--song", "4"]) == 1
    assert capsys.readouterr().err == f"musegan: error: {tune}: has 3 songs, not 4\n"
    monkeypatch.setattr(inspect, "_MAX_COUNTED", 2)
    assert json.loads(run(capsys, tune, "--json"))["n_songs"] is None
    assert json.loads(run(capsys, tune, "--json", "--song", "3"))["length_bars"] == 3


def test_a_file_in_a_zip(tmp_path, capsys):
    path = tmp_path / "more.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/tune.mid", TUNE)
    assert json.loads(run(capsys, path, "--json"))["length_bars"] == 3
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.mid", TUNE)
    assert cli.main(["inspect", str(path)]) == 1
    assert f"more.zip holds 2 files of music: name one, such as {path / 'a/tune.mid'}" in capsys.readouterr().err
    assert json.loads(run(capsys, path / "a/tune.mid", "--json"))["n_notes"] == 14
    assert cli.main(["inspect", str(path / "c.mid")]) == 1
    assert capsys.readouterr().err == f"musegan: error: no file of music c.mid in {path}\n"


def test_a_score_of_the_corpus(capsys):
    pytest.importorskip("music21")
    assert cli.main(["inspect", "music21:bach"]) == 1
    one = capsys.readouterr().err.strip().partition("name one, such as ")[2]
    assert json.loads(run(capsys, one, "--json"))["n_notes"] > 0


def test_a_data_set(songs_folder, capsys):
    dataset = PackedDataset.open(songs_folder)
    facts = json.loads(run(capsys, songs_folder, "--json"))
    assert (facts["n_pieces"], facts["n_bars"]) == (len(dataset.pieces), dataset.n_bars)
    assert facts["tempo"]["lowest_bpm"] == float(dataset.tempo_bpm.min())
    assert [track["name"] for track in facts["spec"]["tracks"]] == ["drums", "piano", "guitar", "bass", "strings"]
    shown = run(capsys, songs_folder)
    assert f"{dataset.n_bars:,}" in shown and "4/4, 4 steps a beat" in shown and "strings" in shown


@pytest.mark.parametrize(
    "name, content, line",
    [
        ("none.mid", None, "no such file or folder: {path}"),
        ("notes.txt", b"do re mi", "{path}: its name ends in none of .mid, "),
        ("text.mid", b"do re mi", "{path}: not a MIDI file: does not begin with MThd"),
        ("cut.mid", TUNE[:60], "{path}: damaged MIDI: "),
        ("silent.mid", midi([]), "{path}: has no notes"),
        ("broken.zip", b"PK", "{path}: not a readable zip: "),
    ],
)
def test_what_cannot_be_read_is_one_line(name, content, line, tmp_path, capsys):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert cli.main(["inspect", str(path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("musegan: error: " + line.format(path=path)) and error.count("\n") == 1


def test_bars_that_are_not_there(tune, tmp_path, capsys):
    assert cli.main(["inspect", str(tune), "--png", str(tmp_path / "a.png"), "--bars", "3-9"]) == 1
    assert capsys.readouterr().err == f"musegan: error: {tune}: has 3 bars, not bars 3 to 9\n"
    assert cli.main(["inspect", str(tune), "--png", str(tmp_path / "no/a.png")]) == 1
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--bars", "9-3"], ["--bars", "x"], ["--song", "0"], ["--limit", "-1"], []])
def test_wrong_usage(arguments, tune, tmp_path, capsys):
    arguments = [str(tune), *arguments] if arguments else [str(tmp_path), "--events"]
    with pytest.raises(SystemExit, match="2"):
        cli.main(["inspect", *arguments])
    assert "usage: musegan inspect" in capsys.readouterr().err


def test_it_is_a_module_too_and_hides_no_other(tune):
    """`inspect` of the standard library is another module, wherever the command runs from."""
    done = subprocess.run([sys.executable, "-m", "musegan.inspect", tune, "--json"], capture_output=True, text=True,
                          check=True)
    assert json.loads(done.stdout)["n_notes"] == 14


def test_a_picture_of_drums_and_long_names_does_not_warn(tmp_path, capsys, recwarn):
    import symusic

    score = symusic.Score.from_midi(TUNE)
    score.tracks[0].name = "琴" * 100
    (tmp_path / "琴.mid").write_bytes(score.dumps_midi())
    run(capsys, tmp_path / "琴.mid", "--png", tmp_path / "a.png")
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_a_fact_is_never_nan(tmp_path, capsys):
    (tmp_path / "one.mid").write_bytes(midi([(0, False, [(0, 0, 0)])]))
    text = run(capsys, tmp_path / "one.mid", "--json")
    assert "NaN" not in text and np.isfinite(json.loads(text)["grid"]["fit"])
