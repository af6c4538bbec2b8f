"""`python -m musegan.generate`: makes music with a trained generator, as MIDI, .npz, pictures and audio."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from musegan import cli
from musegan.errors import UserError
from musegan.export import check_sound, write_midi, write_npz, write_png, write_wav
from musegan.models import CompactGenerator, load_generator
from musegan.roll import Roll, RollSpec
from musegan.sampling import sample
from musegan.training.run_folder import RunFolder


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, samples, writes."""
    arguments = _parser().parse_args(argv)
    if arguments.n < 1:
        raise UserError(f"--n must be at least 1: got {arguments.n}")
    model = load_generator(_model_folder(arguments.model))
    tempo_bpm = model.tempo_bpm if arguments.tempo is None else arguments.tempo
    check_sound(tempo_bpm)
    roll = sample(model, arguments.n, arguments.seed, arguments.sampling, arguments.threshold)
    phrases, out = roll.phrases(), _output_folder(arguments.out)
    names = [f"sample-{i:0{len(str(arguments.n - 1))}d}" for i in range(arguments.n)]
    for name, phrase in track(list(zip(names, phrases)), "writing", console=Console(stderr=True), transient=True):
        write_midi(out / f"{name}.mid", phrase, model.spec, tempo_bpm)
        write_npz(out / f"{name}.npz", phrase, model.spec, tempo_bpm)
        write_png(out / f"{name}.png", phrase, model.spec)
        if arguments.wav:
            write_wav(out / f"{name}.wav", phrase, model.spec, tempo_bpm)
    write_png(out / "samples.png", phrases[:8], model.spec, titles=names[:8])
    Console().print(_table(names, roll, model.spec))
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
                        help="probability above which a cell sounds; lower gives more notes (default: 0.5)")
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


def _output_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UserError(f"--out: cannot make {path}: {err.strerror}") from err
    return path


def _table(names: list[str], roll: Roll, spec: RollSpec) -> Table:
    """Notes of each track in each sample."""
    table = Table("phrase", *(track.name for track in spec.tracks), title="notes")
    for name, counts in zip(names, roll.onset.sum((2, 3, 4)).tolist()):
        table.add_row(name, *(str(count or "-") for count in counts))
    return table


if __name__ == "__main__":
    sys.exit(cli.run(main))
