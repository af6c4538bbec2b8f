"""`compact`: a generator and a discriminator made for small machines.

Latents become bars, bars become beats, a few residual convolutions run along the beats, a branch for each track
adds the track's own latents, and one product a beat wide and all pitches high gives steps x pitches; the discriminator
mirrors it. Differs from MuseGAN (Dong et al. 2018): no convolution at full resolution, latents of a bar beside one
common to all bars instead of a temporal generator, a presence gate for whole-bar rests, and an onset plane given the
frame plane.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musegan.errors import UserError
from musegan.models.blocks import ChannelNorm, Residual, minibatch_stddev
from musegan.models.generator import Facts, Generator, Given, RollLogits, check_positive, check_variant
from musegan.models.layout import Layout

GATE_BIAS = 1.0     # a track starts by sounding in most bars
N_COSINES = 6       # of a plane's contour
REPEAT_LAGS = (1, 2)    # bars between which the discriminator compares beats
MAX_BLOCKS = 1000
SLOPE = 3.0         # of the cells' nonlinearity: cells decide sooner, in half the steps (docs/experiments.md)


class CompactGenerator(Generator):
    """Latents to rolls.

    A sample's latents are [1 + K, 1 + B, Z], or [1, 1 + B, Z] for `composer`: row 0 is shared by the tracks and row
    1 + k is track k's own; column 0 is common to all bars and column 1 + b is bar b's. Track k's own latents change
    nothing but track k. Any number of bars can be made, whatever the number trained with; see `Generator.any_length`.

    Args:
        layout: of the features it makes.
        n_bars: B, bars in a phrase of training.
        facts: of the training data.
        variant: `composer` has shared latents only, `jamming` the tracks' own only, `hybrid` both.
        accompaniment: an encoder for given tracks.
        latent_size: Z.
        width: channels of a beat.
        track_width: channels of a beat in each track's branch.
        n_blocks: residual blocks along the beats.
        own_bar_share: weight of a bar's own latent beside the one common to all bars.
        shared_rhythm: when notes start and sound is in part the same in all bars.
        bar_likeness: share of variance that the bars' own latents of a sample have in common.
    """

    kind = "compact"

    def __init__(
        self,
        layout: Layout,
        n_bars: int,
        facts: Facts = Facts(),
        variant: str = "hybrid",
        accompaniment: bool = False,
        latent_size: int = 64,
        width: int = 128,
        track_width: int = 64,
        n_blocks: int = 2,
        own_bar_share: float = 0.35,
        shared_rhythm: bool = True,
        bar_likeness: float = 0.0,
    ):
        check_positive(n_bars=n_bars, latent_size=latent_size, width=width, track_width=track_width)
        check_n_blocks(n_blocks)
        for name, value in {"own_bar_share": own_bar_share, "bar_likeness": bar_likeness}.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} must be a number: got {value!r}")
        if not 0 <= bar_likeness <= 1:
            raise ValueError(f"bar_likeness must lie in [0, 1]: got {bar_likeness!r}")
        if not 0 <= own_bar_share < math.inf:
            raise ValueError(f"own_bar_share must be at least 0, and finite: got {own_bar_share!r}")
        check_variant(variant)
        n_tracks, n_beats = layout.spec.n_tracks, layout.spec.beats_per_bar
        n_rows = 1 if variant == "composer" else 1 + n_tracks
        super().__init__(layout, n_bars, facts, (n_rows, 1 + n_bars, latent_size), SLOPE, accompaniment)
        self.variant, self.own_bar_share, self.bar_likeness = variant, float(own_bar_share), float(bar_likeness)

        # Shared by the tracks
        if variant != "jamming":
            self.common = nn.Linear(latent_size, width)
            self.own = nn.Linear(latent_size, width, bias=False)
        self.bar_norm = ChannelNorm(width)
        self.to_beats = nn.Linear(width, n_beats * width)
        self.blocks = nn.ModuleList(Residual(width, norm=True) for _ in range(n_blocks))
        self.beat_norm = ChannelNorm(width)
        self.to_gate = nn.Linear(width, n_tracks)
        if accompaniment:
            self.encoder = CompactEncoder(layout, width, n_blocks)

        # Of each track
        self.to_tracks = nn.Linear(width, n_tracks * track_width)
        if variant != "composer":
            self.track_common = TrackLinear(n_tracks, latent_size, n_beats * track_width)
            self.track_own = TrackLinear(n_tracks, latent_size, n_beats * track_width)
        self.track_norm = ChannelNorm(n_tracks * track_width)
        self.shared_rhythm = shared_rhythm
        if shared_rhythm:
            n_rhythm = 2 * layout.spec.steps_per_bar    # of each track, for its frame and its onset plane
            self.register_buffer("planes", layout.planes, persistent=False)
            if variant != "jamming":
                self.rhythm = nn.Linear(width, n_tracks * n_rhythm)
            if variant != "composer":
                self.track_rhythm = TrackLinear(n_tracks, latent_size, n_rhythm)
        self.heads = nn.ModuleList(Head(layout, k, track_width) for k in range(n_tracks))
        with torch.no_grad():
            for name, value in self.named_parameters():
                if "rhythm" in name:    # all bars start alike anyway
                    value.zero_()
        if facts.frame_density:
            self._start_at(facts)

    @property
    def any_length(self) -> bool:
        """True: bars are latents of their own."""
        return True

    @property
    def has_track_latents(self) -> bool:
        """Whether tracks have latents of their own."""
        return self.variant != "composer"

    def prior(self, noise: Tensor) -> Tensor:
        """Latents of samples: bars' own lean, number by number, towards those common to all bars, and so to each other."""
        common, own = noise[:, :, :1], noise[:, :, 1:]    # of [N, rows, 1 + B, Z], or of [N, rows, 2, B, Z]
        share = self.bar_likeness
        return torch.cat([common, math.sqrt(1 - share) * own + math.sqrt(share) * common], dim=2)

    def _start_at(self, facts: Facts) -> None:
        """Sets the output's bias to the data's density, so that training starts with plausible silence."""
        gate_share = torch.tensor(GATE_BIAS).sigmoid()
        onsets = facts.onset_density or (0.5,) * self.spec.n_tracks
        for track, head, pitches, onset in zip(self.layout.columns, self.heads, facts.frame_density, onsets):
            n = track.frame.stop - track.frame.start
            share = (torch.tensor(pitches / n) / gate_share).clamp(1e-3, 0.9)
            # Of a mono track, one cell and the rest share what the other pitches leave.
            others = share * (n - 1) if track.head == "mono" else 0 * share
            bias = [torch.log(share / (1 - share - others).clamp(min=0.05)).expand(n)]
            if track.onset:
                bias.append(torch.tensor(onset).logit(1e-3).expand(n))
            with torch.no_grad():
                head.start_at(torch.cat(bias) / self.slope)
        with torch.no_grad():
            self.to_gate.bias.fill_(GATE_BIAS)

    def raw(self, latents: Tensor, given: Given | None = None) -> tuple[Tensor, Tensor]:
        """Latents, as of `probabilities`, to cells [N, B, T, F] and gates [N, B, 1, K] before their nonlinearities."""
        n_beats = self.spec.beats_per_bar
        if latents.ndim == 5:
            common, own = latents.unbind(2)    # [N, 1 + K, B, Z] each
        else:
            common, own = latents[:, :, :1], latents[:, :, 1:]    # [N, 1 + K, 1, Z], [N, 1 + K, B, Z]
        n_bars = own.shape[2]
        if self.variant == "jamming":
            h = latents.new_zeros(len(latents), n_bars, self.bar_norm.num_features)
        else:
            h = self.common(common[:, 0]) + self.own_bar_share * self.own(own[:, 0])    # [N, B, C]
        h = F.leaky_relu(self.bar_norm(h), 0.2)
        h = self.to_beats(h).unflatten(-1, (n_beats, -1)).flatten(1, 2)    # [N, B * beats, C]
        skips = [0.0] * (len(self.blocks) + 1)
        if self.accompanies:
            skips = self.encoder(given or self.nothing_given(latents, n_bars))
        h = h + skips.pop()
        for block in self.blocks:
            h = block(h) + skips.pop()
        h = F.leaky_relu(self.beat_norm(h), 0.2)
        gate = self.to_gate(h.unflatten(1, (n_bars, n_beats)).mean(2))    # [N, B, K]

        h = self.to_tracks(h)    # [N, B * beats, K * c]
        if self.variant != "composer":
            branch = self.track_common(common[:, 1:]) + self.own_bar_share * self.track_own(own[:, 1:])
            # [N, K, B, beats * c]
            branch = branch.unflatten(-1, (n_beats, -1)).flatten(2, 3)    # [N, K, B * beats, c]
            h = h + branch.transpose(1, 2).flatten(2)
        tracks = F.leaky_relu(self.track_norm(h), 0.2).chunk(self.spec.n_tracks, dim=-1)    # K of [N, B * beats, c]
        cells = [head(h, n_bars) for head, h in zip(self.heads, tracks)]    # K of [N, B, T, n]
        cells = torch.cat(cells, dim=-1)    # [N, B, T, F]
        if self.shared_rhythm:
            cells = cells + self._rhythm(common)
        return self.slope * cells, gate.unsqueeze(2)

    def _rhythm(self, common: Tensor) -> Tensor:
        """What bars have in common beside their cells, equal over a plane's pitches.

        Args:
            common: latents [N, 1 + K, 1 or B, Z].
        Returns:
            [N, 1 or B, T, F].
        """
        n_tracks, n_steps = self.spec.n_tracks, self.spec.steps_per_bar
        rhythm = 0
        if self.variant != "jamming":
            h = F.leaky_relu(self.common(common[:, 0]), 0.2)    # [N, B, C]
            rhythm = rhythm + self.rhythm(h).unflatten(-1, (n_tracks, -1))    # [N, B, K, 2 T]
        if self.variant != "composer":
            rhythm = rhythm + self.track_rhythm(common[:, 1:]).transpose(1, 2)
        rhythm = rhythm.flatten(2).unflatten(2, (2 * n_tracks, n_steps))[:, :, self.planes]    # [N, B, F, T]
        return rhythm.transpose(2, 3)

    def probabilities(self, latents: Tensor, given: Given | None = None) -> Tensor:
        """What the discriminator sees, see `Generator.probabilities`; B is what the latents say."""
        cells, gate = self.raw(latents, given)
        gates = gate.sigmoid().split(1, dim=-1)
        # `split`, since the gradient of each slice would be a tensor of the whole size
        pieces, parts = iter(cells.split(self.layout.widths, dim=-1)), []
        for track, gate in zip(self.layout.columns, gates):
            frame = next(pieces)
            if track.head == "mono":
                frame = F.softmax(F.pad(frame, (0, 1)), dim=-1)[..., :-1]    # the padded 0 is the rest
            else:
                frame = frame.sigmoid()
            frame = frame * gate
            parts.append(frame)
            if track.onset:
                parts.append(frame * next(pieces).sigmoid())
        made = torch.cat(parts, dim=-1)
        if given is None:
            return made
        return torch.where(self.layout.cells_of(given.tracks), given.features, made)

    def forward(self, latents: Tensor, given: Given | None = None) -> RollLogits:
        """Latents to logits, see `Generator.forward`; those of given tracks are what it would have made."""
        cells, gate = self.raw(latents, given)
        cells = cells.clone()
        for k, track in enumerate(self.layout.columns):
            frame = cells[..., track.frame]
            if track.head == "mono":
                others = F.pad(frame, (0, 1)).logsumexp(-1, keepdim=True)
                frame = frame - log_sub_exp(others, frame)
            cells[..., track.frame] = gated(frame, gate[..., k : k + 1])
        frame, onset = self.layout.expand(cells, outside=-torch.inf)
        onset[:, [track.is_drum for track in self.spec.tracks]] = torch.inf
        return RollLogits(frame, onset)


