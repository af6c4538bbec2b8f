"""How a run of an autoencoder looks at itself: held-out phrases, and what comes out when they are encoded and decoded."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from musegan.config import VaeTrainConfig
from musegan.data.phrases import Phrases
from musegan.export import write_midi, write_png
from musegan.models import CompactGenerator, PhraseEncoder
from musegan.models.vae import Bound, Posterior, bound
from musegan.reconstruction import Autoencoder, strung
from musegan.roll import Roll, RollSpec
from musegan.seeding import derived_seed, generator_for
from musegan.training.calibration import calibrate_reconstructions
from musegan.training.run_folder import RunFolder

ATTRIBUTES = ("density", "register", "range")
"""What `attributes` measures."""
ACTIVE_VARIANCE = 0.01    # Burda et al. 2016, "Importance weighted autoencoders", section 5.2
N_SHOWN = 4    # phrases in a picture
_BATCH = 64


class Look(NamedTuple):
    """What was found."""

    numbers: dict[str, float]
    """`held_out_reconstruction` and `held_out_divergence` in nats a bar, `held_out_loss`: their sum as it is trained,
    `active_units`: share of latent numbers whose mean differs from phrase to phrase."""
    f1: dict[str, float | None]
    """Of each track's frames and onsets, by `frame_f1: track`; None where there are none to find and none were made."""


class Reconstructions:
    """Looks at how held-out phrases come back.

    Args:
        training, held_out: real phrases.
        settings: how many are looked at, the seed, and the weights of the loss.
    """

    def __init__(self, training: Phrases, held_out: Phrases, settings: VaeTrainConfig):
        self._settings = settings
        n, seed = settings.validation_samples, derived_seed(settings.seed, "reconstructions")
        self._real, self._training = held_out.sample(n, seed), training.sample(n, seed)

    @torch.no_grad()
    def look(self, decoder: CompactGenerator, encoder: PhraseEncoder) -> Look:
        """The bound with noise that is always the same, and F1 of what the latents' means become."""
        settings, names = self._settings, [track.name for track in decoder.spec.tracks]
        posterior = self._encoded(decoder, encoder, self._real)
        found = self._bound(decoder, posterior)
        active = (posterior.mean.var(0) > ACTIVE_VARIANCE).float().mean()
        n_bars = decoder.n_bars
        numbers = {
            "held_out_reconstruction": found.reconstruction.sum(1).mean().item() / n_bars,
            "held_out_divergence": found.divergence.sum((1, 2)).mean().item() / n_bars,
            "held_out_loss": found.loss(settings.beta, settings.track_beta, settings.free_nats).item() / n_bars,
            "active_units": active.item(),
        }
        autoencoder = Autoencoder(decoder, encoder)
        made = autoencoder.decode(strung(autoencoder.encode(self._real)))
        f1 = {f"{plane}_f1: {name}": value if math.isfinite(value) else None
              for plane, one, other in zip(Roll._fields, made, self._real)
              for name, value in zip(names, f1_scores(one, other).tolist())}    # fmt: skip
        return Look(numbers, f1)

    @torch.no_grad()
    def measure(self, decoder: CompactGenerator, encoder: PhraseEncoder) -> None:
        """Sets the encoder's thresholds by held-out phrases, and its directions by training phrases."""
        calibrate_reconstructions(decoder, encoder, self._real)
        posterior = self._encoded(decoder, encoder, self._training)
        latents = torch.stack([posterior.mean[:, :, 0], posterior.mean[:, :, 1:].mean(2)], dim=2)    # [N, 1 + K, 2, Z]
        for direction, values in zip(encoder.directions, attributes(self._training, decoder.spec).T):
            direction.copy_(much_less_little(latents, values))

    def show(self, decoder: CompactGenerator, encoder: PhraseEncoder, run: RunFolder, step: int) -> None:
        """Writes a picture of held-out phrases above what became of them, and the first of them before what it became."""
        roll = self._real.map(lambda plane: plane[:N_SHOWN])
        autoencoder = Autoencoder(decoder, encoder)
        made = autoencoder.decode(strung(autoencoder.encode(roll)))
        name, n = run.samples / f"reconstruction-{step:06d}", len(roll.frame)
        titles = ["given"] * n + ["made"] * n
        write_png(name.with_suffix(".png"), [*roll.phrases(), *made.phrases()], decoder.spec, titles, n_columns=n)
        both = Roll(*(torch.cat([one[0], other[0]], dim=1) for one, other in zip(roll, made)))
        write_midi(name.with_suffix(".mid"), both, decoder.spec, decoder.facts.tempo_bpm)

    def _encoded(self, decoder: CompactGenerator, encoder: PhraseEncoder, roll: Roll) -> Posterior:
        features = decoder.layout.crop(roll).to(next(decoder.parameters()))    # [N, B, T, F]
        return Posterior(*map(torch.cat, zip(*map(encoder, features.split(_BATCH)))))

    def _bound(self, decoder: CompactGenerator, posterior: Posterior) -> Bound:
        features = decoder.layout.crop(self._real).to(posterior.mean)
        rng = generator_for(self._settings.seed, "held-out noise")
        noise = torch.randn(posterior.mean.shape, generator=rng).to(features)
        columns = (column.split(_BATCH) for column in (*posterior, features, noise))
        parts = [bound(decoder, Posterior(*part[:2]), *part[2:]) for part in zip(*columns)]
        return Bound(*map(torch.cat, zip(*parts)))


def f1_scores(made: Tensor, real: Tensor) -> Tensor:
    """How much of each track's cells of some phrases was found: the harmonic mean of precision and recall.

    Args:
        made, real: a plane [N, K, B, T, P] bool of each.
    Returns:
        [K] float64 in [0, 1]; NaN where neither has a cell.
    """
    made, real = (plane.transpose(0, 1).flatten(1) for plane in (made, real))    # [K, cells]
    return 2 * (made & real).sum(1).double() / (made.sum(1) + real.sum(1))


def attributes(roll: Roll, spec: RollSpec) -> Tensor:
    """`ATTRIBUTES` of phrases: notes that start in a bar; mean and deviation of pitch, over cells of pitched
    tracks.

    Args:
        roll: planes [N, K, B, T, P] bool.
    Returns:
        [N, 3] float64; NaN where there is nothing to measure.
    """
    density = roll.onset.sum((1, 2, 3, 4)).double() / roll.onset.shape[2]
    pitched = [k for k, track in enumerate(spec.tracks) if not track.is_drum]
    cells = roll.frame[:, pitched].sum((1, 2, 3)).double()    # [N, P]
    pitch = torch.arange(spec.n_pitches, dtype=torch.float64)
    register = (cells * pitch).sum(1) / cells.sum(1)
    variance = (cells * (pitch - register[:, None]).square()).sum(1) / cells.sum(1)
    return torch.stack([density, register, variance.sqrt()], dim=1)


def much_less_little(latents: Tensor, values: Tensor) -> Tensor:
    """The mean of the third of latents [N, ...] that has most of an attribute [N], less that of the third with least.

    Zero where there are fewer than three phrases in which it can be measured.
    """
    known = values.isfinite()
    order = latents[known][values[known].argsort(stable=True)]
    n = len(order) // 3
    return order[len(order) - n :].mean(0) - order[:n].mean(0) if n else torch.zeros_like(latents[0])
