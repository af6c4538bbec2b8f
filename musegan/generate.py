"""`python -m musegan.generate`: makes music with a trained generator, as MIDI, .npz, pictures and audio."""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import re
import sys
from itertools import accumulate
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from musegan import __version__, cli, options
from musegan.errors import UserError
from musegan.export import LINE_BARS, check_sound, write_midi, write_npz, write_png, write_wav
from musegan.files import atomic_write
from musegan.models import Generator, PhraseEncoder, SequenceModel, load_encoder, load_model
from musegan.models.folder import ENCODER, check_family
from musegan.requests import Made, count, make
from musegan.roll import Roll
from musegan.sequence_requests import Accompaniment, make_accompanied, make_sequences
from musegan.training.run_folder import model_folder, models_by_name

_N_SHOWN = 8    # phrases in the picture and the table
_N_LINES_SHOWN = 24    # in the picture; of long pieces it shows the first ones
_N_STEPS_SHOWN = 24    # of an interpolation
Model = Generator | SequenceModel
_OWN_FILE = re.compile(r"samples\.png|request\.json|sample-\d+\.(mid|npz|png|wav)")


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, makes the music, writes."""
    parser = options.parser()
    arguments = parser.parse_args(argv)
    folder = _model_folder(arguments.model)
    model = load_model(folder)
    if isinstance(model, PhraseEncoder):
        raise UserError(f"--model: {folder} holds an encoder, which makes no music: name the folder in which it lies")
    melody_model = _melody_model(arguments)
    options.check(parser, arguments, model.family)
    tempo_bpm = model.facts.tempo_bpm if arguments.tempo is None else arguments.tempo
    check_sound(tempo_bpm)
    errors = Console(stderr=True)
    say = functools.partial(errors.print, highlight=False, markup=False, soft_wrap=True)
    match model.family:
        case "gan" if melody_model is not None:
            request = options.sequence_request(arguments)
            accompaniment = Accompaniment(arguments.as_track, options.decoding(arguments), arguments.truncation)
            music, total = make_accompanied(model, melody_model, request, accompaniment, say), request.count
        case "sequence":
            request = options.sequence_request(arguments)
            music, total = make_sequences(model, request, say), request.count
        case _:
            request = options.request(arguments)
            encoder = None if request.phrase is None else load_encoder(folder, model)
            music, total = make(model, request, say, encoder), count(request)
    first = next(music)    # what cannot be made is said before a folder is
    out = _output_folder(arguments.out, arguments.overwrite)

    one, many = _words(arguments, model)
    table = Table(one, *(escape(track.name) for track in model.spec.tracks), title="notes")
    shown: list[Roll] = []
    made: list[dict[str, Any]] = []
    silent: list[str] = []
    is_grid = arguments.interpolate is not None or arguments.phrase is not None and len(arguments.phrase) == 2
    n_shown = _N_STEPS_SHOWN if is_grid else _N_SHOWN
    for each in track(_chain(first, music), "generating", total, console=errors, transient=True):
        name = f"sample-{len(made):03d}"
        tempo = tempo_bpm if each.tempo_bpm is None or arguments.tempo is not None else each.tempo_bpm
        _write(out / name, each, model, tempo, arguments.wav)
        made.append({"name": name, **each.about, "tempo_bpm": tempo if tempo is tempo_bpm else tempo[0]})
        silent += [name] if not each.roll.frame.any() else []
        if len(made) <= n_shown:
            shown.append(each.roll)
            table.add_row(escape(_title(made[-1])), *(str(notes or "-") for notes in each.roll.onset.sum((1, 2, 3)).tolist()))
    _draw(out / "samples.png", shown, made, model, is_grid=is_grid)
    with atomic_write(out / "request.json") as temporary:
        temporary.write_text(json.dumps(_record(arguments, folder, made), indent=1) + "\n", encoding="utf-8")
    Console().print(table)
    bars = sorted({each["bars"] for each in made})
    length = f"{bars[0]} {'bar' if bars[0] == 1 else 'bars'}" if len(bars) == 1 else f"{bars[0]} to {bars[-1]} bars"
    if silent:
        say(f"no notes in {', '.join(silent)}")
    tempos = sorted({each["tempo_bpm"] for each in made})
    speed = f"{tempos[0]:g} bpm" if len(tempos) == 1 else f"{tempos[0]:g} to {tempos[-1]:g} bpm"
    print(f"{len(made)} {one if len(made) == 1 else many} of {length} at {speed} in {out}")
    return 0


def _melody_model(arguments: argparse.Namespace) -> SequenceModel | None:
    if arguments.melody_model is None:
        return None
    folder = _model_folder(arguments.melody_model, "--melody-model")
    return check_family(load_model(folder), SequenceModel, folder)


def _chain(first: Made, others):
    yield first
    yield from others


def _write(path: Path, made: Made, model: Model, tempo_bpm, wav: bool) -> None:
    write_midi(path.with_suffix(".mid"), made.roll, model.spec, tempo_bpm)
    write_npz(path.with_suffix(".npz"), made.roll, model.spec, tempo_bpm)
    write_png(path.with_suffix(".png"), made.roll, model.spec)
    if wav:
        write_wav(path.with_suffix(".wav"), made.roll, model.spec, tempo_bpm)
    made.about["bars"] = made.roll.frame.shape[1]


def _words(arguments: argparse.Namespace, model: Model) -> tuple[str, str]:
    """What one result is called, and several."""
    if model.family == "sequence":
        return ("melody", "melodies") if model.monophonic else ("piece", "pieces")
    is_piece = any(getattr(arguments, name) is not None for name in ("accompany", "bars", "form"))
    return ("piece", "pieces") if is_piece else ("phrase", "phrases")


def _title(about: dict[str, Any]) -> str:
    return f"{about['name']}: {about['file']}" if "file" in about else about["name"]


def _draw(path: Path, shown: list[Roll], made: list[dict[str, Any]], model: Model, is_grid: bool) -> None:
    """A page of the first phrases; of an interpolation, a grid in order, line by line."""
    lines = accumulate(-(-roll.frame.shape[1] // LINE_BARS) for roll in shown)
    shown = shown[: max(sum(n <= _N_LINES_SHOWN for n in lines), 1)]
    titles = [_title(each) for each in made[: len(shown)]]
    is_short = max(roll.frame.shape[1] for roll in shown) <= 8
    write_png(path, shown, model.spec, titles=titles, n_columns=min(4, len(shown)) if is_grid and is_short else None)


def _record(arguments: argparse.Namespace, folder: Path, made: list[dict[str, Any]]) -> dict[str, Any]:
    """What made the files: enough to make them again."""
    apart = ("model", "melody_model", "out", "overwrite")
    asked = {name: value for name, value in vars(arguments).items() if name not in apart}
    asked = json.loads(json.dumps(asked, default=str))    # paths as text
    models = {"model": folder}
    if arguments.melody_model is not None:
        models["melody_model"] = _model_folder(arguments.melody_model, "--melody-model")
    if arguments.phrase is not None:
        models["encoder"] = folder / ENCODER
    digests = {name: hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest() for name, path in models.items()}
    return {
        "musegan": __version__,
        **{name: str(path) for name, path in models.items()},
        "weights_sha256": digests.pop("model"),
        **{f"{name}_weights_sha256": digest for name, digest in digests.items()},
        "options": asked,
        "samples": made,
    }


def _model_folder(path: Path, option: str = "--model") -> Path:
    if folder := model_folder(path):
        return folder
    if not path.is_dir():
        raise UserError(f"{option}: no folder {path}{models_by_name()}")
    raise UserError(f"{option}: {path} holds neither a model (config.json, model.safetensors) nor a run with a snapshot")


def _output_folder(path: Path, overwrite: bool) -> Path:
    """Makes the folder; samples of an earlier request are refused, or removed with `overwrite`, never mixed."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        old = [file for file in path.iterdir() if _OWN_FILE.fullmatch(file.name)]
        if old and not overwrite:
            raise UserError(f"--out: {path} holds samples already; choose another folder, or --overwrite them")
        for file in old:
            file.unlink()
    except OSError as err:
        raise UserError(f"--out: cannot write {path}: {err.strerror}") from err
    return path


if __name__ == "__main__":
    sys.exit(cli.run(main))