class Head(nn.Module):
    """A track's beats to its cells: what sounds all bar long, what sounds all beat long, and each step's own.

    Cells that were steps' own alone would flicker: notes fall into fragments. A line's, of one note at a time, have a
    contour besides, a few cosines over the pitches: with a weight of its own for each pitch alone, a note would say nothing
    of its neighbours, and melodies leap.

    Args:
        layout: of the features.
        track: k.
        width: channels of a beat.
    """

    def __init__(self, layout: Layout, track: int, width: int):
        super().__init__()
        self.n_beats, self.n_steps = layout.spec.beats_per_bar, layout.spec.steps_per_beat
        n_features = layout.track_widths[track]
        self.bar, self.beat = (nn.Linear(width, n_features, bias=False) for _ in range(2))
        self.step = nn.Linear(width, self.n_steps * n_features)
        self.register_buffer("cosines", layout.cosines(N_COSINES, [track]), persistent=False)    # [J, n_features]
        if n_cosines := len(self.cosines):
            self.beat_contour = nn.Linear(width, n_cosines, bias=False)
            self.step_contour = nn.Linear(width, self.n_steps * n_cosines, bias=False)
            with torch.no_grad():
                self.step_contour.weight.mul_(0.3)    # steps of a beat start much alike

    def start_at(self, bias: Tensor) -> None:
        """Sets the cells' bias, [n_features]."""
        self.step.bias.copy_(bias.repeat(self.n_steps))

    def forward(self, h: Tensor, n_bars: int) -> Tensor:
        """[N, B * beats, C] -> [N, B, T, n_features]."""
        h = h.unflatten(1, (n_bars, self.n_beats))    # [N, B, beats, C]
        coarse = self.beat(h) + self.bar(h.mean(2, keepdim=True))    # [N, B, beats, n]
        cells = self.step(h).unflatten(-1, (self.n_steps, -1)) + coarse.unsqueeze(3)    # [N, B, beats, steps, n]
        if len(self.cosines):
            contour = self.step_contour(h).unflatten(-1, (self.n_steps, -1))    # [N, B, beats, steps, J]
            cells = cells + (contour + self.beat_contour(h).unsqueeze(3)) @ self.cosines
        return cells.flatten(2, 3)


