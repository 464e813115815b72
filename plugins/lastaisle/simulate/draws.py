"""Random draws for many sessions at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
# The weight of each outcome; weights need not add up to 1.
Weights = Floats | Sequence[float]


def choose(rng: np.random.Generator, weights: Weights, size: int) -> Ints:
    """Draw indices in proportion to their weights, with replacement."""
    cumulative = np.cumsum(np.asarray(weights, dtype=np.float64))
    drawn = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right")
    indices: Ints = np.minimum(drawn, len(cumulative) - 1).astype(np.int64)
    return indices


def lognormal(rng: np.random.Generator, median: float, sigma: float, size: int) -> Floats:
    """Draw lognormal numbers from their median and the standard deviation of their logarithm."""
    return median * np.exp(sigma * rng.standard_normal(size))
