"""The loop of an autoencoder: batches in, an encoder and a decoder out; the same on one process and on several."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import time
from collections.abc import Callable
from statistics import mean

import torch
from torch import Tensor, nn

from musegan.config import TrainConfig, VaeConfig, VaeTrainConfig
from musegan.data.dataset import PackedDataset
from musegan.data.loader import Batches, Loader
from musegan.data.phrases import Augmentation, Phrases
from musegan.losses import generator_loss
from musegan.models import CompactDiscriminator, CompactGenerator, PhraseEncoder, build_vae, save_model
from musegan.models.batch import n_processes, rank
from musegan.models.folder import ENCODER
from musegan.models.vae import bound
from musegan.seeding import derived_seed, generator_for
from musegan.training import processes
from musegan.training.augmentation import view
from musegan.training.calibration import calibrate
from musegan.training.log import Log, Progress
from musegan.training.loops import check_finite, check_parts, device_of, facts_of, halved, restore, save, update_average
from musegan.training.reconstructions import ATTRIBUTES, Reconstructions
from musegan.training.run_folder import RunFolder
from musegan.training.splits import split
from musegan.training.updates import Pair, deal
from musegan.training.validation import Validation, show


def train(
    config: VaeConfig,
    dataset: PackedDataset,
    run: RunFolder,
    resume: bool = False,
    progress: Progress = Progress(),
    stop_requested: Callable[[], bool] = lambda: False,
) -> bool:
    """Trains an encoder and a decoder, writing everything to the run's folder; see `musegan.training.gan.train`."""
    settings, main = config.train, processes.is_main()
    check_parts(settings.batch_size)
    with processes.together():
        # Data
        device = device_of(settings.device)
        training, held_out, _ = split(config.data, dataset)
        fingerprint = training.fingerprint()

        # Networks
        cell_counts = training.cell_counts_within(config.data.transpose_semitones)
        facts = facts_of(training)
        if config.data.transpose_semitones:    # the decoder makes music in many keys, and none of them is home
            facts = dataclasses.replace(facts, key_shifts=())
        with torch.random.fork_rng():
            torch.manual_seed(derived_seed(settings.seed, "weights"))
            decoder, encoder = build_vae(config.model, dataset.spec, cell_counts, config.data.n_bars, facts, ATTRIBUTES)
        networks = {"decoder": decoder.to(device), "encoder": encoder.to(device)}
        averages = {name: copy.deepcopy(network).requires_grad_(False).eval() for name, network in networks.items()}
        weights = [weight for network in networks.values() for weight in network.parameters()]
        optimizer = torch.optim.Adam(weights, lr=settings.learning_rate, betas=(0.9, 0.99), fused=True)
        state = {**networks, **{f"{name} average": each for name, each in averages.items()}, "optimizer": optimizer}
        adversary = None
        if settings.adversarial_weight:
            adversary = Adversary(decoder, config, device)
            state |= {"discriminator": adversary.discriminator, "discriminator optimizer": adversary.optimizer}

        # Resume
        step, best = 0, float("inf")
        if resume and run.checkpoint.exists():
            step, best = restore(run, state, fingerprint, "step", "best")
            progress.say(f"resumed after step {step}")
    processes.check_same(fingerprint, "data set")
    processes.check_same(step, "checkpoint")
    processes.same_everywhere(*networks.values(), *averages.values())

    # Batches, from that step on
    augmentation = Augmentation(config.data.transpose_semitones, config.data.track_dropout)
    batches = Batches(training, settings.batch_size, settings.seed, rank=rank(), world_size=n_processes(),
                      augmentation=augmentation, transform=decoder.layout.crop)    # fmt: skip
    loader = Loader(batches, range(step, settings.steps), settings.workers)

    with contextlib.ExitStack() as stack:
        with processes.together():
            record = None
            if main:
                record = stack.enter_context(VaeRecord(run, training, held_out, settings, progress, step, best))
            stack.enter_context(loader)
        progress.start(step, settings.steps, {"reconstruction": "reconstruction", "divergence": "divergence"})
        n_bars, n_steps, stopping = config.data.n_bars, config.data.n_bars * dataset.spec.steps_per_bar, False
        while step < settings.steps and not stopping:
            # Schedule
            started = time.perf_counter()
            optimizer.param_groups[0]["lr"] = halved(settings.learning_rate, settings.learning_rate_halving, step)
            warmth = min(1.0, (step + 1) / max(settings.beta_warmup, 1))

            # One batch, one update
            features = next(loader).to(device).float()
            noise = torch.randn(settings.batch_size, *decoder.latent_shape,
                                generator=generator_for(settings.seed, "posterior", step))    # fmt: skip
            found = bound(decoder, encoder(features), features, processes.own_part(noise).to(device))
            loss = found.loss(warmth * settings.beta, warmth * settings.track_beta, settings.free_nats)
            total, judged = loss / n_steps, {}
            if adversary:
                lost, judged = adversary.judge(features, step)
                total = total + settings.adversarial_weight * lost
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            for network in networks.values():
                processes.average_gradients(network)
            norm = nn.utils.clip_grad_norm_(weights, settings.max_gradient_norm or float("inf"))
            optimizer.step()
            step += 1
            for name, network in networks.items():
                update_average(averages[name], network, settings.ema_decay, step)

            # Stop on NaN, before anything is saved
            numbers = processes.averaged({
                "loss": loss.item() / n_bars,
                "reconstruction": found.reconstruction.sum(1).mean().item() / n_bars,
                "divergence": found.divergence.sum((1, 2)).mean().item() / n_bars,
                "gradient_norm": norm.item(),
                **judged,
            })    # fmt: skip
            last, stopping = step == settings.steps, processes.any_requested(stop_requested())
            looks = last or step % settings.validate_every == 0
            keeps = last or stopping or step % settings.checkpoint_every == 0
            check_finite(step, numbers, networks if looks or keeps else {}, settings.learning_rate)
            numbers["seconds"] = time.perf_counter() - started

            # Look at held-out pieces, log and keep
            with processes.together():
                if record:
                    record.log(step, numbers, *(record.look(**averages, step=step) if looks else ()))
                    if keeps:
                        save(run, state, data=fingerprint, step=step, best=record.best)
    return step >= settings.steps


