"""The full tables of three evaluations, checked in: `python -m tests.evaluation.golden_tables` writes them anew.

A change in one of these files is a change of what a metric means, and belongs in the changelog.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from musegan.data.dataset import PackedDataset
from musegan.data.embedded import open_dataset
from musegan.evaluation.report import Evaluation, evaluate, to_json
from tests.evaluation.music import beats, halves, scales

FOLDER = Path(__file__).parent / "golden"
N_PHRASES = 300    # of each half of the embedded music


def freedoom(dataset: PackedDataset) -> Evaluation:
    """The embedded music: pieces with odd numbers in the place of generated ones."""
    real, other = halves(dataset, limit=N_PHRASES)
    return evaluate(real, other, condition="bass", released=True)


def toy_scales() -> Evaluation:
    """Scales over triads, beside broken ones."""
    return evaluate(scales(), scales(broken=True), released=True)


def toy_beats() -> Evaluation:
    """A rock beat, beside one that is silent half of the time."""
    return evaluate(beats(), beats(sparse=True))


def table(evaluation: Evaluation) -> dict:
    """The report without what is long: the histograms' shares."""
    found = json.loads(to_json(evaluation))
    for histogram in found["comparison"]["histograms"]:
        del histogram["real"], histogram["generated"]
    return found


def main() -> None:
    """Writes all three."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        dataset = open_dataset("freedoom", Path(scratch) / "data", "--data", print)
        evaluations = {"freedoom": freedoom(dataset), "toy_scales": toy_scales(), "toy_beats": toy_beats()}
    for name, evaluation in evaluations.items():
        text = json.dumps(table(evaluation), indent=1, ensure_ascii=False)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