class TrackLinear(nn.Module):
    """A linear layer of its own for each track: [N, K, B, C_in] -> [N, K, B, C_out]."""

    def __init__(self, n_tracks: int, n_in: int, n_out: int):
        super().__init__()
        weights = [nn.Linear(n_in, n_out, bias=False).weight for _ in range(n_tracks)]
        self.weight = nn.Parameter(torch.stack(weights).detach())    # [K, C_out, C_in]

    def forward(self, h: Tensor) -> Tensor:
        return torch.einsum("nkbi,koi->nkbo", h, self.weight)


class CompactEncoder(nn.Module):
    """Given tracks, and which are given, to what the generator adds to its beats before and after each block."""

    def __init__(self, layout: Layout, width: int, n_blocks: int):
        super().__init__()
        self.layout = layout
        self.from_steps = nn.Linear(layout.spec.steps_per_beat * layout.n_features, width)
        self.from_tracks = nn.Linear(layout.spec.n_tracks, width)
        self.blocks = nn.ModuleList(Residual(width, norm=True) for _ in range(n_blocks))
        self.norms = nn.ModuleList(ChannelNorm(width) for _ in range(n_blocks + 1))
        self.skips = nn.ModuleList(nn.Linear(width, width) for _ in range(n_blocks + 1))

    def forward(self, given: Given) -> list[Tensor]:
        """1 + blocks of [N, B * beats, C], from the shallowest to the deepest."""
        features = torch.where(self.layout.cells_of(given.tracks), given.features, 0)
        h = features.unflatten(2, (-1, self.layout.spec.steps_per_beat))    # [N, B, beats, steps, F]
        h = h.flatten(1, 2).flatten(2)    # [N, B * beats, steps * F]
        h = self.from_steps(h) + self.from_tracks(given.tracks.to(h.dtype)).unsqueeze(1)    # [N, B * beats, C]
        levels = [h]
        for block in self.blocks:
            levels.append(block(levels[-1]))
        return [skip(F.leaky_relu(norm(h), 0.2)) for skip, norm, h in zip(self.skips, self.norms, levels)]


