"""`python -m musegan.train`: trains a model of any family on a packed data set."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from musegan import cli, config, info
from musegan.config import AnyConfig
from musegan.data.embedded import open_dataset
from musegan.errors import UserError
from musegan.files import atomic_write
from musegan.models.batch import n_processes
from musegan.training import gan, processes, sequence, vae
from musegan.training.log import Progress
from musegan.training.memory import keep_freed_memory
from musegan.training.run_folder import RunFolder

# What may differ between a run and its resumption: how long it goes on, when it looks at itself, and where it runs.
_FREE_ON_RESUME = {"train.steps", "train.patience", "train.validate_every", "train.checkpoint_every", "train.device",
                   "train.workers"}


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, prepares the run, trains; where a launcher started several processes, all of them do."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        with processes.joined(lambda: _parse(argv)[2].train.device == "cpu"):
            return _train(argv)
    except processes.ToldByMain as err:
        err.wait()
        return 1


def _train(argv: list[str]) -> int:
    main = processes.is_main()
    with processes.together():
        arguments, run, settings = _parse(argv)
        facts = json.dumps({**info.facts(), "processes": n_processes()}, indent=2)
    if arguments.dry_run:
        if main:
            print(config.to_yaml(settings) + facts)
        return 0
    with processes.together():
        if not arguments.resume and run.checkpoint.exists():
            raise UserError(f"{run.path} already holds a run: continue it with --resume, or choose another --out")
    for turn in (main, not main):    # the main process prepares an embedded data set, then the others open it
        with processes.together():
            if turn:
                dataset = open_dataset(settings.data.dataset, run.data, "data.dataset", _say)
    with processes.together():
        if main:
            run.create()
            for path, text in ((run.config, config.to_yaml(settings)), (run.environment, facts)):
                with atomic_write(path) as temporary:
                    temporary.write_text(text)

    keep_freed_memory()
    watcher = _Bar(Console(stderr=True)) if main else contextlib.nullcontext(Progress())
    with _stop_signals() as stop_signal, watcher as progress:
        done = _loop(settings)(settings, dataset, run, arguments.resume, progress, lambda: bool(stop_signal()))
    if done:
        if main:
            _say(f"Done. Make music with: musegan generate --model {run.path} --out music")
        return 0
    if main:
        _say(f"Stopped and saved. Go on with: musegan train --out {run.path} --resume")
    return 128 + (stop_signal() or signal.SIGTERM)    # or another process had the signal


def _loop(settings: AnyConfig) -> Callable[..., bool]:
    match settings.family:
        case "gan":
            return gan.train
        case "sequence":
            return sequence.train
        case "vae":
            return vae.train
        case unknown:
            raise ValueError(f"unknown family of models: {unknown!r}")


def _parse(argv: list[str]) -> tuple[Namespace, RunFolder, AnyConfig]:
    """The arguments, the run's folder and config; with `--resume` the config is the run's, changed where it may be."""
    if "--resume" in argv:    # the run says which family's keys may follow
        run = RunFolder(Path((config.values_of("--out", argv) or [_default_run(argv)])[-1]))
        if not run.config.exists():
            raise UserError(f"--resume: {run.path} holds no run (config.yaml is missing)")
        saved = ["--config", str(run.config)]
        before = config.find_family(saved)
        now = (config.values_of("--family", argv) or [config.find_family([*saved, *argv])])[-1]
        if before != now:
            raise UserError(f"--resume: {run.path} is a run of the family {before}, and cannot become one of {now}")
        arguments = _arguments([*saved, *argv])
        _check_same(config.load(saved), config.resolved(arguments), run)
    else:
        arguments = _arguments(argv)
        run = RunFolder(Path(arguments.out))
    return arguments, run, config.resolved(arguments)


def _arguments(argv: list[str]) -> Namespace:
    command_line = config.parser("musegan train", family=config.find_family(argv))
    command_line.add_argument("--out", type=str, default=_default_run(argv), help="Folder of the run.")
    command_line.add_argument("--resume", action="store_true", help="Go on with the run in --out, with its config.")
    command_line.add_argument("--dry-run", action="store_true", help="Print what would be run, and stop.")
    return config.parse(command_line, argv)


def _default_run(argv: list[str]) -> str:
    return config.FAMILIES[config.find_family(argv)].default_run


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _check_same(saved: AnyConfig, asked: AnyConfig, run: RunFolder) -> None:
    before, now = config.keys(saved), config.keys(asked)
    for key in before:
        if before[key] != now[key] and key not in _FREE_ON_RESUME:
            raise UserError(f"--resume: {key} is {before[key]!r} in {run.path}, and cannot become {now[key]!r}")


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], int]]:
    """Turns the first Ctrl-C or SIGTERM into a request to stop after the step; a second one acts at once.

    Not where a launcher started several processes: it passes on what the system sends to all of them anyway.
    """
    received = 0

    def note(number: int, _frame) -> None:
        nonlocal received
        received = number
        if n_processes() == 1:
            signal.signal(number, previous[number])

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Bar(Progress):
    """Progress bar with losses, steps/s and the time left."""

    def __init__(self, console: Console):
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[numbers]}"))
        self._bar = RichProgress(*columns, TimeRemainingColumn(), console=console)
        self._numbers: dict[str, float] = {}

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_exception) -> None:
        self._bar.stop()

    def start(self, done: int, total: int, shown: Mapping[str, str]) -> None:
        self._shown = shown
        self._task = self._bar.add_task("training", total=total, completed=done, numbers="")

    def advance(self, step: int, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():    # smoothed, to be readable
            self._numbers[name] = 0.95 * self._numbers.get(name, value) + 0.05 * value
        text = "  ".join(f"{label} {self._numbers[name]:.3f}" for label, name in self._shown.items())
        speed = 1 / self._numbers["seconds"]
        self._bar.update(self._task, completed=step, numbers=f"{text}  {speed:.1f} steps/s")

    def say(self, line: str) -> None:
        self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(cli.run(main))
