"""The MuseGAN pair: equal to the paper's layers written out, latents and given tracks go where they should."""

import math

import pytest
import torch
from torch import nn

from musegan.losses import zero_centred_penalty
from musegan.models import (
    Facts,
    Given,
    Layout,
    MuseganDiscriminator,
    MuseganGenerator,
    load_generator,
    save_model,
)
from musegan.models.windows import n_windows, step_factors, windows
from musegan.roll import Roll, RollSpec, Track
from tests.models.test_layout import SPEC, random_roll

LAYOUT = Layout.whole(SPEC)    # 3 tracks, 16 steps, 12 pitches, of which the drums do not move
FACTS = Facts((0.3, 0.6, 0.06), (1.0, 0.5, 0.25), (1,) * 12, 100.0)
# Bars with steps that two factors of 2 and one of 3 make, and two octaves of which one pitch is cropped
ODD = RollSpec((Track("lead"), Track("drums", is_drum=True)), steps_per_beat=4, beats_per_bar=3, n_pitches=23)
# Both crop: 11 steps, made as 12, and half an octave
CROPPED = RollSpec((Track("lead"), Track("drums", is_drum=True)), steps_per_beat=1, beats_per_bar=11, n_pitches=6)
SMALL = {"latent_size": 4, "width": 8}


