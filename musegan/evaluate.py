"""`python -m musegan.evaluate`: compares generated music with real music."""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from musegan import cli, config, sequences
from musegan.accompaniment import accompany
from musegan.config import AnyConfig, SequenceConfig
from musegan.data.dataset import PackedDataset, split_pieces
from musegan.data.embedded import open_dataset
from musegan.data.lines import LEAD, line_spec
from musegan.data.packed import SHARD_PATTERN
from musegan.errors import UserError
from musegan.evaluation.comparison import Comparison, Estimate, StatisticRow, difference
from musegan.evaluation.corpus import Corpus
from musegan.evaluation.report import Accompanist, Evaluation, evaluate, to_json
from musegan.evaluation.songs import corpus_of_files
from musegan.evaluation.statistics import ALL
from musegan.files import atomic_write
from musegan.models import Generator, SequenceModel, load_model
from musegan.models.folder import check_family
from musegan.pages.comparison import giveaways, replayed
from musegan.pages.evaluation import N_GIVEAWAYS, write_page
from musegan.resources import model_names
from musegan.roll import Roll
from musegan.sampling import exact, sample_packed
from musegan.training.run_folder import RunFolder, model_folder, models_by_name

DEFAULT_BARS = 4
MAX_PHRASES = 20_000
_NAME, _CELL = 16, 15    # letters of the longest word of a statistic's name, and of two numbers
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
    _show(found, Console())
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


def _show(found: Evaluation, console: Console) -> None:
    """Prints the report for people who read on a terminal; the page has all of it."""
    comparison = found.comparison
    for name, side in found.sides.items():
        pieces = f" of {side.n_pieces:,} pieces" if side.n_pieces < side.n_phrases else ""
        phrases = f"{side.n_phrases:,} phrases of {found.n_bars} bars{pieces}"
        console.print(f"[bold]{name}[/]: {phrases}, {escape(side.source)}", highlight=False)
    for warning in found.warnings:
        console.print(f"[yellow]{escape(warning)}[/]", highlight=False)
    console.print(_distance_table(comparison))
    console.print(_statistics_table(found, {"track", ALL}, console.width))
    if len(found.spec["tracks"]) > 1:
        console.print(_statistics_table(found, {"pair"}, console.width))
    console.print(_papers_table(found, released=False))
    if found.papers_released is not None:
        console.print(_papers_table(found, released=True))
    for line in [*_original_lines(found), *_condition_lines(found)]:
        console.print(line, highlight=False)
    found_off = giveaways(comparison)
    if found_off:
        console.print("[bold]What tells it from the data most[/] "
                      "(times the difference that two halves of the data stay within)")
        for row in found_off[:N_GIVEAWAYS]:
            unit = f" {row.unit}" if row.unit not in ("", "share") else ""
            replay = f" (training phrases themselves: {replayed(row):.1f} x)" if replayed(row) else ""
            console.print(
                f"  {row.excess['generated']:.1f} x  {row.name}, {escape(row.column)}: "
                f"{_number(row.generated.value)}{unit}, data {_number(row.real.value)}{replay}", highlight=False,
            )    # fmt: skip
        if len(found_off) > N_GIVEAWAYS:
            console.print(f"  and {len(found_off) - N_GIVEAWAYS} more, on the page")
    else:
        console.print("[bold]No single statistic tells it from the data[/]: each lies where halves of the data do")
    for flag in comparison.flags:
        console.print(f"[bold red]{escape(flag)}[/]", highlight=False)


def _distance_table(comparison: Comparison) -> Table:
    title = f"Distance from half of the real pieces, {comparison.n:,} phrases a row (*: off the floor)"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0)
    rows = [name for name in comparison.distances[0].rows if name != "real"]
    for name in ("", "floor", *rows):
        widest = max(map(len, name.split()), default=0)    # names break between words only
        table.add_column(name, justify="right" if name else "left", min_width=widest or None)
    for distance in comparison.distances:
        cells = [_marked(_number(distance.rows[row].value), row in distance.off) for row in rows]
        table.add_row(distance.name, _range(distance.rows["real"]), *cells)
    return table


