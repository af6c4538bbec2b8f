"""`python -m musegan.evaluate`: compares generated music with real music."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from musegan import cli, config, sequences
from musegan.accompaniment import accompany
from musegan.config import AnyConfig, SequenceConfig
from musegan.data.dataset import PackedDataset, split_pieces
from musegan.data.embedded import open_dataset
from musegan.data.lines import LEAD, line_spec
from musegan.data.packed import SHARD_PATTERN
from musegan.errors import UserError
from musegan.evaluation.comparison import difference
from musegan.evaluation.corpus import Corpus
from musegan.evaluation.report import Accompanist, evaluate, to_json
from musegan.evaluation.songs import corpus_of_files
from musegan.files import atomic_write
from musegan.models import Generator, SequenceModel, load_model
from musegan.models.folder import check_family
from musegan.pages.evaluation import write_page
from musegan.pages.tables import show
from musegan.resources import model_names
from musegan.roll import Roll
from musegan.sampling import exact, sample_packed
from musegan.training.run_folder import RunFolder, model_folder, models_by_name

DEFAULT_BARS = 4
MAX_PHRASES = 20_000
_OWN_FILES = ("evaluation.json", "evaluation.html")

Say = Callable[[str], None]


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, reads or makes the music, compares, prints and writes."""
    arguments = _parser().parse_args(argv)
    _check(arguments)
    out = arguments.out
    if out.exists() and not out.is_dir():
        raise UserError(f"--out: {out} is no folder")
    if not arguments.overwrite and any((out / name).exists() for name in _OWN_FILES):
        raise UserError(f"--out: {out} holds an evaluation already; choose another folder, or --overwrite it")
    errors = Console(stderr=True)
    with tempfile.TemporaryDirectory() as scratch, _progress(errors) as bar:
        task = bar.add_task("reading", total=None)

        def say(line: str) -> None:
            bar.update(task, description=line)

        model, settings = _model(arguments.generated)
        n_bars = _n_bars(arguments.bars, model)
        min_tracks = arguments.min_tracks or _min_tracks(settings)
        data = {
            name: open_dataset(getattr(arguments, name), Path(scratch) / name, f"--{name}", say)
            for name in ("real", "train") if getattr(arguments, name) is not None
        }    # fmt: skip
        line = _line(model, data)
        if line is not None and arguments.condition is not None:
            raise UserError("--condition: the model writes one line, to which no track is given")
        corpora = _real(data, n_bars, min_tracks, line, arguments)
        generated = _generated(arguments, model, corpora["real"], bar, errors)
        sources = {name: str(getattr(arguments, name)) for name in ("real", "generated", "train")}
        if arguments.held_out is not None:
            sources |= {"real": f"{arguments.real}, held-out pieces", "train": f"{arguments.real}, the other pieces"}
        if line is not None:
            of = "all pitched tracks" if line == LEAD else line
            sources |= {name: f"{sources[name]}, the highest line of {of}" for name in corpora}
        found = evaluate(
            generated=generated, sources=sources, seed=arguments.seed, condition=arguments.condition,
            released=arguments.released, say=say, accompanist=_accompanist(model, arguments.seed), **corpora,
        )    # fmt: skip
        say("writing")
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise UserError(f"--out: cannot make {out}: {err.strerror}") from err
        with atomic_write(out / "evaluation.json") as temporary:
            temporary.write_text(to_json(found), encoding="utf-8", errors="backslashreplace")    # names of files
        write_page(out / "evaluation.html", found, corpora["real"], generated, corpora.get("train"))
    comes_with_musegan = model is not None and settings is None and str(arguments.generated) in model_names()
    if comes_with_musegan and "train" not in corpora:
        errors.print(
            f"note: where --real is the music that {arguments.generated} was trained on (its card says), compare with the "
            "pieces it has not seen: --held-out 0.15", highlight=False, markup=False,
        )    # fmt: skip
    if settings is not None and "train" not in corpora and settings.data.dataset == arguments.real:
        errors.print(
            "note: the model was trained on part of the real music. To compare with the pieces it has not seen: "
            f"--held-out {settings.data.test_share or settings.data.validation_share:g}", highlight=False, markup=False,
        )    # fmt: skip
    show(found, Console())
    print(f"wrote {out / 'evaluation.html'} and {out / 'evaluation.json'}")
    return 0


