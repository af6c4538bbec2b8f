"""A variational autoencoder whose decoder is the `compact` generator: its encoder, and its loss.

Sources:
    Kingma & Welling 2014, "Auto-encoding variational Bayes": the bound, and its divergence in closed form (appendix B).
    Higgins et al. 2017, "beta-VAE": the weight of the divergence.
    Kingma et al. 2016, "Improving variational inference with inverse autoregressive flow", appendix C.8: free bits.
    Roberts et al. 2018, "A hierarchical latent vector model for learning long-term structure in music" (MusicVAE): all three
        for music, and attribute vectors.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from musegan.models.blocks import ChannelNorm, Residual
from musegan.models.compact import CompactGenerator, TrackLinear, check_n_blocks, gated
from musegan.models.generator import check_positive
from musegan.models.layout import Layout


class Posterior(NamedTuple):
    """What an encoder takes a phrase's latents for: independent normal numbers."""

    mean: Tensor
    """[N, 1 + K, 1 + B, Z]."""
    log_variance: Tensor
    """Of the same shape."""

    def sample(self, noise: Tensor) -> Tensor:
        """Latents at standard normal noise of their shape."""
        return self.mean + (self.log_variance / 2).exp() * noise

    def divergence(self) -> Tensor:
        """From the standard normal, in nats, of each number: [N, 1 + K, 1 + B, Z], at least 0."""
        return (self.mean.square() + self.log_variance.exp() - self.log_variance - 1) / 2


