"""The benchmarks of metrics run, on little, and give whole tables."""

import pytest
import torch

from benchmarks.metrics import evaluation, naive, originality
from musegan.evaluation.comparison import compare
from musegan.evaluation.corpus import Corpus
from tests.evaluation.music import scales


@pytest.mark.slow
def test_a_trial_evaluation(few_splits, capsys):
    evaluation.main(["--quick"])
    screen = capsys.readouterr().out
    assert "200 phrases against 400" in screen and "measuring: Bernoulli" in screen and "peak memory" in screen


@pytest.fixture
def threads_kept():
    """A benchmark sets the number of threads, on which the last bits of a training run depend."""
    n = torch.get_num_threads()
    yield
    torch.set_num_threads(n)


@pytest.mark.slow
def test_a_trial_search(capsys, threads_kept):
    originality.main(["--quick"])
    assert "20 of 300 phrases" in capsys.readouterr().out    # after the results were found equal


def test_moved_phrases_are_real_ones_in_other_keys(songs):
    real = Corpus.of_dataset(songs, 4, limit=40)
    made = evaluation.moved(real, 100)
    assert len(made) == 100
    assert made.unpacked().onset[:, 0].equal(real.unpacked().onset[[i % 40 for i in range(100)], 0])    # drums stay


def test_tables_have_every_row(few_splits):
    line = naive.facts(compare(scales(), scales(), None, seed=0)) | {"data": "scales", "pieces": 10, "floors": {}}
    table = naive.rows_table(line)
    assert len(table.columns) == 2 + 5 and table.row_count == len(line["distances"]) + len(line["statistics"])
