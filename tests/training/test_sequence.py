"""The loop of models that write token by token: it learns, stops in time, resumes, and saves numbers alone."""

import dataclasses
import json
import math

import pytest
import torch

from musegan.config import DataConfig, SequenceConfig, SequenceDataConfig, SequenceModelConfig, SequenceTrainConfig
from musegan.data.sequences import Windows, cut
from musegan.errors import UserError
from musegan.models import load_model
from musegan.training.likelihood import likelihood
from musegan.training.sequence import train
from musegan.training.splits import split, split_sequences
from tests.training.test_gan import after, run_in, same_state

TINY = SequenceConfig(
    data=SequenceDataConfig(track="bass", encoding="events", n_bars=4, validation_share=0.3, test_share=0.2),
    model=SequenceModelConfig("gru", embedding=8, width=16, n_layers=2, dropout=0.2),
    train=SequenceTrainConfig(steps=12, batch_size=4, validate_every=6, checkpoint_every=4, ema_decay=0.9, patience=0),
)


@pytest.fixture(autouse=True)
def cheap_pictures(monkeypatch):
    monkeypatch.setattr("musegan.training.likelihood.write_png", lambda path, *arguments, **options: path.write_bytes(b""))


def with_train(config=TINY, **changes):
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **changes))


def numbers(run):
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in run.metrics.open()]


@pytest.mark.parametrize("kind, track", [("gru", "bass"), ("transformer", "bass"), ("transformer", "all")])
def test_stopped_and_resumed_equals_never_stopped(kind, track, songs, tmp_path):
    model = TINY.model if kind == "gru" else SequenceModelConfig("transformer", width=16, n_heads=2, dropout=0.2)
    data = dataclasses.replace(TINY.data, normalize_key=kind == "gru", transpose_semitones=0 if kind == "gru" else 5)
    if track == "all":
        data = dataclasses.replace(data, track="all", encoding="tracks", n_bars=1)
    config = dataclasses.replace(TINY, model=model, data=data)
    whole, parts = run_in(tmp_path / "whole"), run_in(tmp_path / "parts")
    assert train(config, songs, whole)
    assert not train(config, songs, parts, stop_requested=after(5))
    assert parts.load_checkpoint()["step"] == 5
    assert train(config, songs, parts, resume=True)
    assert same_state(whole.load_checkpoint(), parts.load_checkpoint())
    for file in ("best/model.safetensors", "newest/model.safetensors", "samples/step-000012.mid"):
        assert (whole.path / file).read_bytes() == (parts.path / file).read_bytes()
    assert numbers(whole) == numbers(parts)
    assert [line["step"] for line in numbers(whole) if "perplexity" in line] == [6, 12]


@pytest.mark.parametrize("model", [SequenceModelConfig("lstm", embedding=16, width=32, n_layers=1),
                                   SequenceModelConfig("transformer", width=32, n_layers=2)], ids=["lstm", "transformer"])
def test_a_tune_is_learnt_by_heart(model, songs, tmp_path, monkeypatch):
    """One window of one piece, again and again: in the end nothing in it surprises."""
    def one_window(data, dataset):
        found = split_sequences(data, dataset)
        line = found.passages[0][1]    # a riff
        tune = cut(line, int(line.notes[0, 1]) // 16, 2, 16)
        assert len({*tune.notes[:, 0].tolist()}) > 2
        tune = Windows([tune], found.training.vocabulary, 2, every_bar=True)
        return found._replace(training=tune, validation=tune)

    monkeypatch.setattr("musegan.training.sequence.split_sequences", one_window)
    config = dataclasses.replace(with_train(steps=120, batch_size=1, ema_decay=0.0, learning_rate=1e-2, validate_every=60),
                                 model=model, data=dataclasses.replace(TINY.data, encoding="grid", track="guitar"))
    run = run_in(tmp_path)
    assert train(config, songs, run)
    learnt = likelihood(load_model(run.best), one_window(config.data, songs).training)
    assert learnt.per_token < 0.05 and learnt.accuracy > 0.98


def test_a_run_that_finds_nothing_better_is_over(songs, tmp_path):
    run, config = run_in(tmp_path), with_train(steps=100, validate_every=1, patience=3, learning_rate=0.5, ema_decay=0.0)
    assert train(config, songs, run)
    state, found = run.load_checkpoint(), [line["nats_per_token"] for line in numbers(run) if "nats_per_token" in line]
    assert state["step"] == len(found) < 100 and state["n_worse"] == 3
    assert min(found) == found[-4] == state["best"]
    before = run.best.joinpath("model.safetensors").read_bytes()
    assert train(config, songs, run, resume=True)    # over already: nothing happens
    assert run.load_checkpoint()["step"] == state["step"]
    assert run.best.joinpath("model.safetensors").read_bytes() == before


def test_the_likelihood_is_a_mean_over_what_counts(songs):
    """Of a model that finds all tokens alike: log V each, whatever is filled up."""
    melodies = split_sequences(TINY.data, songs).validation
    lengths = melodies.lengths - 1

    class Uniform(torch.nn.Linear):
        def forward(self, tokens):
            return torch.zeros(*tokens.shape, melodies.vocabulary.size)

    found = likelihood(Uniform(1, 1), melodies)
    nats = math.log(melodies.vocabulary.size)
    assert found.per_token == pytest.approx(nats) and found.perplexity == pytest.approx(melodies.vocabulary.size)
    assert found.per_step == pytest.approx(nats * int(lengths.sum()) / melodies.n_steps)
    assert found.per_note == pytest.approx(nats * int(lengths.sum()) / melodies.n_notes)


def test_melodies_are_split_as_phrases_are(songs):
    shares = {"validation_share": 0.3, "test_share": 0.2}
    phrases = split(DataConfig(**shares), songs)
    melodies = split_sequences(SequenceDataConfig(**shares), songs)
    for part, lines in zip(phrases, melodies.passages):
        assert {line.piece for line in lines} == set(songs.piece_of(part.starts).tolist())


def test_a_loss_that_is_no_number_ends_in_one_line(songs, tmp_path, monkeypatch):
    monkeypatch.setattr("musegan.training.sequence.loss_of", lambda model, given, targets: model(given).sum() * float("nan"))
    run = run_in(tmp_path)
    with pytest.raises(UserError, match="step 1: a loss or a weight is not a number any more.*lower train.learning_rate"):
        train(TINY, songs, run)
    assert not run.checkpoint.exists() and not run.newest.exists()


@pytest.mark.parametrize("data, message", [
    ({"track": "flute"}, "data.track: no pitched track named 'flute'"),
    ({"track": "drums"}, "data.track: no pitched track named 'drums'; there are lead, piano"),
    ({"encoding": "tracks", "track": "lead"}, "no track named 'lead'; there are all, drums, piano"),
    ({"track": "all"}, "data.track: no pitched track named 'all'; there are lead, piano"),
])
def test_tracks_that_make_no_melody(data, message, songs, tmp_path):
    with pytest.raises(UserError, match=message):
        train(dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, **data)), songs, run_in(tmp_path))


def test_several_processes_are_refused(songs, tmp_path, monkeypatch):
    monkeypatch.setattr("musegan.training.sequence.n_processes", lambda: 2)
    with pytest.raises(UserError, match="family sequence: one process trains"):
        train(TINY, songs, run_in(tmp_path))
