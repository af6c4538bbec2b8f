"""Parts of a batch and half precision: the updates they make."""

import dataclasses
import math

import pytest
import torch

from musegan.config import TrainConfig
from musegan.errors import UserError
from musegan.models import CompactDiscriminator, CompactGenerator, Given, Layout, blocks, build, compact
from musegan.roll import PRESETS, RollSpec
from musegan.training.gan import train
from musegan.training.updates import Pair, Part, deal
from tests.training.test_gan import TINY, after, run_in, same_state, with_train
from tests.training.test_processes import RECIPES, in_float64, losses_of


pytestmark = pytest.mark.usefixtures("cheap_comparisons")


def without_batch_statistics(patch):
    patch.setattr(blocks.ChannelNorm, "forward", lambda self, h: h * self.weight + self.bias)
    patch.setattr(compact, "minibatch_stddev", lambda h: torch.cat([h, h[:, :1]], dim=1))


@pytest.mark.parametrize("recipe", ["relativistic", "wasserstein"])
def test_parts_of_a_batch_make_the_update_of_the_whole(songs, tmp_path, monkeypatch, recipe):
    """Where no network looks at the batch; the penalties of parts are the whole one's too."""
    without_batch_statistics(monkeypatch)
    whole = dataclasses.replace(RECIPES[recipe], model=dataclasses.replace(TINY.model, accompaniment=True))
    in_parts = dataclasses.replace(whole, train=dataclasses.replace(whole.train, accumulate=4))
    with in_float64():
        wanted, found = (
            losses_of(config, songs, tmp_path / name) for name, config in (("whole", whole), ("parts", in_parts)))
    assert any("penalty" in step for step in wanted)
    for a, b in zip(wanted, found, strict=True):
        assert a == pytest.approx(b, abs=1e-9)


@pytest.mark.parametrize("recipe", [
    {"accumulate": 2},
    {"precision": "bfloat16"},
    {"precision": "bfloat16", "accumulate": 4, "loss": "wasserstein", "penalty": "gradient", "penalty_every": 1},
])    # fmt: skip
def test_resumes_bit_for_bit(songs, tmp_path, recipe):
    config = with_train(steps=6, **{"penalty_every": 3, **recipe})
    whole, parts = run_in(tmp_path / "whole"), run_in(tmp_path / "parts")
    assert train(config, songs, whole)
    assert not train(config, songs, parts, stop_requested=after(4))
    assert train(config, songs, parts, resume=True)
    assert same_state(whole.load_checkpoint(), parts.load_checkpoint())


@pytest.mark.parametrize("loss, changes", [
    ("relativistic", {}),
    ("hinge", {"penalty": "none", "penalty_every": TrainConfig.penalty_every}),
    ("wasserstein", {"penalty": "gradient", "penalty_weight": 10.0}),
])
def test_bfloat16_stays_near_float32(songs, tmp_path, loss, changes):
    """Its penalty above all, which is made of second derivatives; the weights stay float32."""
    model = dataclasses.replace(TINY.model, spectral_norm=loss == "hinge")
    exact, half = (
        losses_of(dataclasses.replace(config, model=model), songs, tmp_path / config.train.precision, 2)
        for config in (
            with_train(loss=loss, precision=precision, **{"penalty_every": 1, **changes})
            for precision in ("float32", "bfloat16")))
    assert half != exact and all(map(math.isfinite, half[-1].values()))
    for name in exact[0]:
        assert half[0][name] == pytest.approx(exact[0][name], rel=0.02, abs=0.02)


def test_discriminator_sees_strangers_around_given_tracks(songs):
    """In the place of half of what was generated to them: all cells are real, but those of two phrases."""
    music = songs.roll(songs.phrase_starts(2)[:64], 2)
    layout = Layout.fit(music.frame.sum((0, 2, 3)), songs.spec)
    generator, discriminator = build(
        dataclasses.replace(TINY.model, mono_tracks=[], accompaniment=True), songs.spec, music.frame.sum((0, 2, 3)), 2)
    settings = TrainConfig(batch_size=64, accumulate=2, accompany_share=0.5)
    seen = []
    for part in deal(generator, layout.crop(music).float(), settings, 3):
        fake = torch.full_like(part.music, 0.5)
        mixed = Pair(generator, discriminator, settings)._mixed(part, fake)
        given = layout.cells_of(part.given.tracks)
        for i, strange in enumerate(part.strange):
            if strange:
                assert part.given.tracks[i].any()
                wanted = torch.where(given[i], part.music[i], part.music[i ^ 1])
                assert torch.equal(mixed[i], wanted)
            else:
                assert torch.equal(mixed[i], fake[i])
        seen += part.strange[part.given.tracks.any(1)].tolist()
    assert 0.25 < sum(seen) / len(seen) < 0.75 and len(seen) < 64


@pytest.mark.parametrize("n, neighbours", [(4, [1, 0, 3, 2]), (3, [1, 0, 1]), (1, None)])
def test_no_phrase_is_its_own_stranger(n, neighbours):
    """Several processes may have an odd number of phrases each, or one alone: what is real is never called generated."""
    layout = Layout.whole(RollSpec(PRESETS["satb"], n_pitches=6))
    generator, discriminator = CompactGenerator(layout, 1, accompaniment=True), CompactDiscriminator(layout, 1)
    music = torch.arange(1.0, n + 1)[:, None, None, None].expand(n, 1, layout.spec.steps_per_bar, layout.n_features)
    given, strange = Given(music, torch.tensor([[True, False, False, False]] * n)), torch.ones(n, dtype=torch.bool)
    part = Part(music, torch.zeros(n), given, strange, torch.zeros(n))
    mixed = Pair(generator, discriminator, TrainConfig())._mixed(part, torch.zeros_like(music))
    if neighbours is None:
        assert not mixed.any()
    else:
        first = layout.track_widths[0]
        assert torch.equal(mixed[..., :first], music[..., :first])
        assert torch.equal(mixed[..., first:], music[neighbours][..., first:])


def test_parts_divide_the_batch_and_are_not_single_phrases():
    for size, parts in ((10, 4), (4, 4)):
        with pytest.raises(UserError, match="train.accumulate must divide train.batch_size"):
            TrainConfig(batch_size=size, accumulate=parts)
    with pytest.raises(UserError, match="train.accumulate must be at least 1: got 0"):
        TrainConfig(accumulate=0)