def lively(network, seed=0):
    """The network with weights and batch-norm statistics of a size at which everything counts."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Linear):
                module.weight.copy_(torch.randn(module.weight.shape, generator=rng) * (2 / module.in_features) ** 0.5)
                if module.bias is not None:
                    module.bias.copy_(torch.randn(module.bias.shape, generator=rng) / 4)
            if isinstance(module, nn.BatchNorm1d):
                for value in (module.weight, module.running_var):
                    value.copy_(0.5 + torch.rand(value.shape, generator=rng))
                for value in (module.bias, module.running_mean):
                    value.copy_(torch.randn(value.shape, generator=rng) / 4)
    return network.double()


def pair(layout=LAYOUT, n_bars=4, facts=FACTS, **settings):
    generator = MuseganGenerator(layout, n_bars, facts, **SMALL | settings)
    return lively(generator).eval(), lively(MuseganDiscriminator(layout, n_bars, width=8))


def latents(generator, n=6, seed=0):
    return torch.randn(n, *generator.latent_shape, generator=torch.Generator().manual_seed(seed)).double()


def music(layout=LAYOUT, bars=4, n=6, seed=0):
    return layout.crop(random_roll(layout.spec, n=n, bars=bars, seed=seed)).double()


# ---- The paper's layers, as convolutions in [M, C, T, P] -------------------------------------------------------------


def transposed(layer, kernel):
    """A matrix product that makes kernel[0] * kernel[1] cells of one, as a transposed convolution."""
    conv = nn.ConvTranspose2d(layer.in_features, layer.out_features // math.prod(kernel), kernel, kernel, bias=False)
    weight = layer.weight.unflatten(0, (math.prod(kernel), -1)).permute(2, 1, 0)    # [C_in, C_out, cells]
    return with_values(conv, weight=weight.unflatten(2, kernel))


def convolution(layer, kernel, stride):
    """A matrix product over a window, as a convolution of as many axes as the kernel has."""
    kind = {2: nn.Conv2d, 3: nn.Conv3d}[len(kernel)]
    conv = kind(layer.in_features // math.prod(kernel), layer.out_features, kernel, stride)
    weight = layer.weight.unflatten(1, (math.prod(kernel), -1)).transpose(1, 2)    # [C_out, C_in, cells]
    bias = torch.zeros(layer.out_features) if layer.bias is None else layer.bias
    return with_values(conv, weight=weight.unflatten(2, kernel), bias=bias)


def norm(source):
    """A copy of a batch norm for [M, C, T, P]."""
    copy = nn.BatchNorm2d(source.num_features).train(source.training)
    return with_values(copy, **{name: value for name, value in source.state_dict().items() if value.ndim})


def with_values(module, **values):
    module.double()
    with torch.no_grad():
        for name, value in values.items():
            getattr(module, name).copy_(value)
    return module


class NaiveGenerator(nn.Module):
    """Bars of 96 steps and 84 pitches, layer by layer as the appendix lists them, with the weights of a model."""

    def __init__(self, model):
        super().__init__()
        self.variant, self.first_row, self.n_bars = model.variant, model.first_row, model.n_bars
        self.temporal = nn.ModuleList(
            nn.Sequential(
                transposed(t.layers[0], (2, 1)), norm(t.norms[0]), nn.ReLU(),
                self.spread(t.layers[1], model.n_bars - 1), norm(t.norms[1]), nn.ReLU(),
            )
            for t in model.temporal
        )    # fmt: skip
        self.bars = nn.ModuleList(self.bar(generator) for generator in model.bars)
        self.encoder = None
        if model.accompanies:
            e, factors = model.encoder, [(1, 7), *((f, 1) for f in model.encoder.factors[1:])]
            cells = convolution(e.from_cells, (1, 12), (1, 12))
            tracks = convolution(e.from_tracks, (1, 1), (1, 1))
            shrink = [convolution(layer, f, f) for layer, f in zip(e.shrink, factors)]
            self.encoder = nn.ModuleList([cells, tracks, *shrink])
            self.encoder_norms = nn.ModuleList(norm(each) for each in e.norms)

    @staticmethod
    def spread(layer, kernel):
        conv = nn.ConvTranspose2d(layer.in_features, layer.out_features // kernel, (kernel, 1), (1, 1), bias=False)
        weight = layer.weight.unflatten(0, (kernel, -1)).permute(2, 1, 0)
        return with_values(conv, weight=weight.unsqueeze(-1))

    @staticmethod
    def bar(generator):
        factors = [(f, 1) for f in step_factors(generator.n_steps)[1:]] + [(1, 7)]
        grow = zip(generator.grow, generator.norms, factors)
        last = nn.ConvTranspose2d(generator.last.in_features, generator.bias.numel(), (1, 12), (1, 12))
        with_values(last, weight=transposed(generator.last, (1, 12)).weight, bias=generator.bias)
        return nn.ModuleList([
            transposed(generator.first, (1, 1)), norm(generator.first_norm),
            *(part for layer, after, factor in grow for part in (transposed(layer, factor), norm(after))),
            last,
        ])    # fmt: skip

    def levels(self, roll, tracks):
        """[N, K, B, T, P] and [N, K] -> of each bar."""
        roll = roll * tracks[:, :, None, None, None]
        roll = roll.transpose(1, 2).flatten(0, 1)    # [N * B, K, T, P]
        mask = tracks.repeat_interleave(self.n_bars, 0)[:, :, None, None].double()
        h = self.encoder[0](roll) + self.encoder[1](mask)
        levels = [nn.functional.leaky_relu(self.encoder_norms[0](h), 0.2)]
        for conv, n in zip(self.encoder[2:], self.encoder_norms[1:]):
            levels.append(nn.functional.leaky_relu(n(conv(levels[-1])), 0.2))
        return levels

    def forward(self, z, roll=None, tracks=None):
        levels = self.levels(roll, tracks) if self.encoder else None
        over_bars = [net(z[:, self.first_row + i, 1, :, None, None])[..., 0] for i, net in enumerate(self.temporal)]
        bars = []
        for b in range(self.n_bars):
            rows = [torch.cat([z[:, self.first_row + i, 0], bar[..., b]], 1) for i, bar in enumerate(over_bars)]
            if self.variant == "hybrid":
                rows = [torch.cat([rows[0], own], 1) for own in rows[1:]]
            bars.append(rows)
        planes = []
        for k, layers in enumerate(self.bars):
            h = torch.stack([bar[k] for bar in bars], 1).flatten(0, 1)[:, :, None, None]    # bars as a batch
            h = layers[1](layers[0](h)).relu()
            h = h.view(len(h), 2, -1, 1).transpose(1, 2)    # [M, C, 2, 1]
            left = list(levels or [])
            for conv, n in zip(layers[2:-1:2], layers[3:-1:2]):
                h = torch.cat([h, left.pop()], 1) if left else h
                h = n(conv(h)).relu()
            h = torch.cat([h, left.pop()], 1) if left else h
            planes.append(layers[-1](h))    # [M, 1 or K, T, P]
        return torch.cat(planes, 1).unflatten(0, (len(z), self.n_bars)).transpose(1, 2)    # [N, K, B, T, P]


PAPER = RollSpec(tuple(Track(f"t{k}", is_drum=k == 1) for k in range(3)), steps_per_beat=24, n_pitches=84)


@pytest.mark.parametrize("variant, accompaniment, training", [
    ("composer", False, False), ("jamming", False, True), ("hybrid", False, False), ("hybrid", True, True),
    ("composer", True, False),
])
def test_generator_is_the_papers_layers(variant, accompaniment, training):
    layout = Layout.whole(PAPER)
    model, _ = pair(layout, facts=Facts(), width=4, variant=variant, accompaniment=accompaniment)
    model.train(training)
    z = latents(model, n=2).requires_grad_()
    naive = NaiveGenerator(model)
    given, arguments = None, ()
    if accompaniment:
        features, tracks = music(layout, n=2), torch.tensor([[True, False, False], [False, True, True]])
        given, roll = Given(features, tracks), layout.expand(features, 0.0)[0]
        arguments = (roll, tracks)
    made, expected = model(z, given).frame, naive(z, *arguments)
    assert made.shape == expected.shape == (2, 3, 4, 96, 84)
    assert torch.allclose(made, expected, atol=1e-9) and made.std() > 0.5

    direction = torch.randn(made.shape, generator=torch.Generator().manual_seed(1)).double()
    ours = torch.autograd.grad(made, [z, model.bars[0].first.weight], direction)
    theirs = torch.autograd.grad(expected, [z, naive.bars[0][0].weight], direction)
    assert torch.allclose(ours[0], theirs[0], atol=1e-8) and ours[0].abs().max() > 1e-3
    assert torch.allclose(ours[1].T, theirs[1][:, :, 0, 0], atol=1e-8) and ours[1].abs().max() > 1e-3


def test_discriminator_is_the_papers_layers():
    layout = Layout.whole(PAPER)
    _, model = pair(layout)
    kernels = [(2, 1, 1), (3, 1, 1), (1, 1, 12), (1, 1, 7), (1, 2, 1), (1, 2, 1), (1, 4, 1), (1, 3, 1)]
    strides = [(1, 1, 1), (1, 1, 1), (1, 1, 12), (1, 1, 7), (1, 2, 1), (1, 2, 1), (1, 2, 1), (1, 2, 1)]
    layers = [*model.bars, *model.pitches, *model.steps]
    convs = [convolution(*each) for each in zip(layers, kernels, strides)]
    assert [conv.out_channels // 8 for conv in convs] == [1, 1, 1, 1, 1, 1, 2, 4]
    features = music(layout, n=2).requires_grad_()

    h = 2 * layout.expand(features, 0.0)[0] - 1    # [N, K, B, T, P]
    for conv in convs:
        h = nn.functional.leaky_relu(conv(h), 0.2)
    assert h.shape == (2, 32, 1, 5, 1)
    h = h[:, :, 0, :, 0].transpose(1, 2).flatten(1)
    expected = model.score(nn.functional.leaky_relu(model.merge(h), 0.2)).squeeze(1)
    score = model(features)
    assert torch.allclose(score, expected, atol=1e-10) and score.std() > 1e-3
    ours = torch.autograd.grad(score.sum(), [features, model.bars[1].bias])
    theirs = torch.autograd.grad(expected.sum(), [features, convs[1].bias])
    assert all(torch.allclose(*each, atol=1e-9) and each[0].abs().max() > 1e-3 for each in zip(ours, theirs))


def test_default_sizes_are_the_papers():
    layout = Layout.whole(RollSpec(tuple(Track(f"t{k}") for k in range(5)), steps_per_beat=24, n_pitches=84))
    with torch.device("meta"):
        generator, discriminator = MuseganGenerator(layout, 4), MuseganDiscriminator(layout, 4)
    bar, temporal = generator.bars[0], generator.temporal[0]
    assert generator.latent_shape == (6, 2, 32) and len(generator.bars) == 5 and len(generator.temporal) == 6
    assert bar.first.weight.shape == (1024, 128)
    assert [n.num_features for n in bar.norms] == [512, 256, 256, 128, 128, 64]
    assert [n.num_features for n in temporal.norms] == [1024, 32]
    layers = [*discriminator.bars, *discriminator.pitches, *discriminator.steps, discriminator.merge]
    assert [layer.out_features for layer in layers] == [128, 128, 128, 128, 128, 128, 256, 512, 1024]


# ---- Latents ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant, shared, own", [
    ("composer", True, False), ("jamming", False, True), ("hybrid", True, True),
])
def test_latents_reach_the_tracks_they_belong_to(variant, shared, own):
    generator, _ = pair(variant=variant)
    z = latents(generator).requires_grad_()
    frame = generator(z).frame
    for k in range(3):
        (gradient,) = torch.autograd.grad(frame[:, k].sum(), z, retain_graph=True)
        reached = gradient.abs().amax(dim=(0, 3)) > 0    # [rows, 2]
        wanted = torch.tensor([shared, *([own and row == k for row in range(3)] if variant != "composer" else [])])
        assert torch.equal(reached, wanted[:, None].expand(-1, 2))


@pytest.mark.parametrize("variant, row", [("composer", 0), ("jamming", 2), ("hybrid", 0), ("hybrid", 2)])
def test_bars_differ_by_the_temporal_generators_alone(variant, row):
    generator, _ = pair(variant=variant)
    with torch.no_grad():
        for temporal in generator.temporal:
            temporal.norms[1].weight.zero_()    # no bar has anything of its own
    z = latents(generator)
    same = generator.probabilities(z)
    assert torch.equal(same[:, :1].expand_as(same), same)
    other = z.clone()
    other[:, row, 0] += 1
    assert (generator.probabilities(other) - same).abs().max() > 1e-3

    generator, _ = pair(variant=variant)
    before = generator.probabilities(z)
    assert all((before[:, a] - before[:, b]).abs().max() > 1e-3 for a in range(4) for b in range(a))
    other = z.clone()
    other[:, row, 1] += 1
    assert ((generator.probabilities(other) - before).abs().amax(dim=(0, 2, 3)) > 1e-3).all()    # each bar


def test_first_bar_hears_the_first_half_of_a_seed():
    """Of the 2 vectors in a temporal generator, the first alone makes the first bar."""
    generator, _ = pair()
    temporal = generator.temporal[0]
    seed = latents(generator)[:, 0, 1]
    before = temporal(seed)
    with torch.no_grad():
        temporal.layers[0].weight.view(2, -1, 4)[1] *= -1
    changed = (temporal(seed) - before).abs().amax(dim=(0, 2)) > 1e-6
    assert changed.tolist() == [False, True, True, True]


# ---- Given tracks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["composer", "jamming", "hybrid"])
def test_given_tracks_come_out_as_they_are_and_change_the_others(variant):
    generator, _ = pair(variant=variant, accompaniment=True)
    features, z = music(), latents(generator)
    tracks = torch.tensor([True, False, False]).expand(6, -1)
    own = LAYOUT.cells_of(tracks).expand_as(features)
    made = generator.probabilities(z, Given(features, tracks))
    assert torch.equal(made[own], features[own])
    swapped = generator.probabilities(z, Given(features.roll(1, 0), tracks))
    for k in (1, 2):
        column = LAYOUT.columns[k].frame
        assert (made[..., column] - swapped[..., column]).abs().max() > 1e-3
    # What is there of tracks that are not given does not count; a silent track that is given does.
    silent = torch.where(own, features, 0)
    assert torch.equal(generator.probabilities(z, Given(silent, tracks)), made)
    both = torch.tensor([True, True, False]).expand(6, -1)
    assert (generator.probabilities(z, Given(silent, both)) - made)[..., LAYOUT.columns[2].frame].abs().max() > 1e-3


def test_a_bar_is_made_to_what_is_given_of_it():
    generator, _ = pair(accompaniment=True)
    features, z = music(), latents(generator)
    tracks = torch.tensor([True, False, True]).expand(6, -1)
    other = features.clone()
    other[:, 2] = music(seed=1)[:, 2]
    piano = LAYOUT.columns[1].frame
    before, after = (generator.probabilities(z, Given(each, tracks))[..., piano] for each in (features, other))
    assert ((before - after).abs().amax(dim=(0, 2, 3)) > 0).tolist() == [False, False, True, False]


def test_encoder_sees_a_cell_where_it_is():
    layout = Layout.whole(ODD)
    generator, _ = pair(layout, 1, Facts(), accompaniment=True)
    features, tracks = torch.zeros(1, 1, 12, layout.n_features).double(), torch.tensor([[True, False]])
    silent = generator.encoder(Given(features, tracks))
    for step, pitch in ((0, 11), (0, 12), (7, 0), (11, 22)):
        note = features.clone()
        note[0, 0, step, pitch] = 1
        octaves, steps, *_ = generator.encoder(Given(note, tracks))
        assert (octaves - silent[0]).abs().sum((0, 2)).nonzero().flatten().tolist() == [2 * step + pitch // 12]
        assert (steps - silent[1]).abs().sum((0, 2)).nonzero().flatten().tolist() == [step]


def test_nothing_given_is_no_tracks_given():
    generator, _ = pair(accompaniment=True)
    z, none = latents(generator), torch.zeros(6, 3, dtype=torch.bool)
    assert torch.equal(generator.probabilities(z), generator.probabilities(z, Given(music(), none)))
    assert not pair()[0].accompanies and generator.accompanies


# ---- Output ----------------------------------------------------------------------------------------------------------


def test_logits_and_probabilities_are_the_same_numbers():
    generator, _ = pair()
    z = latents(generator)
    logits, probabilities = generator(z), generator.probabilities(z)
    assert torch.allclose(LAYOUT.crop(Roll(logits.frame.sigmoid(), None)), probabilities, atol=1e-12)
    assert (logits.onset[:, 0] == torch.inf).all() and (logits.onset[:, 1:] == -torch.inf).all()


def test_slope_multiplies_the_log_odds():
    generator, _ = pair()
    z = latents(generator)
    before = generator(z).frame
    generator.slope.fill_(2.5)
    assert torch.allclose(generator(z).frame, 2.5 * before)
    assert torch.allclose(LAYOUT.crop(Roll((2.5 * before).sigmoid(), None)), generator.probabilities(z))


@pytest.mark.parametrize("variant", ["composer", "hybrid"])
def test_output_starts_at_the_density_of_the_data(variant):
    generator = MuseganGenerator(LAYOUT, 4, FACTS, variant=variant, **SMALL)
    frame = generator(latents(generator).float()).frame.sigmoid()
    for k, pitches in enumerate(FACTS.frame_density):
        assert frame[:, k].mean().item() == pytest.approx(pitches / 12, rel=0.05)


def test_model_folder_gives_the_model_back(tmp_path):
    generator, _ = pair(variant="jamming", accompaniment=True)
    generator.float()
    save_model(generator, tmp_path / "model")
    loaded = load_generator(tmp_path / "model")
    assert isinstance(loaded, MuseganGenerator) and (loaded.variant, loaded.accompanies) == ("jamming", True)
    assert loaded.layout == LAYOUT and loaded.facts == FACTS
    given = Given(music().float(), torch.tensor([False, True, False]).expand(6, -1))
    z = latents(generator).float()
    assert all(torch.equal(a, b) for a, b in zip(generator(z, given), loaded(z, given)))


def test_a_layout_that_crops_is_refused():
    cropped = Layout(SPEC, (2, 0, 1), (3, 12, 5), ("poly",) * 3)
    for network in (MuseganGenerator, MuseganDiscriminator):
        with pytest.raises(ValueError, match="must be Layout.whole"):
            network(cropped, 4)


# ---- Discriminator ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("semitones", [-13, -3, 0, 2])
def test_augmented_view_is_the_score_of_the_moved_roll(semitones):
    _, discriminator = pair()
    roll = random_roll(bars=4).frame
    moved = torch.zeros_like(roll)
    moved[:, 0] = roll[:, 0]
    for p in range(12):
        if 0 <= p + semitones < 12:
            moved[:, 1:, ..., p + semitones] = roll[:, 1:, ..., p]
    moved = moved.roll(1, dims=2)
    features, expected = (LAYOUT.crop(Roll(frame, None)).double() for frame in (roll, moved))
    assert torch.allclose(discriminator(features, semitones, rotation=1), discriminator(expected), atol=1e-10)
    assert (discriminator(features) - discriminator(features, rotation=1)).abs().max() > 1e-4


@pytest.mark.parametrize("spec, bars", [(SPEC, 4), (ODD, 1), (CROPPED, 2)])
def test_discriminator_sees_every_cell(spec, bars):
    layout = Layout.whole(spec)
    _, discriminator = pair(layout, bars, Facts())
    features = music(layout, bars).requires_grad_()
    discriminator(features).sum().backward()
    assert (features.grad.abs().sum(0) > 1e-9).all()


def test_penalty_can_be_differentiated():
    _, discriminator = pair()
    features = (0.9 * music(n=2) + 0.05).requires_grad_()
    weights = [layer.weight for layer in (discriminator.bars[0], discriminator.steps[2], discriminator.merge)]
    gradients = torch.autograd.grad(zero_centred_penalty(discriminator(features, 1, 1), features), weights)
    for weight, gradient in zip(weights, gradients):
        step = 1e-6 * torch.sign(gradient)
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight.add_(sign * step)
            values.append(zero_centred_penalty(discriminator(features, 1, 1), features).item())
            with torch.no_grad():
                weight.sub_(sign * step)
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(gradient.abs().sum().item(), rel=1e-3)


# ---- Other bars ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec, bars", [
    (SPEC, 1), (ODD, 1), (ODD, 3), (CROPPED, 2),
    (RollSpec(tuple(Track(f"t{k}", is_drum=k == 7) for k in range(8)), lowest_pitch=0, n_pitches=128), 16),
    (RollSpec((Track("lead"),), steps_per_beat=2, beats_per_bar=6, beat_unit=8, n_pitches=12), 2),
    (RollSpec((Track("lead"),), steps_per_beat=2, beats_per_bar=7, beat_unit=8, n_pitches=1), 5),
    (RollSpec((Track("lead"),), steps_per_beat=1, beats_per_bar=1, n_pitches=13), 2),
])
def test_odd_shapes(spec, bars):
    layout = Layout.whole(spec)
    generator, discriminator = pair(layout, bars, Facts((0.1,) * spec.n_tracks), width=4, accompaniment=True)
    generator.train()
    features, tracks = music(layout, bars, n=2), torch.rand(2, spec.n_tracks) < 0.5
    made = generator.probabilities(latents(generator, n=2).requires_grad_(), Given(features, tracks))
    assert made.shape == features.shape
    discriminator(made, 1, bars - 1).sum().backward()
    assert all(weight.grad is not None for weight in generator.parameters())
    frame = generator(latents(generator, n=2)).frame
    assert frame.shape == (2, spec.n_tracks, bars, spec.steps_per_bar, spec.n_pitches)


@pytest.mark.parametrize("n_steps, factors", [
    (96, (2, 2, 2, 2, 2, 3)), (48, (2, 2, 2, 2, 3)), (12, (2, 2, 3)), (14, (2, 7)), (84, (2, 2, 3, 7)), (7, (7,)),
    (11, (2, 2, 3)), (13, (2, 7)), (22, (2, 2, 2, 3)), (1, (1,)), (2, (2,)),
])
def test_steps_are_made_by_prime_factors(n_steps, factors):
    assert step_factors(n_steps) == factors


@pytest.mark.parametrize("length, kernel, stride", [
    (7, 2, 2), (11, 3, 2), (24, 4, 2), (3, 4, 2), (5, 3, 1), (12, 12, 12),
])
def test_windows_reach_the_end(length, kernel, stride):
    h = torch.arange(1.0, 2 * length + 1).view(1, length, 2)
    seen = windows(h, kernel, stride)
    assert seen.shape == (1, n_windows(length, kernel, stride), 2 * kernel)
    assert set(h.flatten().tolist()) <= set(seen.flatten().tolist())
    padded = torch.cat([h, torch.zeros(1, kernel, 2)], 1)
    for i, window in enumerate(seen[0]):
        assert torch.equal(window.view(kernel, 2), padded[0, i * stride : i * stride + kernel])
