"""A whole evaluation: what was compared with what, and everything that was found."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from musegan import __version__
from musegan.errors import UserError
from musegan.evaluation.comparison import Comparison, compare
from musegan.evaluation.corpus import Corpus
from musegan.evaluation.originality import Originality, originality
from musegan.evaluation.papers import PaperTable, paper_table
from musegan.evaluation.splits import choose
from musegan.keys import key_shifts, transpose
from musegan.metrics.condition import ConditionTest, condition_test
from musegan.roll import Roll

FEW_PIECES = 20    # real ones; below, floors are wide
FEW_PHRASES = 100    # of each row
MANY_COPIES = 0.05    # of the phrases of a side
_MAX_CONDITION = 2000    # phrases of each side
_MAX_CONDITION_CELLS = 1 << 29    # of these, a byte each in both planes

Say = Callable[[str], None]


class Accompanist(NamedTuple):
    """A model that plays to a given track."""

    play: Callable[[Roll, int], Roll]
    """Phrases in which one track sounds, and its index, to whole ones; the same input, the same output."""
    in_normal_key: bool
    """Whether it plays in C major / A minor, where it must then be asked to."""


class Side(NamedTuple):
    """Where phrases are from."""

    source: str
    n_phrases: int
    n_pieces: int


class Evaluation(NamedTuple):
    """What `musegan evaluate` writes as JSON."""

    musegan: str
    """Version."""
    seed: int
    spec: dict[str, Any]
    n_bars: int
    sides: dict[str, Side]
    """`real`, `generated`, and `train` where it was given."""
    warnings: list[str]
    comparison: Comparison
    originality: Originality
    papers: PaperTable
    papers_released: PaperTable | None
    """With the released code's faults, where asked."""
    condition: dict[str, ConditionTest] | None
    """Of the given track, for `real` and `generated`; of an accompanist, both on the same real phrases."""


def evaluate(
    real: Corpus,
    generated: Corpus,
    train: Corpus | None = None,
    sources: dict[str, str] | None = None,
    seed: int = 0,
    condition: str | None = None,
    released: bool = False,
    say: Say = lambda line: None,
    accompanist: Accompanist | None = None,
) -> Evaluation:
    """Compares generated phrases with real ones in every way.

    Args:
        real: phrases of two pieces at least; held-out ones, where `train` is given.
        generated: of the same spec and length.
        train: what the model was trained on.
        sources: what to call `real`, `generated` and `train`.
        seed: decides everything random: the same seed, the same report.
        condition: name of the track that was given, where the others accompany it.
        released: also compute the papers' table as the released code would.
        say: told what is being done.
        accompanist: the model of `generated`, which is asked to accompany the condition track of the real phrases.
    Raises:
        UserError: specs or lengths differ, there are too few phrases or pieces, or no such track.
    """
    spec = real.spec
    if condition is not None and condition not in (names := [track.name for track in spec.tracks]):
        raise UserError(f"no track {condition!r} to be the condition: there are {', '.join(names)}")
    if condition is not None and spec.n_tracks < 2:
        raise UserError("a condition needs two tracks at least: got one")
    comparison = compare(real, generated, train, seed, released, say)
    found = originality(real, generated, train, seed, say)
    corpora = {"real": real, "generated": generated} | ({} if train is None else {"train": train})
    fits = None
    if condition is not None:
        track = [track.name for track in spec.tracks].index(condition)
        if accompanist is None:
            fits = {name: _fit(corpus, track, seed) for name, corpus in corpora.items() if name != "train"}
        else:
            say("accompanying real phrases")
            fits = _accompanied(real, track, seed, accompanist)
    return Evaluation(
        musegan=__version__,
        seed=seed,
        spec=dataclasses.asdict(spec),
        n_bars=real.n_bars,
        sides={name: Side((sources or {}).get(name, ""), len(c), c.n_pieces) for name, c in corpora.items()},
        warnings=_warnings(corpora, comparison, found),
        comparison=comparison,
        originality=found,
        papers=paper_table(comparison),
        papers_released=paper_table(comparison, "released: ") if released else None,
        condition=fits,
    )


def to_json(evaluation: Evaluation) -> str:
    """The report as JSON: numbers to six digits, NaN as null; the same evaluation gives the same text."""
    return json.dumps(_plain(evaluation), indent=1, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: _plain(each) for key, each in value._asdict().items()}
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None if math.isnan(value) else str(value)
    return value


def _fit(corpus: Corpus, track: int, seed: int) -> ConditionTest:
    return condition_test(_some(corpus, torch.arange(len(corpus)), seed), corpus.spec, track)


def _accompanied(real: Corpus, track: int, seed: int, accompanist: Accompanist) -> dict[str, ConditionTest]:
    """Of real phrases, and of what is played to their track, which sounds in all of them.

    Where the accompanist plays in one key, phrases are moved there first: a key that follows what is given would pass for
    listening.
    """
    sounding = torch.nonzero(real.roll.frame[:, track].flatten(1).any(1)).squeeze(1)
    if len(sounding) < 2:
        name = real.spec.tracks[track].name
        raise UserError(f"{name} sounds in {len(sounding)} of the real phrases: nothing to accompany")
    roll = _some(real, sounding, seed)
    if accompanist.in_normal_key:
        roll = transpose(roll, -key_shifts(roll.frame, real.spec), real.spec)
    test = condition_test(roll, real.spec, track, lambda given: accompanist.play(given, track))
    return {"real": condition_test(roll, real.spec, track), "generated": test}


def _some(corpus: Corpus, index: torch.Tensor, seed: int) -> Roll:
    """Phrases of some indices, at random, as many as fit in memory."""
    n_cells = math.prod(corpus.roll.frame.shape[1:4]) * corpus.spec.n_pitches
    most = min(_MAX_CONDITION, max(_MAX_CONDITION_CELLS // n_cells, 2))
    return corpus.take(choose(index, most, seed, "condition")).unpacked()


def _warnings(corpora: dict[str, Corpus], comparison: Comparison, original: Originality) -> list[str]:
    found = []
    n_pieces, n = corpora["real"].n_pieces, len(corpora["generated"])
    if n_pieces < FEW_PIECES:
        found.append(f"the real music has {n_pieces} pieces only: floors are wide, and little can be told from real")
    if comparison.n < n:
        found.append(
            f"{comparison.n} of {n} generated phrases are taken at a time, for half of the real pieces has no more phrases"
        )
    if corpora["generated"].n_pieces < n / 2:
        found.append("generated phrases overlap or come from few pieces: their intervals are wider than their number says")
    if comparison.n < FEW_PHRASES:
        found.append(f"only {comparison.n} phrases of each row are compared: floors are wide, and little can be told "
                     "from real")
    kind = "training" if original.corpus == "train" else "real"
    if original.copied > original.copied_real + MANY_COPIES:
        found.append(f"{original.copied:.0%} of the generated phrases are copies of {kind} ones: being close to the data "
                     "is no merit")
    if original.corpus == "train" and original.copied_real > MANY_COPIES:
        found.append(
            f"{original.copied_real:.0%} of the real phrases are copies of training ones: what is new to the model is not "
            "known"
        )
    return found
