"""The autoencoder's loop: learns what it is given, resumes bit for bit, stops when asked; and how it looks at itself."""

import copy
import dataclasses
import json

import pytest
import torch

from musegan.config import DataConfig, TrainConfig, VaeConfig, VaeModelConfig, VaeTrainConfig
from musegan.data.dataset import PackedDataset
from musegan.data.preparation import Rules, prepare
from musegan.data.tracks import PRESETS
from musegan.errors import UserError
from musegan.models import load_encoder, load_generator
from musegan.reconstruction import Autoencoder
from musegan.seeding import derived_seed
from musegan.training.calibration import calibrate
from musegan.training.reconstructions import attributes, f1_scores, much_less_little
from musegan.training.splits import split
from musegan.training.updates import deal
from musegan.training.vae import Adversary, train
from tests.data.songs import midi
from tests.models.test_layout import SPEC, random_roll
from tests.models.test_vae import features, pair
from tests.training.test_gan import after, run_in, same_state

pytestmark = pytest.mark.usefixtures("cheap_comparisons")
TINY = VaeConfig(
    data=DataConfig(n_bars=2, validation_share=0.3),
    model=VaeModelConfig(latent_size=8, decoder_width=16, encoder_width=16, track_width=8, n_blocks=1, mono_tracks=["bass"]),
    train=VaeTrainConfig(steps=12, batch_size=8, validate_every=6, validation_samples=16, checkpoint_every=4, beta_warmup=5,
                         learning_rate_halving=20),
)


def with_train(**changes):
    return dataclasses.replace(TINY, train=dataclasses.replace(TINY.train, **changes))


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr("musegan.training.reconstructions.write_png",
                        lambda path, *arguments, **options: path.write_bytes(b""))


@pytest.mark.parametrize("adversarial_weight", [0.0, 0.5])
def test_stopped_and_resumed_equals_never_stopped(adversarial_weight, songs, tmp_path):
    settings = with_train(adversarial_weight=adversarial_weight)
    whole, parts = run_in(tmp_path / "whole"), run_in(tmp_path / "parts")
    assert train(settings, songs, whole)
    assert not train(settings, songs, parts, stop_requested=after(7))
    state = parts.load_checkpoint()
    assert state["step"] == 7 and ("discriminator" in state) == (adversarial_weight > 0)
    assert train(settings, songs, parts, resume=True)
    assert same_state(whole.load_checkpoint(), parts.load_checkpoint())
    for name in ("best", "newest", "best/encoder", "newest/encoder"):
        one, other = ((run.path / name / "model.safetensors").read_bytes() for run in (whole, parts))
        assert one == other
    assert [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in whole.metrics.open()] == [
        {k: v for k, v in json.loads(line).items() if k != "seconds"} for line in parts.metrics.open()]


def test_gradients_need_not_be_cut(songs, tmp_path):
    """A norm of 0 is none, as in models of melodies: it does not hold the weights where they are."""
    states = []
    for name, norm in (("never", 0.0), ("far", 1e9)):
        run = run_in(tmp_path / name)
        assert train(with_train(steps=2, max_gradient_norm=norm), songs, run)
        states.append(run.load_checkpoint())
    assert same_state(*states)


def test_a_loss_that_is_not_a_number_stops_the_run(songs, tmp_path):
    run = run_in(tmp_path)
    with pytest.raises(UserError, match=r"step \d: a loss or a weight is not a number any more .*learning_rate than 1e\+30"):
        train(with_train(learning_rate=1e30, max_gradient_norm=1e30), songs, run)
    assert not run.checkpoint.exists() and not run.best.exists()


@pytest.fixture(scope="module")
def scales(tmp_path_factory):
    """Pieces of four voices that walk up and down: what is held out is not new."""
    folder = tmp_path_factory.mktemp("scales")
    files = []
    for i in range(16):
        lines = [[(480 * t, 480, top - (t + i + k) % 4) for t in range(16)] for k, top in enumerate((79, 72, 67, 55))]
        files.append(folder / f"{i}.mid")
        files[-1].write_bytes(midi([(52, False, line) for line in lines]))
    prepare(files, folder / "dataset", Rules(PRESETS["satb"], min_tracks=4, duplicates="keep"))
    return PackedDataset.open(folder / "dataset")


