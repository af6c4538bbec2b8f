"""The vector of a phrase holds what it says, and its scaling leaves out what says nothing."""

import numpy as np
import torch

from musegan.evaluation.corpus import Corpus
from musegan.evaluation.features import STATISTICS, Scaling, features
from musegan.evaluation.statistics import measure, statistics
from musegan.metrics.pairs import chord_type_names
from tests.evaluation.music import BAND, beats, scales


def test_every_statistic_has_a_name_that_is_known():
    names = {s.name for s in statistics(BAND, 4)}
    assert set(STATISTICS) <= names


def test_a_phrase_s_numbers_are_its_own(songs):
    corpus = Corpus.of_dataset(songs, 4, limit=30)
    together = features(measure(corpus))
    for i in range(len(corpus)):
        alone = features(measure(corpus.take(slice(i, i + 1))))
        assert torch.allclose(alone[0], together[i], equal_nan=True)


def test_its_size_is_that_of_its_parts():
    measured = measure(scales(n=4))
    n_tracks, n_pairs, n_joint = 2, 1, 2
    per_track = sum(s.columns == "track" and s.name in STATISTICS for s in statistics(scales(n=1).spec, 2))
    per_pair = sum("pair" in s.columns and s.name in STATISTICS for s in statistics(scales(n=1).spec, 2))
    assert features(measured).shape == (4, per_track * n_tracks + per_pair * n_pairs + n_joint + 12
                                        + len(chord_type_names()) + 4 * n_tracks)


def test_drums_alone_have_one_too():
    assert features(measure(beats(n=6))).shape[0] == 6


def test_scaling_is_by_the_reference():
    reference = torch.tensor([[1.0, 5.0, 2.0], [3.0, 5.0, torch.nan], [5.0, 5.0, 4.0]], dtype=torch.float64)
    scaling = Scaling(reference)
    scaled = scaling(reference)
    assert scaled.shape == (3, 2)    # what never varies is left out
    assert np.allclose(scaled.mean(0), 0) and np.isclose(scaled[:, 0].std(), 1)
    assert scaled[1, 1] == 0    # what is not known lies at the mean
    assert np.allclose(scaling(torch.tensor([[3.0, 9.0, 5.0]], dtype=torch.float64)), [[0, 2]])


def test_rounding_is_no_variation():
    noise = 60 + torch.randn(50, 1, generator=torch.Generator().manual_seed(0)).double() * 1e-6
    real = torch.cat([noise, torch.arange(50.0)[:, None].double()], 1)
    assert Scaling(real)(real).shape == (50, 1)
