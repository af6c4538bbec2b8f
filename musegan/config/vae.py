"""What a run of a variational autoencoder is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from musegan.config.checks import check_decay, check_learning_rate, check_least, check_share
from musegan.config.gan import DataConfig


@dataclass(frozen=True)
class VaeModelConfig:
    """The encoder, and the decoder: a `compact` generator of variant `hybrid`."""

    latent_size: int = 64
    """Numbers in each latent vector: shared and of each track, for the phrase and for each bar."""
    decoder_width: int = 128
    """Channels of a beat in the decoder."""
    encoder_width: int = 128
    """Channels of a beat in the encoder, and in the discriminator where there is one."""
    track_width: int = 64
    """Channels of a beat in the branches for each track of both."""
    n_blocks: int = 2
    """Residual blocks along the beats, in each network."""
    own_bar_share: float = 1.0
    """Weight of a bar's own latent beside the one common to all bars, when training starts."""
    shared_rhythm: bool = True
    """When notes start and sound is in part the same in all bars of a phrase, as in most bands."""
    bar_likeness: float = 0.0
    """Share of variance that the bars' own latents of a sample have in common: training takes each bar for itself, but bars of
    real phrases are alike. Reconstructions do not depend on it, nor, without a discriminator, does what is learned."""
    mono_tracks: list[str] = field(default_factory=list)
    """Names of the tracks that play one note at a time (head `mono`); all others have head `poly`."""

    def __post_init__(self):
        check_least(self, 1, "latent_size", "decoder_width", "encoder_width", "track_width")
        check_least(self, 0, "n_blocks", "own_bar_share")
        check_share(self, "bar_likeness")


@dataclass(frozen=True)
class VaeTrainConfig:
    """The loop."""

    steps: int = 6000
    """Updates in all."""
    batch_size: int = 32
    """Phrases in a batch, of all processes together."""
    seed: int = 0
    """Decides everything random."""
    beta: float = 0.25
    """Weight of the divergence of shared latents: 1 is the bound itself, less reconstructs better."""
    track_beta: float = 1.0
    """Weight of the divergence of the tracks' own latents: the more it is above `beta`, the more is left to what tracks
    share, and the better the tracks of samples go together."""
    beta_warmup: int = 500
    """Steps in which both weights rise from 0."""
    free_nats: float = 0.0
    """Divergence of each latent vector, mean over a batch, that costs nothing: above 0, none of them collapses."""
    adversarial_weight: float = 0.0
    """Above 0, a discriminator like a GAN's judges samples of the decoder, and so much of a nat a step is what the decoder
    loses to it."""
    learning_rate: float = 1.5e-3
    """Adam's, for all networks."""
    learning_rate_halving: int = 0
    """Steps in which the learning rate falls by half, smoothly; 0 for never."""
    max_gradient_norm: float = 1.0
    """Of both networks' gradient together, of the loss in nats a step; what is longer is cut to this. 0 for never."""
    ema_decay: float = 0.999
    """Of both networks' moving average, which is what is saved and used; reached after a ramp-up."""
    validate_every: int = 500
    """Steps between looks at the held-out pieces, each with a picture and a MIDI file."""
    validation_samples: int = 512
    """Held-out phrases at most, and phrases generated, for one."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: a GPU where there is one."""
    workers: int = 0
    """Processes that make batches ahead of time; 0 makes them in the training process. The batches are the same."""

    def __post_init__(self):
        check_least(self, 2, "batch_size")    # batch norm needs two
        check_least(self, 1, "steps", "validate_every", "validation_samples", "checkpoint_every")
        check_least(self, 0, "beta", "track_beta", "beta_warmup", "free_nats", "adversarial_weight",
                    "learning_rate_halving", "max_gradient_norm", "workers")    # fmt: skip
        check_learning_rate(self)
        check_decay(self, "ema_decay")


@dataclass(frozen=True)
class VaeConfig:
    """Everything that decides a run."""

    family: ClassVar[str] = "vae"
    description: ClassVar[str] = "Trains a variational autoencoder on a packed data set."
    default_run: ClassVar[str] = "runs/vae"

    data: DataConfig = field(default_factory=DataConfig)
    model: VaeModelConfig = field(default_factory=VaeModelConfig)
    train: VaeTrainConfig = field(default_factory=VaeTrainConfig)
