"""The compact pair: its two views of a sample agree, gates rest, augmentation moves what it says."""

import copy
import dataclasses
import json

import pytest
import torch

from musegan.errors import UserError
from musegan.losses import generator_loss
from musegan.models import CompactDiscriminator, CompactGenerator, Facts, Given, Layout, load_generator, save_model
from musegan.models.compact import gated
from musegan.roll import Roll, RollSpec, Track
from tests.models.test_layout import LAYOUT, SPEC, random_roll

# [K] cells that sound at a step of LAYOUT, whose tracks have 3, 12 and 5 pitches: shares of 0.1, 0.05 and 0.12
FACTS = Facts((0.3, 0.6, 0.6), (1.0, 0.5, 0.25), (1,) * 12, 100.0)
SMALL = {"latent_size": 8, "width": 16, "track_width": 8, "n_blocks": 1}


def pair(layout=LAYOUT, n_bars=2, facts=FACTS, **settings):
    torch.manual_seed(0)
    generator = CompactGenerator(layout, n_bars, facts, **SMALL | settings)
    return generator, CompactDiscriminator(layout, n_bars, width=16, n_blocks=1)


def latents(generator, n=6, seed=0):
    return torch.randn(n, *generator.latent_shape, generator=torch.Generator().manual_seed(seed))


def test_logits_and_probabilities_are_the_same_numbers():
    generator, _ = pair()
    generator = generator.double().eval()
    z = latents(generator).double()
    probabilities, logits = generator.probabilities(z), generator(z)
    frame, onset = logits.frame.sigmoid(), logits.frame.sigmoid() * logits.onset.sigmoid()
    assert torch.allclose(LAYOUT.crop(Roll(frame, onset)), probabilities, atol=1e-9)


def test_cells_outside_a_tracks_range_never_sound():
    generator, _ = pair()
    frame = generator.eval()(latents(generator)).frame
    assert (frame[:, 0, ..., :2] == -torch.inf).all() and torch.isfinite(frame[:, 0, ..., 2:5]).all()


def test_drum_cells_are_always_starts():
    generator, _ = pair()
    assert (generator.eval()(latents(generator)).onset[:, 0] == torch.inf).all()


def test_mono_head_leaves_room_for_a_rest():
    generator, _ = pair()
    bass = generator.eval()(latents(generator)).frame[:, 2].sigmoid().sum(-1)
    assert (bass < 1).all() and (bass > 0).all()


def test_output_starts_at_the_density_of_the_data():
    generator, _ = pair()
    with torch.no_grad():
        for layer in (*generator.heads.modules(), generator.to_gate):
            if isinstance(layer, torch.nn.Linear):
                layer.weight.zero_()
        frame = generator.eval()(latents(generator)).frame.sigmoid()
    assert frame[:, 0, ..., 2:5].mean().item() == pytest.approx(0.1, abs=1e-3)
    assert frame[:, 1].mean().item() == pytest.approx(0.05, abs=1e-3)
    assert frame[:, 2, ..., 1:6].mean().item() == pytest.approx(0.12, abs=1e-3)


def test_a_tracks_latents_change_that_track_alone():
    generator, _ = pair()
    z = latents(generator)
    other = z.clone()
    other[:, 1 + 1] = latents(generator, seed=1)[:, 1 + 1]    # of the piano
    before, after = (generator.eval()(each).frame for each in (z, other))
    assert torch.equal(before[:, [0, 2]], after[:, [0, 2]]) and not torch.equal(before[:, 1], after[:, 1])


@pytest.mark.parametrize("variant, shared, own",
                         [("composer", True, False), ("jamming", False, True), ("hybrid", True, True)])
def test_variants_have_the_latents_they_say(variant, shared, own):
    generator, _ = pair(variant=variant)
    z = latents(generator).requires_grad_()
    generator.eval().probabilities(z).square().sum().backward()
    assert bool(z.grad[:, 0].abs().min() > 0) == shared
    assert (z.shape[1] == 4 and bool(z.grad[:, 1:].abs().min() > 0)) == own


def test_given_tracks_come_out_as_they_are_and_change_the_others():
    generator, _ = pair(accompaniment=True)
    features, z = LAYOUT.crop(random_roll(n=6)).float(), latents(generator)
    tracks = torch.tensor([True, False, False]).expand(6, -1)
    drums, piano = LAYOUT.columns[0].frame, LAYOUT.columns[1].frame
    generator.eval()
    made = generator.probabilities(z, Given(features, tracks))
    assert torch.equal(made[..., drums], features[..., drums])
    swapped = generator.probabilities(z, Given(features.roll(1, 0), tracks))
    assert (made[..., piano] - swapped[..., piano]).abs().max() > 1e-3
    # What is there of tracks that are not given does not count.
    silent = torch.where(LAYOUT.cells_of(tracks), features, 0)
    assert torch.equal(generator.probabilities(z, Given(silent, tracks)), made)