def test_a_small_data_set_comes_back_as_it_was(scales, tmp_path):
    settings = VaeConfig(
        data=DataConfig(n_bars=2, min_tracks=4, validation_share=0.3),
        model=dataclasses.replace(TINY.model, decoder_width=32, encoder_width=32, track_width=16,
                                  mono_tracks=["soprano", "alto", "tenor", "bass"]),
        train=dataclasses.replace(TINY.train, steps=200, learning_rate=1e-2, validate_every=200, checkpoint_every=200,
                                  track_beta=0.25, ema_decay=0.9, learning_rate_halving=0),
    )    # fmt: skip
    run = run_in(tmp_path)
    assert train(settings, scales, run)
    last = json.loads(run.metrics.read_text().splitlines()[-1])
    scores = {name: score for name, score in last["statistics"].items() if "_f1: " in name}
    assert len(scores) == 8 and min(scores.values()) > 0.95
    assert 0 < last["active_units"] <= 1 and last["held_out_divergence"] > 0
    decoder = load_generator(run.best)
    autoencoder = Autoencoder(decoder, load_encoder(run.best, decoder))
    assert autoencoder.encoder.attributes == ("density", "register", "range")
    assert autoencoder.encoder.directions.abs().amax((1, 2, 3))[1] > 0    # register: density never differs here


def test_samples_are_calibrated_by_training_phrases(songs, tmp_path):
    """And so their notes have a steadiness, as a GAN's have."""
    run = run_in(tmp_path)
    assert train(TINY, songs, run)
    decoder = load_generator(run.newest)
    again, training = copy.deepcopy(decoder), split(TINY.data, songs).training
    calibrate(again, derived_seed(TINY.train.seed, "calibration"), training.sample(16, TINY.train.seed))
    assert torch.equal(again.steadiness, decoder.steadiness) and decoder.steadiness.any()


def test_f1_counts_cells_of_each_track():
    real, made = torch.zeros(2, 3, 1, 2, 4, dtype=torch.bool), torch.zeros(2, 3, 1, 2, 4, dtype=torch.bool)
    real[0, 0, 0, 0, :4] = True
    made[0, 0, 0, 0, 2:4] = made[1, 0, 0, 0, 0] = True    # 2 of 4 found, 2 of 3 right
    real[1, 1, 0, 0, 0] = True
    scores = f1_scores(made, real)
    assert scores[:2].tolist() == [4 / 7, 0.0] and scores[2].isnan()
    assert f1_scores(real, real)[0] == 1


def test_attributes_are_notes_in_a_bar_and_mean_and_deviation_of_pitch():
    roll = random_roll(n=2).map(torch.zeros_like)    # tracks drums, piano, bass; two bars
    roll.frame[0, 0, 0, 0, 11] = roll.onset[0, 0, 0, 0, 11] = True    # drums count for the density alone
    roll.frame[0, 1, 0, 0, 2] = roll.onset[0, 1, 0, 0, 2] = True
    roll.frame[0, 2, 1, 0:3, 6] = roll.onset[0, 2, 1, 0, 6] = True
    found = attributes(roll, SPEC)
    assert found[0].tolist() == pytest.approx([1.5, 5.0, 3**0.5])
    assert found[1, 0] == 0 and found[1, 1:].isnan().all()


def test_a_direction_goes_from_little_to_much():
    latents = torch.tensor([[1.0], [5.0], [100.0], [2.0], [6.0], [3.0], [4.0]])
    values = torch.tensor([0.0, 4.0, float("nan"), 1.0, 5.0, 2.0, 3.0])
    assert much_less_little(latents, values).tolist() == [5.5 - 1.5]
    assert much_less_little(latents, values * float("nan")).tolist() == [0.0]


def test_the_discriminator_sees_samples_as_they_are_drawn():
    decoder, _ = pair(config=dataclasses.replace(TINY.model, bar_likeness=1.0))
    (part,) = deal(decoder, features(), TrainConfig(batch_size=4), 0)
    own = part.latents[:, :, 1:]
    assert torch.equal(own, part.latents[:, :, :1].expand_as(own))    # all bars alike


def test_the_discriminator_learns_first_and_the_decoder_by_what_it_says():
    decoder, _ = pair()
    decoder.train()
    settings = with_train(adversarial_weight=1.0, batch_size=4)
    adversary = Adversary(decoder, settings, torch.device("cpu"))
    before = [{name: value.clone() for name, value in network.named_parameters()}
              for network in (decoder, adversary.discriminator)]
    lost, numbers = adversary.judge(features(), step=0)
    lost.backward()
    changed = [any(not torch.equal(value, old[name]) for name, value in network.named_parameters())
               for network, old in zip((decoder, adversary.discriminator), before)]
    assert changed == [False, True] and numbers["generator"] == lost.item()
    assert all(weight.grad is not None for weight in decoder.parameters())
