"""The probability of each arm to be the best, from what is believed of each arm.

The probabilities are computed on a fixed grid, without chance: the same beliefs give the same probabilities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Where the grid has points around the mean of each belief, in standard deviations. The points further up are
#: for the long tail of beliefs about rare rewards.
_POINTS = np.concatenate([np.linspace(-8, 8, 257), np.linspace(9, 30, 22)])
_EDGE = 1e-12


def best_of_betas(rewards: Floats, misses: Floats) -> Floats:
    """Return the probability of each arm to have the greatest rate.

    Args:
        rewards: the first parameter of each arm's Beta distribution, 1 or more; shape (arms,).
        misses: the second parameter, 1 or more.
    """
    total = rewards + misses
    means = rewards / total
    spreads = np.sqrt(means * (1 - means) / (total + 1))
    grid = np.unique(np.clip((means[:, None] + spreads[:, None] * _POINTS).ravel(), _EDGE, 1 - _EDGE))
    logs = np.outer(rewards - 1, np.log(grid)) + np.outer(misses - 1, np.log1p(-grid))
    return _best(grid, logs)


def best_of_normals(means: Floats, spreads: Floats) -> Floats:
    """Return the probability of each arm to have the greatest score.

    Args:
        means: the mean of each arm's normal distribution; shape (arms,).
        spreads: the standard deviation, above 0.
    """
    grid = np.unique((means[:, None] + spreads[:, None] * _POINTS).ravel())
    return _best(grid, -0.5 * ((grid - means[:, None]) / spreads[:, None]) ** 2)


def best_by_index(indices: Floats) -> Floats:
    """Return 1 for the arm with the greatest index; arms with equal indices share it."""
    best = np.asarray(indices == indices.max(), dtype=np.float64)
    return np.asarray(best / best.sum(), dtype=np.float64)


def _best(grid: Floats, logs: Floats) -> Floats:
    """Return the probability of each arm to be the best.

    Args:
        grid: points in rising order; shape (points,).
        logs: the logarithm of each arm's density at the points, up to a constant; shape (arms, points).
    """
    densities = np.exp(logs - logs.max(axis=1, keepdims=True))
    masses = (densities[:, 1:] + densities[:, :-1]) / 2 * np.diff(grid)
    masses /= masses.sum(axis=1, keepdims=True)
    below = np.concatenate([np.zeros((len(masses), 1)), np.cumsum(masses, axis=1)], axis=1)
    middle = (below[:, 1:] + below[:, :-1]) / 2
    best = np.array(
        [(masses[arm] * np.delete(middle, arm, axis=0).prod(axis=0)).sum() for arm in range(len(masses))]
    )
    return np.asarray(best / best.sum(), dtype=np.float64)
