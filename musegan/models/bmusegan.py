"""`bmusegan`: BinaryMuseGAN, a generator that ends in binary neurons, with or without a refiner before them.

Source: Dong and Yang 2018, "Convolutional generative adversarial networks with binary neurons for polyphonic music
generation", and presets `phrase/*/proposed*.py` of github.com/salu133445/bmusegan, which are the networks at 4 bars x
96 steps x 84 pitches; `streams.Shape` says what they are elsewhere.

Differs: batch norm normalises, as the paper says; the released code never tells it that it trains, and so only scales.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musegan.models.batch import BatchNorm2d, rank
from musegan.models.critic import Channels, Seen, StreamDiscriminator
from musegan.models.generator import Facts, Generator, Given, RollLogits, check_positive
from musegan.models.layout import Layout
from musegan.models.streams import Shape, Streams, check_whole, check_width, linear, plane_logits, weights
from musegan.models.strided import EPSILON, MOMENTUM, Norm, overlap_add
from musegan.ops import deterministic_neuron, stochastic_neuron
from musegan.seeding import derived_seed

Binary = Literal["none", "deterministic", "stochastic"]
Stage = Literal["pretrain", "refine", "joint"]


class BMuseganGenerator(Generator):
    """Latents to rolls, by a generator and, where asked for, a refiner and binary neurons.

    Two-stage training: `enter("pretrain")`, train `stage_parameters("pretrain")`; then the same with "refine", in which
    the generator is fixed, batch norm too. Joint and end-to-end (no refiner) training are the stage "joint", in which a
    fresh generator is. The stage is kept with the weights. The loop raises `slope` (x 1.1 an epoch in the paper).

    Args:
        layout: must be `Layout.whole`.
        n_bars: B.
        facts: of the training data.
        latent_size: Z, 128 as released.
        width: channels of a pair of bars, 512 as released; the other layers' are in proportion.
        binary: the neurons at the end; `none` gives probabilities to the discriminator.
        refiner: two residual blocks for each track between generator and neurons.
        neuron_seed: of the stochastic neurons' draws.
    """

    kind = "bmusegan"

    def __init__(
        self,
        layout: Layout,
        n_bars: int,
        facts: Facts = Facts(),
        latent_size: int = 128,
        width: int = 512,
        binary: Binary = "deterministic",
        refiner: bool = True,
        neuron_seed: int = 0,
    ):
        check_positive(n_bars=n_bars, latent_size=latent_size)
        check_width(width)
        check_whole(layout)
        if binary not in ("none", "deterministic", "stochastic"):
            raise ValueError(f"binary must be none, deterministic or stochastic: got {binary!r}")
        super().__init__(layout, n_bars, facts, latent_shape=(latent_size,))
        self.binary, self.neuron_seed = binary, neuron_seed
        self.body = Body(Shape(layout.spec, n_bars), latent_size, width)
        self.refiner = Refiner(layout.spec.n_tracks, width // 8) if refiner else None
        self.register_buffer("refines", torch.tensor(True))    # False in the stage "pretrain": no refiner, no neurons
        self.register_buffer("body_fixed", torch.tensor(False))    # True in the stage "refine"
        self.register_buffer("n_draws", torch.tensor(0))    # calls in training mode, each with draws of its own

    def stage_parameters(self, stage: Stage) -> list[nn.Parameter]:
        """What is trained in a stage.

        Raises:
            ValueError: no such stage, or not without a refiner.
        """
        if stage not in ("pretrain", "refine", "joint"):
            raise ValueError(f"stage must be pretrain, refine or joint: got {stage!r}")
        if stage == "refine" and self.refiner is None:
            raise ValueError("the stage 'refine' needs a refiner: this generator was made with refiner=False")
        parts = {"pretrain": self.body, "refine": self.refiner, "joint": self}
        return list(parts[stage].parameters())

    @property
    def is_binary(self) -> bool:
        """Whether deterministic neurons decide."""
        return self.binary == "deterministic" and bool(self.refines)

    def enter(self, stage: Stage) -> None:
        """Makes `probabilities` and `forward` those of a stage, and trains only its parameters from now on."""
        trained = set(self.stage_parameters(stage))
        for parameter in self.parameters():
            parameter.requires_grad_(parameter in trained)
        self.refines.fill_(stage != "pretrain")
        self.body_fixed.fill_(stage == "refine")
        self.train(self.training)

    def train(self, mode: bool = True) -> BMuseganGenerator:
        """As any module's; the generator proper stays as it is in the stage "refine"."""
        super().train(mode)
        self.body.train(mode and not self.body_fixed)
        return self

    def probabilities(self, latents: Tensor, given: Given | None = None) -> Tensor:
        """What the discriminator sees, see `Generator.probabilities`; 0 and 1 from binary neurons.

        Stochastic neurons draw anew in each call in training mode, by `n_draws`, which is part of the state: a run
        that is resumed draws what it would have drawn. In evaluation mode the same call gives the same draws.
        """
        cells = self._cells(latents).flatten(3)    # [N, B, T, K * P]
        if not self.refines or self.binary == "none":
            return cells.sigmoid()
        slope = float(self.slope)
        if self.binary == "deterministic":
            return deterministic_neuron(cells, slope)
        seed = derived_seed(self.neuron_seed, "neurons", int(self.n_draws))
        if not self.training:
            return stochastic_neuron(cells, seed, slope=slope)
        self.n_draws += 1
        return stochastic_neuron(cells, seed, offset=rank() * cells.numel(), slope=slope)    # those of the whole batch

    def forward(self, latents: Tensor, given: Given | None = None) -> RollLogits:
        """Latents to logits, see `Generator.forward`; deterministic neurons decide at 0, others draw by them."""
        cells = self._cells(latents).flatten(3)
        if self.refines and self.binary != "none":
            cells = self.slope * cells
        return plane_logits(self.layout, cells)

    def _cells(self, latents: Tensor) -> Tensor:
        """[N, Z] -> cells before the last nonlinearity [N, B, T, K, P]."""
        cells = self.body(latents)
        return self.refiner(cells.sigmoid()) if self.refines and self.refiner is not None else cells


