"""Every config that comes with the package loads, builds and makes a step."""

import dataclasses

import pytest

from musegan import config, resources
from musegan.config import Config
from musegan.training.gan import train
from musegan.training.run_folder import RunFolder


def load(*argv):
    command_line = config.parser("test", "")
    arguments = config.parse(command_line, [str(word) for word in argv])
    return Config(arguments.data, arguments.model, arguments.train)


@pytest.mark.parametrize("name", resources.config_names())
def test_config_makes_a_step(name, songs, tmp_path):
    settings = load("--config", name)
    settings = dataclasses.replace(settings, train=dataclasses.replace(settings.train, steps=1, validation_samples=8))
    run = RunFolder(tmp_path)
    run.create()
    assert train(settings, songs, run)
    assert run.best.exists()


def test_resolved_config_reads_back(tmp_path):
    settings = load("--config", "band", "--train.learning_rate=0.0005")
    (tmp_path / "config.yaml").write_text(config.to_yaml(settings))
    assert load("--config", tmp_path / "config.yaml") == settings


def test_command_line_wins_over_the_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("train:\n  steps: 5\n  seed: 3\n")
    settings = load("--config", tmp_path / "mine.yaml", "--train.steps=9")
    assert (settings.train.steps, settings.train.seed) == (9, 3)
