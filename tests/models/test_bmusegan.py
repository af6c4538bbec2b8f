"""BinaryMuseGAN: its networks to the last digits, its neurons' draws, its stages."""

import pytest
import torch
from torch import nn

from musegan.models import BMuseganDiscriminator, BMuseganGenerator, Layout, load_generator, save_model
from musegan.models.bmusegan import Refiner
from musegan.roll import RollSpec
from tests.models.naive_bmusegan import NaiveBDiscriminator, NaiveBody, NaiveRefiner, body_tensors, refiner_tensors
from tests.models.naive_v3 import Strides, copy_tensors, discriminator_tensors
from tests.models.test_musegan_v3 import EVERY, error, gradient_errors, music, tracks

SPEC = RollSpec(tracks(3), 6, 3, 30, 20)
SMALL = {"latent_size": 8, "width": 32}


def generator(spec=SPEC, n_bars=2, **settings):
    torch.manual_seed(0)
    return BMuseganGenerator(Layout.whole(spec), n_bars, **SMALL | settings)


def latents(n=4, seed=0):
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))


def jitter(network):
    """Moves every parameter, so that none is where it has no effect."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, dtype=parameter.dtype)
    return network


@EVERY
def test_generator_is_the_released_one(spec, strides):
    fast = jitter(generator(spec, strides.bars, refiner=False).double()).body
    naive = NaiveBody(strides, 8, 32).double()
    copy_tensors(naive, body_tensors(fast))
    outputs = fast(latents().double()), naive(latents().double()).permute(0, 2, 3, 1, 4)
    for output in outputs:
        (output * music(spec, strides.bars, n=4).unflatten(3, (spec.n_tracks, -1))).sum().backward()
    assert error(*outputs) < 1e-9
    errors, left = gradient_errors(fast, naive, body_tensors)
    if strides.bars <= 2:    # of a single pair of bars, batch norm takes this bias off too
        del errors["dense.bias"]
    assert max(errors.values()) < 1e-8
    assert all(name.endswith("bias") and gradient.abs().max() < 1e-7 for name, gradient in left.items())


@EVERY
def test_discriminator_is_the_released_one(spec, strides):
    torch.manual_seed(0)
    fast = jitter(BMuseganDiscriminator(Layout.whole(spec), strides.bars, width=32).double())
    naive = NaiveBDiscriminator(strides, [track.is_drum for track in spec.tracks], width=32).double()
    copy_tensors(naive, discriminator_tensors(fast))
    outputs, inputs = [], []
    for network in (fast, naive):
        inputs.append(music(spec, strides.bars).double().requires_grad_())
        outputs.append(network(inputs[-1]))
        (gradient,) = torch.autograd.grad(outputs[-1].sum(), inputs[-1], create_graph=True)
        (outputs[-1].sum() + gradient.square().sum()).backward()
    assert error(*outputs) < 1e-9 and error(inputs[0].grad, inputs[1].grad) < 1e-9
    errors, left = gradient_errors(fast, naive, discriminator_tensors)
    assert max(errors.values()) < 1e-9 and not left


@pytest.mark.parametrize("training", [True, False])
def test_refiner_is_the_released_one(training):
    torch.manual_seed(0)
    fast, naive = jitter(Refiner(3, 4).double()).train(training), NaiveRefiner(3, 4).double().train(training)
    copy_tensors(naive, refiner_tensors(fast))
    with torch.no_grad():
        for name, parameter in naive.named_parameters():
            if name.endswith("1.bias"):    # before batch norm, which takes it off in training
                parameter.zero_()
    p = music(SPEC, 2, n=4).unflatten(3, (3, -1)).double()
    outputs = fast(p), naive(p.permute(0, 3, 1, 2, 4)).permute(0, 2, 3, 1, 4)
    for output in outputs:
        (output * music(SPEC, 2, n=4, seed=1).unflatten(3, (3, -1))).sum().backward()
    assert error(*outputs) < 1e-9
    errors, left = gradient_errors(fast, naive, refiner_tensors)
    assert max(errors.values()) < 1e-8 and all(name.endswith("1.bias") for name in left)


def test_refiner_without_blocks_is_a_threshold():
    made = generator(binary="deterministic")
    with torch.no_grad():
        for parameter in (p for name, p in made.refiner.named_parameters() if "conv" in name and "weight" in name):
            parameter.zero_()
        refined = made.probabilities(latents())
        made.enter("pretrain")
        assert torch.equal(refined, (made.probabilities(latents()) > 0.5).float()) and 0 < refined.mean() < 1


@pytest.mark.parametrize("refiner", [False, True])
def test_neurons_decide_and_pass_the_gradient_of_a_sigmoid(refiner):
    soft, hard = generator(binary="none", refiner=refiner), generator(binary="deterministic", refiner=refiner)
    hard.load_state_dict(soft.state_dict())
    for made in (soft, hard):
        made.probabilities(latents()).sum().backward()
    assert torch.equal(hard.probabilities(latents()), (soft.probabilities(latents()) > 0.5).float())
    weight, expected = hard.body.to_pairs.weight.grad, soft.body.to_pairs.weight.grad
    torch.testing.assert_close(weight, expected, rtol=1e-3, atol=1e-5 * expected.abs().max().item())


def test_slope_sharpens():
    soft = generator(binary="stochastic", refiner=False)
    before = soft(latents()).frame
    soft.slope.mul_(1.1)
    torch.testing.assert_close(soft(latents()).frame, 1.1 * before)
    soft.slope.fill_(1e6)
    assert torch.equal(soft.probabilities(latents()), (before.movedim(1, 3) > 0).float().flatten(3))


def test_stochastic_neurons_draw_by_probability():
    made = generator(binary="stochastic", refiner=False).eval()
    p, draws = made(latents()).frame.sigmoid(), made.probabilities(latents())
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    assert draws.mean().item() == pytest.approx(p.mean().item(), abs=0.02)


def test_draws_are_new_in_each_call_and_the_same_in_a_resumed_run():
    first = generator(binary="stochastic")
    one, two = (first.probabilities(latents()).detach() for _ in range(2))
    state = {name: value.clone() for name, value in first.state_dict().items()}
    three = first.probabilities(latents()).detach()
    assert not torch.equal(one, two) and not torch.equal(two, three)
    resumed = generator(binary="stochastic")
    resumed.load_state_dict(state)
    assert torch.equal(resumed.probabilities(latents()), three)
    again = generator(binary="stochastic")
    assert torch.equal(again.probabilities(latents()), one)
    again = generator(binary="stochastic", neuron_seed=1)
    assert not torch.equal(again.probabilities(latents()), one)


def test_evaluation_draws_the_same_and_uses_up_no_draws():
    made = generator(binary="stochastic").eval()
    assert torch.equal(made.probabilities(latents()), made.probabilities(latents()))
    assert made.n_draws == 0


def test_pretraining_has_probabilities_and_trains_the_generator_alone():
    made = generator()
    made.enter("pretrain")
    made.probabilities(latents()).sum().backward()
    assert torch.equal(made.probabilities(latents()), made.body(latents()).sigmoid().flatten(3))
    assert all(parameter.grad is None for parameter in made.refiner.parameters())
    assert all(parameter.grad is not None for parameter in made.body.parameters())
    assert set(made.stage_parameters("pretrain")) == set(made.body.parameters())


def test_refining_leaves_the_generator_as_it_is():
    made = generator()
    made.enter("refine")
    before = {name: value.clone() for name, value in made.body.state_dict().items()}
    made.train()
    optimizer = torch.optim.SGD(made.stage_parameters("refine"), 0.1)
    made.probabilities(latents()).sum().backward()
    optimizer.step()
    assert all(torch.equal(before[name], value) for name, value in made.body.state_dict().items())
    assert all(parameter.grad is None for parameter in made.body.parameters())
    assert all(parameter.grad is not None for parameter in made.refiner.parameters())
    made.enter("joint")
    made.train()
    made.probabilities(latents())
    assert not torch.equal(before["pair_norm.running_mean"], made.body.pair_norm.running_mean)
    assert set(made.stage_parameters("joint")) == set(made.parameters())


@pytest.mark.parametrize("stage", ["pretrain", "refine", "joint"])
def test_model_folder_gives_model_and_stage_back(stage, tmp_path):
    made = generator(binary="stochastic")
    made.enter(stage)
    made.slope.fill_(1.21)
    save_model(made.eval(), tmp_path / "model")
    loaded = load_generator(tmp_path / "model")
    assert isinstance(loaded, BMuseganGenerator) and (loaded.binary, loaded.layout) == ("stochastic", made.layout)
    assert torch.equal(loaded.probabilities(latents()), made.probabilities(latents()))
    assert torch.equal(loaded(latents()).frame, made(latents()).frame)


def test_released_shapes():
    spec = RollSpec(tracks(8), steps_per_beat=24)
    made = BMuseganGenerator(Layout.whole(spec), 4)
    naive = NaiveBody(Strides(8, 4, inner=6))
    dropped = 256 + 128 + 128 + 64 + 64 + 8 * (2 * (64 + 32) + 1)
    assert count(naive) == count(made.body) + dropped
    with torch.no_grad():
        assert made.probabilities(torch.randn(1, 128)).shape == (1, 4, 96, 8 * 84)
    critic = BMuseganDiscriminator(Layout.whole(spec), 4)
    assert count(critic) == count(NaiveBDiscriminator(Strides(8, 4, inner=6), []))


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_bad_arguments():
    with pytest.raises(ValueError, match="binary must be none, deterministic or stochastic: got 'both'"):
        generator(binary="both")
    with pytest.raises(ValueError, match="stage must be pretrain, refine or joint: got 'second'"):
        generator().enter("second")
    with pytest.raises(ValueError, match="needs a refiner"):
        generator(refiner=False).enter("refine")
