"""The command: from runs, models, data sets and MIDI to a page, and one line for each mistake."""

import dataclasses
import json
import os

import pytest
import torch

from musegan import cli, evaluate, resources
from musegan.config import SequenceModelConfig, to_yaml
from musegan.data.preparation import Rules, prepare
from musegan.data.tracks import PRESETS
from musegan.errors import UserError
from musegan.evaluation.corpus import Corpus
from musegan.export import write_midi
from musegan.models import Facts, Layout, build_sequence, save_model
from musegan.roll import RollSpec, Track
from tests.data.songs import midi
from tests.evaluation.music import scales
from tests.models.test_compact import pair
from tests.training.test_gan import TINY, run_in, train

pytestmark = pytest.mark.usefixtures("few_splits")


@pytest.fixture(scope="module")
def run(songs, songs_folder, tmp_path_factory):
    """A run of two steps on the eight songs."""
    config = dataclasses.replace(
        TINY, train=dataclasses.replace(TINY.train, steps=2),
        data=dataclasses.replace(TINY.data, dataset=str(songs_folder), min_tracks=3),
    )    # fmt: skip
    folder = run_in(tmp_path_factory.mktemp("evaluate") / "run")
    folder.config.write_text(to_yaml(config))
    train(config, songs, folder)
    return folder.path


@pytest.fixture(scope="module")
def singer(songs_folder, tmp_path_factory):
    """A run of one step of a model of the highest line of the eight songs, in windows of eight bars."""
    folder = tmp_path_factory.mktemp("evaluate") / "singer"
    options = ("--family=sequence --data.validation_share=0.3 --data.test_share=0.2 --data.n_bars=8 --data.encoding=events "
               "--model.kind=gru --model.embedding=8 --model.width=16 --train.batch_size=4 --train.steps=1").split()
    assert cli.main(["train", f"--data.dataset={songs_folder}", *options, "--out", str(folder)]) == 0
    return folder


def call(*arguments):
    return evaluate.main([str(argument) for argument in arguments])


def read(folder):
    return json.loads((folder / "evaluation.json").read_text())


