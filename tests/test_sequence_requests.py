"""Models that write token by token, by command: files of a request, beginnings, and what is refused."""

import hashlib
import json
import re

import numpy as np
import pytest
import symusic
import torch

from musegan import cli, resources
from musegan.data.piece import read_pieces
from musegan.data.sources import find_sources
from musegan.errors import UserError
from musegan.keys import SCALE, in_scale, key_shifts
from musegan.models import load_model, save_model
from musegan.models.generator import Facts
from musegan.ops import notes
from musegan.roll import Roll, RollSpec, Track
from musegan.sequence_requests import SequenceRequest, make_sequences
from musegan.sequences import sample
from musegan.training.run_folder import RunFolder
from tests.data.songs import midi
from tests.data.test_piece import midi as file_of
from tests.models.test_sequence import model_of
from tests.training.test_gan import same_state
from tests.training.test_gan import with_train as gan_with

SMALL = ("--family=sequence --data.validation_share=0.3 --data.test_share=0.2 --data.n_bars=4 --data.track=guitar "
         "--model.kind=gru --model.embedding=8 --model.width=16 --train.batch_size=4").split()
LEAD = RollSpec((Track("lead", 73),), n_pitches=60)


def run_command(*arguments):
    return cli.main([*map(str, arguments)])


@pytest.fixture(scope="module")
def run(songs_folder, tmp_path_factory):
    """A run of a few steps, by the command: stopped in between and gone on with."""
    folder = RunFolder(tmp_path_factory.mktemp("melody") / "run")
    options = [f"--data.dataset={songs_folder}", *SMALL, "--train.validate_every=4"]
    assert run_command("train", *options, "--train.steps=4", "--out", folder.path) == 0
    assert run_command("train", "--out", folder.path, "--resume", "--train.steps=8") == 0
    return folder


@pytest.fixture(scope="module")
def tune(tmp_path_factory):
    """A file of three bars in D major: a melody over a bass, and drums."""
    path = tmp_path_factory.mktemp("tune") / "tune.mid"
    scale = [62, 64, 66, 67, 69, 71, 73, 74, 73, 71, 69, 66]
    melody = [(480 * t, 240, pitch) for t, pitch in enumerate(scale)]
    bass, drums = [(1920 * b, 1920, 38) for b in range(3)], [(480 * t, 60, 36) for t in range(12)]
    path.write_bytes(midi([(73, False, melody), (33, False, bass), (0, True, drums)], tempos=((0, 96.0),)))
    return path


@pytest.fixture
def in_one_key(tmp_path):
    """A model folder, as if of music that was moved to C major and lay there."""
    model = model_of("gru", "events")
    model = type(model)("events", LEAD, 2, Facts(key_shifts=(0,) * 5 + (1,) + (0,) * 6), embedding=8, width=16)
    save_model(model, tmp_path / "model")
    return tmp_path / "model"


def test_a_resumed_run_ends_like_one_in_one_go(run, songs_folder, tmp_path):
    whole = RunFolder(tmp_path / "whole")
    options = [f"--data.dataset={songs_folder}", *SMALL, "--train.validate_every=4", "--train.steps=8"]
    assert run_command("train", *options, "--out", whole.path) == 0
    assert same_state(whole.load_checkpoint(), run.load_checkpoint())
    assert (whole.newest / "model.safetensors").read_bytes() == (run.newest / "model.safetensors").read_bytes()
    assert run.config.read_text().startswith("family: sequence\n")
    assert {path.suffix for path in run.samples.iterdir()} == {".mid", ".png"}


def test_a_run_keeps_its_family(run, capsys):
    assert run_command("train", "--out", run.path, "--resume", "--family=gan") == 1
    assert "is a run of the family sequence, and cannot become one of gan" in capsys.readouterr().err
    assert run_command("train", "--out", run.path, "--resume", "--data.encoding=events") == 1
    assert "data.encoding is 'grid'" in capsys.readouterr().err
    assert run_command("train", "--out", run.path, "--resume", "--train.patience=3") == 0    # how long it goes on may change


def test_each_family_has_a_help_of_its_own(capsys):
    texts = {}
    for family in ("gan", "sequence"):
        with pytest.raises(SystemExit):
            run_command("train", "--family", family, "--help")
        texts[family] = " ".join(capsys.readouterr().out.split())
    assert "--model.n_heads" in texts["sequence"] and "--train.penalty" not in texts["sequence"]
    assert "--train.penalty" in texts["gan"] and "--model.n_heads" not in texts["gan"]


