"""`musegan generate`: real files from a real model, the same for the same seed on either backend."""

import json
import os
import re
import subprocess
import sys
import wave

import numpy as np
import pretty_midi
import pypianoroll
import pytest
import safetensors.torch
import symusic
import torch

import musegan.requests
from musegan import cli, ops
from musegan.models import load_generator, save_model
from musegan.sampling import sample
from musegan.training.gan import train
from musegan.training.run_folder import RunFolder
from tests.training.test_gan import with_train


@pytest.fixture(scope="module")
def run(songs, tmp_path_factory):
    """A run of a few steps: its music is poor, but it is music."""
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.create()
    train(with_train(steps=30, validate_every=30), songs, folder)
    return folder


def generate(*arguments):
    return cli.main(["generate", *map(str, arguments)])


def test_files_of_a_request(run, songs, tmp_path):
    assert generate("--model", run.path, "--n", 2, "--seed", 7, "--out", tmp_path, "--tempo", 97, "--sampling",
                    "bernoulli", "--wav") == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"sample-00{i}.{ending}" for i in range(2) for ending in ("mid", "npz", "png", "wav")), "samples.png",
        "request.json"}
    score = symusic.Score(tmp_path / "sample-000.mid")
    assert score.tempos[0].qpm == pytest.approx(97, abs=0.01)
    assert (score.time_signatures[0].numerator, score.time_signatures[0].denominator) == (4, 4)
    roll = sample(load_generator(run.best), 2, 7, "bernoulli").phrases()[0]
    sounding = [track for k, track in enumerate(songs.spec.tracks) if roll.frame[k].any()]
    assert [(track.name, track.program, track.is_drum) for track in score.tracks] == [
        (track.name, track.program, track.is_drum) for track in sounding]
    onsets = sum(len(instrument.notes)
                 for instrument in pretty_midi.PrettyMIDI(str(tmp_path / "sample-000.mid")).instruments)
    assert onsets == sum(len(track.notes) for track in score.tracks) > 0
    assert pypianoroll.load(tmp_path / "sample-000.npz").tempo[0] == pytest.approx(97)
    with wave.open(str(tmp_path / "sample-000.wav")) as audio:
        samples = np.frombuffer(audio.readframes(audio.getnframes()), np.int16)
    assert np.abs(samples.astype(int)).max() > 2**14


def test_same_seed_same_bytes_on_either_backend(run, tmp_path):
    """The native kernels here, plain torch in a process of its own."""
    if os.environ.get("MUSEGAN_NATIVE") == "off":
        pytest.skip("MUSEGAN_NATIVE=off")
    assert ops.native_status().loaded, ops.native_status().reason
    requests = {sampling: ["--model", str(run.path), "--seed", "5", "--n", "3", "--sampling", sampling, "--out"]
                for sampling in ("threshold", "bernoulli")}
    program = "import sys, json, musegan.generate as g; [g.main(each) for each in json.loads(sys.argv[1])]"
    plain = [[*request, str(tmp_path / "off" / sampling)] for sampling, request in requests.items()]
    environment = {**os.environ, "MUSEGAN_NATIVE": "off"}
    subprocess.run([sys.executable, "-c", program, json.dumps(plain)], check=True, env=environment)
    for sampling, request in requests.items():
        assert generate(*request, tmp_path / "native" / sampling) == 0
        files = sorted(path.name for path in (tmp_path / "off" / sampling).glob("*.mid"))
        assert len(files) == 3
        for name in files:
            one, other = ((tmp_path / backend / sampling / name).read_bytes() for backend in ("off", "native"))
            assert one == other


def test_newest_snapshot_and_model_folders_can_be_named(run, tmp_path):
    assert generate("--model", run.newest, "--n", 1, "--out", tmp_path / "a") == 0
    save_model(load_generator(run.newest), tmp_path / "model")
    assert generate("--model", tmp_path / "model", "--n", 1, "--out", tmp_path / "b") == 0
    assert (tmp_path / "a" / "sample-000.mid").read_bytes() == (tmp_path / "b" / "sample-000.mid").read_bytes()


def test_samples_of_two_requests_are_never_mixed(run, tmp_path, capsys):
    assert generate("--model", run.path, "--n", 2, "--wav", "--out", tmp_path) == 0
    assert generate("--model", run.path, "--n", 1, "--out", tmp_path) == 1
    assert "holds samples already" in capsys.readouterr().err
    (tmp_path / "mine.mid").write_bytes(b"mine")
    assert generate("--model", run.path, "--n", 1, "--out", tmp_path, "--overwrite") == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "mine.mid", "samples.png", "request.json", "sample-000.mid", "sample-000.npz", "sample-000.png"}


def test_a_long_series_is_made_in_parts(run, tmp_path, monkeypatch):
    assert generate("--model", run.path, "--n", 5, "--seed", 3, "--sampling", "bernoulli", "--out", tmp_path / "whole") == 0
    monkeypatch.setattr(musegan.requests, "_BATCH", 2)
    assert generate("--model", run.path, "--n", 5, "--seed", 3, "--sampling", "bernoulli", "--out", tmp_path / "parts") == 0
    for i in range(5):
        name = f"sample-00{i}.mid"
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def damaged(tmp_path, run, name, change):
    folder = tmp_path / "model"
    save_model(load_generator(run.best), folder)
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    return folder


