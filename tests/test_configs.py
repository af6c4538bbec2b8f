"""Every config that comes with the package loads, builds and makes a step."""

import dataclasses
from typing import ClassVar

import pytest
import torch

from musegan import config, resources
from musegan.config import KIND_KEYS, Config, DataConfig, SequenceConfig, ModelConfig, TrainConfig
from musegan.data.dataset import PackedDataset
from musegan.data.preparation import Rules, prepare
from musegan.data.tracks import PRESETS
from musegan.errors import UserError
from musegan.models import build
from musegan.training import calibration, gan, sequence, vae
from musegan.training.run_folder import RunFolder
from tests.data.songs import midi
from tests.models.test_layout import SPEC


def load(*argv):
    return config.load([str(word) for word in argv])


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """A packed data set of four voices: six pieces of scales in canon."""
    folder = tmp_path_factory.mktemp("voices")
    files = []
    for i in range(6):
        lines = [[(480 * t, 480, top - (i * t + k) % 7) for t in range(32)] for k, top in enumerate((79, 72, 67, 55))]
        files.append(folder / f"{i}.mid")
        files[-1].write_bytes(midi([(52, False, line) for line in lines]))
    prepare(files, folder / "dataset", Rules(PRESETS["satb"], min_tracks=4, duplicates="exact"))
    return PackedDataset.open(folder / "dataset")


def step_of(settings, dataset, folder, monkeypatch):
    """A step of few phrases, for the papers' networks are large; all else is the config's."""
    monkeypatch.setattr(calibration, "_N_PHRASES", 2)
    few = {"steps": 1, "batch_size": 2} | ({"validation_samples": 2} if settings.family == "gan" else {})
    settings = dataclasses.replace(settings, train=dataclasses.replace(settings.train, **few))
    run = RunFolder(folder)
    run.create()
    assert {"gan": gan, "sequence": sequence, "vae": vae}[settings.family].train(settings, dataset, run)
    assert run.best.exists()


@pytest.mark.parametrize("name", resources.config_names())
def test_config_makes_a_step(name, songs, voices, tmp_path, monkeypatch):
    settings = load("--config", name)
    is_voices = settings.family == "gan" and "soprano" in settings.model.mono_tracks
    step_of(settings, voices if is_voices else songs, tmp_path, monkeypatch)


def test_resolved_config_reads_back(tmp_path):
    settings = load("--config", "band", "--train.learning_rate=0.0005")
    (tmp_path / "config.yaml").write_text(config.to_yaml(settings))
    assert load("--config", tmp_path / "config.yaml") == settings


def test_command_line_wins_over_the_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("train:\n  steps: 5\n  seed: 3\n")
    settings = load("--config", tmp_path / "mine.yaml", "--train.steps=9")
    assert (settings.train.steps, settings.train.seed) == (9, 3)
    assert load("--train.steps=9", "--config", tmp_path / "mine.yaml") == settings
    assert load("--train.steps=9", f"--config={tmp_path / 'mine.yaml'}") == settings