class Adversary:
    """A discriminator that judges samples of the decoder beside real phrases, as in a GAN's training (VAE-GAN).

    Args:
        decoder: on its device.
    Source: Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric". Differs: it sees samples from
    the prior alone, since reconstructions have a likelihood of their own; and there is no similarity of features.
    """

    def __init__(self, decoder: CompactGenerator, config: VaeConfig, device: torch.device):
        train = config.train
        self._settings = TrainConfig(batch_size=train.batch_size, seed=train.seed, learning_rate=train.learning_rate)
        self._n_bars = config.data.n_bars
        with torch.random.fork_rng():
            torch.manual_seed(derived_seed(train.seed, "discriminator"))
            self.discriminator = CompactDiscriminator(
                decoder.layout, config.data.n_bars, config.model.encoder_width, config.model.n_blocks
            ).to(device)
        self._pair = Pair(decoder, self.discriminator, self._settings)
        self.optimizer = self._pair.optimizers["discriminator"]

    def judge(self, features: Tensor, step: int) -> tuple[Tensor, dict[str, float]]:
        """Updates the discriminator by a batch of real phrases [N, B, T, F].

        Returns:
            what the decoder loses, scalar, to be differentiated; and the losses of both, and the penalty where there is one.
        """
        settings, pair = self._settings, self._pair
        seen = view(settings, pair.generator.layout, self._n_bars, step, settings.augment_probability)
        (part,) = deal(pair.generator, features, settings, step)
        self.discriminator.requires_grad_(True)
        numbers = pair.update_discriminator([part], seen, step, last=True)
        self.discriminator.requires_grad_(False)
        lost = generator_loss(settings.loss, part.real_score, pair.score(part.fake, seen))
        return lost, {**numbers, "generator": lost.item()}


class VaeRecord(Log):
    """The files that one process writes for all; a context, in which they are open.

    Args:
        run, progress, step: see `Log`.
        training, held_out: real phrases.
        best: the smallest held-out loss so far.
    """

    def __init__(
        self,
        run: RunFolder,
        training: Phrases,
        held_out: Phrases,
        settings: VaeTrainConfig,
        progress: Progress,
        step: int,
        best: float,
    ):
        super().__init__(run, progress, step)
        self._run, self._seed, self.best = run, settings.seed, best
        self._validation = Validation(training, held_out, settings.validation_samples, settings.seed)
        self._reconstructions = Reconstructions(training, held_out, settings)
        progress.say(f"{len(training)} phrases to train on, {len(held_out)} held out; "
                     f"distance between them {self._validation.floor:.3f}")

    def look(
        self, decoder: CompactGenerator, encoder: PhraseEncoder, step: int
    ) -> tuple[dict[str, float], dict[str, float | None]]:
        """Looks at samples and at reconstructions of held-out phrases, and keeps both networks as the newest and, where the
        held-out loss is smallest, as the best; returns numbers and statistics."""
        run, say = self._run, self._progress.say
        calibrate(decoder, derived_seed(self._seed, "calibration"), self._validation.training)
        self._reconstructions.measure(decoder, encoder)
        found, look = self._validation.compare(decoder), self._reconstructions.look(decoder, encoder)
        loss = look.numbers["held_out_loss"]
        better = loss < self.best
        self.best = min(loss, self.best)
        for folder in (run.newest, run.best)[: 1 + better]:
            save_model(decoder, folder)
            save_model(encoder, folder / ENCODER)
        show(decoder, run, step, self._seed)
        self._reconstructions.show(decoder, encoder, run, step)
        scores = [score for score in look.f1.values() if score is not None]
        say(f"step {step}: held-out loss {loss:.1f} nats a bar (best {self.best:.1f}), mean F1 {mean(scores):.2f}, "
            f"{look.numbers['active_units']:.0%} of latents active; samples {found.distances['distance_held_out']:.3f} from "
            f"held-out pieces, {found.distances['distance_training']:.3f} from training")
        return found.distances | look.numbers, found.statistics | look.f1