def check_n_blocks(n_blocks: int) -> None:
    """Checks a number of residual blocks.

    Raises:
        UserError: it is not a whole number, or out of range.
    """
    if isinstance(n_blocks, bool) or not isinstance(n_blocks, int) or not 0 <= n_blocks <= MAX_BLOCKS:
        raise UserError(f"n_blocks must be a whole number from 0 to {MAX_BLOCKS}: got {n_blocks!r}")


def gated(logit: Tensor, gate: Tensor) -> Tensor:
    """Log-odds of sigmoid(logit) * sigmoid(gate), without leaving the log domain."""
    both = -logit - gate
    return -torch.stack([(-logit).expand_as(both), (-gate).expand_as(both), both]).logsumexp(0)


def log_sub_exp(a: Tensor, b: Tensor) -> Tensor:
    """log(exp(a) - exp(b)) for a > b."""
    return a + torch.log(-torch.expm1((b - a).clamp(max=-1e-6)))


class CompactDiscriminator(nn.Module):
    """Features to a score, the generator's mirror image, with the augmentation inside.

    Args:
        layout: of the features.
        n_bars: B.
        width: channels of a beat.
        n_blocks: residual blocks along the beats.
    """

    def __init__(self, layout: Layout, n_bars: int, width: int = 128, n_blocks: int = 2):
        super().__init__()
        self.layout = layout
        n_beats, n_steps = layout.spec.beats_per_bar, layout.spec.steps_per_beat
        self.from_steps = nn.Linear(n_steps * layout.n_features, width)
        self.register_buffer("cosines", layout.cosines(N_COSINES), persistent=False)    # [J, F]
        self.from_contour = None
        if n_cosines := len(self.cosines):
            self.from_contour = nn.Linear(n_steps * n_cosines, width, bias=False)
            with torch.no_grad():
                self.from_contour.weight.mul_(0.5)    # or register is all that it sees for a thousand steps
        self.blocks = nn.Sequential(*(Residual(width, norm=False) for _ in range(n_blocks)))
        self.lags = [lag for lag in REPEAT_LAGS if lag < n_bars]
        self.from_beats = nn.Linear((1 + len(self.lags)) * n_beats * width, width)
        self.from_bars = nn.Linear(n_bars * width, width)
        self.score = nn.Linear(width + 1, 1)

    def forward(self, features: Tensor, semitones: int = 0, rotation: int = 0) -> Tensor:
        """Scores a batch of phrases.

        Args:
            features: [N, B, T, F] in [0, 1].
            semitones: pitched tracks are seen this much higher; drums never move.
            rotation: bars are seen rotated by this many.
        Returns:
            [N], higher for more real.
        """
        n_steps = self.layout.spec.steps_per_beat
        h = features.unflatten(2, (-1, n_steps)).flatten(1, 2).flatten(2)    # [N, B * beats, steps * F]
        weight = self.from_steps.weight.unflatten(1, (n_steps, -1))    # [C, steps, F]
        if self.from_contour is not None:    # of the same features, so that a weight on them is all it takes
            weight = weight + self.from_contour.weight.unflatten(1, (n_steps, -1)) @ self.cosines
        h = F.linear(h, self._transposed(weight, semitones).flatten(1), self.from_steps.bias)    # [N, B * beats, C]
        h = h.roll(rotation * self.layout.spec.beats_per_bar, dims=1)
        h = F.leaky_relu(self.blocks(h), 0.2)
        h = h.unflatten(1, (-1, self.layout.spec.beats_per_bar)).flatten(2)    # [N, B, beats * C]
        h = F.leaky_relu(self.from_beats(self._repeats(h)), 0.2)    # [N, B, C]
        h = F.leaky_relu(self.from_bars(h.flatten(1)), 0.2)    # [N, C]
        return self.score(minibatch_stddev(h)).squeeze(1)

    def _repeats(self, bars: Tensor) -> Tensor:
        """Bars, and beside them what each has in common with earlier ones: [N, B, C] -> [N, B, C * (1 + lags)]."""
        return torch.cat([bars, *(bars * bars.roll(lag, dims=1) for lag in self.lags)], dim=2)

    def _transposed(self, weight: Tensor, semitones: int) -> Tensor:
        """A weight on features [..., F] as one that sees rolls transposed.

        Moving the rows of a small weight equals moving every cell of a large batch.
        """
        if semitones == 0:
            return weight
        source = self.layout.transposed_columns(-semitones)
        return F.pad(weight, (0, 1))[..., source]