@pytest.mark.parametrize("option, message", [
    ("--model.mono_tracks=bass", r"model.mono_tracks must be a list, such as \[bass\]: got bass"),
    ("--train.steps=many", "train.steps must be a whole number: got many"),
    ("--train.learning_rate=nan", "train.learning_rate must be a number: got nan"),
    ("--model.refiner=perhaps", "model.refiner must be true or false: got perhaps"),
    ("--train.penalty=some", "train.penalty must be one of zero-centred, real, gradient, none: got some"),
])
def test_a_value_of_the_wrong_type_is_told_in_plain_words(option, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        load(option)


WITHOUT_MEANING = {    # for each key of the table, what makes it mean nothing, and what something
    "refine_from=5": ("--model.kind=compact", "--model.kind=bmusegan"),
    "accompany_share=0.3": ("--model.kind=compact", "--model.accompaniment=true"),
    "slope_growth=1.1": ("--model.kind=bmusegan --model.binary=none", "--model.kind=bmusegan"),
    "max_slope=5": ("--train.slope_growth=1", "--train.slope_growth=1.1"),
    "penalty_weight=10": ("--train.penalty=none", "--train.penalty=gradient"),
    "penalty_every=1": ("--train.penalty=none", "--train.penalty=real"),
    "augment_probability=0.5": ("--train.transpose_range=0", "--train.transpose_range=0 --train.shift_beats=true"),
    "augment_target=0.5": ("--train.transpose_range=0", "--train.transpose_range=0 --train.silence_track=true"),
}


@pytest.mark.parametrize("option", WITHOUT_MEANING)
def test_a_key_that_means_nothing_beside_others_is_a_mistake(option):
    (name, value), (nothing, something) = option.split("="), WITHOUT_MEANING[option]
    with pytest.raises(UserError, match=rf"^train\.{name} means nothing with.*: leave it out, or at \d"):
        load(*nothing.split(), f"--train.{option}")
    assert getattr(load(*something.split(), f"--train.{option}").train, name) == float(value)
    load(*nothing.split(), f"--train.{name}={getattr(config.TrainConfig(), name)}")


def test_each_key_of_the_table_is_tried():
    assert [option.split("=")[0] for option in WITHOUT_MEANING] == [name for name, *_ in config.TRAIN_KEYS]


@pytest.mark.parametrize("kind", KIND_KEYS)
def test_a_kind_reads_the_keys_it_is_said_to_read(kind):
    read = set()

    class Recorded(ModelConfig):
        def __getattribute__(self, name):
            read.add(name)
            return super().__getattribute__(name)

    settings = Recorded(kind=kind, generator_width=32, discriminator_width=32)
    read.clear()
    build(settings, SPEC, torch.ones(3, 12), 1)
    assert read == {"kind", *KIND_KEYS[kind]}


def test_a_key_that_means_nothing_to_a_kind_is_a_mistake():
    with pytest.raises(UserError, match="model.own_bar_share means nothing to model.kind musegan"):
        load("--model.kind=musegan", "--model.own_bar_share=0.5")
    for kind in ("musegan-v3", "bmusegan"):
        with pytest.raises(UserError,
                           match=f"model.discriminator_width must be a multiple of 32 for model.kind {kind}: got 100"):
            load(f"--model.kind={kind}", "--model.discriminator_width=100")
    assert load("--model.kind=musegan", "--model.latent_size=32").model == ModelConfig("musegan", latent_size=32)


@dataclasses.dataclass(frozen=True)
class OtherConfig:
    """A family with keys of its own."""

    family: ClassVar[str] = "other"
    description: ClassVar[str] = "Trains another model."
    default_run: ClassVar[str] = "runs/other"
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: dict = dataclasses.field(default_factory=dict)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)


@pytest.fixture
def other(monkeypatch, tmp_path):
    """A family beside those of the package, and a file that states it."""
    monkeypatch.setitem(config.FAMILIES, "other", OtherConfig)
    (tmp_path / "other.yaml").write_text("family: other\nmodel: {size: 3}\ntrain: {steps: 7}\n")
    return tmp_path / "other.yaml"


def test_a_family_is_found_on_the_command_line_and_in_files(other):
    assert config.find_family(["--train.steps", "5"]) == "gan"
    assert config.find_family(["--config", str(other)]) == config.find_family([f"--config={other}"]) == "other"
    assert config.find_family(["--config", str(other), "--config", "band"]) == "other"    # band states none
    assert config.find_family(["--family=gan", "--config", "band"]) == "gan"
    assert config.find_family(["--family=other", "--config", str(other)]) == "other"
    with pytest.raises(UserError, match="--family gan: the config is of the family other, whose keys are others"):
        config.find_family(["--family=gan", "--config", str(other)])
    settings = config.load(["--config", str(other), "--train.steps=9"])
    assert (type(settings), settings.model, settings.train.steps) == (OtherConfig, {"size": 3}, 9)


