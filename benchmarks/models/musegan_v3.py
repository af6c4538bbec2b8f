"""Steps of MuseGAN v3, as written and as matrix products: `python -m benchmarks.models.musegan_v3`.

Each way runs in a process of its own, since an allocator's settings are a process's, and all take turns. One step is
one update of the generator after one of the discriminator, or after five with WGAN-GP's penalty. Times are CPU seconds,
the kernel's for the process among them, so that what else runs on the machine counts little.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.ops.__main__ import ROOT, cpu_model, read_lines
from musegan import __version__
from musegan.files import atomic_write
from musegan.losses import discriminator_loss, generator_loss, gradient_penalty
from musegan.models import Layout, MuseganV3Discriminator, MuseganV3Generator
from musegan.roll import PRESETS, RollSpec
from musegan.training.memory import keep_freed_memory
from tests.models.naive_v3 import (
    NaiveDiscriminator, NaiveGenerator, copy_moments, copy_tensors, discriminator_tensors, generator_norms,
    generator_tensors,
)    # fmt: skip

RESULTS = ROOT / "benchmarks" / "results" / "musegan_v3.jsonl"
SPEC, N_BARS = RollSpec(PRESETS["lpd5"], steps_per_beat=12), 4
KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "MALLOC_TOP_PAD_": str(64 << 20)}
PENALTY_WEIGHT = 10.0


@dataclass(frozen=True)
class Way:
    """One way to make the same step."""

    naive: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    """Settings of the allocator, from the outside."""
    keeps: bool = False
    """`keep_freed_memory`, from the inside."""
    critic: str = ""
    """`bf16` or `compiled`."""
    generator: str = ""
    """`bf16`."""
    penalised: bool = True
    """Whether it also makes the step with WGAN-GP's penalty."""


NAIVE, FAST = "conv3d as written", "matrix products, as shipped"
WAYS = {
    NAIVE: Way(naive=True),
    "conv3d as written, freed memory kept": Way(naive=True, environment=tuple(KEPT.items())),
    "matrix products": Way(penalised=False),
    "matrix products, freed memory kept": Way(environment=tuple(KEPT.items()), penalised=False),
    FAST: Way(keeps=True),
    "... critic in bf16": Way(keeps=True, critic="bf16"),
    "... generator in bf16": Way(keeps=True, generator="bf16", penalised=False),
    "... critic compiled": Way(keeps=True, critic="compiled", penalised=False),
}
"""As shipped: with `keep_freed_memory`."""


class Step:
    """A pair of networks and their optimizers."""

    def __init__(self, way: Way, batch_size: int):
        torch.manual_seed(0)
        self.way = way
        generator, discriminator = networks(way.naive)
        self.probabilities = generator if way.naive else generator.probabilities
        self.score = torch.compile(discriminator) if way.critic == "compiled" else discriminator
        self.generator, self.discriminator = generator, discriminator
        self.optimizers = [
            torch.optim.Adam(each.parameters(), 1e-3, (0.5, 0.9), fused=True) for each in (generator, discriminator)
        ]
        self.real = (torch.rand(batch_size, N_BARS, SPEC.steps_per_bar, SPEC.n_tracks * SPEC.n_pitches) < 0.03).float()

    def run(self, updates: int, penalty: bool) -> None:
        """`updates` of the discriminator and one of the generator."""
        n = len(self.real)
        for update in range(updates):
            with torch.set_grad_enabled(update == updates - 1), precision(self.way.generator):
                fake = self.probabilities(torch.randn(n, 128)).float()
            with precision(self.way.critic):
                loss = discriminator_loss("wasserstein", self.score(self.real), self.score(fake.detach()))
                if penalty:
                    loss = loss + PENALTY_WEIGHT * gradient_penalty(self.score, self.real, fake, torch.rand(n))
            self._update(1, loss)
        self.discriminator.requires_grad_(False)
        with precision(self.way.critic):
            scores = self.score(fake)
        self._update(0, generator_loss("wasserstein", scores.detach(), scores))
        self.discriminator.requires_grad_(True)

    def _update(self, which: int, loss: Tensor) -> None:
        self.optimizers[which].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[which].step()


def precision(name: str) -> contextlib.AbstractContextManager:
    """bf16 where asked for."""
    return torch.autocast("cpu", torch.bfloat16) if name == "bf16" else contextlib.nullcontext()


def networks(naive: bool) -> tuple[nn.Module, nn.Module]:
    """The released pair."""
    if naive:
        return NaiveGenerator(), NaiveDiscriminator()
    layout = Layout.whole(SPEC)
    return MuseganV3Generator(layout, N_BARS), MuseganV3Discriminator(layout, N_BARS)


def check_equal() -> float:
    """Raises AssertionError unless both pairs give the same; returns how far they are apart, relatively."""
    torch.manual_seed(0)
    fast, naive = networks(False), networks(True)
    copy_tensors(naive[0], generator_tensors(fast[0]))
    copy_moments(naive[0], generator_norms(fast[0]))
    copy_tensors(naive[1], discriminator_tensors(fast[1]))
    latents = torch.randn(4, 128)
    results = []
    for make, score in ((fast[0].probabilities, fast[1]), (naive[0], naive[1])):
        made = make(latents)
        results.append((made, score(made)))
    errors = [((a - b).abs().max() / b.abs().max()).item() for a, b in zip(*results)]
    assert max(errors) < 1e-4, f"the two pairs differ: {errors}"
    return max(errors)


