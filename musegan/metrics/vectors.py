"""How far two sets of feature vectors lie apart: Fréchet distance, precision and coverage, a classifier.

Vectors are [n, D] float64, one a phrase, scaled alike on both sides. None of these numbers means anything without that of
two sets of real music of the same sizes beside it.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import pairwise_distances, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

N_NEIGHBOURS = 5
N_FOLDS = 5


class Neighbours(NamedTuple):
    """How two sets of points lie among each other; each in [0, 1] but `density`, which 1 means alike too."""

    precision: float
    """Share of the generated points within a real point's ball: are they plausible?"""
    recall: float
    """Share of the real points within a generated point's ball: is all there is in the data made?"""
    density: float
    """In how many real balls a generated point lies, over the number of neighbours: precision, but outliers count little."""
    coverage: float
    """Share of the real balls with a generated point within: like recall, but far-off generated points do not help."""


def frechet_distance(generated: np.ndarray, real: np.ndarray) -> float:
    """Squared distance between the normal distributions fitted to two sets, divided by the number of features.

    Means and covariances: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). It falls with the sizes of the sets also where both
    are of one source. In squared standard deviations where features are scaled to one.

    Args:
        generated, real: [n, D] and [m, D].
    Returns:
        0 or more; NaN where a set has fewer than two points, or points have no features.
    Source: Dowson and Landau 1982; Heusel et al. 2017.
    """
    if min(len(generated), len(real)) < 2 or not generated.shape[1]:
        return float("nan")
    means = generated.mean(0) - real.mean(0)
    first, second = np.cov(generated.T, ddof=1).reshape(2 * means.shape), np.cov(real.T, ddof=1).reshape(2 * means.shape)
    # The eigenvalues of C1 C2 are those of the symmetric C1^(1/2) C2 C1^(1/2), whose computing is stable.
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    return float(max(means @ means + np.trace(first) + np.trace(second) - 2 * cross, 0) / len(means))


def neighbours(
    generated: np.ndarray, real: np.ndarray, generated_groups: np.ndarray, real_groups: np.ndarray, k: int = N_NEIGHBOURS
) -> Neighbours:
    """Precision, recall, density and coverage; each point's ball reaches to its k-th neighbour within its set.

    Differs: neighbours of the same piece do not count, because phrases that overlap would make every ball tiny.

    Args:
        generated, real: [n, D] and [m, D].
        generated_groups, real_groups: [n] and [m], pieces.
        k: 1 or more.
    Returns:
        NaN where a point has fewer than k others of other pieces in its set, or points have no features.
    Source: Kynkäänniemi et al. 2019; Naeem et al. 2020.
    """
    if not generated.shape[1]:
        return Neighbours(*[float("nan")] * 4)
    real_reach, generated_reach = _reach(real, real_groups, k), _reach(generated, generated_groups, k)
    if not (np.isfinite(real_reach).all() and np.isfinite(generated_reach).all() and len(real) and len(generated)):
        return Neighbours(*[float("nan")] * 4)
    between = pairwise_distances(real, generated)    # [m, n]
    in_real = between < real_reach[:, None]
    return Neighbours(
        precision=float(in_real.any(0).mean()),
        recall=float((between < generated_reach).any(1).mean()),
        density=float(in_real.sum(0).mean() / k),
        coverage=float((between.min(1) < real_reach).mean()),
    )


def classifier_auc(
    generated: np.ndarray, real: np.ndarray, generated_groups: np.ndarray, real_groups: np.ndarray, seed: int = 0
) -> float:
    """How well a classifier tells generated phrases from real ones that it has not seen: area under the ROC curve.

    Thirty gradient-boosted trees of eight leaves, five-fold cross-validation; phrases of one piece are in one fold. 0.5 is
    guessing, 1 is always right; below 0.5 where the folds differ more than the sets.

    Args:
        generated, real: [n, D] and [m, D].
        generated_groups, real_groups: [n] and [m], pieces.
        seed: of the folds.
    Returns:
        NaN where a set has fewer than five groups, or points have no features.
    """
    if not generated.shape[1] or min(len(np.unique(generated_groups)), len(np.unique(real_groups))) < N_FOLDS:
        return float("nan")
    points = np.concatenate([generated, real])
    labels = np.repeat([1, 0], [len(generated), len(real)])
    generated_groups, real_groups = (np.unique(g, return_inverse=True)[1] for g in (generated_groups, real_groups))
    groups = np.concatenate([generated_groups, -1 - real_groups])
    scores = np.empty(len(points))
    folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed % (1 << 32))
    # Sets are small: more threads gain little, and on a busy machine they wait for each other for seconds.
    with warnings.catch_warnings(), threadpool_limits(1, user_api="openmp"):
        warnings.filterwarnings("ignore", message="The least populated class")
        for train, test in folds.split(points, labels, groups):
            model = HistGradientBoostingClassifier(
                max_iter=30, max_leaf_nodes=8, early_stopping=False, random_state=0
            )
            scores[test] = model.fit(points[train], labels[train]).predict_proba(points[test])[:, 1]
    return float(roc_auc_score(labels, scores))


def _reach(points: np.ndarray, groups: np.ndarray, k: int) -> np.ndarray:
    """[n] distance of each point to its k-th neighbour of another group; infinity where there are fewer."""
    if len(points) < k:
        return np.full(len(points), np.inf)
    distances = pairwise_distances(points)
    distances[groups[:, None] == groups] = np.inf
    return np.partition(distances, k - 1, axis=1)[:, k - 1]
