"""The loop of models that write token by token: windows of real music in, a model that foretells the next token out."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from musegan.config import SequenceConfig, SequenceTrainConfig
from musegan.data.dataset import PackedDataset
from musegan.data.sequences import Passage, Windows, tracks_of
from musegan.errors import UserError
from musegan.export import MAX_TEMPO_BPM, MIN_TEMPO_BPM
from musegan.keys import HIGHEST_SHIFT, LOWEST_SHIFT
from musegan.models import Facts, SequenceModel, build_sequence, save_model
from musegan.models.batch import n_processes
from musegan.seeding import derived_seed
from musegan.training import processes
from musegan.training.likelihood import likelihood, loss_of, show
from musegan.training.log import Log, Progress
from musegan.training.loops import check_finite, device_of, halved, restore, save, update_average
from musegan.training.run_folder import RunFolder
from musegan.training.splits import split_sequences


def train(
    config: SequenceConfig,
    dataset: PackedDataset,
    run: RunFolder,
    resume: bool = False,
    progress: Progress = Progress(),
    stop_requested: Callable[[], bool] = lambda: False,
) -> bool:
    """Trains a model, writing everything to the run's folder.

    With `resume` it goes on from the run's checkpoint and ends bit for bit where an uninterrupted run ends.

    Args:
        stop_requested: asked after each step; when True, a checkpoint is written and the loop returns.
    Returns:
        whether the run is over: all steps are done, or no better model was found for too long.
    Raises:
        UserError: the data has too few pieces or no such track, a checkpoint does not fit, a loss is no longer a number,
            or there are several processes.
    """
    settings = config.train
    if n_processes() > 1:
        raise processes.told_once(UserError("family sequence: one process trains, so start it without a launcher"))

    # Data
    device = device_of(settings.device)
    training, held_out, _, passages = split_sequences(config.data, dataset)
    fingerprint = training.fingerprint()
    progress.say(f"{len(training)} windows to train on, {len(held_out)} held out; {training.vocabulary.size} tokens")

    # Model
    spec = replace(dataset.spec, tracks=tracks_of(dataset, config.data.track, config.data.encoding))
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(settings.seed, "weights"))
        facts = _facts(config, dataset, passages[0])
        model = build_sequence(config.model, config.data.encoding, spec, config.data.n_bars, facts)
    average = copy.deepcopy(model).requires_grad_(False).eval().to(device)
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    networks = {"model": model, "average": average}
    state = {**networks, "optimizer": optimizer}

    # Resume
    step, best, n_worse = 0, float("inf"), 0
    if resume and run.checkpoint.exists():
        step, best, n_worse = restore(run, state, fingerprint, "step", "best", "n_worse")
        progress.say(f"resumed after step {step}")

    with Log(run, progress, step) as log:
        progress.start(step, settings.steps, {"loss": "loss"})
        stopping = False
        while step < settings.steps and not _is_over(settings, n_worse) and not stopping:
            started = time.perf_counter()
            optimizer.param_groups[0]["lr"] = halved(settings.learning_rate, settings.learning_rate_halving, step)

            # One batch, every token of which is foretold from those before it
            batch = training.batch(step, settings.seed, settings.batch_size, config.data.transpose_semitones)
            loss = _update(model.train(), optimizer, *(each.to(device) for each in batch), settings, step)
            step += 1
            update_average(average, model, settings.ema_decay, step)

            # Stop on NaN, before anything is saved
            last, stopping = step == settings.steps, stop_requested()
            looks = last or step % settings.validate_every == 0
            keeps = last or looks or stopping or step % settings.checkpoint_every == 0
            numbers = {"loss": loss}
            check_finite(step, numbers, networks if keeps else {}, settings.learning_rate)
            numbers["seconds"] = time.perf_counter() - started

            # Look at held-out pieces, log and keep
            found = None
            if looks:
                found = _look(average, held_out)
                save_model(average, run.newest)
                n_worse += 1
                if found["nats_per_token"] < best:
                    best, n_worse = found["nats_per_token"], 0
                    save_model(average, run.best)
                show(average, run, step, settings.seed)
                progress.say(f"step {step}: perplexity {found['perplexity']:.3f} of held-out tokens, "
                             f"{found['nats_per_step']:.4f} nats a step, accuracy {found['accuracy']:.3f}"
                             + (" (best)" if not n_worse else ""))
            log.log(step, numbers, found)
            if keeps:
                save(run, state, data=fingerprint, step=step, best=best, n_worse=n_worse)
    if _is_over(settings, n_worse) and step < settings.steps:
        progress.say(f"step {step}: {n_worse} looks in a row found nothing better: the run is over (train.patience)")
    return step >= settings.steps or _is_over(settings, n_worse)


def _update(
    model: SequenceModel,
    optimizer: torch.optim.Optimizer,
    given: torch.Tensor,
    targets: torch.Tensor,
    settings: SequenceTrainConfig,
    step: int,
) -> float:
    """One update; returns the loss before it."""
    optimizer.zero_grad(set_to_none=True)
    with torch.random.fork_rng(devices=[given.device] if given.is_cuda else []):
        torch.manual_seed(derived_seed(settings.seed, "dropout", step))
        loss = loss_of(model, given, targets)
    loss.backward()
    if settings.max_gradient_norm:
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_gradient_norm)
    optimizer.step()
    return loss.item()


def _is_over(settings: SequenceTrainConfig, n_worse: int) -> bool:
    return 0 < settings.patience <= n_worse


def _look(average: SequenceModel, held_out: Windows) -> dict[str, float]:
    found = likelihood(average, held_out)
    return {"nats_per_token": found.per_token, "perplexity": found.perplexity, "nats_per_step": found.per_step,
            "nats_per_note": found.per_note, "accuracy": found.accuracy}    # fmt: skip


def _facts(config: SequenceConfig, dataset: PackedDataset, training: list[Passage]) -> Facts:
    """What a model keeps of the data it was trained on."""
    rows = dataset.phrase_starts(1)
    learned = torch.tensor(sorted({passage.piece for passage in training}))
    tempo_bpm = float(dataset.tempo_bpm[rows[torch.isin(dataset.piece_of(rows), learned)]].median())
    shifts = torch.tensor(list({passage.piece: passage.shift for passage in training}.values()))
    counts = torch.bincount(shifts - LOWEST_SHIFT, minlength=HIGHEST_SHIFT - LOWEST_SHIFT + 1).tolist()
    return Facts(
        key_shifts=tuple(counts) if config.data.normalize_key else (),
        tempo_bpm=round(min(max(tempo_bpm, MIN_TEMPO_BPM), MAX_TEMPO_BPM), 2),
    )