def test_nothing_given_may_be_left_out():
    generator, _ = pair(accompaniment=True)
    z = torch.randn(2, *generator.latent_shape)
    nothing = Given(torch.ones(2, generator.n_bars, SPEC.steps_per_bar, LAYOUT.n_features), torch.zeros(2, 3, dtype=torch.bool))
    assert torch.equal(generator.probabilities(z), generator.probabilities(z, nothing))
    assert torch.equal(generator(z).frame, generator(z, nothing).frame)


def test_thresholds_to_given_tracks_are_kept_with_the_model(tmp_path):
    generator, _ = pair(accompaniment=True)
    generator.given_thresholds.copy_(torch.rand(4, 2, 3))
    save_model(generator, tmp_path)
    loaded, tracks = load_generator(tmp_path), torch.tensor([[True, False, True], [False, False, False]])
    assert torch.equal(loaded.thresholds_for(tracks), generator.thresholds_for(tracks))
    assert torch.allclose(loaded.thresholds_for(tracks[:1, [0, 1, 1]]), generator.given_thresholds[:1].double())
    assert torch.equal(loaded.thresholds_for(None), generator.thresholds.double())
    generator.given_thresholds[1, 0, 2] = 1.0
    save_model(generator, tmp_path)
    with pytest.raises(UserError, match="thresholds must lie between 0 and 1"):
        load_generator(tmp_path)
    alone, _ = pair()
    assert not alone.accompanies and "given_thresholds" not in alone.state_dict()
    assert torch.equal(alone.thresholds_for(tracks), alone.thresholds.double())


def test_any_number_of_bars():
    generator, _ = pair()
    generator.eval()
    z = latents(generator)    # two bars
    longer = torch.cat([z, z[:, :, 1:], z[:, :, 1:]], dim=2)
    assert torch.allclose(generator.probabilities(longer), generator.probabilities(z).repeat(1, 3, 1, 1), atol=1e-5)


@pytest.mark.parametrize("variant", ["composer", "jamming", "hybrid"])
def test_bars_may_have_common_latents_of_their_own(variant):
    generator, _ = pair(variant=variant)
    generator.eval()
    with torch.no_grad():
        for name, weight in generator.named_parameters():
            if "rhythm" in name:    # begins at 0
                weight.normal_()
    z = latents(generator)
    common, own = z[:, :, :1], z[:, :, 1:]
    of_bars = torch.stack([common.expand_as(own), own], dim=2)    # [N, rows, 2, B, Z]
    assert torch.allclose(generator.probabilities(of_bars), generator.probabilities(z), atol=1e-6)
    assert torch.allclose(generator(of_bars).frame, generator(z).frame, atol=1e-5)
    of_bars[:, :, 0, 1] = latents(generator, seed=1)[:, :, 0]
    before, after = generator._rhythm(common), generator._rhythm(of_bars[:, :, 0])
    assert torch.allclose(after[:, :1], before, atol=1e-5) and not torch.allclose(after[:, 1:], before)
    assert (generator.any_length, generator.has_track_latents) == (True, variant != "composer")


def test_gate_multiplies_probabilities():
    logit, gate = torch.linspace(-30, 30, 61, dtype=torch.float64), torch.tensor([-20.0, 0.5, 20.0]).double()[:, None]
    expected = logit.sigmoid() * gate.sigmoid()
    assert torch.allclose(gated(logit, gate).sigmoid(), expected, rtol=1e-9, atol=0)


def test_bars_share_their_common_latent():
    generator, _ = pair()
    generator.own_bar_share = 0.0
    first, second = generator.eval()(latents(generator)).frame[:, 1].unbind(1)    # bars
    # Zero padding at the ends is all that tells two bars apart; their middles agree.
    assert torch.allclose(first[:, 4:12], second[:, 4:12], atol=0.5)
    assert (first - second).abs().max() < (first[0] - first[1]).abs().max()


@pytest.mark.parametrize("semitones", [-3, 0, 2])
def test_augmented_view_is_the_score_of_the_moved_roll(semitones):
    _, discriminator = pair()
    features = LAYOUT.crop(random_roll()).float()
    moved = torch.nn.functional.pad(features, (0, 1))[..., LAYOUT.transposed_columns(semitones)].roll(1, dims=1)
    assert torch.allclose(discriminator(features, semitones, rotation=1), discriminator(moved), atol=1e-5)


def test_discriminator_sees_every_cell():
    _, discriminator = pair()
    features = LAYOUT.crop(random_roll()).float().requires_grad_()
    discriminator(features).sum().backward()
    assert (features.grad.abs().sum(0) > 0).all()


