"""The folder of one training run: what lies where, and that each file is there whole or not at all."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import torch

from musegan import resources
from musegan.errors import UserError, one_line
from musegan.files import atomic_write


# What torch.load raises on damaged files, found by damaging them
_DAMAGE = (RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError, pickle.UnpicklingError)


def model_folder(path: Path) -> Path | None:
    """The model folder that a user means: that of a run or model, or else of the name of one that comes with musegan.

    A name wins over a folder that holds no model. None where it is neither.
    """
    if (own := RunFolder(path).model()) is not None:
        return own
    return resources.model_path(str(path)) if str(path) in resources.model_names() else None


def models_by_name() -> str:
    """`; models that come with musegan: ...`, for a message about a path that is none; empty where none come."""
    names = resources.model_names()
    return f"; models that come with musegan: {', '.join(names)}" if names else ""


class RunFolder:
    """Paths and files of a run.

    | name | what |
    |---|---|
    | config.yaml | the resolved config |
    | environment.json | versions, backend of the ops, git commit |
    | data/ | the packed data set, where an embedded one was prepared for this run |
    | metrics.jsonl | one line of numbers every few steps |
    | tensorboard/ | the same for TensorBoard |
    | samples/ | a picture and a MIDI file at each validation |
    | best/ | model folder: the snapshot closest to the held-out pieces |
    | newest/ | model folder: the newest snapshot |
    | checkpoint.pt | all that `--resume` needs |
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.environment = self.path / "environment.json"
        self.data = self.path / "data"
        self.metrics = self.path / "metrics.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self.samples = self.path / "samples"
        self.best = self.path / "best"
        self.newest = self.path / "newest"
        self.checkpoint = self.path / "checkpoint.pt"

    def model(self) -> Path | None:
        """The best snapshot, or else the newest; the folder itself where it is a model's; None where there is none."""
        folders = (self.path, self.best, self.newest)
        return next((folder for folder in folders if (folder / "config.json").is_file()), None)

    def create(self) -> None:
        """Makes the folders.

        Raises:
            UserError: the system refuses.
        """
        try:
            self.samples.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise UserError(f"cannot make the run folder {self.path}: {err.strerror or err}") from err

    def save_checkpoint(self, state: dict) -> None:
        """Replaces the checkpoint; a killed process leaves the old one or the new one."""
        content = io.BytesIO()    # a full disk is then an OSError, which torch.save would hide
        torch.save(state, content)
        with atomic_write(self.checkpoint) as temporary:
            temporary.write_bytes(content.getbuffer())

    def load_checkpoint(self) -> dict:
        """The training state, on the CPU; nothing in the file is executed.

        Raises:
            UserError: missing or damaged.
        """
        try:
            return torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except FileNotFoundError as err:
            raise UserError(f"no checkpoint to resume from: {self.checkpoint} is missing") from err
        except _DAMAGE as err:
            raise UserError(f"cannot read the checkpoint {self.checkpoint}: {one_line(err)}") from err

    def rewind_metrics(self, step: int) -> None:
        """Drops the lines of steps after `step`, which a killed run wrote and a resumed one writes again, and damage."""
        if not self.metrics.exists():
            return
        kept = []
        for line in self.metrics.read_text(errors="replace").splitlines(keepends=True):
            try:
                if json.loads(line)["step"] > step:
                    break
            except (ValueError, LookupError, TypeError):    # cut short or damaged when the machine went down
                break
            kept.append(line)
        with atomic_write(self.metrics) as temporary:
            temporary.write_text("".join(kept))