class PhraseEncoder(nn.Module, PyTorchModelHubMixin):
    """Phrases to the latents of a `hybrid` `CompactGenerator`.

    Row 0 sees all tracks, row 1 + k track k alone; column 1 + b is read off bar b and what is near it, column 0 off
    all bars, whatever their order and number: rotated bars have rotated latents, as in the generator.

    Args:
        layout: of the features it sees.
        latent_size: Z.
        width: channels of a beat.
        track_width: channels of a beat in each track's branch.
        n_blocks: residual blocks along the beats.
        attributes: names of what phrases have more or less of, to each of which there is a direction.
    """

    family: ClassVar[str] = "vae"
    kind: ClassVar[str] = "phrase-encoder"

    def __init__(
        self,
        layout: Layout,
        latent_size: int = 64,
        width: int = 128,
        track_width: int = 64,
        n_blocks: int = 2,
        attributes: tuple[str, ...] = (),
    ):
        super().__init__()
        check_positive(latent_size=latent_size, width=width, track_width=track_width)
        check_n_blocks(n_blocks)
        if not all(isinstance(name, str) for name in attributes):
            raise TypeError(f"attributes must be names: got {attributes!r}")
        self.layout, self.latent_size, self.attributes = layout, latent_size, tuple(attributes)
        k, n_beats, n_steps = layout.spec.n_tracks, layout.spec.beats_per_bar, layout.spec.steps_per_beat

        # Of all tracks
        self.from_steps = nn.Linear(n_steps * layout.n_features, width)
        self.blocks = nn.Sequential(*(Residual(width, norm=True) for _ in range(n_blocks)))
        self.from_beats = nn.Linear(n_beats * width, width)
        self.norm = ChannelNorm(width)
        self.to_common, self.to_own = (nn.Linear(width, 2 * latent_size) for _ in range(2))

        # Of each track
        self.track_from_steps = nn.ModuleList(nn.Linear(n_steps * n, track_width) for n in layout.track_widths)
        self.track_conv = TrackLinear(k, 3 * track_width, track_width)
        self.track_from_beats = TrackLinear(k, n_beats * track_width, track_width)
        self.track_norm = ChannelNorm(k * track_width)
        self.track_to_common, self.track_to_own = (TrackLinear(k, track_width, 2 * latent_size) for _ in range(2))

        self.register_buffer("directions", torch.zeros(len(self.attributes), 1 + k, 2, latent_size))
        """[A, 1 + K, 2, Z] how far it is, in the mean, from phrases with little of an attribute to those with much: [:, :, 0] in
        the latents common to all bars, [:, :, 1] in each bar's own."""

        self.register_buffer("thresholds", torch.full((2, k), 0.5))
        """[2, K] in (0, 1), of the decoder's frame and onset probabilities, for reconstructions."""

    @classmethod
    def arguments(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """What `__init__` takes, of what `config.json` holds."""
        return {**settings, "layout": Layout(**settings["layout"])}

    def check_weights(self) -> None:
        """Raises ValueError for thresholds that no training gives."""
        if not ((self.thresholds > 0) & (self.thresholds < 1)).all():
            raise ValueError("thresholds must lie between 0 and 1")

    def latent_shape(self, n_bars: int) -> tuple[int, int, int]:
        """Of one phrase of so many bars."""
        return 1 + self.layout.spec.n_tracks, 1 + n_bars, self.latent_size

    def forward(self, features: Tensor) -> Posterior:
        """Features [N, B, T, F] of any number of bars -> latents."""
        spec = self.layout.spec
        n_bars, k, n_beats = features.shape[1], spec.n_tracks, spec.beats_per_bar
        beats = features.unflatten(2, (n_beats, -1)).flatten(1, 2)    # [N, B * beats, steps, F]
        h = self.blocks(self.from_steps(beats.flatten(2)))    # [N, B * beats, C]
        h = F.leaky_relu(h, 0.2).unflatten(1, (n_bars, n_beats)).flatten(2)    # [N, B, beats * C]
        h = F.leaky_relu(self.norm(self.from_beats(h)), 0.2)    # [N, B, C]
        shared = torch.cat([self.to_common(h.mean(1, keepdim=True)), self.to_own(h)], dim=1)    # [N, 1 + B, 2 Z]

        tracks = beats.split(self.layout.track_widths, dim=-1)
        h = torch.stack([layer(own.flatten(2)) for layer, own in zip(self.track_from_steps, tracks)], dim=1)
        h = F.leaky_relu(h, 0.2)    # [N, K, B * beats, c]
        around = torch.cat([h.roll(1, dims=2), h, h.roll(-1, dims=2)], dim=-1)
        h = F.leaky_relu(h + self.track_conv(around), 0.2)
        h = self.track_from_beats(h.unflatten(2, (n_bars, n_beats)).flatten(3))    # [N, K, B, c]
        h = self.track_norm(h.transpose(1, 2).flatten(2)).unflatten(2, (k, -1)).transpose(1, 2)    # [N, K, B, c]
        h = F.leaky_relu(h, 0.2)
        own = torch.cat([self.track_to_common(h.mean(2, keepdim=True)), self.track_to_own(h)], dim=2)
        # [N, K, 1 + B, 2 Z]
        return Posterior(*torch.cat([shared.unsqueeze(1), own], dim=1).chunk(2, dim=-1))


class Bound(NamedTuple):
    """The two parts, in nats, of a bound on how unlikely phrases are: their sum is at least the negative log-likelihood."""

    reconstruction: Tensor
    """[N, K] `negative_log_likelihood` of each track, at latents drawn from the posterior."""
    divergence: Tensor
    """[N, 1 + K, 1 + B] of each latent vector from the standard normal."""

    def loss(self, beta: float, track_beta: float, free_nats: float = 0.0) -> Tensor:
        """What training minimises, in nats a phrase: scalar, mean over the batch.

        Args:
            beta: weight of the divergence of shared latents, row 0.
            track_beta: of the tracks' own.
            free_nats: divergence of each vector, mean over the batch, that costs nothing. Of a vector and not of each of
                its numbers, most of which may well stay unused: it is the vectors that reroll and vary change one by one.
        """
        divergence = self.divergence.mean(0).clamp(min=free_nats).sum(1)    # [1 + K]
        return self.reconstruction.sum(1).mean() + beta * divergence[0] + track_beta * divergence[1:].sum()


def bound(decoder: CompactGenerator, posterior: Posterior, features: Tensor, noise: Tensor) -> Bound:
    """The bound for phrases [N, B, T, F] of 0 and 1, at standard normal noise [N, 1 + K, 1 + B, Z]."""
    likelihood = negative_log_likelihood(decoder.layout, *decoder.raw(posterior.sample(noise)), features)
    return Bound(likelihood, posterior.divergence().sum(-1))


def negative_log_likelihood(layout: Layout, cells: Tensor, gates: Tensor, features: Tensor) -> Tensor:
    """How unlikely phrases are to a `compact` generator, computed without leaving the log domain.

    A cell of a `poly` track sounds or not; a step of a `mono` track has one of its pitches, or rests; where a cell
    sounds, it starts a note or not.

    Args:
        layout: of the features.
        cells: [N, B, T, F], gates: [N, B, 1, K], as of `CompactGenerator.raw`.
        features: [N, B, T, F], 0 or 1; of a mono track at most one pitch at a step.
    Returns:
        [N, K] nats of each track, summed over bars, steps and pitches.
    """
    result = []
    for k, track in enumerate(layout.columns):
        cell, frame, gate = cells[..., track.frame], features[..., track.frame], gates[..., k : k + 1]
        if track.head == "mono":
            pitches = frame / frame.sum(-1, keepdim=True).clamp(min=1)    # where the data has a chord, each of them in part
            *log_p, log_rest = (F.logsigmoid(gate) + F.pad(cell, (0, 1)).log_softmax(-1)).split([cell.shape[-1], 1], -1)
            log_rest = torch.logaddexp(F.logsigmoid(-gate), log_rest)
            nll = -(pitches * log_p[0]).sum((1, 2, 3)) - ((1 - pitches.sum(-1, keepdim=True)) * log_rest).sum((1, 2, 3))
        else:
            nll = F.binary_cross_entropy_with_logits(gated(cell, gate), frame, reduction="none").sum((1, 2, 3))
        if track.onset:
            onset = F.binary_cross_entropy_with_logits(cells[..., track.onset], features[..., track.onset], frame,
                                                       reduction="none")
            nll = nll + onset.sum((1, 2, 3))
        result.append(nll)
    return torch.stack(result, dim=1)
