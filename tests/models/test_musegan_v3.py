"""The released networks: what they compute, to the last digits, and what their streams see."""

import pytest
import torch
import torch.nn.functional as F

from musegan.models import Layout, load_generator, save_model
from musegan.models.musegan_v3 import MuseganV3Discriminator, MuseganV3Generator
from musegan.roll import PRESETS, RollSpec, Track
from tests.models.naive_v3 import (
    NaiveDiscriminator, NaiveGenerator, Strides, copy_moments, copy_tensors, discriminator_tensors, generator_norms,
    generator_tensors,
)    # fmt: skip

RELEASED = RollSpec(PRESETS["lpd5"], steps_per_beat=12)
SMALL = {"latent_size": 8, "width": 32}


def tracks(n):
    return tuple(Track(f"t{k}", is_drum=k == 0) for k in range(n))


CASES = {
    "lpd5 in quarter steps": (RollSpec(PRESETS["lpd5"]), Strides(5, 2, 4, 4, 1, 3, 3, 7, 84)),
    "released": (RELEASED, Strides(5, 4)),
    "one octave, one bar": (RollSpec(tracks(3), n_pitches=12), Strides(3, 1, 4, 4, 1, 1, 1, 1, 12)),
    "3/4, two octaves": (RollSpec(tracks(2), 6, 3, 30, 20), Strides(2, 2, 3, 3, 2, 1, 2, 2, 20)),
    "6/8, four octaves": (RollSpec(tracks(2), 2, 6, 30, 48, 8), Strides(2, 2, 6, 2, 1, 2, 3, 4, 48)),
    "7/8, 88 keys": (RollSpec(tracks(2), 10, 7, 21, 88, 8), Strides(2, 3, 7, 2, 5, 4, 3, 8, 88)),
    "every pitch": (RollSpec(tracks(8), 7, 1, 0, 128), Strides(8, 2, 1, 1, 7, 5, 3, 11, 128)),
}
EVERY = pytest.mark.parametrize("spec, strides", CASES.values(), ids=CASES)


def music(spec, n_bars, n=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(n, n_bars, spec.steps_per_bar, spec.n_tracks * spec.n_pitches, generator=rng)


def generators(spec, strides, **settings):
    settings = SMALL | settings
    torch.manual_seed(0)
    fast = MuseganV3Generator(Layout.whole(spec), strides.bars, **settings)
    width = settings["width"]
    naive = NaiveGenerator(strides, settings["latent_size"], width, width // 16, width // 32)
    for norm in (each for each in fast.modules() if hasattr(each, "running_var")):
        for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
            tensor += torch.rand(tensor.shape) / 2
    for parameter in naive.parameters():
        parameter.data.uniform_(-0.5, 0.5)    # the biases that the fast one has not
    copy_tensors(naive, generator_tensors(fast))
    copy_moments(naive, generator_norms(fast))
    return fast, naive


def discriminators(spec, strides, **settings):
    torch.manual_seed(1)
    fast = MuseganV3Discriminator(Layout.whole(spec), strides.bars, **{"width": 32} | settings)
    for parameter in fast.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape)
    naive = NaiveDiscriminator(strides, **{"width": 32} | settings)
    copy_tensors(naive, discriminator_tensors(fast))
    return fast, naive


def error(found, expected):
    """Relative to the largest number of a tensor."""
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12)).item()


def gradient_errors(fast, naive, tensors):
    """By name, and the gradients of the naive parameters that the fast network has not."""
    expected = {name: parameter.grad for name, parameter in naive.named_parameters()}
    found = tensors(fast, lambda parameter: parameter.grad)
    return {name: error(gradient, expected.pop(name)) for name, gradient in found.items()}, expected


def generator_errors(spec, strides, training, dtype):
    """Of a batch's outputs and moments, and of its gradients, against the naive network in float64."""
    fast, naive = (each.train(training) for each in generators(spec, strides))
    fast, naive = fast.to(dtype), naive.double()
    copy_moments(naive, generator_norms(fast))
    z = torch.randn(4, 8, generator=torch.Generator().manual_seed(1)).to(dtype)
    inputs = z.requires_grad_(), z.detach().double().requires_grad_()
    outputs = fast.probabilities(inputs[0]), naive(inputs[1])
    for output in outputs:
        (output * music(spec, strides.bars, n=4)).sum().backward()
    forward = {"": error(*outputs)}
    for name, mean, variance, layer in generator_norms(fast):
        norm = naive.get_submodule(name)
        forward |= {f"{name} mean": error(mean + naive.get_submodule(layer).bias, norm.running_mean),
                    f"{name} variance": error(variance, norm.running_var)}
    backward, biases = gradient_errors(fast, naive, generator_tensors)
    assert all(name.endswith("0.bias") or name.startswith("merged.") for name in biases)
    if training:    # batch norm takes them off again
        assert max(gradient.abs().max() for gradient in biases.values()) < 1e-7
    return forward, backward | {"z": error(inputs[0].grad, inputs[1].grad)}