class Body(nn.Module):
    """The generator proper: [N, Z] -> log-odds [N, B, T, K, P]."""

    def __init__(self, shape: Shape, latent_size: int, width: int):
        super().__init__()
        self.shape, w = shape, width
        self.n_pairs = shape.n_bars + 1 - shape.bars_seen
        # Shared by the tracks
        self.to_pairs = linear(latent_size, self.n_pairs * w)    # a bias of each pair, which batch norm keeps
        self.pair_norm = Norm(w)
        self.to_bars = weights(shape.bars_seen * w // 2, w)
        self.bar_norm = Norm(w // 2)
        self.to_beats = weights(shape.beats * w // 4, w // 2)
        self.beat_norm = Norm(w // 4)
        self.to_groups = weights(shape.groups * w // 4, w // 4)
        self.group_norm = Norm(w // 4)
        self.to_steps = weights(shape.outer * w // 8, w // 4)
        self.step_norm = Norm(w // 8)
        self.to_octaves = weights(shape.group_octaves * w // 8, w // 8)
        self.octave_norm = Norm(w // 8)
        # Of each track
        self.streams = Streams(shape, w // 8, w // 8, w // 16)

    def forward(self, latents: Tensor) -> Tensor:
        s = self.shape
        h = self.to_pairs(latents).unflatten(1, (self.n_pairs, -1))    # [N, B - 1, 512]
        h = F.linear(self.pair_norm(h).relu(), self.to_bars).unflatten(2, (s.bars_seen, -1))    # [N, B - 1, 2, 256]
        h = sum(F.pad(h[:, :, i], (0, 0, i, s.bars_seen - 1 - i)) for i in range(s.bars_seen))    # [N, B, 256]
        h = F.linear(self.bar_norm(h).relu(), self.to_beats).unflatten(2, (s.beats, -1))    # [N, B, beats, 128]
        h = F.linear(self.beat_norm(h).relu(), self.to_groups).unflatten(3, (s.groups, -1))    # [N, B, beats, q, 128]
        h = F.linear(self.group_norm(h).relu(), self.to_steps).unflatten(4, (s.outer, -1))
        h = h.transpose(3, 4)    # [N, B, beats, outer, q, 64]
        h = F.linear(self.step_norm(h.contiguous()).relu(), self.to_octaves).unflatten(5, (s.group_octaves, -1))
        h = overlap_add(h)[..., : s.octaves, :]    # [N, B, beats, outer, octaves, 64]
        return self.streams(self.octave_norm(h.contiguous()).relu())


class Refiner(nn.Module):
    """Two residual blocks for each track, from probabilities to cells before binary neurons: [N, B, T, K, P] -> same.

    Differs: begins with a bias of -1/2, so that neurons without blocks decide as a threshold of 1/2 does, not at 0,
    where every cell would sound.

    Args:
        n_tracks: K.
        width: channels within a block, 64 as released.
    """

    def __init__(self, n_tracks: int, width: int):
        super().__init__()
        self.tracks = nn.ModuleList(nn.Sequential(Block(width), Block(width)) for _ in range(n_tracks))
        for blocks in self.tracks:
            nn.init.constant_(blocks[-1].conv_2.bias, -0.5)

    def forward(self, probabilities: Tensor) -> Tensor:
        n_bars = probabilities.shape[1]
        tracks = probabilities.flatten(0, 1).unbind(2)    # K of [N * B, T, P]
        refined = [blocks(own.unsqueeze(1)).squeeze(1) for blocks, own in zip(self.tracks, tracks)]
        return torch.stack(refined, dim=2).unflatten(0, (-1, n_bars))


class Block(nn.Module):
    """Two convolutions of 3 steps x 12 pitches within a bar, beside the identity: [M, 1, T, P] -> the same."""

    def __init__(self, width: int):
        super().__init__()
        self.norm_1 = BatchNorm2d(1, EPSILON, MOMENTUM)
        self.conv_1 = nn.Conv2d(1, width, (3, 12), bias=False)
        self.norm_2 = BatchNorm2d(width, EPSILON, MOMENTUM)
        self.conv_2 = nn.Conv2d(width, 1, (3, 12))
        for conv in (self.conv_1, self.conv_2):
            conv.weight = weights(*conv.weight.shape)
        nn.init.zeros_(self.conv_2.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_1(same(self.norm_1(x).relu()))
        return x + self.conv_2(same(self.norm_2(h).relu()))


def same(h: Tensor) -> Tensor:
    """Zeros around for a convolution of 3 x 12; of an odd number of them TensorFlow puts one more at the end."""
    return F.pad(h, (5, 6, 1, 1))


class BMuseganDiscriminator(StreamDiscriminator):
    """Features to a score; see `StreamDiscriminator`. Each track's private streams see that track alone.

    Args:
        layout: must be `Layout.whole`.
        n_bars: B.
        width: channels of a pair of bars, 512 as released; the other layers' are in proportion.
    """

    def __init__(self, layout: Layout, n_bars: int, width: int = 512):
        check_width(width)
        w = width // 16    # 32
        channels = Channels(
            private=(w, 2 * w, 2 * w),
            shared=(4 * w, 8 * w),
            chroma=(2 * w, 4 * w),
            edges=(w, 2 * w, 4 * w),
            merged=16 * w,
        )
        super().__init__(layout, n_bars, channels, Seen(0.0, tracks_together=False, drum_edges=False))