def test_files_of_a_request(run, tmp_path, capsys):
    options = ["generate", "--model", run.path, "--n", 3, "--bars", 2, "--seed", 5, "--top-p", 0.95, "--out"]
    assert run_command(*options, tmp_path / "three") == 0
    assert "3 melodies of 2 bars" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "three").iterdir()} == {
        *(f"sample-00{i}.{ending}" for i in range(3) for ending in ("mid", "npz", "png")), "samples.png", "request.json"}
    record = json.loads((tmp_path / "three" / "request.json").read_text())
    assert record["options"]["top_p"] == 0.95 and [each["sample"] for each in record["samples"]] == [0, 1, 2]
    score = symusic.Score(tmp_path / "three" / "sample-001.mid")
    assert [(track.name, track.program) for track in score.tracks] == [("guitar", 25)]
    assert score.tempos[0].qpm == pytest.approx(load_model(run.best).facts.tempo_bpm, abs=0.01)
    assert run_command(*options, tmp_path / "last", "--n", 1, "--sample", 2) == 0
    one, other = (tmp_path / name for name in ("three/sample-002.mid", "last/sample-000.mid"))
    assert one.read_bytes() == other.read_bytes()


def test_a_beginning_is_kept_to_the_bit(in_one_key, tune, tmp_path, capsys):
    assert run_command("generate", "--model", in_one_key, "--n", 2, "--bars", 4, "--prime", tune, "--in-scale",
                       "--out", tmp_path / "out") == 0
    said = capsys.readouterr()
    assert "tune.mid: begins with 8 notes in 2 bars; tracks of the file: program 73 -> lead, program 33 -> lead" in said.err
    assert "4 bars at 96 bpm" in said.out
    own = next(read_pieces(find_sources([tune])[0], LEAD, "lead"))
    for i in range(2):
        (source,) = find_sources([tmp_path / "out" / f"sample-00{i}.mid"])
        made = next(read_pieces(source, LEAD))
        assert made.tempo_bpm[0] == pytest.approx(96, abs=0.01)
        found = notes(made.roll).numpy()[:, 2:]
        begun = found[found[:, 1] < 32]
        assert begun.tolist() == [[62 - 24 + up, 4 * t, 4 * t + 2] for t, up in enumerate((0, 2, 4, 5, 7, 9, 11, 12))]
        later = (found[found[:, 1] >= 32, 0] + 24 - 2) % 12    # in D major, as the file is
        assert set(later.tolist()) <= set(SCALE)
    assert own.roll.frame.shape[2] == 3


def test_what_of_a_beginning_is_left_out_is_said(in_one_key, tmp_path, capsys):
    """Two silent bars, and a note above the pitches; then a pick-up in a bar of its own."""
    late, pick_up = tmp_path / "late.mid", tmp_path / "pickup.mid"
    late.write_bytes(midi([(73, False, [(3840 + 480 * t, 480, 60 + t) for t in range(8)] + [(4320, 480, 120)])]))
    file_of(pick_up, [("x", 73, False, [(0, 1, 67), *((1 + t, 1, 60 + t) for t in range(8))])], ((0, 1, 4), (1, 4, 4)))
    for path, told in ((late, ["2 silent bars before them left out", "1 notes lie outside the model's pitches"]),
                       (pick_up, ["bar 1 is left out: 1 quarter note in a bar, not 4"])):
        options = "--bars", 3, "--prime", path, "--n", 1, "--overwrite", "--out", tmp_path / "out"
        assert run_command("generate", "--model", in_one_key, *options) == 0
        said = capsys.readouterr().err
        for line in [*told, "begins with 8 notes in 2 bars"]:
            assert line in said, (line, said)
        (source,) = find_sources([tmp_path / "out" / "sample-000.mid"])
        begun = notes(next(read_pieces(source, LEAD)).roll).numpy()[:8, 2:]
        assert begun.tolist() == [[36 + t, 4 * t, 4 * t + 4] for t in range(8)]


