"""Distances of sets of vectors against their formulas and loops, and what they mean."""

import math

import numpy as np
import pytest
import scipy.linalg
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from musegan.metrics import vectors
from musegan.metrics.vectors import Neighbours, classifier_auc, frechet_distance, neighbours


@pytest.fixture(autouse=True)
def one_thread():
    """On so few points threads wait for each other, for seconds where other programs run."""
    with threadpool_limits(1):
        yield


def normal(n, d=4, seed=0, mean=0.0):
    return np.random.default_rng(seed).normal(size=(n, d)) + mean


def pieces(n, size=1):
    """Groups of `size` points each."""
    return np.arange(n) // size


# Fréchet distance

def with_moments(n, mean, covariance, seed=0):
    """Points whose mean and covariance are these, up to rounding."""
    points = normal(n, len(mean), seed)
    points = points - points.mean(0)
    own = np.cov(points.T).reshape(len(mean), len(mean))
    return points @ np.linalg.inv(np.linalg.cholesky(own)).T @ np.linalg.cholesky(covariance).T + mean


def by_formula(a, b):
    """As it is written, with the square root of a matrix that is not symmetric."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second).real
    shift = a.mean(0) - b.mean(0)
    return (shift @ shift + np.trace(first + second - 2 * root)) / a.shape[1]


@pytest.mark.parametrize("seed", range(3))
def test_frechet_distance_is_the_formula(seed):
    mix = np.random.default_rng(seed + 50).normal(size=(5, 5))
    a, b = normal(30, 5, seed) @ mix, normal(40, 5, seed + 9, mean=0.3) * (1, 2, 0.1, 1, 3)
    assert frechet_distance(a, b) == pytest.approx(by_formula(a, b), rel=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_of_equal_covariances_it_is_the_squared_shift_of_the_means_by_features():
    a = normal(50, 3) @ np.random.default_rng(1).normal(size=(3, 3))
    assert frechet_distance(a + (3, 0, -1), a) == pytest.approx((9 + 1) / 3)


@pytest.mark.parametrize("mean, deviation", [(0.0, 3.0), (2.0, 1.0), (-1.0, 0.2)])
def test_of_one_feature_it_is_of_means_and_deviations(mean, deviation):
    a, b = with_moments(20, (0.0,), np.eye(1)), with_moments(30, (mean,), np.eye(1) * deviation**2, seed=1)
    assert frechet_distance(a, b) == pytest.approx(mean**2 + (1 - deviation) ** 2)


def test_of_independent_features_it_is_the_mean_over_them():
    a = with_moments(60, (0.0, 1.0, 2.0), np.diag((1.0, 4.0, 9.0)))
    b = with_moments(50, (1.0, 1.0, 0.0), np.diag((4.0, 4.0, 1.0)), seed=1)
    assert frechet_distance(a, b) == pytest.approx((1 + 1 + 0 + 4 + 4) / 3)


def test_a_set_is_at_0_from_itself_even_without_spread():
    a = normal(12, 20)    # fewer points than features: a covariance of rank 11
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-6)
    still = np.ones((5, 3))
    assert frechet_distance(still, still) == 0
    assert frechet_distance(still, still + 2) == pytest.approx(4)


def test_covariances_are_of_samples():
    """Of n - 1: two points 2 apart have a variance of 2."""
    assert frechet_distance(np.array([[-1.0], [1.0]]), np.zeros((2, 1))) == pytest.approx(2)


def test_of_one_point_there_is_no_frechet_distance():
    for n, m in ((1, 9), (9, 1), (0, 9), (1, 1)):
        assert math.isnan(frechet_distance(normal(n), normal(m)))
    assert not math.isnan(frechet_distance(normal(2), normal(2, seed=1)))


def test_fewer_points_of_one_source_lie_farther_apart():
    """The floor that it says to quote beside it."""
    few, many = (np.mean([frechet_distance(normal(n, seed=s), normal(n, seed=s + 99)) for s in range(5)]) for n in (10, 200))
    assert few > 3 * many > 0


# Neighbours

def loop_neighbours(generated, real, generated_groups, real_groups, k):
    def reach(points, groups):
        found = []
        for i, point in enumerate(points):
            others = sorted(math.dist(point, other) for j, other in enumerate(points) if groups[j] != groups[i])
            if len(others) < k:
                return None
            found.append(others[k - 1])
        return found

    real_reach, generated_reach = reach(real, real_groups), reach(generated, generated_groups)
    if real_reach is None or generated_reach is None:
        return None
    balls = [sum(math.dist(g, r) < radius for r, radius in zip(real, real_reach)) for g in generated]
    recalled = [any(math.dist(r, g) < radius for g, radius in zip(generated, generated_reach)) for r in real]
    covered = [any(math.dist(r, g) < radius for g in generated) for r, radius in zip(real, real_reach)]
    return Neighbours(sum(n > 0 for n in balls) / len(generated), sum(recalled) / len(real), sum(balls) / len(generated) / k,
                      sum(covered) / len(real))


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("n, m, d, mean", [(12, 20, 2, 0.8), (30, 17, 3, 0.5), (25, 25, 1, 1.5)])
def test_neighbours_are_those_of_a_loop(k, size, n, m, d, mean):
    generated, real = normal(n, d, 1, mean) * 0.8, normal(m, d, 2)
    ours = neighbours(generated, real, pieces(n, size), pieces(m, size), k)
    assert ours == pytest.approx(loop_neighbours(generated, real, pieces(n, size), pieces(m, size), k))
    assert len(set(ours)) >= 3    # or it would prove little


def test_by_default_the_fifth_neighbour_counts():
    generated, real = normal(20, 2, 1, 0.7), normal(20, 2, 2)
    assert neighbours(generated, real, pieces(20), pieces(20)) == neighbours(generated, real, pieces(20), pieces(20), k=5)
    assert neighbours(generated, real, pieces(20), pieces(20)) != neighbours(generated, real, pieces(20), pieces(20), k=4)


def test_identical_sets_lie_within_each_other():
    a = normal(30)
    found = neighbours(a, a, pieces(30), pieces(30), k=3)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density == pytest.approx(1)    # each ball holds its own point and two others


def test_sets_far_apart_have_nothing_in_common():
    found = neighbours(normal(20), normal(30, mean=100), pieces(20), pieces(30), k=3)
    assert found == (0, 0, 0, 0)


def test_one_good_phrase_made_again_and_again_is_precise_and_covers_little():
    real = normal(60, 2)
    generated = real[:1] + normal(40, 2, 1) * 1e-6
    found = neighbours(generated, real, pieces(40), pieces(60), k=3)
    assert found.precision == 1
    assert found.recall <= 1 / 60 and found.coverage < 0.2


def test_music_with_stray_phrases_recalls_all_and_is_not_precise():
    real = normal(40, 2)
    generated = np.concatenate([real, normal(40, 2, 1) + 1000 * np.eye(2)[np.arange(40) % 2]])
    found = neighbours(generated, real, pieces(80), pieces(40), k=3)
    assert found.recall == found.coverage == 1
    assert found.precision == 0.5


def test_phrases_of_one_piece_do_not_shrink_their_balls():
    """Every phrase again beside itself, as overlapping phrases are: within their pieces it changes nothing."""
    generated, real = normal(25, 2, 1, 0.5), normal(20, 2, 2)
    alone = neighbours(generated, real, pieces(25), pieces(20), k=1)
    twice = np.repeat(real, 2, axis=0) + np.tile([[0, 0], [1e-9, 0]], (20, 1))
    grouped = neighbours(generated, twice, pieces(25), pieces(40, 2), k=1)
    assert (grouped.precision, grouped.recall, grouped.coverage) == (alone.precision, alone.recall, alone.coverage)
    shrunk = neighbours(generated, twice, pieces(25), pieces(40), k=1)
    assert shrunk.precision == shrunk.coverage == 0 < alone.precision
    twice = np.repeat(generated, 2, axis=0) + np.tile([[0, 0], [1e-9, 0]], (25, 1))
    assert neighbours(twice, real, pieces(50, 2), pieces(20), k=1).recall == alone.recall > 0
    assert neighbours(twice, real, pieces(50), pieces(20), k=1).recall == 0


@pytest.mark.parametrize("generated_groups, real_groups", [
    ([0, 1, 2], [0, 1, 2, 3]), ([0, 1, 2, 3], [0, 1, 2]), ([0, 0, 0, 0, 1], [0, 1, 2, 3]), ([0, 0, 0, 0], [0, 1, 2, 3]),
    ([], [0, 1, 2, 3]), ([0, 1, 2, 3], []), ([], []),
])    # fmt: skip
def test_without_enough_others_there_are_no_neighbours(generated_groups, real_groups):
    """The fifth of [0, 0, 0, 0, 1] has four others; the first has one."""
    sets = normal(len(generated_groups)), normal(len(real_groups), seed=1)
    assert all(map(math.isnan, neighbours(*sets, np.array(generated_groups), np.array(real_groups), k=3)))


def test_just_enough_others_are_enough():
    assert not any(map(math.isnan, neighbours(normal(4), normal(4, seed=1), pieces(4), pieces(4), k=3)))


def test_groups_may_be_names():
    a, b = normal(10, 2, 1), normal(10, 2, 2)
    names = np.array([f"song {i // 2}" for i in range(10)])
    assert neighbours(a, b, names, names, k=2) == neighbours(a, b, pieces(10, 2), pieces(10, 2), k=2)
    assert classifier_auc(a, b, names, names) == classifier_auc(a, b, pieces(10, 2), pieces(10, 2))


# The classifier

def test_two_sets_of_one_source_cannot_be_told_apart():
    sets = [normal(100, 3, seed) for seed in range(6)]
    values = [classifier_auc(a, b, pieces(100, 5), pieces(100, 5)) for a, b in zip(sets[::2], sets[1::2])]
    assert np.mean(values) == pytest.approx(0.5, abs=0.1)
    assert all(0.3 < value < 0.7 for value in values)


def test_sets_apart_are_told_apart_whichever_way():
    a, b = normal(60, 3), normal(60, 3, 1, mean=8)
    assert classifier_auc(a, b, pieces(60, 4), pieces(60, 4)) == 1
    assert classifier_auc(b, a, pieces(60, 4), pieces(60, 4)) == 1


def test_the_nearer_the_harder():
    real = normal(80, 3)
    values = [classifier_auc(normal(80, 3, 1, mean), real, pieces(80, 4), pieces(80, 4)) for mean in (0.2, 1.0, 3.0)]
    assert 0.4 < values[0] < values[1] < values[2]


def test_it_sees_what_means_and_covariances_do_not():
    """Points on a ring, and a normal cloud of the same moments."""
    angle = np.random.default_rng(0).uniform(0, 2 * math.pi, 300)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    cloud = with_moments(300, ring.mean(0), np.cov(ring.T))
    assert frechet_distance(cloud, ring) == pytest.approx(0, abs=1e-9)
    assert classifier_auc(cloud, ring, pieces(300), pieces(300)) > 0.75


def test_the_seed_decides_the_folds():
    args = normal(40, 3), normal(40, 3, 1, 0.3), pieces(40, 2), pieces(40, 2)
    values = [classifier_auc(*args, seed=seed) for seed in (0, 0, 1, -1, 1 << 40 | 5)]
    assert values[0] == values[1] == classifier_auc(*args)    # 0 unless told
    assert len(set(values)) >= 2


def test_a_piece_is_learned_or_asked_and_each_phrase_asked_once(monkeypatch):
    """Vectors that hold their piece and their side; the two sides' groups have the same numbers and are not the same."""
    generated, real = (np.stack([pieces(n, size), np.arange(n), np.full(n, side)], 1).astype(float)
                       for n, size, side in ((24, 3, 1), (30, 5, 0)))
    learned, asked = [], []

    class Spy(HistGradientBoostingClassifier):
        def fit(self, points, labels):
            assert np.array_equal(labels, points[:, 2])    # generated ones are what is looked for
            learned.append(points)
            return super().fit(points, labels)

        def predict_proba(self, points):
            asked.append(points)
            return super().predict_proba(points)

    monkeypatch.setattr(vectors, "HistGradientBoostingClassifier", Spy)
    classifier_auc(generated, real, pieces(24, 3), pieces(30, 5))
    assert len(learned) == len(asked) == 5
    for train, test in zip(learned, asked):
        in_both = {(piece, side) for piece, _, side in train} & {(piece, side) for piece, _, side in test}
        assert not in_both and len(train) + len(test) == 54
        assert set(train[:, 2]) == set(test[:, 2]) == {0, 1}    # folds have both sides
    assert any({piece for piece, *_ in train} & {piece for piece, *_ in test} for train, test in zip(learned, asked))
    everyone = sorted(map(tuple, np.concatenate(asked).tolist()))
    assert everyone == sorted(map(tuple, np.concatenate([generated, real]).tolist()))


