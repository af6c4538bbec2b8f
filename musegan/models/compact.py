"""`compact`: a generator and a discriminator made for small machines.

Latents become bars, bars become beats, a few residual convolutions run along the beats, and one product a
beat wide and all pitches high gives tracks x steps x pitches; the discriminator mirrors it. Differs from
MuseGAN (Dong et al. 2018): no convolution at full resolution, a latent part common to all bars, a presence
gate for whole-bar rests, and an onset plane given the frame plane.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from musegan.models.blocks import ChannelNorm, Residual, minibatch_stddev
from musegan.models.layout import Layout
from musegan.roll import RollSpec

GATE_BIAS = 1.0     # a track starts by sounding in most bars
SLOPE = 3.0         # of the cells' nonlinearity: cells decide sooner, in half the steps (docs/experiments.md)


class RollLogits(NamedTuple):
    """What a generator gives before binarization; both planes [N, K, B, T, P] float32."""

    frame: Tensor
    """Log-odds that a cell sounds; -inf outside a track's range."""
    onset: Tensor
    """Log-odds that a cell that sounds is a start; +inf for drums, where every cell that sounds is one."""


class CompactGenerator(nn.Module, PyTorchModelHubMixin):
    """Latents to rolls.

    Args:
        spec: the rolls it makes.
        n_bars: B, bars in a phrase.
        first_pitch, n_pitches, heads: [K] the layout of its features (`Layout`).
        latent_size: Z.
        width: channels of a beat.
        n_blocks: residual blocks along the beats.
        own_bar_share: weight of a bar's own latent beside the one common to all bars.
        frame_density, onset_density: [K] share of a track's cells that sound, and share of those that start a
            note; the output starts there.
        key_shifts: [12] how many training phrases lay -5 .. +6 semitones from C major or A minor; generated
            phrases, made in these keys, are moved back by shifts drawn from it. Empty: they are left where they are.
        tempo_bpm: median tempo of the training data in quarter notes a minute, the default of what is generated.
    """

    def __init__(
        self,
        spec: RollSpec,
        n_bars: int,
        first_pitch: list[int],
        n_pitches: list[int],
        heads: list[str],
        latent_size: int = 64,
        width: int = 128,
        n_blocks: int = 2,
        own_bar_share: float = 0.35,
        frame_density: list[float] = (),
        onset_density: list[float] = (),
        key_shifts: list[int] = (),
        tempo_bpm: float = 120.0,
        kind: str = "compact",
    ):
        super().__init__()
        check_positive(n_bars=n_bars, latent_size=latent_size, width=width)
        if not isinstance(tempo_bpm, (int, float)) or not isinstance(own_bar_share, (int, float)):
            raise TypeError(f"tempo_bpm and own_bar_share must be numbers: got {tempo_bpm!r}, {own_bar_share!r}")
        if len(key_shifts) not in (0, 12) or key_shifts and not (min(key_shifts) >= 0 < sum(key_shifts)):
            raise ValueError(f"key_shifts must be 12 counts, or none: got {key_shifts}")
        self.layout = Layout(spec, tuple(first_pitch), tuple(n_pitches), tuple(heads))
        self.spec, self.n_bars, self.latent_size = spec, n_bars, latent_size
        self.own_bar_share, self.key_shifts, self.tempo_bpm = own_bar_share, list(key_shifts), tempo_bpm
        n_beats, n_steps = spec.beats_per_bar, spec.steps_per_beat

        self.common = nn.Linear(latent_size, width)
        self.own = nn.Linear(latent_size, width, bias=False)
        self.bar_norm = ChannelNorm(width)
        self.to_beats = nn.Linear(width, n_beats * width)
        self.blocks = nn.Sequential(*(Residual(width, norm=True) for _ in range(n_blocks)))
        self.beat_norm = ChannelNorm(width)
        self.to_steps = nn.Linear(width, n_steps * self.layout.n_features)
        self.to_gate = nn.Linear(width, spec.n_tracks)
        if frame_density:
            self._start_at(frame_density, onset_density)

    def _start_at(self, frame_density: list[float], onset_density: list[float]) -> None:
        """Sets the output's bias to the data's density, so that training starts with plausible silence."""
        gate_share = torch.tensor(GATE_BIAS).sigmoid()
        bias = torch.zeros(self.layout.n_features)
        for track, frame, onset in zip(self.layout.columns, frame_density, onset_density):
            share = (torch.tensor(frame) / gate_share).clamp(1e-3, 0.9)
            # Of a mono track, one cell and the rest share what the other pitches leave.
            others = (share * (track.frame.stop - track.frame.start - 1) if track.head == "mono" else 0 * share)
            bias[track.frame] = torch.log(share / (1 - share - others).clamp(min=0.05))
            if track.onset:
                bias[track.onset] = torch.tensor(onset).logit(1e-3)
        with torch.no_grad():
            self.to_steps.bias.copy_(bias.repeat(self.spec.steps_per_beat) / SLOPE)
            self.to_gate.bias.fill_(GATE_BIAS)

    def _raw(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Latents [N, 1 + B, Z] -> cells before their nonlinearity [N, B, T, F] and gates [N, B, 1, K]."""
        n_beats, n_steps = self.spec.beats_per_bar, self.spec.steps_per_beat
        common, own = latents[:, :1], latents[:, 1:]
        h = self.common(common) + self.own_bar_share * self.own(own)    # [N, B, C]
        h = F.leaky_relu(self.bar_norm(h), 0.2)
        h = self.to_beats(h).unflatten(-1, (n_beats, -1)).flatten(1, 2)    # [N, B * beats, C]
        h = F.leaky_relu(self.beat_norm(self.blocks(h)), 0.2)
        gate = self.to_gate(h.unflatten(1, (self.n_bars, n_beats)).mean(2))    # [N, B, K]
        cells = SLOPE * self.to_steps(h).unflatten(-1, (n_steps, -1)).flatten(1, 2)    # [N, B * T, F]
        return cells.unflatten(1, (self.n_bars, -1)), gate.unsqueeze(2)

    def probabilities(self, latents: Tensor) -> Tensor:
        """What the discriminator sees: the probability of each cell of the layout's features.

        Args:
            latents: [N, 1 + B, Z], standard normal; the first is common to all bars.
        Returns:
            [N, B, T, F] in [0, 1].
        """
        cells, gate = self._raw(latents)
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
        return torch.cat(parts, dim=-1)

    def forward(self, latents: Tensor) -> RollLogits:
        """Latents [N, 1 + B, Z], standard normal -> logits [N, K, B, T, P]; the same numbers as `probabilities`."""
        cells, gate = self._raw(latents)
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


def check_positive(**sizes: int) -> None:
    """Checks sizes by name.

    Raises:
        ValueError: one is not a whole number above 0.
    """
    for name, size in sizes.items():
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} must be a whole number above 0: got {size!r}")


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
        self.blocks = nn.Sequential(*(Residual(width, norm=False) for _ in range(n_blocks)))
        self.from_beats = nn.Linear(n_beats * width, width)
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
        h = F.linear(h, self._transposed_weight(semitones), self.from_steps.bias)    # [N, B * beats, C]
        h = h.roll(rotation * self.layout.spec.beats_per_bar, dims=1)
        h = F.leaky_relu(self.blocks(h), 0.2)
        h = h.unflatten(1, (-1, self.layout.spec.beats_per_bar)).flatten(2)    # [N, B, beats * C]
        h = F.leaky_relu(self.from_beats(h), 0.2)    # [N, B, C]
        h = F.leaky_relu(self.from_bars(h.flatten(1)), 0.2)    # [N, C]
        return self.score(minibatch_stddev(h)).squeeze(1)

    def _transposed_weight(self, semitones: int) -> Tensor:
        """The first layer's weight [C, steps * F] that sees rolls transposed.

        Moving the rows of a small weight equals moving every cell of a large batch.
        """
        weight = self.from_steps.weight
        if semitones == 0:
            return weight
        weight = weight.unflatten(1, (-1, self.layout.n_features))
        source = self.layout.transposed_columns(-semitones)
        return F.pad(weight, (0, 1))[..., source].flatten(1)