def _range(estimate: Estimate) -> str:
    return f"{estimate.low:.2g}–{estimate.high:.2g}"


def _statistics_table(found: Evaluation, kinds: set[str], width: int) -> Table:
    """Statistics by track, or by pair: the data's, and the generated music's."""
    names = [track["name"] for track in found.spec["tracks"]]
    is_pair = "pair" in kinds
    by_name: dict[str, dict[str, StatisticRow]] = {}
    for row in found.comparison.statistics:
        if not row.name.startswith("released: "):
            by_name.setdefault(row.name, {})[row.column] = row
    chosen = {name: rows for name, rows in by_name.items() if any(" - " in c and c not in names for c in rows) == is_pair}
    columns = [c for c in dict.fromkeys(column for rows in chosen.values() for column in rows) if c != ALL] + [ALL]
    title = f"{'Pairs of tracks' if is_pair else 'Tracks'}: data / generated (*: off)"
    heads, lines = (list(chosen), columns) if is_pair else (columns, list(chosen))    # pairs are many, their statistics few
    between = " / " if _NAME + _CELL * len(heads) <= width else " /\n"
    cells = {(name, column): _both(rows.get(column), between) for name, rows in chosen.items() for column in columns}
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0)
    for head in ("", *heads):
        table.add_column(escape(head), min_width=max(map(len, head.split()), default=_NAME))
    for line in lines:
        table.add_row(escape(line), *(cells[(head, line) if is_pair else (line, head)] for head in heads))
    return table


def _both(row: StatisticRow | None, between: str) -> str:
    if row is None:
        return ""
    return _marked(f"{_number(row.real.value)}{between}{_number(row.generated.value)}", row.excess["generated"] > 1)


def _papers_table(found: Evaluation, released: bool) -> Table:
    """The papers' columns as rows, which fit a terminal."""
    papers = found.papers_released if released else found.papers
    title = "As the papers report" + (", with the faults of the released code" if released else "")
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0)
    table.add_column("", no_wrap=True)
    for row in papers.rows:
        table.add_column(row, min_width=max(map(len, row.split())))
    for (group, column), values in zip(papers.columns, zip(*papers.rows.values())):
        table.add_row(f"{group} {escape(column)}", *map(_number, values))
    return table


def _original_lines(found: Evaluation) -> list[str]:
    original = found.originality
    where = "training phrase" if original.corpus == "train" else "real phrase"
    lines = [
        f"[bold]Nearest {where}[/], in any key, of {original.n_corpus:,} (1: the same note starts): generated "
        f"{_number(original.generated.median)} in the middle, {_number(original.generated.closest)} at most; real "
        f"{_number(original.real.median)} and {_number(original.real.closest)}",
        f"Copies (0.9 or more): {original.copied:.1%} of the generated, {original.copied_real:.1%} of the real; twice among "
        f"themselves: {original.duplicates:.1%} and {original.duplicates_real:.1%}",
    ]    # fmt: skip
    if original.melodies:
        parts = (f"{escape(m.track)} {_number(m.generated.median)} / {_number(m.real.median)}" for m in original.melodies)
        lines.append(f"Nearest melody, semitones a note, generated / real: {', '.join(parts)}")
    return lines


def _condition_lines(found: Evaluation) -> list[str]:
    lines = []
    for name, test in (found.condition or {}).items():
        parts = (
            f"{field.replace('_', ' ')} {_number(own)} / {_number(other)}"
            for field, own, other in zip(test.own._fields, test.own, test.swapped)
        )
        lines.append(f"[bold]Given track[/] with its own / another phrase's accompaniment, {name}: {', '.join(parts)}")
        if math.isfinite(test.changed):
            lines.append(
                f"Given another phrase's track, {test.changed:.0%} of the accompaniments change, by {test.change:.0%} of "
                "their note starts"
            )
    return lines


def _marked(text: str, is_off: bool) -> str:
    return f"[red]{text}*[/]" if is_off else text


def _number(value: float) -> str:
    """Three significant digits."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else "inf"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(cli.run(main))