def _progress(screen: Console) -> Progress:
    return Progress(console=screen, transient=True, disable=not screen.is_terminal)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="musegan evaluate", description="Compare generated music with real music.")
    parser.add_argument("--real", required=True, metavar="DATASET",
                        help="data set of real music (made by `musegan prepare`), or the name of an embedded one")
    parser.add_argument("--generated", required=True, type=Path, metavar="RUN_OR_MODEL_OR_MUSIC",
                        help="run, model, or the name of one that comes with musegan, of which phrases are drawn; data "
                             "set; or a folder or file of music")
    parser.add_argument("--train", metavar="DATASET", help="what the model was trained on, to look for copies in")
    parser.add_argument("--held-out", type=float, metavar="SHARE",
                        help="take as real the pieces of --real that training holds out with this data.test_share "
                             "(without one: data.validation_share), and the others as --train")
    parser.add_argument("--out", type=Path, default=Path("evaluation"),
                        help="folder for evaluation.json and evaluation.html (default: evaluation)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier evaluation in --out")
    parser.add_argument("--n", type=int, default=2000, help="phrases to draw from a model (default: 2000)")
    parser.add_argument("--bars", type=int, metavar="B",
                        help=f"bars in a phrase (default: the model's, or {DEFAULT_BARS}; models that write token by token "
                             "make any number)")
    parser.add_argument("--min-tracks", type=int, metavar="K",
                        help="leave out real phrases in which fewer tracks sound (default: as the run was trained, or 1)")
    parser.add_argument("--max-phrases", type=int, default=MAX_PHRASES, metavar="N",
                        help=f"of larger sets, so many phrases are drawn (default: {MAX_PHRASES})")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same report (default: 0)")
    parser.add_argument("--condition", metavar="TRACK",
                        help="the track that was given, where the others accompany it: test whether they listen; a model "
                             "that accompanies is given this track of the real phrases")
    parser.add_argument("--released", action="store_true",
                        help="show the papers' table also as the released code computes it, faults included")
    return parser    # fmt: skip


