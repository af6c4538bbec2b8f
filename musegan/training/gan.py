"""The adversarial loop: batches in, a trained generator out."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from musegan.config import Config, TrainConfig
from musegan.data.dataset import PackedDataset
from musegan.data.loader import Batches, Loader
from musegan.data.phrases import Augmentation, Phrases
from musegan.errors import UserError, one_line
from musegan.export import MAX_TEMPO_BPM, MIN_TEMPO_BPM
from musegan.losses import discriminator_loss, generator_loss, gradient_penalty, zero_centred_penalty
from musegan.models import Facts, Generator, Given, build, save_generator
from musegan.seeding import derived_seed, generator_for
from musegan.training.augmentation import ADAPT_EVERY, Strength, View, view
from musegan.training.calibration import calibrate
from musegan.training.run_folder import RunFolder
from musegan.training.splits import split
from musegan.training.validation import Validation, given_tracks, show

LOG_EVERY = 10    # steps


class Progress:
    """What the loop tells whoever watches; the command's version shows a progress bar."""

    def start(self, done: int, total: int) -> None:
        """The loop begins after `done` of `total` steps."""

    def advance(self, step: int, numbers: dict[str, float]) -> None:
        """A step is done."""

    def say(self, line: str) -> None:
        """Something happened that is worth a line."""