def test_a_resolved_config_states_its_family(other, tmp_path):
    settings = config.load(["--config", str(other)])
    (tmp_path / "config.yaml").write_text(config.to_yaml(settings))
    assert (tmp_path / "config.yaml").read_text().startswith("family: other\n")
    assert config.load(["--config", str(tmp_path / "config.yaml")]) == settings
    assert config.to_yaml(Config()).startswith("family: gan\n")


@pytest.mark.parametrize("content, message", [
    ("family: othr", "no family of models 'othr': there are gan, .*other; did you mean 'other'?"),
    ("family: 3", "no family of models 3: there are gan"),
    ("family:\ntrain: {steps: 3}", "no family of models 'null': there are gan"),
    ("family: [other]", r"no family of models \['other'\]: there are gan"),
    ("family: other\ntrain: {stepz: 3}", "did you mean train.steps?"),
])
def test_an_unknown_family_or_key_of_one_is_told_in_one_line(content, message, other, tmp_path):
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(UserError, match=message):
        config.load(["--config", str(tmp_path / "mine.yaml")])


@pytest.mark.parametrize("option", ["--famil", "--conf"])
def test_options_are_written_out(option, other):
    """What chooses the family is read before the parser is there, which would take a part of its name too."""
    with pytest.raises(UserError, match=f"unrecognized arguments: {option}"):
        config.load([option, "other" if option == "--famil" else str(other)])


def test_the_article_s_lstm():
    settings = load("--config", "melody-lstm")
    model, train = settings.model, settings.train
    assert (model.kind, model.embedding, model.width, model.n_layers, model.dropout) == ("lstm", 128, 256, 2, 0.0)
    assert (settings.data.encoding, train.batch_size, train.learning_rate) == ("grid", 64, 1e-3)
    assert not model.position_in_bar and train.learning_rate_halving == train.ema_decay == train.weight_decay == 0


@pytest.mark.parametrize("options, message", [
    (["--model.kind=compact"], "model.kind must be one of lstm, gru, transformer: got compact"),
    (["--data.encoding=words"], "data.encoding must be one of grid, events, tracks: got words"),
    (["--data.min_tracks=2"], "did you mean data.track?"),
    (["--model.n_heads=2"], "model.n_heads means nothing to model.kind lstm: leave it out"),
    (["--model.kind=transformer", "--model.embedding=64"], "model.embedding means nothing to model.kind transformer"),
    (["--model.kind=transformer", "--model.width=102", "--model.n_heads=3", "--model.positions=musical"],
     "model.positions=musical needs an even model.n_heads: got 3"),
    (["--model.kind=transformer", "--model.width=100"], "model.width must be a multiple of twice model.n_heads=4: got 100"),
    (["--model.dropout=1"], r"model.dropout must lie in \[0, 1\): got 1"),
    (["--data.n_bars=0"], "data.n_bars must be at least 1: got 0"),
    (["--data.test_share=0.9"], r"data.test_share must lie in \[0, 1 - data.validation_share\): got 0.9"),
    (["--train.patience=-1"], "train.patience must be at least 0: got -1"),
    (["--train.loss=hinge"], "did you mean train.steps?"),
])
def test_mistakes_in_a_config_of_melodies(options, message):
    with pytest.raises(UserError, match=message):
        load("--family=sequence", *options)
    assert load("--family=sequence") == SequenceConfig()


@pytest.mark.parametrize("option, message", [
    ("--train.beta=-1", "train.beta must be at least 0: got -1"),
    ("--train.ema_decay=1", r"train.ema_decay must lie in \[0, 1\): got 1"),
    ("--model.encoder_width=0", "model.encoder_width must be at least 1: got 0"),
    ("--model.bar_likeness=1.1", r"model.bar_likeness must lie in \[0, 1\]: got 1.1"),
    ("--model.discriminator_width=64", "did you mean model.*_width?"),
])
def test_keys_of_an_autoencoder_are_checked(option, message):
    with pytest.raises(UserError, match=message):
        load("--family=vae", option)
