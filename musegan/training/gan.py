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

from musegan.config import Config
from musegan.data.loader import Batches, Loader
from musegan.data.dataset import PackedDataset, split_pieces
from musegan.data.phrases import Augmentation, Phrases
from musegan.errors import UserError, one_line
from musegan.export import MAX_TEMPO_BPM, MIN_TEMPO_BPM, write_midi, write_png
from musegan.evaluation.corpus import Corpus
from musegan.evaluation.statistics import Measured, flagged, measure, values_by_name
from musegan.losses import discriminator_loss, generator_loss, zero_centred_penalty
from musegan.metrics.histograms import distance
from musegan.models import CompactGenerator, Layout, build, save_generator
from musegan.sampling import sample, sample_packed
from musegan.seeding import derived_seed, generator_for
from musegan.training.run_folder import RunFolder

ADAM_BETAS = (0.0, 0.99)    # R3GAN
LOG_EVERY = 10              # steps
N_SHOWN = 4                 # phrases in a picture


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
    training, validation = _split(config, dataset)
    real = {
        name: _measured(phrases, settings.validation_samples, settings.seed)
        for name, phrases in (("held_out", validation), ("training", training))
    }
    floor = float(distance(real["training"].counts(), real["held_out"].counts()))
    progress.say(f"{len(training)} phrases to train on, {len(validation)} held out; distance between them {floor:.3f}")

    # Networks
    cell_counts = training.cell_counts_within(config.data.transpose_semitones)
    layout = Layout.fit(cell_counts, dataset.spec, tuple(config.model.mono_tracks))
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(settings.seed, "weights"))
        generator, discriminator = build(config.model, layout, config.data.n_bars, **_facts(training, layout))
    average = copy.deepcopy(generator).requires_grad_(False).eval()
    networks = {"generator": generator, "discriminator": discriminator, "average": average}
    for network in networks.values():
        network.to(device)
    optimizers = {
        name: torch.optim.Adam(networks[name].parameters(), lr=settings.learning_rate, betas=ADAM_BETAS, fused=True)
        for name in ("generator", "discriminator")
    }

    # Resume
    step, best, fingerprint = 0, float("inf"), training.fingerprint()
    if resume and run.checkpoint.exists():
        step, best = _restore(run, networks, optimizers, fingerprint)
        progress.say(f"resumed after step {step}")
    run.rewind_metrics(step)
    writer = SummaryWriter(run.tensorboard, purge_step=step + 1)
    progress.start(step, settings.steps)

    # Batches, from that step on
    augmentation = Augmentation(config.data.transpose_semitones, config.data.track_dropout)
    batches = Batches(training, settings.batch_size, settings.seed, augmentation=augmentation, transform=layout.crop)
    loader = Loader(batches, range(step, settings.steps), settings.workers)

    with writer, open(run.metrics, "a", buffering=1) as log, loader:
        stopping = False
        while step < settings.steps and not stopping:
            # One batch, one augmentation, one set of latents
            started = time.perf_counter()
            music = next(loader).to(device).float()
            latents = _latents(generator, settings.batch_size, settings.seed, step).to(device)
            view = _augmentation(settings.seed, step, settings.transpose_range, config.data.n_bars)
            step += 1

            # Discriminator
            fake = generator.probabilities(latents)
            fake_leaf = fake.detach()
            penalise = step % settings.penalty_every == 0
            if penalise:
                music.requires_grad_(), fake_leaf.requires_grad_()
            real_score, fake_score = discriminator(music, *view), discriminator(fake_leaf, *view)
            loss_d = discriminator_loss("relativistic", real_score, fake_score)
            numbers = {"discriminator": loss_d.item()}
            if penalise:
                penalty = zero_centred_penalty(real_score, music) + zero_centred_penalty(fake_score, fake_leaf)
                numbers["penalty"] = penalty.item()
                loss_d = loss_d + settings.penalty_weight * settings.penalty_every * penalty
            _update(optimizers["discriminator"], loss_d)

            # Generator
            # Differs: real scores are those of before the update, which saves a pass
            discriminator.requires_grad_(False)
            loss_g = generator_loss("relativistic", real_score.detach(), discriminator(fake, *view))
            numbers["generator"] = loss_g.item()
            _update(optimizers["generator"], loss_g)
            discriminator.requires_grad_(True)
            _update_average(average, generator, min(settings.ema_decay, (1 + step) / (10 + step)))

            # Stop on NaN, before anything is saved
            last, stopping = step == settings.steps, stop_requested()
            compares = last or step % settings.validate_every == 0
            keeps = last or stopping or step % settings.checkpoint_every == 0
            _check_finite(step, numbers, networks if compares or keeps else {}, settings.learning_rate)
            numbers["seconds"] = time.perf_counter() - started

            # Compare with held-out pieces
            if compares:
                found, statistics, flags = _validate(average, real, settings.validation_samples, settings.seed)
                numbers |= found
                save_generator(average, run.newest)
                if numbers["distance_held_out"] < best:
                    best = numbers["distance_held_out"]
                    save_generator(average, run.best)
                _show(average, run, step, settings.seed)
                progress.say(f"step {step}: distance {numbers['distance_held_out']:.3f} from held-out pieces "
                             f"(best {best:.3f}, real {floor:.3f}), {numbers['distance_training']:.3f} from training")
                for flag in flags:
                    progress.say(f"step {step}: {flag}")

            # Log and keep
            progress.advance(step, numbers)
            if compares or step % LOG_EVERY == 0 or step == 1:
                log.write(json.dumps({"step": step, **numbers} | ({"statistics": statistics} if compares else {})) + "\n")
                for name, value in numbers.items():
                    writer.add_scalar(name, value, step)
                for name, value in statistics.items() if compares else ():
                    if value is not None:
                        writer.add_scalar(f"statistics/{name}", value, step)
            if keeps:
                _save(run, networks, optimizers, step=step, best=best, data=fingerprint)
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


