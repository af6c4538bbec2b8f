"""`python -m musegan.generate`: makes music with a trained generator, as MIDI, .npz, pictures and audio."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from musegan import cli
from musegan.errors import UserError
from musegan.export import check_sound, write_midi, write_npz, write_png, write_wav
from musegan.models import load_generator
from musegan.sampling import sample
from musegan.training.run_folder import RunFolder

_BATCH = 64     # phrases made at a time
_N_SHOWN = 8    # phrases in the picture and the table
_SAMPLE = re.compile(r"samples\.png|sample-\d+\.(mid|npz|png|wav)")


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, samples, writes."""
    arguments = _parser().parse_args(argv)
    if arguments.n < 1:
        raise UserError(f"--n must be at least 1: got {arguments.n}")
    model = load_generator(_model_folder(arguments.model))
    tempo_bpm = model.facts.tempo_bpm if arguments.tempo is None else arguments.tempo
    check_sound(tempo_bpm)
    out = _output_folder(arguments.out, arguments.overwrite)

    table = Table("phrase", *(escape(track.name) for track in model.spec.tracks), title="notes")
    shown = []
    for i in track(range(arguments.n), "generating", console=Console(stderr=True), transient=True):
        if i % _BATCH == 0:    # in parts, so that memory does not grow with --n
            n_made = min(_BATCH, arguments.n - i)
            roll = sample(model, n_made, arguments.seed, arguments.sampling, arguments.threshold, first_sample=i)
        phrase, name = roll.phrases()[i % _BATCH], f"sample-{i:03d}"
        write_midi(out / f"{name}.mid", phrase, model.spec, tempo_bpm)
        write_npz(out / f"{name}.npz", phrase, model.spec, tempo_bpm)
        write_png(out / f"{name}.png", phrase, model.spec)
        if arguments.wav:
            write_wav(out / f"{name}.wav", phrase, model.spec, tempo_bpm)
        if i < _N_SHOWN:
            shown.append(phrase)
            table.add_row(name, *(str(count or "-") for count in phrase.onset.sum((1, 2, 3)).tolist()))
    write_png(out / "samples.png", shown, model.spec, titles=[f"sample-{i:03d}" for i in range(len(shown))])
    Console().print(table)
    print(f"{arguments.n} phrases of {model.n_bars} bars at {tempo_bpm:g} bpm in {out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="musegan generate", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--model", required=True, type=Path, help="folder of a run (its best snapshot is taken) or of a model")
    parser.add_argument("--n", type=int, default=8, help="number of phrases (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same music (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("music"), help="folder for the files (default: music)")
    parser.add_argument("--tempo", type=float, help="quarter notes a minute (default: the training data's median)")
    parser.add_argument("--sampling", choices=["threshold", "bernoulli"], default="threshold",
                        help="take what is likelier than --threshold, or draw each cell (default: threshold)")
    parser.add_argument("--threshold", type=float, default=0.5, metavar="P",
                        help="probability above which a cell sounds; lower gives more notes; tracks of one note at a "
                             "time take the likeliest, and bernoulli ignores it (default: 0.5)")
    parser.add_argument("--overwrite", action="store_true", help="replace the samples of an earlier request in --out")
    parser.add_argument("--wav", action="store_true", help="render audio too")
    return parser


def _model_folder(path: Path) -> Path:
    run = RunFolder(path)
    for folder in (path, run.best, run.newest):
        if (folder / "config.json").exists():
            return folder
    if not path.is_dir():
        raise UserError(f"--model: no folder {path}")
    raise UserError(f"--model: {path} holds neither a model (config.json, model.safetensors) nor a run with a snapshot")


def _output_folder(path: Path, overwrite: bool) -> Path:
    """Makes the folder; samples of an earlier request are refused, or removed with `overwrite`, never mixed."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        old = [file for file in path.iterdir() if _SAMPLE.fullmatch(file.name)]
        if old and not overwrite:
            raise UserError(f"--out: {path} holds samples already; choose another folder, or --overwrite them")
        for file in old:
            file.unlink()
    except OSError as err:
        raise UserError(f"--out: cannot write {path}: {err.strerror}") from err
    return path


if __name__ == "__main__":
    sys.exit(cli.run(main))