def test_the_key_of_a_beginning_may_be_said(in_one_key, tune, tmp_path, capsys):
    made = {}
    for key in ((), ("--key", "D"), ("--key", "b minor"), ("--key", "G")):
        options = "--bars", 6, "--prime", tune, "--n", 1, *key, "--overwrite", "--out", tmp_path / "out"
        assert run_command("generate", "--model", in_one_key, *options) == 0
        name = "G major / E minor" if key and key[1] == "G" else "D major / B minor"
        assert f"key: {name}" + ("" if key else " (another: --key)") + "\n" in capsys.readouterr().err
        made[key] = (tmp_path / "out" / "sample-000.mid").read_bytes()
    assert made[()] == made["--key", "D"] == made["--key", "b minor"] != made["--key", "G"]


def test_melodies_without_notes_are_said(in_one_key, tmp_path, capsys, monkeypatch):
    silence = torch.zeros(2, 1, 1, LEAD.steps_per_bar, LEAD.n_pitches, dtype=torch.bool)
    monkeypatch.setattr("musegan.sequence_requests.sample", lambda *_: Roll(silence, silence))
    assert run_command("generate", "--model", in_one_key, "--n", 2, "--bars", 1, "--out", tmp_path / "out") == 0
    assert "no notes in sample-000, sample-001" in capsys.readouterr().err


def test_a_beginning_is_gone_on_with_in_the_file_s_key(in_one_key, tune, tmp_path):
    """Made in C major, moved up by the two semitones of D; a note that the model has no pitch for stays all the same."""
    model, begun = load_model(in_one_key), np.array([[25, 0, 4], [62, 4, 16]]) - [24, 0, 0]
    low = tmp_path / "low.mid"
    scale = [(1920 + 480 * t, 480, 62 + up) for t, up in enumerate((0, 2, 4, 5, 7, 9, 11, 12))]
    low.write_bytes(midi([(73, False, [(0, 480, 25), (480, 1440, 62), *scale])]))
    request = SequenceRequest(n=3, bars=3, prime=low, prime_bars=1)
    home = model.vocabulary.encode(begun[1:] - [2, 0, 0], 16)
    there = sample(model, 3, 3, 0, prime=home, in_training_key=True)
    for made, wanted in zip(make_sequences(model, request, lambda line: None), there.phrases()):
        assert notes(made.roll.map(lambda plane: plane[None, :, :1])).numpy()[:, 2:].tolist() == begun.tolist()
        assert torch.equal(made.roll.frame[:, 1:, :, 2:], wanted.frame[:, 1:, :, :-2])


def test_the_same_from_python(in_one_key, tune):
    model = load_model(in_one_key)
    request = SequenceRequest(n=70, bars=3, prime=tune, prime_bars=1)
    many = [made.roll for made in make_sequences(model, request, lambda line: None)]
    one = next(make_sequences(model, SequenceRequest(n=1, sample=66, bars=3, prime=tune, prime_bars=1), lambda line: None))
    assert len(many) == 70 and torch.equal(many[66].frame, one.roll.frame)
    assert {tuple(roll.frame.shape) for roll in many} == {(1, 3, 16, 60)}


@pytest.fixture
def band_in_one_key(tmp_path):
    """A model folder of three tracks at once, as if of music in C major."""
    spec = RollSpec((Track("drums", is_drum=True), Track("flute", 73), Track("bass", 33)))
    model = type(model_of("gru"))("tracks", spec, 2, Facts(key_shifts=(0,) * 5 + (1,) + (0,) * 6), embedding=8, width=16)
    save_model(model, tmp_path / "band")
    return tmp_path / "band"


def test_a_band_goes_on_with_all_tracks_of_a_file(band_in_one_key, tmp_path, capsys):
    """Drums, a flute in D major and a bass, two of three bars of which are kept; what is made then is in D major too."""
    song, spec = tmp_path / "song.mid", load_model(band_in_one_key).spec
    flute = [(480 * t, 240, pitch) for t, pitch in enumerate([62, 64, 66, 67, 69, 71, 73, 74, 73, 71, 69, 66])]
    bass, drums = [(1920 * b, 1920, 38) for b in range(3)], [(480 * t, 60, 36) for t in range(12)]
    song.write_bytes(midi([(73, False, flute), (33, False, bass), (0, True, drums)], names=("flute", "bass", "drums")))
    assert run_command("generate", "--model", band_in_one_key, "--n", 2, "--bars", 4, "--prime", song, "--in-scale",
                       "--out", tmp_path / "out") == 0
    said = capsys.readouterr()
    assert "song.mid: begins with 18 notes in 2 bars; tracks of the file: flute -> flute, bass -> bass, drums -> drums; key: D major / B minor" in said.err
    assert "2 pieces of 4 bars at 120 bpm" in said.out
    (own,) = read_pieces(find_sources([song])[0], spec)
    for i in range(2):
        (source,) = find_sources([tmp_path / "out" / f"sample-00{i}.mid"])
        (made,) = read_pieces(source, spec)
        for own_plane, made_plane in zip(own.roll, made.roll):
            assert torch.equal(made_plane[:, :, :2], own_plane[:, :, :2])
        later = made.roll.frame[:, 1:, 2:].nonzero()[:, -1] + 24 - 2
        assert len(later) and set((later % 12).tolist()) <= set(SCALE)