def setting(new, old=None):
    """A config with another value of a setting."""
    old = old or new.split(": ")[0] + r": [^,\s]+"
    return lambda content: re.sub(old, new, content.decode(), flags=re.DOTALL).encode()


def weight(name, value):
    """Weights of which one is a number everywhere."""
    def changed(content):
        state = safetensors.torch.load(content)
        return safetensors.torch.save(state | {name: torch.full_like(state[name], value)})

    return changed


@pytest.mark.parametrize("name, change, message", [
    ("model.safetensors", lambda content: content[:500], "model.safetensors is damaged or does not fit its config"),
    ("model.safetensors", lambda content: b"\xff" * 100, "model.safetensors is damaged or does not fit its config"),
    ("config.json", lambda content: content.replace(b'"width": 16', b'"width": 24'),
     "model.safetensors is damaged or does not fit"),
    ("config.json", lambda content: b"not json", "cannot read"),
    ("config.json", lambda content: content.replace(b'"compact"', b'"enormous"'), "unknown kind of model 'enormous'"),
    ("config.json", lambda content: content.replace(b'"n_pitches": 84', b'"n_pitches": 20'), "cannot read"),
    ("config.json", lambda content: content.replace(b'"n_bars": 2', b'"n_bars": -3'),
     "n_bars must be a whole number above 0"),
    ("config.json", lambda content: content.replace(b'"own_bar_share": 0.35', b'"own_bar_share": "x"'), "must be a number"),
    ("config.json", lambda content: re.sub(rb'"key_shifts": \[[^]]*', b'"key_shifts": [-1', content),
     "key_shifts must be 12 counts"),
    ("config.json", lambda content: content.replace(b'"name": "bass"', b'"name": 5'), "name must be text"),
    ("config.json", lambda content: b"[]", "cannot read"),
    ("config.json", lambda content: b"null", "cannot read"),
    ("config.json", setting('"spec": null', r'"spec": \{.*\]\s*\}'), "spec must be a RollSpec"),
    ("config.json", setting('"lowest_pitch": 24.0'), "lowest_pitch must be a whole number"),
    ("config.json", setting('"is_drum": 0'), "is_drum must be true or false"),
    ("config.json", setting('"program": 0.5'), "program must be 0 to 127"),
    ("config.json", setting('"first_pitch": [NaN', r'"first_pitch": \[\s*\d+'), "must be whole numbers"),
    ("config.json", setting('"key_shifts": [Infinity', r'"key_shifts": \[\s*\d+'), "key_shifts must be 12 counts"),
    ("config.json", setting('"median_pitch": [128, 60]', r'"median_pitch": \[[^]]*\]'), "median_pitch must be MIDI pitches"),
    ("config.json", setting('"median_pitch": [60]', r'"median_pitch": \[[^]]*\]'), "median_pitch must have one entry for each"),
    ("config.json", setting('"own_bar_share": NaN'), "own_bar_share must be at least 0"),
    ("config.json", setting(f'"own_bar_share": 1{"0" * 400}'), "cannot read"),
    ("config.json", setting('"bar_likeness": 1.5'), "bar_likeness must lie in"),
    ("config.json", setting(f'"n_bars": {10**9}'), "a phrase has 1 to 1024 bars"),
    ("config.json", setting(f'"n_blocks": {10**9}'), "n_blocks must be a whole number from 0 to"),
    ("config.json", setting(f'"width": {10**6}'), "does not fit its config"),    # terabytes
    ("config.json", setting(f'"width": {10**30}'), "cannot read"),
    ("model.safetensors", weight("to_gate.bias", float("nan")), "a weight is not a number"),
    ("model.safetensors", weight("thresholds", float("nan")), "a weight is not a number"),
    ("model.safetensors", weight("steadiness", -1.0), "steadiness must be at least 0"),
    ("model.safetensors", weight("thresholds", 1.5), "thresholds must lie between 0 and 1"),
])
def test_a_damaged_model_is_one_line(run, tmp_path, capsys, name, change, message):
    assert generate("--model", damaged(tmp_path, run, name, change), "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("musegan: error: ") and message in error
    assert not (tmp_path / "out").exists()


def test_mistakes_are_one_line(run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        (["--model", tmp_path / "nowhere"], "no folder"),
        (["--model", tmp_path / "empty"], "holds neither a model"),
        (["--model", run.path, "--n", 0], "--n must be at least 1"),
        (["--model", run.path, "--tempo", 0], "tempo"),
        (["--model", run.path, "--tempo", -3], "tempo"),
        (["--model", run.path, "--threshold", 1.5], "threshold must lie between 0 and 1: got 1.5"),
        (["--model", run.path, "--out", tmp_path / "file" / "music"], "--out: cannot write"),
    ):
        out = [] if "--out" in arguments else ["--out", tmp_path / "out"]
        assert generate(*arguments, *out) == 1, message
        assert message in capsys.readouterr().err
