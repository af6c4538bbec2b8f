"""What a training run is told: frozen dataclasses, and how a YAML file and a command line become one."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import jsonargparse
import yaml

from musegan import resources
from musegan.errors import UserError, one_line

jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)

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
        _check(self, "n_bars", at_least=1)
        _check(self, "min_tracks", at_least=1)
        _check_semitones(self, "transpose_semitones")
        if not 0 <= self.track_dropout <= 1:
            raise UserError(f"data.track_dropout must lie in [0, 1]: got {self.track_dropout}")
        if not 0 < self.validation_share < 1:
            raise UserError(f"data.validation_share must lie between 0 and 1: got {self.validation_share}")
        if not 0 <= self.test_share < 1 - self.validation_share:
            raise UserError(f"data.test_share must lie in [0, 1 - data.validation_share): got {self.test_share}")


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
        for name in ("latent_size", "generator_width", "track_width", "discriminator_width"):
            _check(self, name, at_least=1)
        _check(self, "n_blocks", at_least=0)
        _check(self, "own_bar_share", at_least=0)
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
        _check(self, "batch_size", at_least=2)    # batch norm and the minibatch deviation need two
        for name in ("steps", "accumulate", "discriminator_updates", "penalty_every", "validate_every", "validation_samples",
                     "checkpoint_every", "slope_growth", "max_slope"):    # fmt: skip
            _check(self, name, at_least=1)
        _check_semitones(self, "transpose_range")
        for name in ("penalty_weight", "workers", "learning_rate_halving", "augment_target",
                     "refine_from"):    # fmt: skip
            _check(self, name, at_least=0)
        if self.batch_size % self.accumulate or self.batch_size // self.accumulate < 2:
            raise UserError(f"train.accumulate must divide train.batch_size into parts of at least 2 phrases: got "
                            f"{self.accumulate} and {self.batch_size}")
        if not 0 < self.learning_rate < float("inf"):
            raise UserError(f"train.learning_rate must be above 0, and finite: got {self.learning_rate}")
        for name in ("ema_decay", "adam_beta1", "adam_beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"train.{name} must lie in [0, 1): got {getattr(self, name)}")
        for name in ("accompany_share", "augment_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"train.{name} must lie in [0, 1]: got {getattr(self, name)}")


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

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self):
        defaults = {each.name: each.default for each in dataclasses.fields(TrainConfig)}
        for name, means_something, where in TRAIN_KEYS:
            if getattr(self.train, name) != defaults[name] and not means_something(self.model, self.train):
                raise UserError(f"train.{name} means nothing {where}: leave it out, or at {defaults[name]}")


def _check(config, name: str, at_least: int) -> None:
    if not at_least <= getattr(config, name) < float("inf"):    # nor is NaN
        part = type(config).__name__.removesuffix("Config").lower()
        raise UserError(f"{part}.{name} must be at least {at_least}: got {getattr(config, name)}")


def _check_semitones(config, name: str) -> None:
    _check(config, name, at_least=0)
    if getattr(config, name) > 127:
        part = type(config).__name__.removesuffix("Config").lower()
        raise UserError(f"{part}.{name} must be at most 127, all of MIDI's pitches: got {getattr(config, name)}")


def keys(config: type | Config = Config, prefix: str = "") -> dict[str, object]:
    """Each key of a config by its dotted name, with its value (of the defaults, for a class)."""
    if isinstance(config, type):
        config = config()
    result = {}
    for part in dataclasses.fields(config):
        value = getattr(config, part.name)
        if dataclasses.is_dataclass(value):
            result |= keys(value, f"{prefix}{part.name}.")
        else:
            result[prefix + part.name] = value
    return result


def parser(prog: str, description: str) -> jsonargparse.ArgumentParser:
    """A command line that takes every key of `Config` as an option, and whole files with `--config`."""
    result = jsonargparse.ArgumentParser(prog=prog, description=description, exit_on_error=False)
    result.add_argument("--config", action="config", help="YAML file, or the name of one of the package's configs.")
    result.add_class_arguments(Config, None)
    return result


def parse(command_line: jsonargparse.ArgumentParser, argv: list[str]) -> jsonargparse.Namespace:
    """Parses arguments; the fields `data`, `model` and `train` come back as dataclasses.

    Raises:
        UserError: an unknown key (the nearest one is named), a value of the wrong type or out of range, or a
            config file that cannot be read.
    """
    try:
        return command_line.instantiate(command_line.parse_args(_with_config_paths(argv)))
    except (jsonargparse.ArgumentError, ValueError, TypeError) as err:
        if isinstance(err, UserError):
            raise
        raise UserError(_plain(one_line(err)) + _nearest_key(str(err))) from err


def to_yaml(config: Config) -> str:
    """The whole config as a file that `--config` reads."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False)


def _with_config_paths(argv: list[str]) -> list[str]:
    """Config files first, so that options win over them wherever they stand; names of the package's configs as paths."""
    files, options = [], []
    for i, word in enumerate(argv):
        if i and argv[i - 1] == "--config":
            files.append(word)
        elif word.startswith("--config="):
            files.append(word.removeprefix("--config="))
        elif word != "--config" or i + 1 == len(argv):
            options.append(word)
    paths = (file if Path(file).is_file() else resources.config_path(file) for file in files)
    return [*(f"--config={path}" for path in paths), *options]


def _plain(message: str) -> str:
    """The parser's message about a value of the wrong type, without Python's names of types."""
    expected = r"(?:<class '(\w+)'>|typing\.Literal\[(.*)\])"
    found = re.fullmatch(rf'Parser key "([\w.]+)": Expected a {expected}\. Got value: (.*)', message)
    if not found:
        return message
    key, kind, choices, value = found.groups()
    rules = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a word",
             "list": f"a list, such as [{value}]"}    # fmt: skip
    rule = rules.get(kind, kind) if kind else "one of " + choices.replace("'", "")
    return f"{key} must be {rule}: got {value}"


def _nearest_key(message: str) -> str:
    """`; did you mean X?` for a message about an unknown key."""
    found = re.search(r"unrecognized arguments: --([\w.]+)|Group '([\w.]+)' does not accept option '([\w.]+)'"
                      r"|does not accept option '([\w.]+)'", message)
    if not found:
        return ""
    unknown = found[1] or (f"{found[2]}.{found[3]}" if found[2] else found[4])
    nearest = difflib.get_close_matches(unknown, keys(), n=1, cutoff=0.4)
    return f"; did you mean {nearest[0]}?" if nearest else ""