def test_a_band_goes_on_with_drums_alone(band_in_one_key, tmp_path, capsys):
    beat = tmp_path / "beat.mid"
    beat.write_bytes(midi([(0, True, [(480 * t, 60, 36) for t in range(8)])], names=("drums",)))
    assert run_command("generate", "--model", band_in_one_key, "--n", 1, "--bars", 3, "--prime", beat,
                       "--out", tmp_path / "out") == 0
    said = capsys.readouterr().err
    assert "begins with 8 notes in 2 bars" in said and "key:" not in said    # there is none


def test_the_scale_after_drums_alone_is_that_of_each_piece(tmp_path):
    """A model of all keys: of what it makes, what is not in the key that is found in it is left out."""
    model, beat = model_of("gru", "tracks"), tmp_path / "beat.mid"
    beat.write_bytes(midi([(0, True, [(480 * t, 60, 36) for t in range(4)])], names=("drums",)))
    plain, kept = (Roll(*(torch.stack(planes) for planes in zip(*(made.roll for made in make_sequences(
        model, SequenceRequest(n=8, bars=3, prime=beat, prime_bars=1, only_scale=only), lambda line: None)))))
        for only in (False, True))    # fmt: skip
    shifts = key_shifts(plain.frame, model.spec)
    assert len(set(shifts.tolist())) > 2 and not torch.equal(plain.frame, kept.frame)
    assert torch.equal(kept.frame, in_scale(plain, shifts, model.spec).frame)


def test_a_band_is_no_melody(band_in_one_key, tmp_path, capsys):
    assert run_command("generate", "--model", "accompanist", "--melody-model", band_in_one_key, "--as", "strings",
                       "--out", tmp_path / "out") == 1
    assert "--melody-model writes several notes at once, and no melody" in capsys.readouterr().err


@pytest.fixture
def singer(tmp_path):
    """A model folder of melodies in the pitches of the package's band."""
    small = model_of("gru", "grid")
    spec = RollSpec((Track("lead", 73),))
    model = type(small)("grid", spec, 2, Facts(), embedding=8, width=16)
    save_model(model, tmp_path / "singer")
    return tmp_path / "singer"


def test_a_melody_and_a_band_to_it(singer, tmp_path):
    options = ["--melody-model", singer, "--bars", 2, "--n", 2, "--seed", 3]
    assert run_command("generate", "--model", "accompanist", *options, "--as", "strings", "--out", tmp_path / "band") == 0
    record = json.loads((tmp_path / "band" / "request.json").read_text())
    assert record["melody_model"] == str(singer)
    digests = [record[f"{name}weights_sha256"] for name in ("", "melody_model_")]
    assert digests == [hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
                       for folder in (resources.model_path("accompanist"), singer)]
    melodies = list(make_sequences(load_model(singer), SequenceRequest(n=2, seed=3, bars=2)))
    for i, melody in enumerate(melodies):
        score = symusic.Score(tmp_path / "band" / f"sample-00{i}.mid")
        tracks = {track.name: track for track in score.tracks}
        starts = sorted(note.pitch for note in tracks["strings"].notes)
        assert starts == sorted((melody.roll.onset.nonzero()[:, 3] + 24).tolist())
        assert len(tracks) > 1 and sum(len(track.notes) for track in tracks.values()) > len(starts)


