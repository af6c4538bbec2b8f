"""Training on a GPU, in each family."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from musegan import resources
from musegan.config import (
    AnyConfig,
    Config,
    DataConfig,
    ModelConfig,
    SequenceConfig,
    SequenceDataConfig,
    SequenceModelConfig,
    SequenceTrainConfig,
    TrainConfig,
    VaeConfig,
    VaeModelConfig,
    VaeTrainConfig,
    find_family,
)
from musegan.models import load_encoder, load_model
from musegan.training import gan, likelihood, sequence, vae, validation
from musegan.training.run_folder import RunFolder
from tests.test_configs import load, step_of

DEVICE = "cuda"
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]
OFTEN = {"steps": 12, "batch_size": 8, "validate_every": 6, "checkpoint_every": 6, "device": DEVICE}
MELODIES = SequenceConfig(
    SequenceDataConfig(track="guitar", n_bars=2, normalize_key=False, transpose_semitones=5),
    SequenceModelConfig("transformer", width=32, n_heads=2, position_in_bar=True, dropout=0.2),
    SequenceTrainConfig(**OFTEN, ema_decay=0.9),
)
SMALL: dict[str, AnyConfig] = {
    "gan": Config(
        DataConfig("", n_bars=2),
        ModelConfig(generator_width=32, discriminator_width=32, track_width=16, accompaniment=True),
        TrainConfig(**OFTEN, validation_samples=16, augment_target=0.3),
    ),
    "vae": VaeConfig(
        DataConfig("", n_bars=2),
        VaeModelConfig(latent_size=8, decoder_width=32, encoder_width=32, track_width=16, mono_tracks=["bass"]),
        VaeTrainConfig(**OFTEN, validation_samples=16, adversarial_weight=0.5),
    ),
    "transformer": MELODIES,
    **{kind: dataclasses.replace(MELODIES, model=SequenceModelConfig(kind, embedding=16, width=32, dropout=0.2))
       for kind in ("gru", "lstm")},
}    # fmt: skip
"""A run of each loop, and of each kind of layer."""
RECURRENT = ("gru", "lstm")    # of which cuDNN does not promise that they repeat; see torch.nn.LSTM
LOOPS = {"gan": gan.train, "vae": vae.train, "sequence": sequence.train}
LOSSES = {"gan": ("discriminator", "generator"), "vae": ("reconstruction", "discriminator", "generator"), "sequence": ("loss",)}


def a_run(folder, songs, settings: AnyConfig, resume: bool = False) -> RunFolder:
    run = RunFolder(folder)
    if not resume:
        run.create()
    assert LOOPS[settings.family](settings, songs, run, resume=resume)
    return run


def with_train(settings: AnyConfig, **changes) -> AnyConfig:
    return dataclasses.replace(settings, train=dataclasses.replace(settings.train, **changes))


def losses(run: RunFolder, settings: AnyConfig) -> list[list[float]]:
    lines = map(json.loads, run.metrics.read_text().splitlines())
    return [[line[name] for name in LOSSES[settings.family]] for line in lines]


def results(run: RunFolder) -> dict[str, bytes]:
    """The newest weights of each network, and the music that was made with them."""
    files = [*run.newest.rglob("*.safetensors"), *run.samples.glob("*-000012.mid")]
    return {str(file.relative_to(run.path)): file.read_bytes() for file in files}


@pytest.mark.parametrize("name", resources.config_names())
def test_config_makes_a_step(name, songs, tmp_path, monkeypatch):
    no_voices = ["--model.mono_tracks", "[]"] if find_family(["--config", name]) == "gan" else []
    step_of(load("--config", name, "--train.device", DEVICE, *no_voices), songs, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", SMALL)
def test_loses_what_the_cpu_loses(name, songs, tmp_path):
    settings = with_train(SMALL[name], steps=1, **({"augment_target": 0} if name == "gan" else {}))
    if settings.family == "sequence":    # what dropout silences is drawn on the device
        settings = dataclasses.replace(settings, model=dataclasses.replace(settings.model, dropout=0.0))
    on_gpu, on_cpu = (
        losses(a_run(tmp_path / device, songs, with_train(settings, device=device)), settings)[0] for device in (DEVICE, "cpu")
    )
    assert on_gpu == pytest.approx(on_cpu, rel=1e-3 if name in RECURRENT else 1e-4)    # cuDNN's products are of TF32


@pytest.mark.parametrize("name", [name for name in SMALL if name not in RECURRENT])
def test_resumed_run_ends_where_an_uninterrupted_one_ends(name, songs, tmp_path):
    whole = a_run(tmp_path / "whole", songs, SMALL[name])
    a_run(tmp_path / "parts", songs, with_train(SMALL[name], steps=6))
    parts = a_run(tmp_path / "parts", songs, SMALL[name], resume=True)
    assert len(results(whole)) >= 2 and results(whole) == results(parts)


@pytest.mark.parametrize("devices", [(DEVICE, "cpu"), ("cpu", DEVICE), (DEVICE, DEVICE)], ids="-".join)
@pytest.mark.parametrize("name", SMALL)
def test_a_run_goes_on_from_one_device_on_another(name, devices, songs, tmp_path):
    first, second = devices
    a_run(tmp_path, songs, with_train(SMALL[name], steps=6, device=first))
    run = a_run(tmp_path, songs, with_train(SMALL[name], device=second), resume=True)
    found = torch.tensor(losses(run, SMALL[name]))
    assert run.load_checkpoint()["step"] == 12 and torch.isfinite(found).all()


@pytest.mark.parametrize("name", SMALL)
def test_what_was_trained_on_a_gpu_plays_on_the_cpu(name, songs, tmp_path):
    """The loop's music is made in float64 on the CPU, and so is that of the model folder."""
    settings = SMALL[name]
    run, again = a_run(tmp_path / "gpu", songs, settings), RunFolder(tmp_path / "cpu")
    again.create()
    model, show = load_model(run.newest), (likelihood if settings.family == "sequence" else validation).show
    show(model, again, 12, settings.train.seed)
    (wanted, found) = (each.samples / "step-000012.mid" for each in (run, again))
    assert wanted.read_bytes() == found.read_bytes()
    if name == "vae":
        assert {weight.device.type for weight in load_encoder(run.newest, model).state_dict().values()} == {"cpu"}


def test_bfloat16(songs, tmp_path):
    settings = with_train(SMALL["gan"], precision="bfloat16", steps=2)
    run = a_run(tmp_path, songs, settings)
    assert torch.isfinite(torch.tensor(losses(run, settings))).all()
