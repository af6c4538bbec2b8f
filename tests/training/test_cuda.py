"""Training on a GPU."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from musegan import resources
from musegan.config import Config, DataConfig, ModelConfig, TrainConfig, find_family
from musegan.models import load_generator
from musegan.sampling import sample
from musegan.training.gan import train
from musegan.training.run_folder import RunFolder
from tests.test_configs import load, step_of

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]
SMALL = Config(
    DataConfig("", n_bars=2),
    ModelConfig(generator_width=32, discriminator_width=32, track_width=16, accompaniment=True),
    TrainConfig(steps=12, batch_size=8, validate_every=6, checkpoint_every=6, validation_samples=16, device="cuda",
                augment_target=0.3),
)    # fmt: skip


def a_run(folder, songs, settings: Config = SMALL, resume: bool = False) -> RunFolder:
    run = RunFolder(folder)
    if not resume:
        run.create()
    assert train(settings, songs, run, resume=resume)
    return run


def with_train(**changes) -> Config:
    return dataclasses.replace(SMALL, train=dataclasses.replace(SMALL.train, **changes))


def losses(run: RunFolder) -> list[tuple[float, float]]:
    lines = map(json.loads, run.metrics.read_text().splitlines())
    return [(line["discriminator"], line["generator"]) for line in lines]


@pytest.mark.parametrize("name", [name for name in resources.config_names() if find_family(["--config", name]) == "gan"])
def test_config_makes_a_step(name, songs, tmp_path, monkeypatch):
    step_of(load("--config", name, "--train.device", "cuda", "--model.mono_tracks", "[]"), songs, tmp_path, monkeypatch)


def test_loses_what_the_cpu_loses(songs, tmp_path):
    on_gpu, on_cpu = (a_run(tmp_path / d, songs, with_train(device=d, steps=1, augment_target=0)) for d in ("cuda", "cpu"))
    assert losses(on_gpu)[0] == pytest.approx(losses(on_cpu)[0], rel=1e-4)


def test_resumed_run_ends_where_an_uninterrupted_one_ends(songs, tmp_path):
    whole = a_run(tmp_path / "whole", songs)
    a_run(tmp_path / "parts", songs, with_train(steps=6))
    parts = a_run(tmp_path / "parts", songs, resume=True)
    a, b = (load_generator(run.newest).state_dict() for run in (whole, parts))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert torch.equal(*(sample(load_generator(run.newest), 4, 0).onset for run in (whole, parts)))


def test_a_run_goes_on_from_one_device_on_another(songs, tmp_path):
    a_run(tmp_path, songs, with_train(steps=6))
    run = a_run(tmp_path, songs, with_train(device="cpu"), resume=True)
    assert torch.isfinite(torch.tensor(losses(run))).all()


def test_bfloat16(songs, tmp_path):
    run = a_run(tmp_path, songs, with_train(precision="bfloat16", steps=2))
    assert torch.isfinite(torch.tensor(losses(run))).all()