@pytest.mark.parametrize("model, options, message", [
    ("accompanist", [], "--melody-model needs --as: which of piano, guitar, bass, strings plays the melody"),
    ("accompanist", ["--as", "drums"], "no pitched track 'drums'"),
    ("accompanist", ["--as", "piano", "--form", "AB"], "--form means nothing beside --melody-model: leave it out"),
    ("accompanist", ["--as", "piano", "--truncation", "2"], "--truncation must lie in [0, 1]: got 2"),
    ("band", ["--as", "piano"], "--melody-model: this model plays to nothing; --model accompanist does"),
    ("SINGER", [], "--melody-model is for models that accompany, of the family gan"),
])
def test_melodies_that_cannot_be_accompanied(model, options, message, singer, tmp_path, capsys):
    model = singer if model == "SINGER" else model
    assert run_command("generate", "--model", model, "--melody-model", singer, *options, "--out", tmp_path / "out") == 1
    assert message in capsys.readouterr().err


def test_a_melody_model_is_one(singer, in_one_key, tmp_path, capsys):
    command = ["generate", "--model", "accompanist", "--as", "piano", "--out", tmp_path / "out", "--melody-model"]
    assert run_command(*command, "band") == 1
    assert "holds a model of the family gan (compact): this takes one of the family sequence" in capsys.readouterr().err
    assert run_command(*command, in_one_key) == 1
    assert "--melody-model: the two models differ in metre, steps or pitches" in capsys.readouterr().err
    assert run_command(*command, "nowhere") == 1
    assert "--melody-model: no folder nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("options, message", [
    (["--density", "2"], "--density is for models of the families gan and vae: leave it out"),
    (["--form", "AABA"], "--form is for models of the families gan and vae"),
    (["--as", "strings"], "--as is for models that accompany, of the family gan"),
    (["--vary", "0.3", "--phrase", "TUNE"], "--phrase is for models with an encoder, of the family vae"),
    (["--temperature", "-1"], "--temperature must be at least 0: got -1"),
    (["--bars", "0"], "--bars must be 1 to 1024: got 0"),
    (["--n", "0"], "--n must be at least 1: got 0"),
    (["--sample", "-1"], "--sample must be at least 0, and at most 2147483647: got -1"),
    (["--sample", str(1 << 60)], "--sample must be at least 0, and at most 2147483647: got 1152921504606846976"),
    (["--prime-bars", "2"], "--prime-bars says how much of a file is taken: it needs --prime"),
    (["--prime", "TUNE", "--bars", "2"], r"--bars counts the beginning too, and must be above its 2 (--prime-bars): got 2"),
    (["--prime", "TUNE", "--bars", "9", "--prime-bars", "4"], "tune.mid has 3 bars, fewer than --prime-bars=4"),
    (["--prime", "TUNE", "--prime-bars", "0"], "--prime-bars must be at least 1: got 0"),
    (["--prime", "nowhere.mid"], "nowhere.mid"),
    (["--prime", "FOLDER"], "--prime takes one file of music: "),
    (["--prime", "PHRASES", "--prime-bars", "1"], "--prime takes one piece of music: "),
    (["--prime", "DRUMS"], "drums.mid: it has no notes but drums"),
])
def test_what_makes_no_sense_is_one_line(options, message, run, tune, tmp_path, capsys):
    drums = tmp_path / "drums.mid"
    drums.write_bytes(midi([(0, True, [(480 * t, 60, 36) for t in range(12)])]))
    folder = tmp_path / "tunes"
    folder.mkdir()
    for name in ("a.mid", "b.mid"):
        (folder / name).write_bytes(tune.read_bytes())
    phrases = tmp_path / "phrases.npy"
    np.save(phrases, np.tile(np.arange(84)[:, None] == 40, (3, 4, 16, 1, 5)))
    options = [{"PHRASES": phrases, "TUNE": tune, "DRUMS": drums, "FOLDER": folder}.get(word, word) for word in options]
    assert run_command("generate", "--model", run.path, *options, "--out", tmp_path / "out") == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("musegan: error: ") and message in error
    assert not (tmp_path / "out").exists()


def test_options_of_melodies_are_refused_by_a_gan(tmp_path, capsys):
    assert run_command("generate", "--model", "band", "--top-k", 3, "--out", tmp_path / "out") == 1
    assert re.search("--top-k is for models of the family sequence: leave it out", capsys.readouterr().err)


def test_requests_from_python():
    with pytest.raises(UserError, match="--n must be at least 1"):
        SequenceRequest(n=0)
    assert SequenceRequest().count == 8 and gan_with().family == "gan"
