"""The policies that read the context: linear and logistic models of each arm's reward.

The features are one-hot, so lists and rewards by cell of context are all that the models need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lastaisle.experiments.bandits.best import best_by_index, best_of_normals
from lastaisle.experiments.bandits.context import Levels, features_of
from lastaisle.experiments.bandits.options import option
from lastaisle.experiments.traffic import Bandit

Floats = NDArray[np.float64]
#: Lists and rewards of each arm in each cell of context.
Counts = Mapping[str, Mapping[str, tuple[float, float]]]
_STEPS: Final = 50  # of Newton's method, which ends after about 6
_ENOUGH: Final = 1e-9


class Model(NamedTuple):
    """What is believed of the weights of one arm: a normal distribution.

    Attributes:
        weights: the mean; shape (features,).
        covariance: shape (features, features).
    """

    weights: Floats
    covariance: Floats


def linear_thompson(bandit: Bandit, counts: Counts, levels: Levels) -> Callable[[str], Floats]:
    """Return the probability of each arm to be the best under linear models of the reward.

    Source: S. Agrawal, N. Goyal, Thompson sampling for contextual bandits with linear payoffs, 2013.
    """
    score = _scores(bandit, _linear_models(bandit, counts, levels), levels)
    return lambda cell: best_of_normals(*score(cell))


def linear_ucb(bandit: Bandit, counts: Counts, levels: Levels) -> Callable[[str], Floats]:
    """Return 1 for the arm whose reward may be the highest: its mean and `exploration` standard deviations.

    Source: L. Li and others, A contextual-bandit approach to personalized news article recommendation, 2010.
    """
    score = _scores(bandit, _linear_models(bandit, counts, levels), levels)
    return lambda cell: best_by_index(np.add(*score(cell)))


def logistic_thompson(bandit: Bandit, counts: Counts, levels: Levels) -> Callable[[str], Floats]:
    """Return the probability of each arm to be the best under logistic models of the reward.

    The weights are normal around their most likely values (Laplace).
    Source: O. Chapelle, L. Li, An empirical evaluation of Thompson sampling, 2011.
    """
    middle = _pooled(counts)
    models = [_logistic_model(bandit, cells, levels, middle) for cells in counts.values()]
    score = _scores(bandit, models, levels)
    return lambda cell: best_of_normals(*score(cell))


def _scores(bandit: Bandit, models: list[Model], levels: Levels) -> Callable[[str], tuple[Floats, Floats]]:
    """Return the function that gives mean and spread of each arm's score in a cell, each of shape (arms,)."""
    weights = np.stack([model.weights for model in models])
    covariances = np.stack([model.covariance for model in models])
    exploration = option(bandit, "exploration")

    def score(cell: str) -> tuple[Floats, Floats]:
        [features] = features_of([cell], levels)
        variances = np.einsum("i,aij,j->a", features, covariances, features)
        return weights @ features, exploration * np.sqrt(variances)

    return score


def _linear_models(bandit: Bandit, counts: Counts, levels: Levels) -> list[Model]:
    """Return ridge regressions of the reward's difference from the mean of all lists."""
    middle = _pooled(counts)
    noise = middle * (1 - middle)
    models = []
    for cells in counts.values():
        features, lists, rewards = _arrays(cells, levels)
        precision = _ridge(bandit, features) + features.T @ (lists[:, None] * features)
        inverse = np.asarray(np.linalg.inv(precision), dtype=np.float64)
        models.append(Model(inverse @ (features.T @ (rewards - middle * lists)), noise * inverse))
    return models


def _logistic_model(
    bandit: Bandit, cells: Mapping[str, tuple[float, float]], levels: Levels, middle: float
) -> Model:
    """Return the logistic regression of one arm: log odds, relative to those of all lists."""
    features, lists, rewards = _arrays(cells, levels)
    start = np.log(middle / (1 - middle))
    ridge = _ridge(bandit, features)
    weights = np.zeros(features.shape[1])
    for _ in range(_STEPS):
        rates = 1 / (1 + np.exp(-(start + features @ weights)))
        precision = ridge + features.T @ ((lists * rates * (1 - rates))[:, None] * features)
        step = np.linalg.solve(precision, features.T @ (rewards - lists * rates) - ridge @ weights)
        weights = weights + step
        if np.abs(step).max() < _ENOUGH:
            break
    return Model(weights, np.linalg.inv(precision))


def _arrays(cells: Mapping[str, tuple[float, float]], levels: Levels) -> tuple[Floats, Floats, Floats]:
    """Return features, lists and rewards of the cells; rewards are at most the lists."""
    names = sorted(cells)
    features = features_of(names, levels).reshape(len(names), 1 + sum(len(known) + 2 for known in levels))
    sums = np.array([cells[name] for name in names]).reshape(-1, 2)
    return features, sums[:, 0], np.minimum(sums[:, 0], sums[:, 1])


def _ridge(bandit: Bandit, features: Floats) -> Floats:
    """Return the precision of the weights before the first list: 1 for the arm itself, `ridge` for values."""
    return np.diag([1.0] + [option(bandit, "ridge")] * (features.shape[1] - 1))


def _pooled(counts: Counts) -> float:
    """Return the rate of all lists, as if two more lists had one reward."""
    sums = [cell for cells in counts.values() for cell in cells.values()]
    lists, rewards = np.sum([(2.0, 1.0), *sums], axis=0)
    return float(min(rewards / lists, 1 - 1 / lists))
