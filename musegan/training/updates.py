"""How discriminator and generator are updated, whatever the loss, the precision and the parts of a batch."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from musegan.config import TrainConfig
from musegan.losses import discriminator_loss, generator_loss, gradient_penalty, zero_centred_penalty
from musegan.models import Generator, Given
from musegan.seeding import generator_for
from musegan.training.augmentation import View
from musegan.training.processes import average_gradients, own_part
from musegan.training.validation import given_tracks

STRANGE_SHARE = 0.5    # of the phrases with given tracks


@dataclass
class Part:
    """What the networks go through at once: a process's share of a batch, or a part of it, and what came of it."""

    music: Tensor
    """[N, B, T, F]."""
    latents: Tensor
    """[N, *latent_shape]."""
    given: Given | None
    """Tracks of the phrases, each of which the generated phrase in its place accompanies."""
    strange: Tensor | None
    """[N] bool: in which phrases the discriminator's update sees a stranger's tracks around given ones, instead of generated
    ones; None where nothing is given."""
    alpha: Tensor
    """[N] share of the real phrase where the penalty of WGAN-GP looks."""
    fake: Tensor | None = None
    """[N, B, T, F], with what its gradient needs, where it was kept for the generator."""
    real_score: Tensor | None = None
    """[N], before the discriminator's update."""
    fake_score: Tensor | None = None
    """[N], after the discriminator's update."""


def deal(generator: Generator, music: Tensor, settings: TrainConfig, number: int) -> list[Part]:
    """The parts of this process in a discriminator update; what is random is drawn for the batch of all processes.

    Args:
        music: [batch_size / processes, B, T, F].
    """
    n, seed = settings.batch_size, settings.seed
    latents = generator.prior(torch.randn(n, *generator.latent_shape, generator=generator_for(seed, "latents", number)))
    alpha = torch.rand(n, generator=generator_for(seed, "interpolation", number))
    columns = [music, *(own_part(drawn).to(music.device) for drawn in (latents, alpha))]
    if generator.accompanies:
        tracks = given_tracks(n, generator.spec.n_tracks, settings.accompany_share, seed, number)
        strange = torch.rand(n, generator=generator_for(seed, "strangers", number)) < STRANGE_SHARE
        columns += [own_part(drawn).to(music.device) for drawn in (tracks, strange & tracks.any(1))]
    parts = []
    for music, latents, alpha, *given in zip(*(column.chunk(settings.accumulate) for column in columns)):
        tracks, strange = given or (None, None)
        parts.append(Part(music, latents, Given(music, tracks) if given else None, strange, alpha))
    return parts


class Pair:
    """A generator, a discriminator, and how each is updated.

    Args:
        generator, discriminator: on their device, the same in all processes.
        settings: of the loop.
    """

    def __init__(self, generator: Generator, discriminator: nn.Module, settings: TrainConfig):
        self.generator, self.discriminator, self._settings = generator, discriminator, settings
        betas = (settings.adam_beta1, settings.adam_beta2)
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=betas, fused=True)
            for name, network in (("generator", generator), ("discriminator", discriminator))
        }
        self._device = next(generator.parameters()).device

    def generate(self, part: Part) -> Tensor:
        """Phrases [N, B, T, F] float32 of a part's latents."""
        with self._autocast():
            return self.generator.probabilities(part.latents, part.given).float()

    def score(self, features: Tensor, seen: View, exact: bool = False) -> Tensor:
        """Scores [N] float32 of phrases [N, B, T, F]; `exact` in float32 all the way."""
        with self._autocast(not exact):
            return seen.score(self.discriminator, features, self.generator.layout).float()

    def update_discriminator(self, parts: list[Part], seen: View, number: int, last: bool) -> dict[str, float]:
        """Updates the discriminator; returns its loss, and the penalty where this update has one.

        Args:
            number: of the update.
            last: the generator comes next, with the same latents: it takes the phrases that are generated here, with
                what their gradient needs, unless there are several parts to keep.
        """
        numbers = defaultdict(float)
        self.optimizers["discriminator"].zero_grad(set_to_none=True)
        for part in parts:
            kept = last and len(parts) == 1
            with torch.set_grad_enabled(kept):
                fake = self.generate(part)
            part.fake = fake if kept else None
            loss, part.real_score, penalty = self._discriminator_loss(part, self._mixed(part, fake.detach()), seen, number)
            numbers["discriminator"] += loss.item() / len(parts)
            if penalty is not None:
                numbers["penalty"] += penalty.item() / len(parts)
                loss = loss + self._settings.penalty_weight * self._settings.penalty_every * penalty
            (loss / len(parts)).backward()
        average_gradients(self.discriminator)
        self.optimizers["discriminator"].step()
        return numbers

    def update_generator(self, parts: list[Part], seen: View) -> dict[str, float]:
        """Updates the generator; returns its loss."""
        numbers = defaultdict(float)
        self.optimizers["generator"].zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)
        for part in parts:
            fake = self.generate(part) if part.fake is None else part.fake
            fake_score = self.score(fake, seen)
            # Differs: real scores are those of before the update, which saves a pass
            loss = generator_loss(self._settings.loss, part.real_score, fake_score)
            numbers["generator"] += loss.item() / len(parts)
            (loss / len(parts)).backward()
            part.fake, part.fake_score = None, fake_score.detach()
        average_gradients(self.generator)
        self.optimizers["generator"].step()
        self.discriminator.requires_grad_(True)
        return numbers

    def _mixed(self, part: Part, fake: Tensor) -> Tensor:
        """Generated phrases, but for the strange ones: the given tracks with a neighbour's others, all of them real.

        Without these the discriminator need not look at whether tracks belong together (Reed et al. 2016, GAN-CLS).
        """
        n = len(fake)
        if part.given is None or n == 1:    # alone, a phrase would be its own stranger
            return fake
        neighbour = torch.arange(n, device=fake.device) ^ 1    # the same whatever the parts, if they are even
        neighbour[-1] = n - 2    # of an odd number, the last has the neighbour of another
        tracks = self.generator.layout.cells_of(part.given.tracks)
        strangers = torch.where(tracks, part.music, part.music[neighbour])
        return torch.where(part.strange[:, None, None, None], strangers, fake)

    def _discriminator_loss(
        self, part: Part, fake: Tensor, seen: View, number: int
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The loss without penalty, the scores of the real phrases [N], and the penalty where this update has one."""
        settings, alone = self._settings, ("zero-centred", "real")
        penalise = (number + 1) % settings.penalty_every == 0 and settings.penalty_weight > 0
        on_real, on_fake = (penalise and settings.penalty in kinds for kinds in (alone, alone[:1]))
        real, fake = part.music.detach().requires_grad_(on_real), fake.requires_grad_(on_fake)
        real_score, fake_score = (self.score(features, seen, exact=on_real) for features in (real, fake))
        loss, penalty = discriminator_loss(settings.loss, real_score, fake_score), None
        if on_real:
            penalty = zero_centred_penalty(real_score, real)
        if on_fake:
            penalty = penalty + zero_centred_penalty(fake_score, fake)
        if penalise and settings.penalty == "gradient":
            penalty = gradient_penalty(lambda features: self.score(features, seen, exact=True), real, fake, part.alpha)
        return loss, real_score.detach(), penalty

    def _autocast(self, enabled: bool = True) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled and self._settings.precision == "bfloat16")
