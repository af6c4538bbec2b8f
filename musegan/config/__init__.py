"""What a training run is told: a frozen dataclass for each family of models, and how files and a command line become one."""

from musegan.config.gan import KIND_KEYS, TRAIN_KEYS, Config, DataConfig, Loss, ModelConfig, TrainConfig
from musegan.config.parsing import (
    DEFAULT_FAMILY,
    FAMILIES,
    AnyConfig,
    find_family,
    keys,
    load,
    parse,
    parser,
    resolved,
    to_yaml,
    values_of,
)
from musegan.config.sequence import (
    SEQUENCE_KIND_KEYS,
    SequenceConfig,
    SequenceDataConfig,
    SequenceModelConfig,
    SequenceTrainConfig,
)
from musegan.config.vae import VaeConfig, VaeModelConfig, VaeTrainConfig

__all__ = [
    "DEFAULT_FAMILY", "FAMILIES", "KIND_KEYS", "SEQUENCE_KIND_KEYS", "TRAIN_KEYS", "AnyConfig", "Config", "DataConfig",
    "Loss", "ModelConfig", "SequenceConfig", "SequenceDataConfig", "SequenceModelConfig", "SequenceTrainConfig", "TrainConfig",
    "VaeConfig", "VaeModelConfig", "VaeTrainConfig", "find_family", "keys", "load", "parse", "parser", "resolved", "to_yaml",
    "values_of",
]    # fmt: skip