@pytest.mark.parametrize("spec, bars", [
    (RollSpec((Track("lead"),), steps_per_beat=4, beats_per_bar=3, n_pitches=12), 1),
    (RollSpec(tuple(Track(f"t{k}", is_drum=k == 7) for k in range(8)), steps_per_beat=12, lowest_pitch=0, n_pitches=128), 3),
])
def test_odd_shapes(spec, bars):
    roll = random_roll(spec, bars=bars)
    layout = Layout.fit(roll.frame.sum((0, 2, 3)), spec)
    k = spec.n_tracks
    generator, discriminator = pair(layout, bars, Facts((0.4,) * k, (0.5,) * k))
    assert discriminator(generator.probabilities(latents(generator))).shape == (6,)
    assert generator(latents(generator)).frame.shape == (6, k, bars, spec.steps_per_bar, spec.n_pitches)


@pytest.mark.parametrize("metre, steps_per_beat, steps_per_bar", [
    ((3, 4), 4, 12), ((6, 8), 2, 12), ((7, 8), 2, 14), ((2, 2), 8, 16),
])
def test_a_pair_learns_in_any_metre(metre, steps_per_beat, steps_per_bar, tmp_path):
    spec = dataclasses.replace(SPEC, steps_per_beat=steps_per_beat, beats_per_bar=metre[0], beat_unit=metre[1])
    layout = dataclasses.replace(LAYOUT, spec=spec)
    generator, discriminator = pair(layout)
    both = torch.nn.ModuleDict({"generator": generator, "discriminator": discriminator})
    optimizer, before = torch.optim.SGD(both.parameters(), lr=0.1), copy.deepcopy(both)
    features = layout.crop(random_roll(spec)).float()
    assert features.shape == (4, 2, steps_per_bar, layout.n_features)

    for step in range(2):
        fake = generator.probabilities(latents(generator, n=4, seed=step))
        assert fake.shape == features.shape
        loss = generator_loss("relativistic", discriminator(features, 1, rotation=1), discriminator(fake, 1, rotation=1))
        optimizer.zero_grad(), loss.backward(), optimizer.step()
    assert all(torch.isfinite(weight).all() for weight in both.parameters())
    stuck = [name for (name, new), old in zip(both.named_parameters(), before.parameters()) if torch.equal(new, old)]
    assert not [name for name in stuck if name.endswith("weight")]    # batch norm or the loss take some biases off again

    # A bar is beats_per_bar beats: seen rotated is the same as rotated bars.
    assert torch.allclose(discriminator(features, rotation=1), discriminator(features.roll(1, dims=1)), atol=1e-5)
    save_model(generator.eval(), tmp_path / "model")
    loaded, z = load_generator(tmp_path / "model"), latents(generator)
    assert loaded.spec == spec and torch.equal(loaded(z).frame, generator(z).frame)


def test_model_folder_from_before_beat_unit(tmp_path):
    generator, _ = pair()
    save_model(generator, tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    settings = json.loads(config.read_text())
    del settings["layout"]["spec"]["beat_unit"]
    config.write_text(json.dumps(settings))
    assert load_generator(tmp_path / "model").spec.beat_unit == 4


def test_model_folder_gives_the_model_back(tmp_path):
    generator, _ = pair()
    generator.eval()
    save_model(generator, tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["config.json", "model.safetensors"]
    loaded = load_generator(tmp_path / "model")
    assert loaded.spec == SPEC and loaded.layout == LAYOUT and loaded.facts == FACTS
    z = latents(generator)
    assert all(torch.equal(a, b) for a, b in zip(generator(z), loaded(z)))



def test_lines_have_contours_and_nothing_else_has():
    generator, discriminator = pair()
    assert [hasattr(head, "beat_contour") for head in generator.heads] == [False, False, True]
    head, cosines = generator.heads[2], LAYOUT.cosines(6, [2])
    with torch.no_grad():
        for layer in (head.bar, head.beat, head.step):
            for value in layer.parameters():
                value.zero_()
    h = torch.randn(3, 2 * SPEC.beats_per_bar, head.bar.in_features)
    cells = head(h, 2).detach()    # [N, B, T, n]
    steps = head.step_contour(h).unflatten(-1, (SPEC.steps_per_beat, -1)) + head.beat_contour(h).unsqueeze(2)
    assert torch.allclose(cells, steps.detach().unflatten(1, (2, -1)).flatten(2, 3) @ cosines, atol=1e-6) and cells.any()
    features = torch.rand(4, 2, SPEC.steps_per_bar, LAYOUT.n_features)
    score = discriminator(features)
    with torch.no_grad():    # as weights on the features themselves
        contour = discriminator.from_contour.weight.unflatten(1, (SPEC.steps_per_beat, -1)) @ LAYOUT.cosines(6)
        discriminator.from_steps.weight.add_(contour.flatten(1))
        discriminator.from_contour.weight.zero_()
    assert contour[..., LAYOUT.columns[2].frame].any() and not contour[..., : LAYOUT.columns[2].frame.start].any()
    assert torch.allclose(discriminator(features), score, atol=1e-5)
    poly = dataclasses.replace(LAYOUT, heads=("poly",) * 3)
    generator, discriminator = pair(poly)
    assert not any("contour" in name for network in (generator, discriminator) for name, _ in network.named_parameters())
