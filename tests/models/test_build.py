"""Every kind of model is built, works in both directions, and comes back from its folder."""

import pytest
import torch

from musegan.config import ModelConfig
from musegan.losses import discriminator_loss, gradient_penalty
from musegan.models import build, load_generator, save_model
from musegan.roll import RollSpec, Track

SPEC = RollSpec((Track("drums", is_drum=True), Track("piano")), n_pitches=24)


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("kind", ["compact", "musegan-v3", "bmusegan"])
def test_pair_trains_and_comes_back(kind, spectral_norm, tmp_path):
    torch.manual_seed(0)
    config = ModelConfig(kind, latent_size=8, generator_width=32, discriminator_width=32, spectral_norm=spectral_norm)
    generator, discriminator = build(config, SPEC, torch.ones(2, 24), n_bars=2)
    latents = torch.randn(4, *generator.latent_shape)
    fake = generator.probabilities(latents)
    real = (torch.rand_like(fake) < 0.1).float()
    loss = discriminator_loss("wasserstein", discriminator(real), discriminator(fake))
    (loss + gradient_penalty(discriminator, real, fake, torch.rand(4))).backward()
    for network in (generator, discriminator):
        stuck = [name for name, parameter in network.named_parameters() if parameter.grad is None]
        assert not stuck
    save_model(generator.eval(), tmp_path / "model")
    loaded = load_generator(tmp_path / "model")
    assert loaded.kind == kind and torch.equal(loaded(latents).frame, generator(latents).frame)


@pytest.mark.parametrize("kind", ["compact", "musegan-v3", "bmusegan"])
def test_spectral_norm_bounds_every_weight(kind):
    config = ModelConfig(kind, generator_width=32, discriminator_width=32, spectral_norm=True)
    _, discriminator = build(config, SPEC, torch.ones(2, 24), n_bars=2)
    plain = [name for name, _ in discriminator.named_parameters() if name.endswith("weight")]
    assert not plain    # all are originals of a parametrisation
