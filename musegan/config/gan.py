"""What a run of a generator/discriminator pair is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from musegan.config.checks import (
    check_decay,
    check_held_out,
    check_learning_rate,
    check_least,
    check_semitones,
    check_share,
)
from musegan.errors import UserError

Loss = Literal["relativistic", "wasserstein", "non-saturating", "classic", "hinge", "least-squares"]


@dataclass(frozen=True)
class DataConfig:
    """Which music, and how it is cut into phrases."""

    dataset: str = "freedoom"
    """Folder of a packed data set (made by `musegan prepare`), or the name of an embedded one."""
    n_bars: int = 4
    """Bars in a phrase."""
    min_tracks: int = 2
    """Phrases in which fewer tracks sound are not trained on."""
    normalize_key: bool = True
    """Move each phrase to C major or A minor; what is generated is moved back by a real phrase's shift."""
    transpose_semitones: int = 0
    """Each phrase of a batch is moved up or down by up to this many semitones at random, drums left where they are."""
    track_dropout: float = 0.0
    """Probability in [0, 1] with which each sounding track of a phrase is silenced; the last one never is."""
    validation_share: float = 0.15
    """Share of the pieces held out to choose the best snapshot, in (0, 1)."""
    test_share: float = 0.0
    """Share of the pieces kept apart from training and from that choice, in [0, 1); `musegan evaluate --held-out` takes
    those of this share."""

    def __post_init__(self):
        check_least(self, 1, "n_bars", "min_tracks")
        check_semitones(self, "transpose_semitones")
        check_share(self, "track_dropout")
        check_held_out(self)


_ALL_KINDS = ("latent_size", "generator_width", "discriminator_width", "spectral_norm")
KIND_KEYS = {
    "compact": (*_ALL_KINDS, "variant", "accompaniment", "track_width", "n_blocks", "own_bar_share",
                "shared_rhythm", "mono_tracks"),
    "musegan": (*_ALL_KINDS, "variant", "accompaniment"),
    "musegan-v3": _ALL_KINDS,
    "bmusegan": (*_ALL_KINDS, "binary", "refiner"),
}
"""The keys of `model` that each kind reads; another one may only have its default value."""
_WIDTHS_OF_32 = ("musegan-v3", "bmusegan")


@dataclass(frozen=True)
class ModelConfig:
    """The generator/discriminator pair."""

    kind: Literal["compact", "musegan", "musegan-v3", "bmusegan"] = "compact"
    """Architecture: `compact` is made for small machines, `musegan` is that of Dong et al. 2018; `musegan-v3` and
    `bmusegan` are the released ones at latent_size 128 and both widths 512."""
    variant: Literal["composer", "jamming", "hybrid"] = "hybrid"
    """Whose the latents are: `composer` has some that all tracks share, `jamming` some of each track's own, `hybrid`
    both."""
    accompaniment: bool = False
    """An encoder for given tracks, to which the others are then made."""
    latent_size: int = 64
    """Numbers in each latent vector, shared and of each track. There is one for the phrase and one for each bar; in
    `musegan` one for the phrase and one from which a vector for each bar is made (the paper: 32, without `hybrid` 64)."""
    generator_width: int = 128
    """Channels of a beat in the generator; in `musegan`, of a step (the paper: 128); in `musegan-v3` and `bmusegan`, of a
    bar, a multiple of 32."""
    track_width: int = 64
    """Channels of a beat in the generator's branch for each track."""
    discriminator_width: int = 128
    """Channels of a beat in the discriminator; in `musegan`, of its first layers (the paper: 128); in `musegan-v3` and
    `bmusegan`, of a bar, a multiple of 32."""
    n_blocks: int = 2
    """Residual blocks along the beats, in each network."""
    own_bar_share: float = 0.35
    """Weight of a bar's own latent beside the one common to all bars: smaller repeats more."""
    shared_rhythm: bool = True
    """When notes start and sound is in part the same in all bars of a phrase, as in most bands."""
    spectral_norm: bool = False
    """The discriminator's weights divided by their largest singular values."""
    mono_tracks: list[str] = field(default_factory=list)
    """Names of the tracks that play one note at a time (head `mono`); all others have head `poly`."""
    binary: Literal["none", "deterministic", "stochastic"] = "deterministic"
    """Neurons at the end of a `bmusegan`; `none` gives probabilities."""
    refiner: bool = True
    """Residual blocks of each track between generator and neurons of a `bmusegan`."""

    def __post_init__(self):
        check_least(self, 1, "latent_size", "generator_width", "track_width", "discriminator_width")
        check_least(self, 0, "n_blocks", "own_bar_share")
        for name in ("generator_width", "discriminator_width"):
            if self.kind in _WIDTHS_OF_32 and getattr(self, name) % 32:
                raise UserError(
                    f"model.{name} must be a multiple of 32 for model.kind {self.kind}: got {getattr(self, name)}"
                )
        for each in dataclasses.fields(self):
            if each.name != "kind" and each.name not in KIND_KEYS[self.kind]:
                default = each.default_factory() if each.default is dataclasses.MISSING else each.default
                if getattr(self, each.name) != default:
                    raise UserError(f"model.{each.name} means nothing to model.kind {self.kind}: leave it out")


