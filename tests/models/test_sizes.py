"""Numbers of parameters are those that docs/models.md tells."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from musegan.config import ModelConfig
from musegan.models import build
from musegan.roll import PRESETS, RollSpec, Track

GUIDE = (Path(__file__).parent.parent.parent / "docs" / "models.md").read_text()
BAND = {steps: RollSpec(PRESETS["lpd5"], steps_per_beat=steps // 4) for steps in (16, 48, 96)}
EIGHT = RollSpec(tuple(Track(str(i), is_drum=i == 0) for i in range(8)), steps_per_beat=24)
RELEASED = {"latent_size": 128, "generator_width": 512, "discriminator_width": 512}


def sizes(config, spec):
    with torch.device("meta"):    # no numbers, only shapes
        networks = build(config, spec, torch.ones(spec.n_tracks, spec.n_pitches, device="cpu"), 4)
    return [f"{sum(parameter.numel() for parameter in network.parameters()):,}" for network in networks]


@pytest.mark.parametrize("variant, size, steps, name", [
    ("composer", 64, 96, "`musegan`, composer"), ("jamming", 64, 96, "`musegan`, jamming"),
    ("hybrid", 32, 96, "`musegan`, hybrid"), ("hybrid", 32, 16, "`musegan`, config"),
])    # fmt: skip
def test_sizes_of_musegan(variant, size, steps, name):
    config = ModelConfig("musegan", variant=variant, latent_size=size)
    (row,) = (line for line in GUIDE.splitlines() if line.startswith(f"| {name}") and "steps" in line)
    generator, discriminator = sizes(config, BAND[steps])
    with_given, _ = sizes(replace(config, accompaniment=True), BAND[steps])
    assert row.endswith(f"| {generator} | {with_given} | {discriminator} |")


@pytest.mark.parametrize("kind, spec, shape", [
    ("musegan-v3", BAND[48], "5 tracks, 48 steps, as released"), ("musegan-v3", BAND[16], "5 tracks, 16 steps"),
    ("bmusegan", EIGHT, "8 tracks, 96 steps, as released"), ("bmusegan", BAND[16], "5 tracks, 16 steps"),
])    # fmt: skip
def test_sizes_of_released_networks(kind, spec, shape):
    generator, discriminator = sizes(ModelConfig(kind, **RELEASED), spec)
    assert f"| `{kind}` | {shape} | {generator} | | {discriminator} |" in GUIDE
