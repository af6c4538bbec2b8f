"""The autoencoder: its loss is that of the papers, each latent sees what it should, folders come back."""

import dataclasses
import json

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Independent, Normal, kl_divergence

from musegan.config import VaeModelConfig
from musegan.errors import UserError
from musegan.models import PhraseEncoder, build_vae, load_encoder, save_model
from musegan.models.folder import ENCODER
from musegan.models.vae import Bound, Posterior, bound, negative_log_likelihood
from musegan.roll import Roll
from tests.models.test_compact import FACTS
from tests.models.test_layout import LAYOUT, SPEC, random_roll

SMALL = VaeModelConfig(latent_size=8, decoder_width=16, encoder_width=16, track_width=8, n_blocks=1, mono_tracks=["bass"])


def pair(attributes=(), seed=0, config=SMALL):
    torch.manual_seed(seed)
    counts = torch.zeros(3, 12, dtype=torch.int64)
    for k, (first, n) in enumerate(zip(LAYOUT.first_pitch, LAYOUT.n_pitches)):
        counts[k, first : first + n] = 1
    decoder, encoder = build_vae(config, SPEC, counts, 2, FACTS, attributes)
    assert decoder.layout == LAYOUT
    return decoder.eval(), encoder.eval()


def phrases(n=4, bars=2):
    roll = random_roll(n=n, bars=bars)
    bass = roll.frame[:, 2] & (roll.frame[:, 2].cumsum(-1) == 1)    # one note at a time
    frame = torch.cat([roll.frame[:, :2], bass[:, None]], dim=1)
    return Roll(frame, frame & roll.onset)


def features(**options):
    return LAYOUT.crop(phrases(**options)).float()


def test_divergence_is_that_of_normal_distributions():
    posterior = Posterior(*torch.randn(2, 3, 4, 3, 8))
    own = Normal(posterior.mean, (posterior.log_variance / 2).exp())
    assert torch.allclose(posterior.divergence(), kl_divergence(own, Normal(0.0, 1.0)), atol=1e-6)
    assert Posterior(torch.zeros(2), torch.zeros(2)).divergence().eq(0).all()


