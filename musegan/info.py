"""The command `musegan info`: versions, models, and which kernels run the ops, or why the native ones do not."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import platform
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from musegan import __version__, ops, resources
from musegan.cli import run

PACKAGES = ("torch", "accelerate", "numpy", "pypianoroll", "symusic")


def main(argv: list[str] | None = None) -> int:
    """Prints the facts that `facts` collects, as a table or as JSON."""
    parser = argparse.ArgumentParser(prog="musegan info", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args(argv)
    if arguments.json:
        print(json.dumps(facts(), indent=2))
    else:
        _print_tables(facts())
    return 0


def facts() -> dict:
    """Versions by package, commit of a source tree, models that come with the package, how the native library was
    loaded, and the kernel of each op on each device."""
    versions = {"musegan": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "versions": versions,
        "commit": _commit(),
        "models": resources.model_names(),
        "native": dataclasses.asdict(ops.native_status()),
        "ops": ops.op_backends(),
    }


def _commit() -> str | None:
    """The git commit of the source tree that runs, with `+changes` where it has any; None where there is none."""
    tree = Path(__file__).resolve().parent.parent
    if not (tree / ".git").exists():
        return None
    answers = []
    for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            done = subprocess.run(["git", "-C", str(tree), *command], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode:
            return None
        answers.append(done.stdout.strip())
    return answers[0] + ("+changes" if answers[1] else "")


def _print_tables(found: dict) -> None:
    console = Console(highlight=False)
    summary = Table(show_header=False, box=None)
    for package, version in found["versions"].items():
        summary.add_row(package, version)
    if found["commit"]:
        summary.add_row("commit", found["commit"])
    summary.add_row("models", ", ".join(found["models"]) or "none")
    native = found["native"]
    if native["loaded"]:
        summary.add_row("native library", native["path"])
        summary.add_row("CPU level", native["cpu_level"])
        for name, value in native["build"].items():
            summary.add_row(name.replace("_", " "), value)
    else:
        summary.add_row("native library", f"absent: {native['reason']}")
    summary.add_row("CUDA kernels", native["cuda_path"] or f"not loaded: {native['cuda_reason']}")
    console.print(summary)

    table = Table("op", "cpu", "cuda", box=None)
    for op, by_device in found["ops"].items():
        table.add_row(op, by_device["cpu"], by_device["cuda"])
    console.print()
    console.print(table)


if __name__ == "__main__":
    sys.exit(run(main))
