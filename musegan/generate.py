"""`python -m musegan.generate`: makes music with a trained generator, as MIDI, .npz, pictures and audio."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from musegan import __version__, cli
from musegan.decoding import Decoding
from musegan.errors import UserError
from musegan.export import check_sound, write_midi, write_npz, write_png, write_wav
from musegan.files import atomic_write
from musegan.keys import Key
from musegan.models import Generator, load_encoder, load_generator
from musegan.requests import DEFAULT_N, Made, Request, count, make
from musegan.roll import Roll
from musegan.training.run_folder import model_folder, models_by_name

_N_SHOWN = 8    # phrases in the picture and the table
_N_STEPS_SHOWN = 24    # of an interpolation
_OWN_FILE = re.compile(r"samples\.png|request\.json|sample-\d+\.(mid|npz|png|wav)")


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, makes the music, writes."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    request = _request(arguments)
    folder = _model_folder(arguments.model)
    model = load_generator(folder)
    encoder = None if request.phrase is None else load_encoder(folder, model)
    tempo_bpm = model.facts.tempo_bpm if arguments.tempo is None else arguments.tempo
    check_sound(tempo_bpm)
    errors = Console(stderr=True)
    music = make(model, request, lambda line: errors.print(line, highlight=False, markup=False, soft_wrap=True), encoder)
    first = next(music)    # what cannot be made is said before a folder is
    out = _output_folder(arguments.out, arguments.overwrite)

    table = Table("phrase", *(escape(track.name) for track in model.spec.tracks), title="notes")
    shown: list[Roll] = []
    made: list[dict[str, Any]] = []
    is_grid = request.interpolate is not None or request.phrase is not None and len(request.phrase) == 2
    n_shown = _N_STEPS_SHOWN if is_grid else _N_SHOWN
    for each in track(_chain(first, music), "generating", count(request), console=errors, transient=True):
        name = f"sample-{len(made):03d}"
        tempo = tempo_bpm if each.tempo_bpm is None or arguments.tempo is not None else each.tempo_bpm
        _write(out / name, each, model, tempo, arguments.wav)
        made.append({"name": name, **each.about})
        if len(made) <= n_shown:
            shown.append(each.roll)
            table.add_row(name, *(str(notes or "-") for notes in each.roll.onset.sum((1, 2, 3)).tolist()))
    _draw(out / "samples.png", shown, made, model, is_grid=is_grid)
    with atomic_write(out / "request.json") as temporary:
        temporary.write_text(json.dumps(_record(arguments, folder, tempo_bpm, made), indent=1) + "\n", encoding="utf-8")
    Console().print(table)
    bars = sorted({each["bars"] for each in made})
    length = f"{bars[0]} {'bar' if bars[0] == 1 else 'bars'}" if len(bars) == 1 else f"{bars[0]} to {bars[-1]} bars"
    made_of_files = request.accompany is not None or request.phrase is not None
    speed = "the file's tempo" if made_of_files and arguments.tempo is None else f"{tempo_bpm:g} bpm"
    print(f"{len(made)} {'phrase' if len(made) == 1 else 'phrases'} of {length} at {speed} in {out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="musegan generate", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--model", required=True, type=Path, metavar="RUN_OR_FOLDER_OR_NAME",
                        help="a run (its best snapshot is taken), a model, or the name of one that comes with musegan")
    parser.add_argument("--n", type=int,
                        help=f"number of phrases, versions or steps (default: {DEFAULT_N}; 1 of each file of a folder)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same music (default: 0)")
    parser.add_argument("--sample", type=int, default=0, metavar="I",
                        help="number of the first phrase of the seed, or of the one to change (default: 0)")

    long = parser.add_argument_group("long pieces")
    long.add_argument("--bars", type=int, help="bars of a piece, made in one go (default: as in training)")
    long.add_argument("--form", metavar="AABA",
                      help="its sections, all equally long; a letter that comes back is the same music")

    change = parser.add_argument_group("changes of sample I")
    change.add_argument("--reroll", metavar="TRACK", help="versions in which this track is new and the others stay")
    change.add_argument("--vary", type=float, metavar="AMOUNT", help="versions near it: 0 the same, 1 unrelated")
    change.add_argument("--interpolate", type=int, metavar="SEED2", help="steps from it to sample I of another seed")

    given = parser.add_argument_group("accompaniment", "for models trained with --model.accompaniment true")
    given.add_argument("--accompany", type=Path, metavar="FILE",
                       help="MIDI or .npz file, or a folder of them, to make the other tracks to")
    given.add_argument("--given", type=_names, metavar="TRACK,...",
                       help="tracks of the file that are kept (default: all that sound)")
    given.add_argument("--as", dest="as_track", metavar="TRACK", help="take all notes of the file for this track's")

    phrase = parser.add_argument_group("a phrase of your own", "for models with an encoder: of musegan train --family vae")
    phrase.add_argument("--phrase", type=Path, nargs="+", metavar="FILE",
                        help="MIDI or .npz file to change by --vary and --reroll, or two to make --n steps between")
    phrase.add_argument("--more", nargs="+", default=[], metavar="ATTRIBUTE=AMOUNT",
                        help="density, register or range: 1 from what has little to what has much, below 0 for less")

    key = parser.add_argument_group("key")
    key.add_argument("--key", metavar="KEY",
                     help='such as "A minor", "C major", F#m; a phrase of the other mode comes out in the relative key')
    key.add_argument("--in-scale", action="store_true", help="leave out notes outside the key's scale; drums stay")

    notes = parser.add_argument_group("which notes")
    notes.add_argument("--sampling", choices=["threshold", "bernoulli"], default="threshold",
                       help="take what is likely enough, or draw each cell (default: threshold)")
    notes.add_argument("--threshold", type=float, metavar="P",
                       help="probability above which a cell sounds, lower for more notes; tracks of one note at a time take "
                            "the likeliest (default: what the model found to sound as often as its data, for each track)")
    notes.add_argument("--density", type=float, default=1.0, metavar="FACTOR",
                       help="about so many times as much sound (default: 1)")
    notes.add_argument("--truncation", type=float, default=1.0, metavar="PSI",
                       help="below 1, phrases nearer to the model's typical one: safer and more alike (default: 1)")
    notes.add_argument("--min-steps", type=int, default=1, metavar="N",
                       help="leave out notes shorter than N steps; not drums")
    notes.add_argument("--max-gap", type=int, default=0, metavar="N",
                       help="close gaps of up to N steps on a pitch; not drums")
    notes.add_argument("--max-pitches", nargs="+", default=[], metavar="N",
                       help="so many notes at once, the likeliest: one number for all pitched tracks, or TRACK=N ...")

    files = parser.add_argument_group("files")
    files.add_argument("--out", type=Path, default=Path("music"), help="folder for the files (default: music)")
    files.add_argument("--tempo", type=float,
                       help="quarter notes a minute (default: the file's, or the training data's median)")
    files.add_argument("--overwrite", action="store_true", help="replace the samples of an earlier request in --out")
    files.add_argument("--wav", action="store_true", help="render audio too")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _request(arguments: argparse.Namespace) -> Request:
    same = (
        "n", "seed", "sample", "bars", "form", "reroll", "vary", "interpolate", "truncation", "accompany", "given",
        "as_track",
    )    # fmt: skip
    decoding = Decoding(
        arguments.sampling, arguments.threshold, arguments.density, arguments.min_steps, arguments.max_gap,
        _max_pitches(arguments.max_pitches),
    )    # fmt: skip
    own = {name: getattr(arguments, name) for name in same}
    key = None if arguments.key is None else Key.parse(arguments.key)
    phrase = None if arguments.phrase is None else tuple(arguments.phrase)
    more = _amounts(arguments.more)
    return Request(**own, phrase=phrase, more=more, key=key, only_scale=arguments.in_scale, decoding=decoding)


def _amounts(words: list[str]) -> dict[str, float]:
    """Reads `density=1 register=-0.5`."""
    found = [re.fullmatch(r"(\w+)=([+-]?(?:\d+\.?\d*|\.\d+))", word) for word in words]
    if not all(found) or len({each[1] for each in found}) < len(found):
        raise UserError(f"--more must be ATTRIBUTE=AMOUNT, each once: got {' '.join(words)}")
    return {each[1]: float(each[2]) for each in found}


def _max_pitches(words: list[str]) -> int | dict[str, int] | None:
    """Reads `4`, or `piano=4 bass=1`."""
    pairs = [word.rpartition("=") for word in words]
    if not all(number.isdecimal() for _, _, number in pairs) or not (len(words) <= 1 or all(name for name, _, _ in pairs)):
        raise UserError(f"--max-pitches must be one number, or TRACK=N for some tracks: got {' '.join(words)}")
    if len({name for name, _, _ in pairs}) < len(pairs):
        raise UserError(f"--max-pitches says two numbers for one track: got {' '.join(words)}")
    if not pairs:
        return None
    return {name: int(number) for name, _, number in pairs} if pairs[0][0] else int(pairs[0][2])


def _chain(first: Made, others):
    yield first
    yield from others


def _write(path: Path, made: Made, model: Generator, tempo_bpm, wav: bool) -> None:
    write_midi(path.with_suffix(".mid"), made.roll, model.spec, tempo_bpm)
    write_npz(path.with_suffix(".npz"), made.roll, model.spec, tempo_bpm)
    write_png(path.with_suffix(".png"), made.roll, model.spec)
    if wav:
        write_wav(path.with_suffix(".wav"), made.roll, model.spec, tempo_bpm)
    made.about["bars"] = made.roll.frame.shape[1]


def _draw(path: Path, shown: list[Roll], made: list[dict[str, Any]], model: Generator, is_grid: bool) -> None:
    """A page of the first phrases; of an interpolation, a grid in order, line by line."""
    titles = [f"{each['name']}: {each['file']}" if "file" in each else each["name"] for each in made[: len(shown)]]
    is_short = max(roll.frame.shape[1] for roll in shown) <= 8
    write_png(path, shown, model.spec, titles=titles, n_columns=min(4, len(shown)) if is_grid and is_short else None)


def _record(arguments: argparse.Namespace, folder: Path, tempo_bpm: float, made: list[dict[str, Any]]) -> dict[str, Any]:
    """What made the files: enough to make them again."""
    options = {name: value for name, value in vars(arguments).items() if name not in ("model", "out", "overwrite")}
    options = json.loads(json.dumps(options, default=str))    # paths as text
    return {
        "musegan": __version__,
        "model": str(folder),
        "weights_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "options": options,
        "tempo_bpm": tempo_bpm,
        "samples": made,
    }


def _model_folder(path: Path) -> Path:
    if folder := model_folder(path):
        return folder
    if not path.is_dir():
        raise UserError(f"--model: no folder {path}{models_by_name()}")
    raise UserError(f"--model: {path} holds neither a model (config.json, model.safetensors) nor a run with a snapshot")


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