def test_what_is_known_of_a_piece_does_not_help():
    """Each piece has a place of its own: one that has seen some of its phrases tells the others, and no one else."""
    places = np.random.default_rng(0).uniform(-1, 1, size=(60, 3))
    points = np.repeat(places, 4, axis=0) + normal(240, 3, 1) * 1e-3
    generated, real = points[:120], points[120:]
    apart = classifier_auc(generated, real, pieces(120, 4), pieces(120, 4))
    leaked = classifier_auc(generated, real, pieces(120), pieces(120))
    assert leaked > 0.85 and apart < 0.7


@pytest.mark.parametrize("n_generated, n_real", [(4, 9), (9, 4), (0, 9), (9, 0), (4, 4)])
def test_fewer_than_five_pieces_tell_nothing(n_generated, n_real):
    generated, real = normal(4 * n_generated), normal(4 * n_real, seed=1)
    assert math.isnan(classifier_auc(generated, real, pieces(4 * n_generated, 4), pieces(4 * n_real, 4)))


def test_five_pieces_are_enough_however_large():
    sizes = np.array([40, 1, 2, 1, 5])
    groups = np.repeat(np.arange(5), sizes)
    for seed in range(3):
        assert classifier_auc(normal(49, 3), normal(49, 3, 1, 9), groups, groups, seed) > 0.9


def test_points_without_features_cannot_be_compared():
    points, groups = np.empty((20, 0)), np.arange(20)
    assert math.isnan(frechet_distance(points, points))
    assert np.isnan(neighbours(points, points, groups, groups)).all()
    assert math.isnan(classifier_auc(points, points, groups, groups))