def serve(name: str, batch_size: int) -> None:
    """What a way's process does: makes the steps that it is told to, and says how long they took."""
    torch.set_num_threads(1)
    if WAYS[name].keeps:
        keep_freed_memory()
    step = Step(WAYS[name], batch_size)
    for line in sys.stdin:
        updates, penalty = json.loads(line)
        start, cpu_start = time.perf_counter(), time.process_time()
        step.run(updates, penalty)
        wall, seconds = time.perf_counter() - start, time.process_time() - cpu_start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"seconds": seconds, "wall": wall, "peak_gb": peak}), flush=True)


def ask(process: subprocess.Popen, updates: int, penalty: bool) -> dict | None:
    """One step of a way's process; None where it failed."""
    try:
        process.stdin.write(json.dumps([updates, penalty]) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline() or "null")
    except BrokenPipeError:
        return None


def measure(names: list[str], batch_size: int, repeats: int, penalised_repeats: int, say) -> list[dict]:
    """Lines of all ways, in turns; the first step of each is not counted."""
    with contextlib.ExitStack() as stack:
        processes = {}
        for name in names:
            command = [sys.executable, "-m", "benchmarks.models.musegan_v3"]
            command += ["--serve", name, "--batch", str(batch_size)]
            environment = os.environ | dict(WAYS[name].environment) | {"OMP_NUM_THREADS": "1"}
            processes[name] = stack.enter_context(subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True, cwd=ROOT,
            ))    # fmt: skip
            stack.callback(processes[name].stdin.close)
        lines = []
        for step, updates, rounds in (("1 G + 1 D", 1, repeats), ("1 G + 5 D, WGAN-GP", 5, penalised_repeats)):
            found, reasons = {name: [] for name in names if updates == 1 or WAYS[name].penalised}, {}
            for i in range(rounds + (updates == 1)):    # the first round warms up
                for name in [name for name in found if found[name] is not None]:
                    say(f"{step}, round {i}: {name}")
                    answer = ask(processes[name], updates, updates > 1)
                    if answer is None:
                        found[name], reasons[name] = None, processes[name].stderr.read().strip().rpartition("\n")[2]
                    elif i or updates > 1:
                        found[name].append(answer)
            lines += [line(step, name, answers, reasons.get(name)) for name, answers in found.items() if answers != []]
        return lines


def line(step: str, name: str, answers: list[dict] | None, reason: str | None) -> dict:
    """What is written of one way."""
    if answers is None:
        return {"step": step, "way": name, "left_out": reason}
    seconds = [answer["seconds"] for answer in answers]
    return {
        "step": step, "way": name, "median_s": statistics.median(seconds), "least_s": min(seconds),
        "most_s": max(seconds),
        "wall_s": statistics.median(answer["wall"] for answer in answers), "repeats": len(seconds),
        "peak_gb": answers[-1]["peak_gb"],
    }    # fmt: skip


def table(lines: list[dict], batch_size: int) -> Table:
    """The lines as a table."""
    result = Table("way", title=f"CPU seconds of a step, batch {batch_size}, one thread")
    for column in ("median", "range", "speed-up", "peak GB"):
        result.add_column(column, justify="right")
    for step in dict.fromkeys(each["step"] for each in lines):
        own = [each for each in lines if each["step"] == step]
        rival = next((each["median_s"] for each in own if each["way"] == NAIVE and "median_s" in each), None)
        result.add_section()
        result.add_row(f"[bold]{step}")
        for each in own:
            if "left_out" in each:
                result.add_row(f"{each['way']}: left out, {each['left_out']}")
                continue
            ratio = f"{rival / each['median_s']:.2f}" if rival else ""
            span = f"{each['least_s']:.2f} to {each['most_s']:.2f}"
            result.add_row(each["way"], f"{each['median_s']:.2f}", span, ratio, f"{each['peak_gb']:.1f}")
    return result


def main(argv: list[str] | None = None) -> None:
    arguments = _parse(argv)
    if arguments.serve:
        serve(arguments.serve, arguments.batch)
        return
    console, load = Console(), os.getloadavg()[0]
    error = check_equal()
    console.print(f"outputs agree to {error:.1e}; load before: {load:.1f}")
    with console.status("measuring") as status:
        lines = measure(arguments.ways, arguments.batch, arguments.repeats, arguments.penalised_repeats, status.update)
    origin = {"batch": arguments.batch, "threads": 1, "load_before": load, "load_after": os.getloadavg()[0],
              "cpu": cpu_model(), "versions": {"musegan": __version__, "torch": torch.__version__}}    # fmt: skip
    console.print(table(lines, arguments.batch))
    if arguments.out is not None:
        kept = [old for old in read_lines(arguments.out) if old["batch"] != arguments.batch]
        with atomic_write(arguments.out) as temporary:
            lines = [*kept, *(each | origin for each in lines)]
            temporary.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.musegan_v3", description=__doc__)
    parser.add_argument("--batch", type=int, default=64, help="phrases (default: 64); 8 for a quick run")
    parser.add_argument("--repeats", type=int, default=3, help="steps of each way (default: 3)")
    parser.add_argument("--penalised-repeats", type=int, default=3, help="those with the penalty (default: 3)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="default: all")
    parser.add_argument("--out", type=Path, help="JSON lines; those of other batches stay (default: none but for 64)")
    parser.add_argument("--serve", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.out is None and arguments.batch == 64:
        arguments.out = RESULTS
    return arguments


if __name__ == "__main__":
    main()
