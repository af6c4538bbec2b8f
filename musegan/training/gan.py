"""The adversarial loop: batches in, a trained generator out; the same on one process and on several."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable

import torch
from torch import nn

from musegan.config import Config, TrainConfig
from musegan.data.dataset import PackedDataset
from musegan.data.loader import Batches, Loader
from musegan.data.phrases import Augmentation
from musegan.models import build
from musegan.models.batch import n_processes, rank
from musegan.seeding import derived_seed
from musegan.training import processes
from musegan.training.augmentation import ADAPT_EVERY, Strength, view
from musegan.training.log import Progress
from musegan.training.loops import check_finite, check_parts, device_of, facts_of, halved, restore, save, update_average
from musegan.training.record import Record
from musegan.training.run_folder import RunFolder
from musegan.training.splits import split
from musegan.training.updates import Pair, deal
from musegan.training.validation import Validation


def train(
    config: Config,
    dataset: PackedDataset,
    run: RunFolder,
    resume: bool = False,
    progress: Progress = Progress(),
    stop_requested: Callable[[], bool] = lambda: False,
) -> bool:
    """Trains a pair, writing everything to the run's folder.

    With `resume` it goes on from the run's checkpoint and ends bit for bit where an uninterrupted run ends. (A run
    that was given more steps after its end has one comparison more behind it, at the old end, from which `best` may
    come.)

    Several processes (`musegan.training.processes`) each call it with the same arguments. They share each batch, and
    the main one writes.

    Args:
        progress: of the main process; the others' are told nothing.
        stop_requested: asked after each step; when True in any process, a checkpoint is written and the loop returns.
    Returns:
        whether all steps are done.
    Raises:
        UserError: the data has too few phrases, a checkpoint does not fit, or a loss is no longer a number. Where the
            main process raises it too, the others raise a `ToldByMain`.
    """
    settings, main = config.train, processes.is_main()
    check_parts(settings.batch_size, settings.accumulate)
    with processes.together():
        # Data
        device = device_of(settings.device)
        training, held_out, _ = split(config.data, dataset)
        fingerprint = training.fingerprint()
        if main:
            validation = Validation(training, held_out, settings.validation_samples, settings.seed, settings.accompany_share)
            progress.say(f"{len(training)} phrases to train on, {len(held_out)} held out; "
                         f"distance between them {validation.floor:.3f}")

        # Networks
        cell_counts = training.cell_counts_within(config.data.transpose_semitones)
        with torch.random.fork_rng():
            torch.manual_seed(derived_seed(settings.seed, "weights"))
            generator, discriminator = build(
                config.model, dataset.spec, cell_counts, config.data.n_bars, facts_of(training)
            )
        layout, first_slope = generator.layout, generator.slope.item()
        average = copy.deepcopy(generator).requires_grad_(False).eval()
        networks = {"generator": generator, "discriminator": discriminator, "average": average}
        for network in networks.values():
            network.to(device)
        pair = Pair(generator, discriminator, settings)
        state = {**networks, **{f"{name} optimizer": each for name, each in pair.optimizers.items()}}
        strength = Strength(settings.augment_probability, settings.augment_target)

        # Resume
        step, best = 0, float("inf")
        if resume and run.checkpoint.exists():
            step, best, strength.probability = restore(run, state, fingerprint, "step", "best", "augment_probability")
            progress.say(f"resumed after step {step}")
    processes.check_same(fingerprint, "data set")
    processes.check_same(step, "checkpoint")
    processes.same_everywhere(*networks.values())

    # Batches, from that step on
    updates = settings.discriminator_updates
    share = {"rank": rank(), "world_size": n_processes(), "transform": layout.crop}
    augmentation = Augmentation(config.data.transpose_semitones, config.data.track_dropout)
    batches = Batches(training, settings.batch_size, settings.seed, augmentation=augmentation, **share)
    loader = Loader(batches, range(step * updates, settings.steps * updates), settings.workers)
    remembered = Batches(held_out, settings.batch_size, settings.seed, **share)

    with contextlib.ExitStack() as stack:
        with processes.together():
            record = stack.enter_context(Record(run, validation, settings, progress, step, best)) if main else None
            stack.enter_context(loader)
        progress.start(step, settings.steps, {"D": "discriminator", "G": "generator"})
        first_step, stopping = step, False
        while step < settings.steps and not stopping:
            # Schedules
            if settings.refine_from and step in (first_step, settings.refine_from):
                _enter_stage(networks, "refine" if step >= settings.refine_from else "pretrain")
                if step == settings.refine_from:    # the refiner learns behind the generator, not behind its average
                    average.load_state_dict(generator.state_dict())
                    if record:
                        record.best = float("inf")    # of another output
            started = time.perf_counter()
            for optimizer in pair.optimizers.values():
                optimizer.param_groups[0]["lr"] = halved(settings.learning_rate, settings.learning_rate_halving, step)
            generator.slope.fill_(_slope(settings, first_slope, step * updates * settings.batch_size // len(training)))
            numbers = {}

            for number in range(step * updates, (step + 1) * updates):
                # One batch, one set of latents, one view
                music = next(loader).to(device).float()
                parts = deal(generator, music, settings, number)
                seen = view(settings, layout, config.data.n_bars, number, strength.probability)

                # Discriminator
                numbers |= pair.update_discriminator(parts, seen, number, last=number == (step + 1) * updates - 1)

            # Generator
            numbers |= pair.update_generator(parts, seen)
            step += 1
            update_average(average, generator, settings.ema_decay, step)

            # Adapt the augmentation
            if settings.augment_target and step % ADAPT_EVERY == 0:
                unseen = remembered[step].to(device).float().chunk(settings.accumulate)
                with torch.no_grad():    # all three after the discriminator's update
                    real, unseen = ([pair.score(features, seen) for features in phrases]
                                    for phrases in ([part.music for part in parts], unseen))    # fmt: skip
                scores = real, unseen, [part.fake_score for part in parts]
                numbers["memory"] = strength.adapt(*(processes.gathered(torch.cat(score)) for score in scores))
                numbers["augment_probability"] = strength.probability

            # Stop on NaN, before anything is saved
            numbers = processes.averaged(numbers)
            last, stopping = step == settings.steps, processes.any_requested(stop_requested())
            compares = last or step % settings.validate_every == 0
            keeps = last or stopping or step % settings.checkpoint_every == 0
            check_finite(step, numbers, networks if compares or keeps else {}, settings.learning_rate)
            numbers["seconds"] = time.perf_counter() - started

            # Compare with held-out pieces, log and keep
            with processes.together():
                if record:
                    record.log(step, numbers, *(record.compare(average, step)[:2] if compares else ()))
                    if keeps:
                        facts = {"step": step, "best": record.best, "augment_probability": strength.probability}
                        save(run, state, data=fingerprint, **facts)
    return step >= settings.steps


def _enter_stage(networks: dict[str, nn.Module], stage: str) -> None:
    for name in ("generator", "average"):
        networks[name].enter(stage)
    networks["average"].requires_grad_(False)


def _slope(settings: TrainConfig, first: float, epoch: int) -> float:
    if settings.slope_growth == 1:
        return first
    last = max(settings.max_slope, first)
    if epoch * math.log(settings.slope_growth) > math.log(last / first):    # the power itself may be no float any more
        return last
    return min(first * settings.slope_growth**epoch, last)
