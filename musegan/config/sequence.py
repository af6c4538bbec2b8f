"""What a run of a model that writes token by token is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from musegan.config.checks import (
    check_decay,
    check_held_out,
    check_learning_rate,
    check_least,
    check_meaning,
    check_semitones,
)
from musegan.errors import UserError


@dataclass(frozen=True)
class SequenceDataConfig:
    """Which music, and how it is written."""

    dataset: str = "freedoom"
    """Folder of a packed data set (made by `musegan prepare`), or the name of an embedded one."""
    track: str = "lead"
    """A pitched track; `lead` is all of them together. Of what sounds at once, the highest is the melody. With the encoding
    `tracks`, a track with all its notes, or `all` of them, each by itself."""
    encoding: Literal["grid", "events", "tracks"] = "grid"
    """Tokens: `grid`, one for each time step of a melody, a pitch, a hold or a rest; `events`, a pitch or a rest, and how
    long; `tracks`, whatever starts at a step in any track, how long each note lasts, and how far it is to the next."""
    n_bars: int = 16
    """Most bars of a window; what is shorter is whole."""
    normalize_key: bool = True
    """Move each piece to C major or A minor; what is generated is moved back by a real piece's shift."""
    transpose_semitones: int = 0
    """Each window of a batch is moved up or down by up to this many semitones at random."""
    validation_share: float = 0.15
    """Share of the pieces held out to choose the best snapshot, in (0, 1)."""
    test_share: float = 0.15
    """Share of the pieces kept apart from training and from that choice, in [0, 1)."""

    def __post_init__(self):
        check_least(self, 1, "n_bars")
        check_semitones(self, "transpose_semitones")
        check_held_out(self)


_ALL_KINDS = ("width", "n_layers", "position_in_bar", "dropout")
SEQUENCE_KIND_KEYS = {
    "lstm": (*_ALL_KINDS, "embedding"),
    "gru": (*_ALL_KINDS, "embedding"),
    "transformer": (*_ALL_KINDS, "n_heads", "positions"),
}
"""The keys of `model` that each kind reads; another one may only have its default value."""


@dataclass(frozen=True)
class SequenceModelConfig:
    """The network; the defaults are the article's."""

    kind: Literal["lstm", "gru", "transformer"] = "lstm"
    """Architecture: recurrent, or a decoder-only Transformer."""
    embedding: int = 128
    """Numbers that stand for a token in `lstm` and `gru`."""
    width: int = 256
    """Of the recurrent layers and of the dense one; in `transformer`, of a token."""
    n_layers: int = 2
    """Recurrent layers, or blocks."""
    n_heads: int = 4
    """Of the attention; twice as many divide `width`."""
    positions: Literal["rotary", "musical", "sinusoidal"] = "rotary"
    """How attention knows which token is which: by its number, or in half of the heads by its step of the music."""
    position_in_bar: bool = False
    """The model is told at which step of the bar each token ends."""
    dropout: float = 0.0
    """Probability in [0, 1) with which a channel between layers is silenced."""

    def __post_init__(self):
        check_least(self, 1, "embedding", "width", "n_layers", "n_heads")
        check_decay(self, "dropout")
        check_meaning(self, SEQUENCE_KIND_KEYS)
        if self.kind == "transformer" and self.width % (2 * self.n_heads):
            raise UserError(f"model.width must be a multiple of twice model.n_heads={self.n_heads}: got {self.width}")
        if self.positions == "musical" and self.n_heads % 2:
            raise UserError(f"model.positions=musical needs an even model.n_heads: got {self.n_heads}")


@dataclass(frozen=True)
class SequenceTrainConfig:
    """The loop."""

    steps: int = 2000
    """Updates in all, at most."""
    batch_size: int = 64
    """Windows in a batch."""
    seed: int = 0
    """Decides everything random."""
    learning_rate: float = 1e-3
    """Adam's."""
    learning_rate_halving: int = 0
    """Steps in which the learning rate falls by half, smoothly; 0 for never."""
    weight_decay: float = 0.0
    """By which Adam shrinks weights (AdamW), beside the learning rate."""
    max_gradient_norm: float = 1.0
    """Of the gradient; what is longer is cut to this. 0 for never."""
    ema_decay: float = 0.0
    """Of the weights' moving average, which is what is saved and sampled; 0 takes the weights themselves."""
    validate_every: int = 50
    """Steps between looks at the held-out pieces, each with music as a picture and a MIDI file."""
    patience: int = 10
    """The run ends when so many looks in a row found nothing better; 0 for never."""
    checkpoint_every: int = 50
    """Steps between checkpoints."""
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: a GPU where there is one."""

    def __post_init__(self):
        check_least(self, 1, "steps", "batch_size", "validate_every", "checkpoint_every")
        check_least(self, 0, "learning_rate_halving", "weight_decay", "max_gradient_norm", "patience")
        check_learning_rate(self)
        check_decay(self, "ema_decay")


@dataclass(frozen=True)
class SequenceConfig:
    """Everything that decides a run."""

    family: ClassVar[str] = "sequence"
    description: ClassVar[str] = "Trains a model that writes melodies or whole bands token by token, on a packed data set."
    default_run: ClassVar[str] = "runs/sequence"

    data: SequenceDataConfig = field(default_factory=SequenceDataConfig)
    model: SequenceModelConfig = field(default_factory=SequenceModelConfig)
    train: SequenceTrainConfig = field(default_factory=SequenceTrainConfig)