def test_a_run_against_held_out_pieces(run, songs_folder, tmp_path, capsys):
    options = "--real", songs_folder, "--generated", run, "--held-out", 0.3, "--n", 40, "--condition", "bass", "--released"
    assert call(*options, "--out", tmp_path / "a") == 0
    screen = capsys.readouterr().out
    for text in ("DIST", "empty bars", "tonal distance", "QN bass", "Nearest training phrase", "Given track",
                 "evaluation.html"):
        assert text in screen, text
    found = read(tmp_path / "a")
    assert found["n_bars"] == TINY.data.n_bars and found["sides"]["generated"]["n_phrases"] == 40
    assert found["originality"]["corpus"] == "train"
    assert (tmp_path / "a" / "evaluation.html").read_text().startswith("<!DOCTYPE html>")
    assert call(*options, "--out", tmp_path / "b") == 0
    for name in ("evaluation.json", "evaluation.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_real_phrases_are_those_that_the_run_was_trained_on(run, songs_folder, songs, tmp_path, capsys):
    assert call("--real", songs_folder, "--generated", run, "--n", 20, "--out", tmp_path / "a") == 0
    every = songs.roll(songs.phrase_starts(2), 2).frame.flatten(2).any(2).sum(1)
    assert read(tmp_path / "a")["sides"]["real"]["n_phrases"] == int((every >= 3).sum())
    assert "--held-out 0.3" in capsys.readouterr().err
    assert call("--real", songs_folder, "--generated", run / "best", "--n", 20, "--out", tmp_path / "b") == 0
    assert read(tmp_path / "b")["sides"]["real"]["n_phrases"] == int((every >= 1).sum())


def test_a_model_by_name_and_music_in_a_folder_of_that_name(run, songs, songs_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resources, "model_names", lambda: ["small"])
    monkeypatch.setattr(resources, "model_path", lambda name: run / "best")
    options = "--real", songs_folder, "--n", 20, "--max-phrases", 60, "--generated"
    assert call(*options, "small", "--out", "named") == 0
    assert call(*options, run / "best", "--out", "by path") == 0
    named, by_path = (read(tmp_path / name) for name in ("named", "by path"))
    assert named["sides"]["generated"].pop("source") == "small" and by_path["sides"]["generated"].pop("source")
    assert named == by_path
    assert cli.run(evaluate.main, [*map(str, options), "smal"]) == 1
    assert "no file or folder smal; models that come with musegan: small" in capsys.readouterr().err
    (tmp_path / "small").mkdir()
    for number, phrase in enumerate(songs.roll(songs.phrase_starts(2)[:12], 2).phrases()):
        write_midi(tmp_path / "small" / f"{number}.mid", phrase, songs.spec)
    assert call(*options, "small", "--bars", 2, "--out", "music") == 0
    assert read(tmp_path / "music")["sides"]["generated"]["n_phrases"] == 12


def test_a_model_that_accompanies_is_asked_to(songs_folder, songs, tmp_path, capsys):
    counts = songs.roll(songs.phrase_starts(2)[::10], 2).frame.sum((0, 2, 3))
    layout = Layout.fit(counts, songs.spec)
    generator, _ = pair(layout, facts=Facts((0.6, 2.4, 2.4, 2.0, 2.4), (0.5,) * 5, (1,) * 12), accompaniment=True)
    generator.given_thresholds.fill_(0.13)    # as if calibrated: some cells of an untrained model sound
    with torch.no_grad():
        for skip in generator.encoder.skips:
            skip.weight *= 8    # listens, though untrained
    save_model(generator, tmp_path / "model")
    options = ("--real", songs_folder, "--generated", tmp_path / "model", "--n", 20, "--max-phrases", 60,
               "--condition", "bass")
    assert call(*options, "--out", tmp_path / "a") == 0
    found = read(tmp_path / "a")["condition"]
    assert found["real"]["changed"] is None and found["generated"]["changed"] > 0.9 and 0 < found["generated"]["change"] < 1
    assert "of the accompaniments change" in capsys.readouterr().out
    assert "phrases that change when the given track is swapped" in (tmp_path / "a" / "evaluation.html").read_text()


def test_a_model_of_one_line_against_this_line_of_the_data(singer, songs_folder, songs, tmp_path, capsys):
    options = "--real", songs_folder, "--generated", singer, "--held-out", 0.3, "--n", 40, "--released"
    assert call(*options, "--out", tmp_path / "a") == 0
    screen = capsys.readouterr()
    assert "the highest line of all pitched tracks" in " ".join(screen.out.split()) and "Pairs of tracks" not in screen.out
    found = read(tmp_path / "a")
    assert found["n_bars"] == 4 and [track["name"] for track in found["spec"]["tracks"]] == ["lead"]
    for name, pieces in (("real", "held-out pieces"), ("train", "the other pieces")):
        assert found["sides"][name]["source"] == f"{songs_folder}, {pieces}, the highest line of all pitched tracks"
    assert found["sides"]["generated"] == {"source": str(singer), "n_phrases": 40, "n_pieces": 40}
    pitched = songs.roll(songs.phrase_starts(4), 4).frame[:, 1:].flatten(1).any(1)
    assert sum(found["sides"][name]["n_phrases"] for name in ("real", "train")) == int(pitched.sum())
    (polyphony,) = (row for row in found["comparison"]["statistics"] if row["name"] == "polyphony")
    assert polyphony["column"] == "lead" and polyphony["real"]["value"] == polyphony["generated"]["value"] == 1
    assert [row["track"] for row in found["originality"]["melodies"]] == ["lead"] and found["papers_released"] is not None
    assert call(*options, "--out", tmp_path / "b") == 0
    for name in ("evaluation.json", "evaluation.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_other_tracks_are_said_before_anything_is_drawn(songs_folder, tmp_path, monkeypatch):
    """A model of all notes of the piano alone, beside a band."""
    spec = RollSpec((Track("piano"),))
    save_model(build_sequence(SequenceModelConfig("gru", embedding=8, width=16), "tracks", spec, 2), tmp_path / "piano")
    monkeypatch.setattr("musegan.sequences.sample_packed", lambda *_: pytest.fail("drawn"))
    with pytest.raises(UserError, match="generated and real music must have one spec: tracks is piano .* and drums"):
        call("--real", songs_folder, "--generated", tmp_path / "piano", "--out", tmp_path / "out")


def test_a_model_that_knows_the_line_by_heart(singer, songs_folder, songs, tmp_path, monkeypatch):
    """Lines of the data itself, in the place of those that are drawn: all are found again, as they are."""
    def recall(model, n_samples, n_bars, seed, progress):
        return Corpus.of_dataset(songs, n_bars, limit=n_samples, seed=7, line="lead").roll

    monkeypatch.setattr("musegan.sequences.sample_packed", recall)
    options = "--real", songs_folder, "--generated", singer / "best", "--bars", 2, "--n", 100
    assert call(*options, "--out", tmp_path / "out") == 0
    found = read(tmp_path / "out")
    assert found["n_bars"] == 2
    assert found["originality"]["copied"] == 1 and found["originality"]["generated"]["median"] == 1
    assert found["comparison"]["distances"][0]["name"] == "DIST"
    assert "generated" not in found["comparison"]["distances"][0]["off"]


@pytest.mark.parametrize("options, message", [
    (["--condition", "lead"], "--condition: the model writes one line, to which no track is given"),
    (["--min-tracks", "2"], "--min-tracks must be at most 1: got 2"),
    (["--bars", "1000"], "--real: no phrases of 1000 bars in which 1 track sounds"),
    (["--real", "DRUMS"], "--real: the model writes 'lead', and the data has no pitched track named 'lead'; there are none"),
    (["--train", "DRUMS"], "--train: the model writes 'lead', and the data has no pitched track"),
])
def test_what_a_line_cannot_be_compared_with(singer, songs_folder, tmp_path, capsys, options, message):
    (tmp_path / "drums.mid").write_bytes(midi([(0, True, [(240 * i, 120, 36 + i % 5) for i in range(64)])]))
    prepare([tmp_path / "drums.mid"], tmp_path / "drums", Rules(PRESETS["drums"]))
    options = [str(tmp_path / "drums") if word == "DRUMS" else word for word in options]
    command = ["--real", str(songs_folder), "--generated", str(singer), "--out", str(tmp_path / "out"), *options]
    assert cli.run(evaluate.main, command) == 1
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert error.startswith("musegan: error: ") and message in error
    assert not (tmp_path / "out").exists()


def test_files_and_data_sets(songs, songs_folder, tmp_path, capsys):
    for i, phrase in enumerate(songs.roll(songs.phrase_starts(4)[::20], 4).phrases()):
        write_midi(tmp_path / f"{i}.mid", phrase, songs.spec)
    (tmp_path / "broken.mid").write_bytes(b"no music")
    for name, path in (("midi", tmp_path), ("data", songs_folder)):
        assert call("--real", songs_folder, "--generated", path, "--out", tmp_path / name) == 0
    assert "left out 1 of the files, e.g. broken.mid" in capsys.readouterr().err
    assert read(tmp_path / "midi")["sides"]["generated"]["n_phrases"] == i + 1
    assert read(tmp_path / "midi")["originality"]["copied"] == 1.0
    assert read(tmp_path / "data")["n_bars"] == 4


def test_nothing_is_written_over(songs_folder, tmp_path):
    (tmp_path / "evaluation.json").write_text("mine")
    options = "--real", songs_folder, "--generated", songs_folder, "--out", tmp_path
    assert cli.run(evaluate.main, [*map(str, options)]) == 1
    assert (tmp_path / "evaluation.json").read_text() == "mine"
    assert call(*options, "--overwrite", "--max-phrases", 60) == 0
    assert read(tmp_path)["sides"]["real"]["n_phrases"] == 60


MISTAKES = [
    (["--real", "nowhere"], "--real: no folder 'nowhere', and no embedded data set of that name; there are freedoom"),
    (["--generated", "nowhere"], "--generated: no file or folder nowhere"),
    (["--train", "nowhere"], "--train: no folder 'nowhere'"),
    (["--out", __file__], "test_evaluate.py is no folder"),
    (["--n", "0"], "--n must be at least 1: got 0"),
    (["--bars", "0"], "--bars must be at least 1: got 0"),
    (["--bars", "1000"], "--real: no phrases of 1000 bars in which 1 track sounds"),
    (["--min-tracks", "9"], "--min-tracks must be at most 5: got 9"),
    (["--min-tracks", "0"], "--min-tracks must be at least 1: got 0"),
    (["--held-out", "1.5"], "--held-out must lie between 0 and 1: got 1.5"),
    (["--held-out", "0.2", "--train", "freedoom"], "--held-out takes the other pieces of --real as training data"),
    (["--out", "/dev/null/out"], "--out: cannot write to /dev/null/out: /dev/null is no folder"),
    (["--max-phrases", "12"], "too few phrases to compare"),
    (["--condition", "flute"], "no track 'flute' to be the condition: there are drums, piano, guitar, bass, strings"),
]


@pytest.mark.parametrize("arguments, message", MISTAKES, ids=[m[1][:40] for m in MISTAKES])
def test_a_mistake_is_one_line(songs_folder, tmp_path, capsys, arguments, message):
    defaults = {"--real": str(songs_folder), "--generated": str(songs_folder), "--out": str(tmp_path / "out")}
    defaults |= dict(zip(arguments[::2], arguments[1::2]))
    assert cli.run(evaluate.main, [word for pair in defaults.items() for word in pair]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("musegan: error: ") and message in error
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_length_or_a_run_without_snapshot(run, songs_folder, tmp_path, capsys):
    options = ["--real", str(songs_folder), "--out", str(tmp_path / "out"), "--generated"]
    assert cli.run(evaluate.main, [*options, str(run), "--bars", "4"]) == 1
    assert "--bars: the model makes phrases of 2 bars, not of 4" in capsys.readouterr().err
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config.yaml").write_text("{}")
    assert cli.run(evaluate.main, [*options, str(tmp_path / "new")]) == 1
    assert "has no snapshot yet" in capsys.readouterr().err


def test_music_of_other_tracks_is_refused(songs_folder, tmp_path, capsys):
    effects = RollSpec((Track("rain", 96), Track("helicopter", 125)))
    for i, phrase in enumerate(scales(12).unpacked().phrases()):
        write_midi(tmp_path / f"{i}.mid", phrase, effects)
    options = ["--real", str(songs_folder), "--generated", str(tmp_path), "--bars", "2", "--out", str(tmp_path / "x")]
    assert cli.run(evaluate.main, options) == 1
    assert "none of its tracks is one of drums, piano, guitar, bass, strings" in capsys.readouterr().err


def test_a_folder_whose_name_is_no_text(songs_folder, tmp_path):
    folder = tmp_path / os.fsdecode(b"b\xe9")
    folder.mkdir()
    for i, phrase in enumerate(scales(12).unpacked().phrases()):
        write_midi(folder / f"{i}.mid", phrase, RollSpec((Track("piano"), Track("bass", 33))))
    options = "--real", songs_folder, "--generated", folder, "--bars", 2, "--seed", -(2**70)
    assert call(*options, "--out", tmp_path / "out") == 0
    assert read(tmp_path / "out")["sides"]["generated"]["source"] == str(folder)


def test_what_tells_it_most_is_no_fault_of_the_released_code(songs_folder, tmp_path, capsys):
    (tmp_path / "a").mkdir()
    for i, phrase in enumerate(scales(30, broken=True).unpacked().phrases()):
        write_midi(tmp_path / "a" / f"{i}.mid", phrase, RollSpec((Track("piano"), Track("bass", 33))))
    options = "--real", songs_folder, "--generated", tmp_path / "a", "--bars", 2, "--released"
    assert call(*options, "--out", tmp_path / "b") == 0
    assert "What tells it" in (screen := capsys.readouterr().out) and "released: " not in screen