def test_samples_have_the_mean_and_the_deviation():
    posterior = Posterior(torch.tensor([3.0, -1.0]), torch.tensor([0.0, 2.0]).log() * 2)
    drawn = posterior.sample(torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(drawn.mean(0), posterior.mean, atol=0.05)
    assert drawn[:, 0].eq(3).all() and drawn[:, 1].std().item() == pytest.approx(2, rel=0.02)


def test_likelihood_is_that_of_bernoulli_and_categorical_cells():
    """Written out in probabilities, as `CompactGenerator.probabilities` makes them."""
    decoder, _ = pair()
    x, z = features().double(), torch.randn(4, *decoder.latent_shape, dtype=torch.float64)
    found = negative_log_likelihood(LAYOUT, *decoder.double().raw(z), x)
    p = decoder.probabilities(z)
    for k, track in enumerate(LAYOUT.columns):
        frame = x[..., track.frame]
        if track.head == "mono":
            rest = 1 - p[..., track.frame].sum(-1, keepdim=True)
            value = torch.cat([frame, 1 - frame.sum(-1, keepdim=True)], -1).argmax(-1)
            expected = Categorical(torch.cat([p[..., track.frame], rest], -1)).log_prob(value).sum((1, 2))
        else:
            expected = Independent(Bernoulli(p[..., track.frame]), 3).log_prob(frame)
        if track.onset:
            onset = Bernoulli(p[..., track.onset] / p[..., track.frame]).log_prob(x[..., track.onset])
            expected = expected + (onset * frame).sum((1, 2, 3))
        assert torch.allclose(found[:, k], -expected)


def test_likelihood_of_what_cannot_be_expected_is_finite():
    cells, gates = torch.full((1, 2, 16, LAYOUT.n_features), -200.0), torch.full((1, 2, 1, 3), -200.0)
    nll = negative_log_likelihood(LAYOUT, cells, gates, torch.ones(1, 2, 16, LAYOUT.n_features))
    assert torch.isfinite(nll).all() and (nll > 1000).all()


def test_loss_weighs_shared_latents_and_the_tracks_own():
    found = Bound(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.ones(2, 3, 4))
    assert found.loss(beta=0.5, track_beta=2.0).item() == 5 + 0.5 * 4 + 2.0 * 8
    assert found.loss(beta=1.0, track_beta=1.0, free_nats=3.0).item() == 5 + 3 * 12


def test_bars_that_are_alike_change_samples_and_nothing_that_was_learned():
    (decoder, encoder), x = pair(), features()
    alike = pair(config=dataclasses.replace(SMALL, bar_likeness=0.5))[0]
    noise = torch.randn(4, *decoder.latent_shape)
    one, other = (bound(network, encoder(x), x, noise) for network in (decoder, alike))
    assert torch.equal(one.reconstruction, other.reconstruction) and torch.equal(one.divergence, other.divergence)
    assert torch.equal(decoder.prior(noise), noise)
    common, own = noise[:, :, :1], noise[:, :, 1:]
    assert torch.allclose(alike.prior(noise), torch.cat([common, (own + common) / 2**0.5], dim=2))


def test_divergence_that_is_free_has_no_gradient():
    divergence = torch.tensor([[[0.1, 5.0]]], requires_grad=True)
    Bound(torch.zeros(1, 1), divergence).loss(1.0, 1.0, free_nats=1.0).backward()
    assert divergence.grad.tolist() == [[[0.0, 1.0]]]


@pytest.mark.parametrize("track", range(3))
def test_a_tracks_own_latents_see_it_alone(track):
    _, encoder = pair()
    one, other = phrases(), phrases()
    for plane in other:
        plane[:, track] = plane[:, track].roll(3, dims=2)    # in time
    one, other = (torch.cat(encoder(LAYOUT.crop(roll).float()), -1) for roll in (one, other))
    changed = [not torch.equal(one[:, row], other[:, row]) for row in range(4)]
    assert changed == [True, *(k == track for k in range(3))]


def test_rotated_bars_have_rotated_latents():
    _, encoder = pair()
    x = features(bars=3)
    plain, rotated = encoder(x).mean, encoder(x.roll(1, dims=1)).mean
    assert torch.allclose(rotated[:, :, 0], plain[:, :, 0], atol=1e-6)
    assert torch.allclose(rotated[:, :, 1:], plain[:, :, 1:].roll(1, dims=2), atol=1e-6)


def test_every_weight_learns():
    decoder, encoder = pair()
    decoder.train(), encoder.train()
    x = features()
    found = bound(decoder, encoder(x), x, torch.randn(4, *decoder.latent_shape))
    found.loss(1.0, 1.0).backward()
    for network in (decoder, encoder):
        assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_an_encoder_comes_back_from_its_folder(tmp_path):
    decoder, encoder = pair(("density",))
    encoder.directions.normal_()
    save_model(decoder, tmp_path)
    save_model(encoder, tmp_path / ENCODER)
    loaded = load_encoder(tmp_path, decoder)
    assert loaded.attributes == ("density",) and torch.equal(loaded.directions, encoder.directions)
    assert torch.equal(loaded(features()).mean, encoder(features()).mean)


def test_an_encoder_that_is_missing_or_of_another_model_is_told(tmp_path):
    decoder, encoder = pair()
    with pytest.raises(UserError, match="has no encoder: a model that `musegan train --family vae` makes has one"):
        load_encoder(tmp_path, decoder)
    save_model(PhraseEncoder(LAYOUT, latent_size=4), tmp_path / ENCODER)
    with pytest.raises(UserError, match="does not fit the model in .*: its tracks or its latents are others"):
        load_encoder(tmp_path, decoder)
    save_model(decoder, tmp_path / ENCODER)
    with pytest.raises(UserError, match="holds a model of the family gan .*: this takes one of the family vae"):
        load_encoder(tmp_path, decoder)


def test_thresholds_of_a_stranger_lie_between_0_and_1(tmp_path):
    decoder, encoder = pair()
    encoder.thresholds[0, 1] = 1.0
    save_model(encoder, tmp_path / ENCODER)
    with pytest.raises(UserError, match="model.safetensors is damaged: thresholds must lie between 0 and 1"):
        load_encoder(tmp_path, decoder)


@pytest.mark.parametrize("changes, message", [
    ({"latent_size": 0}, "latent_size must be a whole number above 0: got 0"),
    ({"n_blocks": -1}, "n_blocks must be a whole number from 0"),
    ({"attributes": [3]}, "attributes must be names: got"),
    ({"layers": 2}, "layers"),
])
def test_a_strangers_config_is_checked(changes, message, tmp_path):
    decoder, encoder = pair()
    save_model(encoder, tmp_path / ENCODER)
    config = tmp_path / ENCODER / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    with pytest.raises(UserError, match=f"cannot read .*config.json: .*{message}"):
        load_encoder(tmp_path, decoder)
