"""`python -m musegan.train`: trains a generator on a packed data set."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from musegan import cli, config, info
from musegan.config import Config
from musegan.data.embedded import open_dataset
from musegan.errors import UserError
from musegan.files import atomic_write
from musegan.training import gan
from musegan.training.run_folder import RunFolder

# What may differ between a run and its resumption: how long it goes on, when it looks at itself, and where it runs.
_FREE_ON_RESUME = {"train.steps", "train.validate_every", "train.checkpoint_every", "train.device",
                   "train.workers"}


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, prepares the run's folder, trains."""
    argv = sys.argv[1:] if argv is None else argv
    command_line = config.parser("musegan train", "Trains a generator/discriminator pair on a packed data set.")
    command_line.add_argument("--out", type=str, default="runs/band", help="Folder of the run.")
    command_line.add_argument("--resume", action="store_true", help="Go on with the run in --out, with its config.")
    command_line.add_argument("--dry-run", action="store_true", help="Print what would be run, and stop.")
    arguments = config.parse(command_line, argv)
    run = RunFolder(Path(arguments.out))
    if arguments.resume:
        if not run.config.exists():
            raise UserError(f"--resume: {run.path} holds no run (config.yaml is missing)")
        saved = config.parse(command_line, ["--config", str(run.config)])
        arguments = config.parse(command_line, ["--config", str(run.config), *argv])
        _check_same(_config(saved), _config(arguments), run)
    settings = _config(arguments)

    if arguments.dry_run:
        print(config.to_yaml(settings) + json.dumps(info.facts(), indent=2))
        return 0
    if not arguments.resume and run.checkpoint.exists():
        raise UserError(f"{run.path} already holds a run: continue it with --resume, or choose another --out")
    dataset = open_dataset(
        settings.data.dataset, run.data, "data.dataset", lambda line: print(line, file=sys.stderr)
    )
    run.create()
    for path, text in ((run.config, config.to_yaml(settings)), (run.environment, json.dumps(info.facts(), indent=2))):
        with atomic_write(path) as temporary:
            temporary.write_text(text)

    with _stop_signals() as stop_signal, _Bar(Console(stderr=True)) as bar:
        done = gan.train(settings, dataset, run, arguments.resume, bar, stop_requested=lambda: bool(stop_signal()))
    if done:
        print(f"Done. Make music with: musegan generate --model {run.path} --out music", file=sys.stderr)
        return 0
    print(f"Stopped and saved. Go on with: musegan train --out {run.path} --resume", file=sys.stderr)
    return 128 + stop_signal()


def _config(arguments) -> Config:
    return Config(data=arguments.data, model=arguments.model, train=arguments.train)


def _check_same(saved: Config, asked: Config, run: RunFolder) -> None:
    before, now = config.keys(saved), config.keys(asked)
    for key in before:
        if before[key] != now[key] and key not in _FREE_ON_RESUME:
            raise UserError(f"--resume: {key} is {before[key]!r} in {run.path}, and cannot become {now[key]!r}")


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], int]]:
    """Turns the first Ctrl-C or SIGTERM into a request to stop after the step; a second one acts at once."""
    received = 0

    def note(number: int, _frame) -> None:
        nonlocal received
        received = number
        signal.signal(number, previous[number])

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Bar(gan.Progress):
    """Progress bar with losses, steps/s and the time left."""

    def __init__(self, console: Console):
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[numbers]}"))
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console)
        self._numbers: dict[str, float] = {}

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_exception) -> None:
        self._bar.stop()

    def start(self, done: int, total: int) -> None:
        self._task = self._bar.add_task("training", total=total, completed=done, numbers="")

    def advance(self, step: int, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():    # smoothed, to be readable
            self._numbers[name] = 0.95 * self._numbers.get(name, value) + 0.05 * value
        text = "  ".join(f"{name[0].upper()} {self._numbers[name]:.3f}" for name in ("discriminator", "generator"))
        speed = 1 / self._numbers["seconds"]
        self._bar.update(self._task, completed=step, numbers=f"{text}  {speed:.1f} steps/s")

    def say(self, line: str) -> None:
        self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(cli.run(main))
