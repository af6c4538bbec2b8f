"""`musegan`: the composer, jamming and hybrid models, with or without given tracks, and their discriminator.

Source: Dong, Hsiao, Yang and Yang, "MuseGAN", AAAI 2018 (arXiv 1709.06298), table of networks in its appendix, and
the first version of the released code. At 4 bars of 96 steps and 84 pitches, and with the default sizes, these are the
paper's networks. For other bars:

- T steps are made by one layer for each prime factor of T, the smallest first (96 = 2 2 2 2 2 3). Where a factor is
  above 7, the next number without one is made and the end cropped.
- P pitches are made as whole octaves of 12 from the lowest pitch up; what is above P is cropped.
- B bars are made of a vector by transposed convolutions of 2 and B - 1 bars (one bar: of 1 and 1), and become one in
  the discriminator by convolutions of these sizes.
- Where the discriminator's windows do not end with the steps or pitches, zeros are added.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musegan.models.blocks import ChannelNorm
from musegan.models.generator import Facts, Generator, Given, RollLogits, check_positive, check_variant
from musegan.models.layout import Layout
from musegan.models.streams import check_whole, plane_logits
from musegan.models.windows import Window, n_windows, step_factors, windows

OCTAVE = 12
WEIGHT_STD = 0.02    # released code: normal, cut at two deviations


class MuseganGenerator(Generator):
    """Latents to rolls.

    A sample's latents are [1 + K, 2, Z], or [1, 2, Z] for `composer`: row 0 is shared by the tracks and row 1 + k is
    track k's own; column 0 is the same in all bars, and from column 1 a temporal generator makes a vector for each bar.
    Track k's own latents change nothing but track k.

    Differs: probabilities and a threshold of 1/2 instead of tanh and 0; latents of deviation 1, where the released code
    has 0.1; the output starts at the data's density; each row has a temporal generator of its own, as the paper says,
    where the released code shares one; given tracks may be any, where the paper gives one, always the same.

    Args:
        layout: `Layout.whole` of a spec.
        n_bars: B.
        facts: of the training data.
        variant: `composer` has one bar generator with shared latents for all tracks, `jamming` one for each track with
            latents of its own, `hybrid` one for each track with both.
        accompaniment: an encoder for given tracks.
        latent_size: Z. The paper has 128 numbers for a bar generator: 32 for `hybrid`, 64 for the others.
        width: channels of a step (paper: 128).
    """

    kind = "musegan"

    def __init__(
        self,
        layout: Layout,
        n_bars: int,
        facts: Facts = Facts(),
        variant: str = "hybrid",
        accompaniment: bool = False,
        latent_size: int = 32,
        width: int = 128,
    ):
        check_positive(n_bars=n_bars, latent_size=latent_size, width=width)
        check_variant(variant)
        check_whole(layout)
        n_tracks = layout.spec.n_tracks
        n_rows = 1 if variant == "composer" else 1 + n_tracks
        super().__init__(layout, n_bars, facts, (n_rows, 2, latent_size), accompaniment=accompaniment)
        self.variant = variant

        skip_width = max(1, width // 8) if accompaniment else 0
        if accompaniment:
            self.encoder = BarEncoder(layout, skip_width)
        self.first_row = 1 if variant == "jamming" else 0
        self.temporal = nn.ModuleList(
            TemporalGenerator(latent_size, n_bars, 8 * width) for _ in range(self.first_row, n_rows)
        )
        n_in, n_generators, n_made = (4 if variant == "hybrid" else 2) * latent_size, n_tracks, 1
        if variant == "composer":
            n_generators, n_made = 1, n_tracks
        self.bars = nn.ModuleList(BarGenerator(layout, n_in, width, n_made, skip_width) for _ in range(n_generators))
        self.apply(_initialise)
        if facts.frame_density:
            shares = (torch.tensor(facts.frame_density) / self.spec.n_pitches).clamp(1e-4, 0.9)
            with torch.no_grad():
                for layer, share in zip(self.bars, shares.split(n_made)):
                    layer.bias.copy_(share.logit())

    @property
    def has_track_latents(self) -> bool:
        """Whether tracks have latents of their own."""
        return self.variant != "composer"

    def _cells(self, latents: Tensor, given: Given | None) -> Tensor:
        """Latents -> log-odds of the cells [N, B, T, F]."""
        n, n_bars = len(latents), self.n_bars
        levels = []
        if self.accompanies:
            levels = self.encoder(given or self.nothing_given(latents, n_bars))
        rows = []    # of [N * B, 1, 2 * Z]
        for temporal, row in zip(self.temporal, latents[:, self.first_row :].unbind(1)):
            same, seed = row.unbind(1)    # [N, Z]
            both = [same.unsqueeze(1).expand(-1, n_bars, -1), temporal(seed)]    # [N, B, Z]
            rows.append(torch.cat(both, dim=-1).flatten(0, 1).unsqueeze(1))
        if self.variant == "hybrid":
            rows = [torch.cat([rows[0], own], dim=-1) for own in rows[1:]]    # K of [N * B, 1, 4 * Z]
        cells = [generator(row, levels) for generator, row in zip(self.bars, rows)]    # [N * B, T, 1 or K, P]
        return self.slope * torch.cat(cells, dim=2).flatten(2).unflatten(0, (n, n_bars))

    def probabilities(self, latents: Tensor, given: Given | None = None) -> Tensor:
        """What the discriminator sees, see `Generator.probabilities`."""
        made = self._cells(latents, given).sigmoid()
        if given is None:
            return made
        return torch.where(self.layout.cells_of(given.tracks), given.features, made)

    def forward(self, latents: Tensor, given: Given | None = None) -> RollLogits:
        """Latents to logits, see `Generator.forward`; those of given tracks are what it would have made."""
        return plane_logits(self.layout, self._cells(latents, given))


class TemporalGenerator(nn.Module):
    """A vector to one for each bar, by two transposed convolutions along the bars: [N, Z] -> [N, B, Z]."""

    def __init__(self, size: int, n_bars: int, width: int):
        super().__init__()
        self.kernels = bar_kernels(n_bars)
        self.layers = nn.ModuleList(
            nn.Linear(n_in, kernel * n_out, bias=False)
            for n_in, n_out, kernel in zip((size, width), (width, size), self.kernels)
        )
        self.norms = nn.ModuleList((ChannelNorm(width), ChannelNorm(size)))

    def forward(self, seed: Tensor) -> Tensor:
        h = self.layers[0](seed).unflatten(-1, (self.kernels[0], -1))    # [N, 2, C]
        h = F.relu(self.norms[0](h))
        h = self.layers[1](h).unflatten(-1, (self.kernels[1], -1))    # [N, 2, B - 1, Z]
        last = self.kernels[0] - 1
        h = sum(F.pad(part, (0, 0, i, last - i)) for i, part in enumerate(h.unbind(1)))    # [N, B, Z]
        return F.relu(self.norms[1](h))


class BarGenerator(nn.Module):
    """The latents of bars to cells before their sigmoid: steps first, then octaves, then pitches.

    Args:
        layout: of the rolls.
        n_in: numbers for a bar.
        width: channels of a step.
        n_made: tracks it makes.
        skip_width: channels of each level of the encoder; 0 without one.
    """

    def __init__(self, layout: Layout, n_in: int, width: int, n_made: int, skip_width: int):
        super().__init__()
        self.n_steps, self.n_pitches = layout.spec.steps_per_bar, layout.spec.n_pitches
        first, *factors = step_factors(self.n_steps)
        # From the last steps back: 128 128 256 256 512 512 ...
        widths = [width * (1, 1, 2, 2, 4)[min(i, 4)] for i in reversed(range(len(factors)))] + [max(1, width // 2)]
        factors.append(n_octaves(self.n_pitches))
        self.first = nn.Linear(n_in, first * 4 * width, bias=False)
        self.first_norm = ChannelNorm(first * 4 * width)
        self.n_first = first
        self.grow = nn.ModuleList(
            nn.Linear(n + skip_width, factor * n_out, bias=False)
            for n, n_out, factor in zip([4 * width, *widths], widths, factors)
        )
        self.norms = nn.ModuleList(ChannelNorm(n_out) for n_out in widths)
        self.last = nn.Linear(widths[-1] + skip_width, OCTAVE * n_made, bias=False)
        self.bias = nn.Parameter(torch.zeros(n_made))

    def forward(self, h: Tensor, levels: list[Tensor]) -> Tensor:
        """Makes bars.

        Args:
            h: [M, 1, n_in] latents.
            levels: of the encoder, from the finest to the coarsest; empty without one.
        Returns:
            [M, T, n_made, P] log-odds.
        """
        levels = list(levels)
        h = F.relu(self.first_norm(self.first(h))).unflatten(-1, (self.n_first, -1)).flatten(1, 2)    # [M, 2, C]
        for layer, norm in zip(self.grow, self.norms):
            h = layer(_beside(h, levels))
            h = h.unflatten(-1, (-1, norm.num_features)).flatten(1, 2)    # [M, length * factor, C]
            h = F.relu(norm(h))
        h = self.last(_beside(h, levels)).unflatten(-1, (OCTAVE, -1))    # [M, steps * octaves, 12, n_made]
        h = h.unflatten(1, (-1, n_octaves(self.n_pitches))).flatten(2, 3) + self.bias    # [M, steps, pitches, n_made]
        return h[:, : self.n_steps, : self.n_pitches].transpose(2, 3)


class BarEncoder(nn.Module):
    """Given tracks to what is laid beside the layers of the bar generators, whose mirror image it is.

    Differs: sees all tracks, those that are not given as silence, and which are given.
    """

    def __init__(self, layout: Layout, width: int):
        super().__init__()
        self.layout = layout
        n_tracks = layout.spec.n_tracks
        self.factors = [n_octaves(layout.spec.n_pitches), *reversed(step_factors(layout.spec.steps_per_bar)[1:])]
        self.from_cells = nn.Linear(OCTAVE * n_tracks, width, bias=False)
        self.from_tracks = nn.Linear(n_tracks, width, bias=False)
        self.shrink = nn.ModuleList(nn.Linear(factor * width, width, bias=False) for factor in self.factors)
        self.norms = nn.ModuleList(ChannelNorm(width) for _ in range(1 + len(self.factors)))

    def forward(self, given: Given) -> list[Tensor]:
        """Levels [N * B, length, C], from steps * octaves to the first few steps of a bar generator."""
        spec = self.layout.spec
        roll = torch.where(self.layout.cells_of(given.tracks), given.features, 0)    # [N, B, T, F]
        roll = roll.flatten(0, 1).unflatten(-1, (spec.n_tracks, -1)).transpose(2, 3)    # [N * B, T, P, K]
        above = OCTAVE * self.factors[0] - spec.n_pitches
        after = math.prod(step_factors(spec.steps_per_bar)) - spec.steps_per_bar
        h = F.pad(roll, (0, 0, 0, above, 0, after)).flatten(1, 2)    # [N * B, steps * pitches, K]
        tracks = self.from_tracks(given.tracks.to(h.dtype)).repeat_interleave(roll.shape[0] // len(given.tracks), dim=0)
        h = self.from_cells(windows(h, OCTAVE, OCTAVE)) + tracks.unsqueeze(1)    # [N * B, steps * octaves, C]
        levels = [F.leaky_relu(self.norms[0](h), 0.2)]
        for layer, norm, factor in zip(self.shrink, self.norms[1:], self.factors):
            levels.append(F.leaky_relu(norm(layer(windows(levels[-1], factor, factor))), 0.2))
        return levels


class MuseganDiscriminator(nn.Module):
    """Features to a score: bars first, then pitches, octaves and steps; no normalisation.

    Args:
        layout: `Layout.whole` of a spec.
        n_bars: B.
        width: channels of the first layers (paper: 128).
    """

    def __init__(self, layout: Layout, n_bars: int, width: int = 128):
        super().__init__()
        check_positive(n_bars=n_bars, width=width)
        check_whole(layout)
        self.layout = layout
        self.bars = nn.ModuleList(
            Window(n, width, kernel, 1) for n, kernel in zip((layout.spec.n_tracks, width), bar_kernels(n_bars))
        )
        self.pitches = nn.ModuleList(
            Window(width, width, kernel, kernel) for kernel in (OCTAVE, n_octaves(layout.spec.n_pitches))
        )
        n_steps, self.steps = layout.spec.steps_per_bar, nn.ModuleList()
        for n_in, n_out, kernel, stride in ((1, 1, 2, 2), (1, 1, 2, 2), (1, 2, 4, 2), (2, 4, 3, 2)):
            self.steps.append(Window(n_in * width, n_out * width, kernel, stride))
            n_steps = n_windows(n_steps, kernel, stride)
        self.merge = nn.Linear(n_steps * 4 * width, 8 * width)
        self.score = nn.Linear(8 * width, 1)
        self.apply(_initialise)

    def forward(self, features: Tensor, semitones: int = 0, rotation: int = 0) -> Tensor:
        """Scores a batch of phrases.

        Args:
            features: [N, B, T, F] in [0, 1], seen as -1 to 1 like in the paper.
            semitones: pitched tracks are seen this much higher; drums never move.
            rotation: bars are seen rotated by this many.
        Returns:
            [N], higher for more real.
        """
        n, _, n_steps, _ = features.shape
        if semitones:
            source = self.layout.transposed_columns(semitones).to(features.device)
            features = F.pad(features, (0, 1)).index_select(-1, source)
        h = (2 * features - 1).roll(rotation, dims=1)
        h = h.unflatten(-1, (self.layout.spec.n_tracks, -1))    # [N, B, T, K, P]
        h = h.permute(0, 2, 4, 1, 3).flatten(0, 2)    # [N * T * P, B, K]
        for layer in self.bars:
            h = layer(h)    # at last [N * T * P, 1, C]
        h = h.squeeze(1).unflatten(0, (n * n_steps, -1))    # [N * T, P, C]
        for layer in self.pitches:
            h = layer(h)    # at last [N * T, 1, C]
        h = h.squeeze(1).unflatten(0, (n, n_steps))    # [N, T, C]
        for layer in self.steps:
            h = layer(h)
        h = F.leaky_relu(self.merge(h.flatten(1)), 0.2)    # [N, 8 * C]
        return self.score(h).squeeze(1)


def n_octaves(n_pitches: int) -> int:
    """Octaves that hold so many pitches."""
    return -(-n_pitches // OCTAVE)


def bar_kernels(n_bars: int) -> tuple[int, int]:
    """Bars that the first and the second convolution along the bars see: 2 and B - 1 of them, of one bar 1 and 1."""
    return (2, n_bars - 1) if n_bars > 1 else (1, 1)


def _beside(h: Tensor, levels: list[Tensor]) -> Tensor:
    """The channels of the coarsest level, which is taken off, beside those of h."""
    return torch.cat([h, levels.pop()], dim=-1) if levels else h


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=WEIGHT_STD, a=-2 * WEIGHT_STD, b=2 * WEIGHT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
