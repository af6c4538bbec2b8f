"""Networks: `build` makes a generator/discriminator pair, `load_generator` reads one from a model folder."""

from __future__ import annotations

from torch import nn

from musegan.config import ModelConfig
from musegan.models.compact import CompactDiscriminator, CompactGenerator, RollLogits
from musegan.models.folder import load_generator, save_generator
from musegan.models.layout import Layout

__all__ = [
    "CompactDiscriminator", "CompactGenerator", "Layout", "RollLogits", "build", "load_generator", "save_generator",
]


def build(config: ModelConfig, layout: Layout, n_bars: int, **facts) -> tuple[CompactGenerator, nn.Module]:
    """A fresh generator/discriminator pair.

    Args:
        config: says which and how large.
        layout: of the features both work on.
        n_bars: B.
        facts: of the training data, kept with the generator (see `CompactGenerator`).
    """
    match config.kind:
        case "compact":
            generator = CompactGenerator(
                spec=layout.spec,
                n_bars=n_bars,
                first_pitch=list(layout.first_pitch),
                n_pitches=list(layout.n_pitches),
                heads=list(layout.heads),
                latent_size=config.latent_size,
                width=config.generator_width,
                n_blocks=config.n_blocks,
                own_bar_share=config.own_bar_share,
                **facts,
            )
            return generator, CompactDiscriminator(layout, n_bars, config.discriminator_width, config.n_blocks)
        case unknown:
            raise ValueError(f"unknown kind of model: {unknown!r}")
