"""The page `evaluation.html`: every statistic beside the data's, the floor and the naive rows."""

from __future__ import annotations

from pathlib import Path

from musegan.evaluation.corpus import Corpus
from musegan.evaluation.report import Evaluation


def write_page(out: Path, evaluation: Evaluation, real: Corpus, generated: Corpus, train: Corpus | None) -> None:
    """Writes the page."""