def _split(config: Config, dataset: PackedDataset) -> tuple[Phrases, Phrases]:
    """Phrases of the pieces to train on, and of those held out."""
    data = config.data
    starts = dataset.phrase_starts(data.n_bars)
    piece = dataset.piece_of(starts)
    parts = []
    if len(dataset.pieces) < 2:
        raise UserError("training needs two pieces at least, one of them to hold out: the data set has one")
    for name, indices in zip(("train on", "hold out"), split_pieces(dataset.pieces, data.validation_share)):
        own = starts[torch.isin(piece, torch.as_tensor(indices))]
        phrases = Phrases(dataset, own, data.n_bars, data.normalize_key, data.min_tracks)
        if len(phrases) == 0:
            raise UserError(
                f"no phrases to {name}: none of the {len(indices)} pieces for it has {data.n_bars} bars in a row in "
                f"which data.min_tracks={data.min_tracks} tracks sound; there are {len(dataset.pieces)} pieces in all"
            )
        parts.append(phrases)
    return parts[0], parts[1]


def _facts(training: Phrases, layout: Layout) -> dict:
    """What a generator keeps of the data it was trained on."""
    spec = layout.spec
    frame = training.cell_counts.sum(1) / len(training)
    cells = torch.tensor(layout.n_pitches) * spec.steps_per_bar * training.n_bars
    tempo_bpm = float(training.dataset.tempo_bpm[training.starts].median())
    return {
        "frame_density": (frame / cells).tolist(),
        "onset_density": (training.onset_counts / training.cell_counts.sum(1).clamp(min=1)).tolist(),
        "key_shifts": training.shift_counts(),
        "tempo_bpm": round(min(max(tempo_bpm, MIN_TEMPO_BPM), MAX_TEMPO_BPM), 2),
    }


def _latents(generator: CompactGenerator, n: int, seed: int, step: int) -> Tensor:
    shape = (n, 1 + generator.n_bars, generator.latent_size)
    return torch.randn(shape, generator=generator_for(seed, "latents", step))


def _augmentation(seed: int, step: int, transpose_range: int, n_bars: int) -> tuple[int, int]:
    """Semitones and bars by which the discriminator sees this step's phrases moved, real and generated alike."""
    rng = generator_for(seed, "augmentation", step)
    semitones = int(torch.randint(-transpose_range, transpose_range + 1, (), generator=rng))
    return semitones, int(torch.randint(n_bars, (), generator=rng))


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


def _measured(phrases: Phrases, n: int, seed: int) -> Measured:
    return measure(Corpus.of_roll(phrases.sample(n, seed), phrases.dataset.spec))


def _validate(
    average: CompactGenerator, real: dict[str, Measured], n_samples: int, seed: int
) -> tuple[dict[str, float], dict[str, float | None], list[str]]:
    """Of generated phrases: distances from the held-out and the training ones, statistics, and what is badly off."""
    roll = sample_packed(average, n_samples, derived_seed(seed, "validation"), in_training_key=True)
    generated = measure(Corpus(roll, torch.arange(n_samples), average.spec))
    counts = generated.counts()
    distances = {f"distance_{name}": float(distance(counts, reference.counts())) for name, reference in real.items()}
    values, wanted = (values_by_name(measured) for measured in (generated, real["training"]))
    statistics = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return distances, statistics, flagged(values, wanted)


def _show(average: CompactGenerator, run: RunFolder, step: int, seed: int) -> None:
    """Writes a picture of some phrases, always of the same latents, and the first of them as MIDI."""
    roll = sample(average, N_SHOWN, derived_seed(seed, "samples"))
    name = run.samples / f"step-{step:06d}"
    write_png(name.with_suffix(".png"), roll.phrases(), average.spec)
    write_midi(name.with_suffix(".mid"), roll.phrases()[0], average.spec, average.tempo_bpm)


def _save(run: RunFolder, networks: dict[str, nn.Module], optimizers: dict, **facts) -> None:
    parts = {**networks, **{f"{name} optimizer": optimizer for name, optimizer in optimizers.items()}}
    run.save_checkpoint({**facts, **{name: part.state_dict() for name, part in parts.items()}})


def _restore(run: RunFolder, networks: dict[str, nn.Module], optimizers: dict, fingerprint: str) -> tuple[int, float]:
    """Loads what `_save` wrote; returns step and best distance so far."""
    state = run.load_checkpoint()
    parts = {**networks, **{f"{name} optimizer": optimizer for name, optimizer in optimizers.items()}}
    try:
        if state["data"] != fingerprint:
            raise UserError("its data set has changed since")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return state["step"], state["best"]
    except (LookupError, RuntimeError, ValueError, TypeError, AttributeError) as err:
        raise UserError(f"{run.checkpoint} does not fit this run: {one_line(err)}") from err