@EVERY
@pytest.mark.parametrize("training", [True, False])
def test_generator_is_the_released_one(spec, strides, training):
    forward, backward = generator_errors(spec, strides, training, torch.float64)
    assert max(forward.values()) < 1e-9 and max(backward.values()) < 1e-9


@EVERY
def test_generator_in_single_precision(spec, strides):
    """Torch's own layers are as far off: gradients jump where a ReLU is so near 0 that it decides otherwise."""
    forward, backward = generator_errors(spec, strides, True, torch.float32)
    backward = sorted(backward.values())
    assert max(forward.values()) < 2e-5
    assert backward[len(backward) * 3 // 4] < 1e-4 and backward[-1] < 1e-2


@EVERY
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_discriminator_is_the_released_one(spec, strides, dtype, tolerance):
    fast, naive = (each.to(dtype) for each in discriminators(spec, strides))
    outputs, inputs = [], []
    for network in (fast, naive):
        inputs.append(music(spec, strides.bars).to(dtype).requires_grad_())
        outputs.append(network(inputs[-1]))
        (outputs[-1] * torch.arange(1, 4)).sum().backward()
    backward, left = gradient_errors(fast, naive, discriminator_tensors)
    assert error(*outputs) < tolerance and error(inputs[0].grad, inputs[1].grad) < tolerance
    assert max(backward.values()) < tolerance and not left


@pytest.mark.parametrize("score_pairs", [False, True])
def test_gradient_penalty_is_the_released_ones(score_pairs):
    spec, strides = CASES["lpd5 in quarter steps"]
    fast, naive = (each.double() for each in discriminators(spec, strides, score_pairs=score_pairs))
    penalties = []
    for network in (fast, naive):
        x = music(spec, strides.bars, n=9).double().requires_grad_()
        (gradient,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
        penalties.append((gradient.flatten(1).norm(dim=1) - 1).square().mean())
        penalties[-1].backward()
    assert error(*penalties) < 1e-9
    for network in (fast, naive):    # a bias moves the score by the same everywhere
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    assert max(gradient_errors(fast, naive, discriminator_tensors)[0].values()) < 1e-9


def test_sizes_are_the_papers():
    layout = Layout.whole(RELEASED)
    fast, naive = MuseganV3Generator(layout, 4), NaiveGenerator()
    assert count(naive) == 2_578_127
    dropped = sum(p.numel() for name, p in naive.named_parameters() if name not in generator_tensors(fast))
    assert count(fast) + dropped == 2_578_127 and dropped == 512 + 256 + 128 + 5 * (2 * (32 + 16) + 1)
    assert count(MuseganV3Discriminator(layout, 4)) == count(NaiveDiscriminator()) == 1_366_865
    assert count(MuseganV3Discriminator(layout, 4, score_pairs=True)) == 1_366_865 - 2 * 512


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_layers_have_the_released_shapes():
    """The shape comments of the released files."""
    z = torch.randn(2, 128)
    naive, shapes = NaiveGenerator(), []
    for layer in (*naive.shared, naive.pitch_time[0], naive.time_pitch[0]):
        layer.register_forward_pre_hook(lambda module, inputs: shapes.append(tuple(inputs[0].shape[1:])))
    for layer in (*(each[0] for each in naive.shared), naive.pitch_time[0][0], naive.time_pitch[0][0]):
        layer.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[2:])))
    assert naive.logits(z).shape == (2, 5, 4, 48, 84)
    assert (4, 1, 1) in shapes and (4, 4, 3) in shapes and (4, 16, 7) in shapes
    assert (4, 16, 84) in shapes and (4, 48, 7) in shapes
    assert MuseganV3Generator(Layout.whole(RELEASED), 4)(z).frame.shape == (2, 5, 4, 48, 84)