@dataclass(frozen=True)
class TrainConfig:
    """The loop."""

    steps: int = 2000
    """Generator updates in all."""
    batch_size: int = 32
    """Phrases in a batch, of all processes together."""
    accumulate: int = 1
    """Parts in which a process goes through its share of a batch, for less memory; one update follows. Batch norm and the
    minibatch deviation then see a part, not the batch."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the networks' products; weights, losses and whatever a penalty differentiates stay float32."""
    seed: int = 0
    """Decides everything random."""
    loss: Loss = "relativistic"
    """What the two networks play for, see `musegan.losses`."""
    penalty: Literal["zero-centred", "real", "gradient", "none"] = "zero-centred"
    """On the discriminator's gradient: R1 and R2, R1 alone (of real phrases), or WGAN-GP's."""
    penalty_weight: float = 1.0
    """Of the penalty; 10 in WGAN-GP."""
    penalty_every: int = 8
    """Discriminator updates from one penalty to the next; its weight grows as much."""
    discriminator_updates: int = 1
    """Updates of the discriminator for each of the generator; 5 in MuseGAN."""
    learning_rate: float = 1.2e-3
    """Adam's, for both networks; 2e-3 diverged."""
    learning_rate_halving: int = 0
    """Steps in which the learning rates fall by half, smoothly; 0 for never."""
    adam_beta1: float = 0.0
    """Adam's, of the mean; 0.5 in MuseGAN."""
    adam_beta2: float = 0.99
    """Adam's, of the square; 0.9 in MuseGAN."""
    slope_growth: float = 1.0
    """Factor by which the slope of the generator's cells or neurons grows in each epoch; 1.1 in BinaryMuseGAN."""
    max_slope: float = 10.0
    """Where its growth ends."""
    refine_from: int = 0
    """Step from which `bmusegan`'s refiner is trained behind a generator that stays as it is; before it, the generator
    without. 0 trains both at once."""
    accompany_share: float = 0.5
    """Share of generated phrases for which some of a real phrase's tracks are given, where `model.accompaniment`."""
    augment_probability: float = 1.0
    """With which the discriminator sees a step's phrases, real and generated alike, moved as `transpose_range`,
    `shift_beats` and `silence_track` say."""
    augment_target: float = 0.0
    """Above 0, the probability adapts: it grows while the discriminator prefers training phrases to held-out ones by
    more than this share of how it prefers them to generated ones, and shrinks otherwise."""
    transpose_range: int = 5
    """Transposition by up to this many semitones."""
    shift_beats: bool = False
    """Shift in time by whole beats; by whole bars they are shifted in any case."""
    silence_track: bool = False
    """One track silenced."""
    ema_decay: float = 0.999
    """Of the generator's moving average, which is what is saved and sampled; reached after a ramp-up."""
    validate_every: int = 250
    """Steps between comparisons with the held-out pieces, each with a picture and a MIDI file."""
    validation_samples: int = 512
    """Phrases generated, and held-out phrases at most, for a comparison."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: a GPU where there is one."""
    workers: int = 0
    """Processes that make batches ahead of time; 0 makes them in the training process. The batches are the same."""

    def __post_init__(self):
        check_least(self, 2, "batch_size")    # batch norm and the minibatch deviation need two
        check_least(self, 1, "steps", "accumulate", "discriminator_updates", "penalty_every", "validate_every",
                    "validation_samples", "checkpoint_every", "slope_growth", "max_slope")    # fmt: skip
        check_semitones(self, "transpose_range")
        check_least(self, 0, "penalty_weight", "workers", "learning_rate_halving", "augment_target", "refine_from")
        if self.batch_size % self.accumulate or self.batch_size // self.accumulate < 2:
            raise UserError(f"train.accumulate must divide train.batch_size into parts of at least 2 phrases: got "
                            f"{self.accumulate} and {self.batch_size}")
        check_learning_rate(self)
        check_decay(self, "ema_decay", "adam_beta1", "adam_beta2")
        check_share(self, "accompany_share", "augment_probability")


TRAIN_KEYS: tuple[tuple[str, Callable[[ModelConfig, TrainConfig], bool], str], ...] = (
    ("refine_from", lambda model, _: model.kind == "bmusegan" and model.refiner,
     "without model.kind bmusegan and its refiner"),
    ("accompany_share", lambda model, _: model.accompaniment, "without model.accompaniment"),
    ("slope_growth", lambda model, _: model.kind != "bmusegan" or model.binary != "none", "with model.binary none"),
    ("max_slope", lambda _, train: train.slope_growth > 1, "with train.slope_growth 1"),
    ("penalty_weight", lambda _, train: train.penalty != "none", "with train.penalty none"),
    ("penalty_every", lambda _, train: train.penalty != "none", "with train.penalty none"),
    ("augment_probability", lambda _, train: _augments(train), "with transpose_range 0 and no shift_beats or silence_track"),
    ("augment_target", lambda _, train: _augments(train), "with transpose_range 0 and no shift_beats or silence_track"),
)
"""Keys of `train` that not every run reads, when one does, and where one does not; there they may only have their default
value."""


def _augments(train: TrainConfig) -> bool:
    return train.transpose_range > 0 or train.shift_beats or train.silence_track


@dataclass(frozen=True)
class Config:
    """Everything that decides a run."""

    family: ClassVar[str] = "gan"
    description: ClassVar[str] = "Trains a generator/discriminator pair on a packed data set."
    default_run: ClassVar[str] = "runs/band"

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self):
        defaults = {each.name: each.default for each in dataclasses.fields(TrainConfig)}
        for name, means_something, where in TRAIN_KEYS:
            if getattr(self.train, name) != defaults[name] and not means_something(self.model, self.train):
                raise UserError(f"train.{name} means nothing {where}: leave it out, or at {defaults[name]}")