def _check(arguments: argparse.Namespace) -> None:
    for name in ("n", "bars", "min_tracks", "max_phrases"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1: got {value}")
    folder = next(each for each in (arguments.out, *arguments.out.absolute().parents) if each.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):    # said before the work, not after it
        raise UserError(f"--out: cannot write to {arguments.out}: {folder} is no folder, or not yours to write to")
    if arguments.held_out is not None:
        if arguments.train is not None:
            raise UserError("--held-out takes the other pieces of --real as training data: leave --train out")
        if not 0 < arguments.held_out < 1:
            raise UserError(f"--held-out must lie between 0 and 1: got {arguments.held_out}")


def _model(path: Path) -> tuple[Generator | SequenceModel | None, AnyConfig | None]:
    """The model of a run, folder or name, and the run's config; None for music, which wins over a name."""
    run = RunFolder(path)
    if run.model() is None and run.config.is_file():
        raise UserError(f"--generated: the run {path} has no snapshot yet")
    is_music = path.is_dir() and run.model() is None and any(path.iterdir())
    folder = None if is_music else model_folder(path)
    if folder is None:
        return None, None
    model, settings = load_model(folder), None
    if not isinstance(model, SequenceModel):
        check_family(model, Generator, folder)
    if run.config.is_file():
        settings = config.load(["--config", str(run.config)])
    return model, settings


def _line(model: Generator | SequenceModel | None, data: dict[str, PackedDataset]) -> str | None:
    """The line that a model writes where it writes but one, to which the data is cut down; see `line_spec`."""
    if not isinstance(model, SequenceModel) or not model.monophonic:
        return None
    name = model.spec.tracks[0].name
    for option, dataset in data.items():
        try:
            line_spec(dataset.spec, name)
        except UserError as err:
            raise UserError(f"--{option}: the model writes {name!r}, and the data has {err}") from err
    return name


def _min_tracks(settings: AnyConfig | None) -> int:
    """As a run was trained."""
    return 1 if settings is None or isinstance(settings, SequenceConfig) else settings.data.min_tracks


def _accompanist(model: Generator | SequenceModel | None, seed: int) -> Accompanist | None:
    """What plays to the condition track: the model, where it accompanies."""
    if not isinstance(model, Generator) or not model.accompanies:
        return None
    exactly = exact(model)

    def play(given: Roll, track: int) -> Roll:
        tracks = torch.arange(model.spec.n_tracks) == track
        return accompany(exactly, given, tracks, seed, in_training_key=True)

    return Accompanist(play, bool(model.facts.key_shifts))


def _n_bars(asked: int | None, model: Generator | SequenceModel | None) -> int:
    if not isinstance(model, Generator):
        return asked or DEFAULT_BARS
    if asked not in (None, model.n_bars):
        raise UserError(f"--bars: the model makes phrases of {model.n_bars} bars, not of {asked}")
    return model.n_bars


def _real(data: dict[str, PackedDataset], n_bars: int, min_tracks: int, line: str | None, arguments) -> dict[str, Corpus]:
    """The corpora `real` and, where there is one, `train`; of all tracks, or of one line."""
    n_tracks = 1 if line is not None else data["real"].spec.n_tracks
    if min_tracks > n_tracks:
        raise UserError(f"--min-tracks must be at most {n_tracks}: got {min_tracks}")
    parts: dict[str, tuple[PackedDataset, list[int] | None]] = {name: (dataset, None) for name, dataset in data.items()}
    if arguments.held_out is not None:
        training, held_out, _ = split_pieces(data["real"].pieces, arguments.held_out)
        parts = {"real": (data["real"], held_out), "train": (data["real"], training)}
    corpora = {}
    for name, (dataset, pieces) in parts.items():
        limit = None if name == "train" else arguments.max_phrases    # a copy may be of any training phrase
        corpora[name] = Corpus.of_dataset(dataset, n_bars, pieces, min_tracks, limit, arguments.seed, line)
        if not len(corpora[name]):
            sounding = f"{min_tracks} {'track sounds' if min_tracks == 1 else 'tracks sound'}"
            raise UserError(f"--{name}: no phrases of {n_bars} bars in which {sounding}")
    return corpora


def _generated(arguments, model: Generator | SequenceModel | None, real: Corpus, bar: Progress, errors: Console) -> Corpus:
    path, n_bars, limit, seed = arguments.generated, real.n_bars, arguments.max_phrases, arguments.seed
    if model is not None:
        if model.spec != real.spec:    # said before the work, not after it
            raise UserError(f"generated and real music must have one spec: {difference(model.spec, real.spec)}")
        task = bar.add_task("sampling", total=arguments.n)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if isinstance(model, SequenceModel):
            roll = sequences.sample_packed(model, arguments.n, n_bars, seed, progress)
        else:
            roll = sample_packed(model, arguments.n, seed, progress=progress)
        bar.remove_task(task)
        return Corpus(roll, torch.arange(arguments.n), model.spec)
    if path.is_dir() and (any(path.glob(SHARD_PATTERN)) or any(path.glob(f"part-*/{SHARD_PATTERN}"))):
        corpus = Corpus.of_dataset(PackedDataset.open(path), n_bars, limit=limit, seed=seed)
        if not len(corpus):
            raise UserError(f"--generated: no phrases of {n_bars} bars in {path}")
        return corpus
    if not path.exists():
        raise UserError(f"--generated: no file or folder {path}{models_by_name()}")
    task = bar.add_task("reading music", total=None)
    corpus, rejected = corpus_of_files(
        path, real.spec, n_bars, limit, seed, lambda done, total: bar.update(task, completed=done, total=total)
    )
    bar.remove_task(task)
    if rejected:
        name, reason = next(iter(rejected.items()))
        errors.print(f"left out {len(rejected)} of the files, e.g. {name}: {reason}", highlight=False, markup=False)
    return corpus


if __name__ == "__main__":
    sys.exit(cli.run(main))