def test_logits_and_probabilities_are_the_same_numbers():
    fast, _ = generators(*CASES["3/4, two octaves"])
    z = torch.randn(4, 8, dtype=torch.float64)
    fast = fast.double().eval()
    logits = fast(z)
    assert torch.allclose(fast.layout.expand(fast.probabilities(z), 0.0)[0], logits.frame.sigmoid())
    assert (logits.onset[:, 0] == torch.inf).all() and (logits.onset[:, 1] == -torch.inf).all()


def only_hears(stream):
    """A discriminator deaf to all but one stream: one track's notes to a score."""
    spec, strides = CASES["lpd5 in quarter steps"]
    discriminator = discriminators(spec, strides)[0].double()
    own = {"shared": slice(0, 16), "chroma": slice(16, 20), "edges": slice(20, 24)}[stream]
    weight = discriminator.from_bars.weight.data.unflatten(1, (-1, 24))    # [D, bars seen, C]
    kept = weight[..., own].clone()
    weight.zero_()[..., own] = kept

    def score(pitch, step=0, length=1, track=1):
        roll = torch.zeros(1, 2, spec.steps_per_bar, spec.n_tracks, spec.n_pitches, dtype=torch.float64)
        roll[:, 0, step : step + length, track, pitch] = 1
        return discriminator(roll.flatten(3)).item()
    return score


SAME = {"rel": 0, "abs": 1e-13}


def test_chroma_folds_octaves():
    score = only_hears("chroma")
    assert score(19) == pytest.approx(score(7), **SAME) and score(79) == pytest.approx(score(7), **SAME)
    assert score(8) != pytest.approx(score(7), **SAME)
    # Within a beat the step does not matter, the beat does
    assert score(7, step=3) == pytest.approx(score(7), **SAME)
    assert score(7, step=4) != pytest.approx(score(7), **SAME)


def test_edges_hear_when_notes_begin_and_end_and_not_which():
    score = only_hears("edges")
    held = score(7, step=4, length=4)
    assert score(30, step=4, length=4) == pytest.approx(held, **SAME)
    for other in ({"step": 4, "length": 5}, {"step": 3, "length": 5}, {"step": 4, "length": 4, "track": 2}):
        assert score(7, **other) != pytest.approx(held, **SAME)


def test_shared_stream_hears_pitch_and_step():
    score = only_hears("shared")
    assert len({round(score(pitch, step), 12) for pitch in (7, 8, 19) for step in (0, 1, 4)}) == 9


@pytest.mark.parametrize("semitones", [-13, 0, 4])
@pytest.mark.parametrize("case", ["lpd5 in quarter steps", "3/4, two octaves"])
def test_a_view_is_the_score_of_the_moved_roll(case, semitones):
    spec, strides = CASES[case]
    fast, _ = discriminators(spec, strides)
    features = music(spec, strides.bars)
    moved = F.pad(features, (0, 1))[..., fast.layout.transposed_columns(semitones)].roll(1, dims=1)
    assert torch.allclose(fast(features, semitones, rotation=1), fast(moved), atol=1e-5)
    assert semitones == 0 or not torch.allclose(fast(features), fast(features, semitones), atol=1e-5)


def test_no_sample_sees_another():
    spec, strides = CASES["lpd5 in quarter steps"]
    fast, _ = discriminators(spec, strides)
    features = music(spec, strides.bars, n=19)
    assert torch.allclose(fast(features), torch.cat([fast(each[None]) for each in features]), atol=1e-5)


def test_model_folder_gives_the_model_back(tmp_path):
    fast, _ = generators(*CASES["7/8, 88 keys"])
    save_model(fast.eval(), tmp_path / "model")
    loaded, z = load_generator(tmp_path / "model"), torch.randn(2, 8)
    assert isinstance(loaded, MuseganV3Generator) and loaded.layout == fast.layout
    assert torch.equal(loaded(z).frame, fast(z).frame)


@pytest.mark.parametrize("network", [MuseganV3Generator, MuseganV3Discriminator])
@pytest.mark.parametrize("arguments, message", [
    ((Layout.fit(torch.ones(5, 84), RELEASED), 4), "the layout must be Layout.whole"),
    ((Layout.whole(RELEASED), 0), "n_bars must be a whole number above 0: got 0"),
])
def test_bad_arguments(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        network(*arguments)
    with pytest.raises(ValueError, match="width must be a multiple of 32: got 40"):
        network(Layout.whole(RELEASED), 4, width=40)
