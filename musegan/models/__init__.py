"""Networks: `build` makes a generator/discriminator pair, `build_sequence` one that writes token by token, `build_vae` a
decoder and its encoder; `load_*` read folders."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from musegan.config import ModelConfig, SequenceModelConfig, VaeModelConfig
from musegan.models.bmusegan import BMuseganDiscriminator, BMuseganGenerator
from musegan.models.compact import CompactDiscriminator, CompactGenerator
from musegan.models.folder import load_encoder, load_generator, load_model, save_model
from musegan.models.generator import Facts, Generator, Given, RollLogits
from musegan.models.layout import Layout
from musegan.models.musegan import MuseganDiscriminator, MuseganGenerator
from musegan.models.musegan_v3 import MuseganV3Discriminator, MuseganV3Generator
from musegan.models.sequence import GruModel, LstmModel, RecurrentModel, SequenceModel, State
from musegan.models.transformer import TransformerModel
from musegan.models.vae import PhraseEncoder
from musegan.roll import RollSpec
from musegan.tokens import Encoding

__all__ = [
    "BMuseganDiscriminator", "BMuseganGenerator", "CompactDiscriminator", "CompactGenerator", "Facts", "Generator",
    "Given", "GruModel", "Layout", "LstmModel", "MuseganDiscriminator", "MuseganGenerator", "MuseganV3Discriminator",
    "MuseganV3Generator", "PhraseEncoder", "RecurrentModel", "RollLogits", "SequenceModel", "State", "TransformerModel", "build",
    "build_sequence", "build_vae", "load_encoder", "load_generator", "load_model", "save_model",
]    # fmt: skip


def build(
    config: ModelConfig, spec: RollSpec, cell_counts: Tensor, n_bars: int, facts: Facts = Facts()
) -> tuple[Generator, nn.Module]:
    """A fresh generator/discriminator pair; both work on the features of `generator.layout`.

    Args:
        config: says which and how large.
        spec: of the rolls.
        cell_counts: [K, P] how often each pitch sounds in the training data.
        n_bars: B.
        facts: of the training data, kept with the generator.
    Raises:
        UserError: the config does not fit the rolls.
    """
    generator, discriminator = _pair(config, spec, cell_counts, n_bars, facts)
    if config.spectral_norm:
        for layer in discriminator.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d, nn.Conv3d)):
                spectral_norm(layer)
    return generator, discriminator


def _pair(
    config: ModelConfig, spec: RollSpec, cell_counts: Tensor, n_bars: int, facts: Facts
) -> tuple[Generator, nn.Module]:
    match config.kind:
        case "compact":
            layout = Layout.fit(cell_counts, spec, tuple(config.mono_tracks))
            generator = CompactGenerator(
                layout,
                n_bars,
                facts,
                variant=config.variant,
                accompaniment=config.accompaniment,
                latent_size=config.latent_size,
                width=config.generator_width,
                track_width=config.track_width,
                n_blocks=config.n_blocks,
                own_bar_share=config.own_bar_share,
                shared_rhythm=config.shared_rhythm,
            )
            return generator, CompactDiscriminator(layout, n_bars, config.discriminator_width, config.n_blocks)
        case "musegan":
            layout = Layout.whole(spec)
            generator = MuseganGenerator(
                layout,
                n_bars,
                facts,
                variant=config.variant,
                accompaniment=config.accompaniment,
                latent_size=config.latent_size,
                width=config.generator_width,
            )
            return generator, MuseganDiscriminator(layout, n_bars, config.discriminator_width)
        case "musegan-v3":
            layout = Layout.whole(spec)
            generator = MuseganV3Generator(layout, n_bars, facts, config.latent_size, config.generator_width)
            return generator, MuseganV3Discriminator(layout, n_bars, config.discriminator_width)
        case "bmusegan":
            layout = Layout.whole(spec)
            generator = BMuseganGenerator(
                layout, n_bars, facts, config.latent_size, config.generator_width, config.binary, config.refiner,
                neuron_seed=int(torch.randint(1 << 31, (), device="cpu")),    # drawn like the weights
            )    # fmt: skip
            return generator, BMuseganDiscriminator(layout, n_bars, config.discriminator_width)
        case unknown:
            raise ValueError(f"unknown kind of model: {unknown!r}")


def build_sequence(
    config: SequenceModelConfig, encoding: Encoding, spec: RollSpec, n_bars: int, facts: Facts = Facts()
) -> SequenceModel:
    """A fresh model that writes token by token.

    Args:
        config: says which and how large.
        encoding: how music is tokens.
        spec: of the rolls: of one track where it writes melodies.
        n_bars: of a window of training.
        facts: of the training data, kept with the model.
    """
    sizes = {"width": config.width, "n_layers": config.n_layers, "position_in_bar": config.position_in_bar,
             "dropout": config.dropout}    # fmt: skip
    match config.kind:
        case "lstm":
            return LstmModel(encoding, spec, n_bars, facts, embedding=config.embedding, **sizes)
        case "gru":
            return GruModel(encoding, spec, n_bars, facts, embedding=config.embedding, **sizes)
        case "transformer":
            return TransformerModel(
                encoding, spec, n_bars, facts, n_heads=config.n_heads, positions=config.positions, **sizes
            )
        case unknown:
            raise ValueError(f"unknown kind of model: {unknown!r}")


def build_vae(
    config: VaeModelConfig,
    spec: RollSpec,
    cell_counts: Tensor,
    n_bars: int,
    facts: Facts = Facts(),
    attributes: tuple[str, ...] = (),
) -> tuple[CompactGenerator, PhraseEncoder]:
    """A fresh decoder and its encoder; arguments as of `build`, and the names of the encoder's directions."""
    layout = Layout.fit(cell_counts, spec, tuple(config.mono_tracks))
    decoder = CompactGenerator(
        layout,
        n_bars,
        facts,
        latent_size=config.latent_size,
        width=config.decoder_width,
        track_width=config.track_width,
        n_blocks=config.n_blocks,
        own_bar_share=config.own_bar_share,
        shared_rhythm=config.shared_rhythm,
        bar_likeness=config.bar_likeness,
    )
    encoder = PhraseEncoder(
        layout, config.latent_size, config.encoder_width, config.track_width, config.n_blocks, attributes
    )
    return decoder, encoder
