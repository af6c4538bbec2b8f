"""Two processes do what one does: a batch they share gives the losses, penalties and weights of a whole one.

All that two processes do here they do in one go, since starting them takes longer than the rest (`two`).
"""

import contextlib
import dataclasses
import io
import json
import math
import os
import signal
import socket
import threading
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from musegan import cli
from musegan.config import ModelConfig
from musegan.data.dataset import PackedDataset
from musegan.errors import UserError
from musegan.losses import zero_centred_penalty
from musegan.models import build
from musegan.models.blocks import ChannelNorm, TimeConv, minibatch_stddev
from musegan.training import gan, processes
from musegan.training.gan import train
from musegan.training.record import Progress
from musegan.training.run_folder import RunFolder
from tests.training.test_gan import TINY, after, run_in, with_train

RECIPES = {    # of which 12 updates of the discriminator are looked at
    "helped": dataclasses.replace(    # first: it forks, which threads of earlier gradients would make unsafe
        with_train(steps=1000, validate_every=1000, workers=1, augment_target=0.5),
        model=dataclasses.replace(TINY.model, accompaniment=True),
        data=dataclasses.replace(TINY.data, transpose_semitones=3, track_dropout=0.2)),
    "relativistic": with_train(steps=1000, validate_every=1000, penalty_every=2),
    "wasserstein": with_train(steps=1000, validate_every=1000, loss="wasserstein", penalty="gradient",
                              penalty_weight=10.0, penalty_every=1, discriminator_updates=3),
}
OF_PAPERS = {    # with batch norm of each way: of channels, folded into weights, of a merge, of images
    "musegan": {},
    "musegan-v3": {},
    "bmusegan": {"binary": "stochastic"},    # whose draws are of the whole batch
}
OPTIONS = ("--data.n_bars=2 --data.validation_share=0.3 --model.latent_size=8 --model.generator_width=16 "
           "--model.discriminator_width=16 --model.n_blocks=1 --train.batch_size=8 "
           "--train.validation_samples=16").split()


class Losses(Progress):
    """Keeps the numbers of every step."""

    def __init__(self):
        self.steps = []

    def advance(self, step, numbers):
        self.steps.append({"step": step, **{name: value for name, value in numbers.items() if name != "seconds"}})