def train(
    config: Config,
    dataset: PackedDataset,
    run: RunFolder,
    resume: bool = False,
    progress: Progress = Progress(),
    stop_requested: Callable[[], bool] = lambda: False,
) -> bool:
    """Trains a pair, writing everything to the run's folder.

    With `resume` it goes on from the run's checkpoint and ends bit for bit where an uninterrupted run ends. (A run that was
    given more steps after its end has one comparison more behind it, at the old end, from which `best` may come.)

    Args:
        stop_requested: asked after each step; when True, a checkpoint is written and the loop returns.
    Returns:
        whether all steps are done.
    Raises:
        UserError: the data has too few phrases, a checkpoint does not fit, or a loss is no longer a number.
    """
    # Data
    settings, device = config.train, _device(config.train.device)
    training, held_out, _ = split(config.data, dataset)
    validation = Validation(training, held_out, settings)
    progress.say(f"{len(training)} phrases to train on, {len(held_out)} held out; distance between them {validation.floor:.3f}")

    # Networks
    cell_counts = training.cell_counts_within(config.data.transpose_semitones)
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(settings.seed, "weights"))
        generator, discriminator = build(
            config.model, dataset.spec, cell_counts, config.data.n_bars, _facts(training)
        )
    layout, first_slope = generator.layout, generator.slope.item()
    average = copy.deepcopy(generator).requires_grad_(False).eval()
    networks = {"generator": generator, "discriminator": discriminator, "average": average}
    for network in networks.values():
        network.to(device)
    betas = (settings.adam_beta1, settings.adam_beta2)
    optimizers = {
        name: torch.optim.Adam(networks[name].parameters(), lr=settings.learning_rate, betas=betas, fused=True)
        for name in ("generator", "discriminator")
    }
    strength = Strength(settings.augment_probability, settings.augment_target)

    # Resume
    step, best, fingerprint = 0, float("inf"), training.fingerprint()
    if resume and run.checkpoint.exists():
        step, best, strength.probability = _restore(run, networks, optimizers, fingerprint)
        progress.say(f"resumed after step {step}")
    run.rewind_metrics(step)
    writer = SummaryWriter(run.tensorboard, purge_step=step + 1)
    progress.start(step, settings.steps)

    # Batches, from that step on
    updates = settings.discriminator_updates
    augmentation = Augmentation(config.data.transpose_semitones, config.data.track_dropout)
    batches = Batches(training, settings.batch_size, settings.seed, augmentation=augmentation, transform=layout.crop)
    loader = Loader(batches, range(step * updates, settings.steps * updates), settings.workers)
    remembered = Batches(held_out, settings.batch_size, settings.seed, transform=layout.crop)

    with writer, open(run.metrics, "a", buffering=1) as log, loader:
        stopping = False
        while step < settings.steps and not stopping:
            # Schedules
            started = time.perf_counter()
            for optimizer in optimizers.values():
                optimizer.param_groups[0]["lr"] = _learning_rate(settings, step)
            generator.slope.fill_(_slope(settings, first_slope, step * updates * settings.batch_size // len(training)))
            numbers = {}

            for number in range(step * updates, (step + 1) * updates):
                # One batch, one set of latents, one view
                music = next(loader).to(device).float()
                latents = _latents(generator, settings, number).to(device)
                given = _given(generator, music, settings, number)
                seen = view(settings, layout, config.data.n_bars, number, strength.probability)

                # Discriminator
                with torch.set_grad_enabled(number == (step + 1) * updates - 1):
                    fake = generator.probabilities(latents, given)    # the last one is the generator's too
                loss_d, real_score, penalty = _discriminator_loss(discriminator, music, fake.detach(), seen, layout, settings, number)
                numbers["discriminator"] = loss_d.item()
                if penalty is not None:
                    numbers["penalty"] = penalty.item()
                    loss_d = loss_d + settings.penalty_weight * settings.penalty_every * penalty
                _update(optimizers["discriminator"], loss_d)

            # Generator
            # Differs: real scores are those of before the update, which saves a pass
            discriminator.requires_grad_(False)
            fake_score = seen.score(discriminator, fake, layout)
            loss_g = generator_loss(settings.loss, real_score.detach(), fake_score)
            numbers["generator"] = loss_g.item()
            _update(optimizers["generator"], loss_g)
            discriminator.requires_grad_(True)
            step += 1
            _update_average(average, generator, min(settings.ema_decay, (1 + step) / (10 + step)))

            # Adapt the augmentation
            if settings.augment_target and step % ADAPT_EVERY == 0:
                with torch.no_grad():
                    unseen = seen.score(discriminator, remembered[step].to(device).float(), layout)
                numbers["memory"] = strength.adapt(real_score, unseen, fake_score)
                numbers["augment_probability"] = strength.probability

            # Stop on NaN, before anything is saved
            last, stopping = step == settings.steps, stop_requested()
            compares = last or step % settings.validate_every == 0
            keeps = last or stopping or step % settings.checkpoint_every == 0
            _check_finite(step, numbers, networks if compares or keeps else {}, settings.learning_rate)
            numbers["seconds"] = time.perf_counter() - started

            # Compare with held-out pieces
            if compares:
                calibrate(average, derived_seed(settings.seed, "calibration"))
                found = validation.compare(average)
                numbers |= found.distances
                save_generator(average, run.newest)
                if numbers["distance_held_out"] < best:
                    best = numbers["distance_held_out"]
                    save_generator(average, run.best)
                show(average, run, step, settings.seed)
                progress.say(f"step {step}: distance {numbers['distance_held_out']:.3f} from held-out pieces "
                             f"(best {best:.3f}, real {validation.floor:.3f}), {numbers['distance_training']:.3f} from training")
                for flag in found.flags:
                    progress.say(f"step {step}: {flag}")

            # Log and keep
            progress.advance(step, numbers)
            if compares or step % LOG_EVERY == 0 or step == 1:
                log.write(json.dumps({"step": step, **numbers} | ({"statistics": found.statistics} if compares else {})) + "\n")
                for name, value in numbers.items():
                    writer.add_scalar(name, value, step)
                for name, value in found.statistics.items() if compares else ():
                    if value is not None:
                        writer.add_scalar(f"statistics/{name}", value, step)
            if keeps:
                _save(run, networks, optimizers, step=step, best=best, augment_probability=strength.probability, data=fingerprint)
    return step >= settings.steps


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise UserError(f"train.device must be auto, cpu or cuda: got {name!r}")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as err:
        raise UserError(f"train.device: cannot use {name!r}: {one_line(err)}") from err
    return torch.device(name)


def _facts(training: Phrases) -> Facts:
    """What a generator keeps of the data it was trained on."""
    cells, n_steps = training.cell_counts.sum(1), len(training) * training.n_bars * training.dataset.spec.steps_per_bar
    tempo_bpm = float(training.dataset.tempo_bpm[training.starts].median())
    return Facts(
        frame_density=tuple((cells / n_steps).tolist()),
        onset_density=tuple((training.onset_counts / cells.clamp(min=1)).tolist()),
        key_shifts=tuple(training.shift_counts()),
        tempo_bpm=round(min(max(tempo_bpm, MIN_TEMPO_BPM), MAX_TEMPO_BPM), 2),
    )


def _learning_rate(settings: TrainConfig, step: int) -> float:
    halving = settings.learning_rate_halving
    return settings.learning_rate * (0.5 ** (step / halving) if halving else 1.0)


def _slope(settings: TrainConfig, first: float, epoch: int) -> float:
    return min(first * settings.slope_growth**epoch, max(settings.max_slope, first)) if settings.slope_growth > 1 else first


def _latents(generator: Generator, settings: TrainConfig, number: int) -> Tensor:
    rng = generator_for(settings.seed, "latents", number)
    return torch.randn(settings.batch_size, *generator.latent_shape, generator=rng)


def _given(generator: Generator, music: Tensor, settings: TrainConfig, number: int) -> Given | None:
    """Tracks of the batch's phrases, each of which the generated phrase in its place accompanies."""
    if not generator.accompanies:
        return None
    tracks = given_tracks(len(music), generator.spec.n_tracks, settings.accompany_share, settings.seed, number)
    return Given(music, tracks.to(music.device))


def _discriminator_loss(
    discriminator: nn.Module, real: Tensor, fake: Tensor, seen: View, layout, settings: TrainConfig, number: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The loss without penalty, the scores of the real phrases [N], and the penalty where this update has one."""
    penalise = (number + 1) % settings.penalty_every == 0 and settings.penalty_weight > 0
    on_real, on_fake = (penalise and settings.penalty in kinds for kinds in (("zero-centred", "real"), ("zero-centred",)))
    real, fake = real.detach().requires_grad_(on_real), fake.requires_grad_(on_fake)
    real_score, fake_score = (seen.score(discriminator, features, layout) for features in (real, fake))
    loss, penalty = discriminator_loss(settings.loss, real_score, fake_score), None
    if on_real:
        penalty = zero_centred_penalty(real_score, real)
    if on_fake:
        penalty = penalty + zero_centred_penalty(fake_score, fake)
    if penalise and settings.penalty == "gradient":
        alpha = torch.rand(len(real), generator=generator_for(settings.seed, "interpolation", number)).to(real.device)
        penalty = gradient_penalty(lambda features: seen.score(discriminator, features, layout), real, fake, alpha)
    return loss, real_score, penalty


def _check_finite(step: int, numbers: dict[str, float], networks: dict[str, nn.Module], learning_rate: float) -> None:
    weights = (value for network in networks.values() for value in network.state_dict().values())
    if all(map(math.isfinite, numbers.values())) and all(torch.isfinite(value).all() for value in weights):
        return
    raise UserError(
        f"step {step}: a loss or a weight is not a number any more ({numbers}); what was saved before is kept. "
        f"Try a lower train.learning_rate than {learning_rate:g}"
    )


def _update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Moves an average, batch-norm statistics included, towards a network."""
    for old, new in zip(average.state_dict().values(), network.state_dict().values()):
        if old.is_floating_point():
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)


def _save(run: RunFolder, networks: dict[str, nn.Module], optimizers: dict, **facts) -> None:
    parts = {**networks, **{f"{name} optimizer": optimizer for name, optimizer in optimizers.items()}}
    run.save_checkpoint({**facts, **{name: part.state_dict() for name, part in parts.items()}})


def _restore(run: RunFolder, networks: dict[str, nn.Module], optimizers: dict, fingerprint: str) -> tuple[int, float, float]:
    """Loads what `_save` wrote; returns step, best distance so far and probability of augmentation."""
    state = run.load_checkpoint()
    parts = {**networks, **{f"{name} optimizer": optimizer for name, optimizer in optimizers.items()}}
    try:
        if state["data"] != fingerprint:
            raise UserError("its data set has changed since")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return state["step"], state["best"], state["augment_probability"]
    except (LookupError, RuntimeError, ValueError, TypeError, AttributeError) as err:
        raise UserError(f"{run.checkpoint} does not fit this run: {one_line(err)}") from err
