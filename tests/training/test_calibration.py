"""Thresholds: tracks sound, and start notes, as often as in the data the generator was trained on."""

import pytest
import torch

from musegan.models import Facts, Layout
from musegan.models.bmusegan import BMuseganGenerator
from musegan.sampling import sample
from musegan.training.calibration import calibrate
from tests.models.test_compact import pair
from tests.models.test_layout import SPEC

# [K] pitches that sound at a step, where the outputs of a new generator with these facts start somewhere else
WANTED = Facts((0.3, 1.2, 0.6), (1.0, 0.97, 0.95))


def densities(generator):
    roll = sample(generator, 64, seed=3)
    cells = roll.frame.sum((0, 2, 3, 4)).double()
    steps = 64 * 2 * generator.spec.steps_per_bar
    return (cells / steps).tolist(), (roll.onset.sum((0, 2, 3, 4)) / cells).tolist()


def test_tracks_sound_as_often_as_in_the_data():
    generator, _ = pair(facts=WANTED)
    generator.eval()
    with torch.no_grad():    # decided cells, at another density
        for layer in (head.step for head in generator.heads):
            layer.weight.mul_(6), layer.bias.sub_(0.3)
    before, _ = densities(generator)
    calibrate(generator, seed=0)
    after, starts = densities(generator)
    for k, wanted in enumerate(WANTED.frame_density):
        assert after[k] == pytest.approx(wanted, rel=0.15) and abs(before[k] - wanted) > abs(after[k] - wanted)
    assert starts == pytest.approx(WANTED.onset_density, abs=0.03)


def test_thresholds_are_kept_with_the_model_and_differ_by_track():
    generator, _ = pair(facts=WANTED)
    calibrate(generator.eval(), seed=0)
    assert generator.state_dict()["thresholds"].shape == (2, 3)
    assert len(set(generator.thresholds[0].tolist())) == 3
    assert ((generator.thresholds > 0) & (generator.thresholds < 1)).all()


def test_without_facts_thresholds_stay_one_half():
    generator, _ = pair(facts=Facts())
    calibrate(generator.eval(), seed=0)
    assert (generator.thresholds == 0.5).all()


def test_a_silent_generator_is_not_an_error():
    generator, _ = pair(facts=WANTED)
    with torch.no_grad():
        generator.to_gate.bias.fill_(-60)
    calibrate(generator.eval(), seed=0)
    assert torch.isfinite(generator.thresholds).all()
    assert sample(generator, 2, seed=0).frame.sum() == 0


@pytest.mark.parametrize("stage, decided", [("pretrain", False), ("joint", True)])
def test_binary_neurons_keep_their_threshold(stage, decided):
    torch.manual_seed(0)
    layout = Layout.whole(SPEC)
    generator = BMuseganGenerator(layout, 1, WANTED, latent_size=8, width=32).eval()
    generator.enter(stage)
    for weight in generator.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    calibrate(generator, seed=0)
    assert bool((generator.thresholds == 0.5).all()) == decided