def losses_of(config, songs, folder, n_updates=12, **options):
    """Of the first updates of a run without comparisons, or of its next ones with `resume`."""
    losses, run = Losses(), RunFolder(folder)
    with processes.together():
        run.create()
    options = {"stop_requested": after(n_updates // config.train.discriminator_updates), **options}
    train(config, songs, run, progress=losses, **options)
    return losses.steps


@contextlib.contextmanager
def in_float64():
    """The loop with so many digits that rounding, which Adam's first steps make large, does not hide what differs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        patch.setattr(gan, "Validation", lambda *_: SimpleNamespace(floor=0.0))
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def network_gradients():
    """Loss and penalty of a small network with batch norm and minibatch deviation: the weights' gradients, averaged."""
    torch.manual_seed(0)
    network = nn.Sequential(TimeConv(3, 5), ChannelNorm(5), nn.Tanh(), nn.Flatten(), Deviation(), nn.Linear(21, 1))
    network.double()
    sample = processes.own_part(torch.randn(6, 4, 3, dtype=torch.float64)).requires_grad_()
    score = network(sample).squeeze(1)
    penalty = zero_centred_penalty(score, sample)
    (score.square().mean() + penalty).backward()
    processes.average_gradients(network)
    loss = processes.averaged({"loss": score.square().mean().item(), "penalty": penalty.item()})
    return loss, [weight.grad for weight in network.parameters()], network[1].running_var, network[1].running_mean


class Deviation(nn.Module):
    def forward(self, h):
        return minibatch_stddev(h)


def pair_of_paper(kind, spec):
    """A pair in which both play on 4 phrases: phrases, the generator's gradients and its state afterwards."""
    torch.manual_seed(0)
    config = ModelConfig(kind=kind, latent_size=8, generator_width=32, discriminator_width=32, **OF_PAPERS[kind])
    generator, discriminator = (
        network.double() for network in build(config, spec, torch.ones(spec.n_tracks, spec.n_pitches), n_bars=2))
    latents = processes.own_part(torch.randn(4, *generator.latent_shape, dtype=torch.float64))
    for _ in range(2):    # the second time with other moments and draws
        phrases = generator.probabilities(latents)
    discriminator(phrases).square().mean().backward()
    processes.average_gradients(generator)
    gradients = {name: weight.grad for name, weight in generator.named_parameters() if weight.grad is not None}
    return processes.gathered(phrases.detach()), gradients, generator.state_dict()


def mistake_of(call):
    """How an error ends: its kind and what it says."""
    try:
        call()
    except UserError as err:
        return [type(err).__name__, str(err)]
    return None


def on_one_alone(number):
    with processes.together():
        if processes.rank() == number:
            raise UserError("no disk here")


def call_of_command(*arguments):
    """Exit code and what is said."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = cli.main(["train", *map(str, arguments)])
    return code, [line for line in said.getvalue().splitlines() if line and "training" not in line]


def stop_when(file):
    """Sends this process SIGTERM once a file is there."""
    while not file.exists():
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)


def work(number, port, songs_folder, folder):
    """Everything that a process does for the tests; what it finds goes into a file."""
    torch.set_num_threads(1)    # as launchers have it: two processes of two threads on two cores wait for each other
    os.environ.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2",
                      MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
    torch.multiprocessing.set_start_method("fork", force=True)    # of loaders, as under a launcher
    songs, found = PackedDataset.open(songs_folder), {}
    with processes.joined(lambda: True):
        with in_float64():
            for name, config in RECIPES.items():
                found[name] = losses_of(config, songs, folder / name)
        found["gradients"] = network_gradients()
        found["papers"] = {kind: pair_of_paper(kind, songs.spec) for kind in OF_PAPERS}
        with in_float64():
            asked = after(5) if number == 1 else lambda: False    # by one process
            losses_of(RECIPES["relativistic"], songs, folder / "of two", stop_requested=asked)
            found["resumed"] = losses_of(RECIPES["relativistic"], songs, folder / "of one", 7, resume=True)
        cheap = with_train(steps=1000, validate_every=1000, precision="bfloat16", accumulate=2)
        found["bfloat16"] = losses_of(cheap, songs, folder / "bfloat16", 3)
        found["no number"] = mistake_of(lambda: losses_of(with_train(steps=8), songs, folder / "poisoned", resume=True))
        found["indivisible"] = mistake_of(lambda: losses_of(with_train(batch_size=9), songs, folder / "indivisible"))
        found["one fails"] = mistake_of(lambda: on_one_alone(1))
        found["main fails"] = mistake_of(lambda: on_one_alone(0))
        found["other data"] = mistake_of(lambda: processes.check_same(number, "data set"))
        processes.joined = lambda _: contextlib.nullcontext()    # they are
        options = [*OPTIONS, f"--data.dataset={songs_folder}", "--train.steps=2"]
        found["command"] = call_of_command(*options, "--out", folder / "command")
        found["command mistake"] = call_of_command(*options, "--train.batch_size=9", "--out", folder / "mistaken")
        if number == 1:    # a signal to one alone, when it trains
            threading.Thread(target=stop_when, args=(folder / "signal" / "checkpoint.pt",), daemon=True).start()
        endless = ["--train.steps=100000", "--train.validate_every=100000", "--train.checkpoint_every=5"]
        found["signal"] = call_of_command(*options, *endless, "--out", folder / "signal")
    torch.save(found, folder / f"{number}.pt")


@pytest.fixture(scope="module")
def two(songs, songs_folder, tmp_path_factory):
    """What two processes found, [2], and the folder they worked in."""
    folder = tmp_path_factory.mktemp("two")
    with in_float64():
        losses_of(RECIPES["relativistic"], songs, folder / "of one", 5)
    poisoned = run_in(folder / "poisoned")
    train(with_train(steps=4), songs, poisoned)
    state = poisoned.load_checkpoint()
    for value in state["generator"].values():
        if value.is_floating_point():
            value.fill_(float("nan"))
    poisoned.save_checkpoint(state)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(work, (port, songs_folder, folder), nprocs=2)
    return [torch.load(folder / f"{number}.pt") for number in range(2)], folder


@pytest.fixture(scope="module")
def one(songs, tmp_path_factory):
    """The losses of each recipe on one process, and the folder of the runs."""
    folder = tmp_path_factory.mktemp("one")
    with in_float64():
        return {name: losses_of(config, songs, folder / name) for name, config in RECIPES.items()}, folder


def assert_same_losses(some, others):
    assert [step.keys() for step in some] == [step.keys() for step in others]
    for a, b in zip(some, others):
        assert a == pytest.approx(b, abs=1e-9, rel=1e-9)


def test_gradients_of_loss_and_penalty_are_those_of_the_whole_batch(two):
    """Batch norm and minibatch deviation couple the samples, in the penalty's second derivatives too."""
    loss, *of_one = network_gradients()
    for found in two[0]:
        assert found["gradients"][0] == pytest.approx(loss, rel=1e-12)
        for part, whole in zip(found["gradients"][1:], of_one):
            torch.testing.assert_close(part, whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", OF_PAPERS)
def test_the_networks_of_the_papers_see_the_whole_batch_too(kind, songs, two):
    whole = pair_of_paper(kind, songs.spec)
    for found in two[0]:
        torch.testing.assert_close(found["papers"][kind], whole, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_processes_train_as_one(recipe, one, two):
    losses, folder = one
    assert len(losses[recipe]) == (4 if recipe == "wasserstein" else 12)
    assert_same_losses(two[0][0][recipe], losses[recipe])
    assert two[0][1][recipe] == []    # the main process is the one that is watched
    states = [RunFolder(place / recipe).load_checkpoint() for place in (folder, two[1])]
    assert all(states[0][name] == states[1][name] for name in ("step", "data", "best", "augment_probability"))
    for network in ("generator", "discriminator", "average"):
        for name, value in states[0][network].items():
            torch.testing.assert_close(value, states[1][network][name], rtol=1e-7, atol=1e-7)


def test_a_checkpoint_goes_on_with_another_number_of_processes(songs, one, two):
    losses = one[0]["relativistic"]
    assert_same_losses(two[0][0]["resumed"], losses[5:])
    assert RunFolder(two[1] / "of two").load_checkpoint()["step"] == 5    # though one process alone was asked to stop
    with in_float64():
        assert_same_losses(losses_of(RECIPES["relativistic"], songs, two[1] / "of two", 7, resume=True), losses[5:])


def test_bfloat16_and_parts(songs, one, two):
    """Near the losses of float32; the parts' deviations are not the batch's."""
    first, *_, last = two[0][0]["bfloat16"]
    assert last["step"] == 3 and all(map(math.isfinite, last.values()))
    assert first["discriminator"] == pytest.approx(one[0]["relativistic"][0]["discriminator"], abs=0.1)


def test_mistakes_end_all_processes_and_are_told_once(two):
    (main, other), _ = two
    for found in ("no number", "indivisible", "one fails", "main fails", "other data"):
        assert [process[found][0] for process in (main, other)] == ["UserError", "ToldByMain"]
        assert main[found][1] == other[found][1]
    assert "step 5: a loss or a weight is not a number" in main["no number"][1]
    assert "must be divisible by 2 processes: got 9" in main["indivisible"][1]
    assert main["one fails"][1] == "process 1: no disk here" and main["main fails"][1] == "no disk here"
    assert main["other data"][1] == "process 1 reads another data set than the main process"


def test_the_command_writes_and_tells_once(two):
    (main, other), folder = two
    code, said = main["command"]
    assert code == 0 and said[-1].startswith("Done.") and other["command"] == (0, [])
    run = RunFolder(folder / "command")
    assert [json.loads(line)["step"] for line in run.metrics.open()] == [1, 2]
    assert len(list(run.tensorboard.iterdir())) == 1
    assert json.loads(run.environment.read_text())["processes"] == 2
    assert other["command mistake"] == (1, [])
    code, said = main["command mistake"]
    assert code == 1 and len(said) == 1 and said[0].startswith("musegan: error: train.batch_size")


def test_a_signal_to_one_process_stops_all_after_the_same_step(two):
    (main, other), folder = two
    assert main["signal"][0] == other["signal"][0] == 128 + signal.SIGTERM
    assert "Stopped and saved" in main["signal"][1][-1] and other["signal"][1] == []
    assert RunFolder(folder / "signal").load_checkpoint()["step"] < 100000
