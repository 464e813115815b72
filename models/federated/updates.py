"""What a silo sends in a round: the change of the weights, bounded in length, with noise if asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]
"""Arrays by name: the weights of a model, or their change."""


@dataclass(frozen=True)
class Update:
    """What one silo sends after one round.

    Attributes:
        change: weights after the round minus the weights that the round began with.
        sessions: how many sessions the silo learned; its weight in a mean.
        popularity: float32 [size], the share of each item in the silo's events; sums to at most 1.
        recall: recall@20 of the weights that the round began with, on the silo's judging sessions; NaN = too
            few of them to say.
        loss: the mean loss of the last local epoch.
    """

    change: Arrays
    sessions: int
    popularity: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    recall: float = float("nan")
    loss: float = float("nan")


def change_of(after: Mapping[str, NDArray[np.float32]], before: Mapping[str, NDArray[np.float32]]) -> Arrays:
    """Return what a training changed."""
    return {name: np.asarray(after[name] - before[name], np.float32) for name in before}


def applied(weights: Mapping[str, NDArray[np.float32]], change: Mapping[str, NDArray[np.float32]]) -> Arrays:
    """Return the weights with a change."""
    return {name: np.asarray(weights[name] + change[name], np.float32) for name in weights}


def length_of(change: Mapping[str, NDArray[np.float32]]) -> float:
    """Return the Euclidean length of a change over all arrays."""
    squares = (
        float(np.vdot(array.astype(np.float64), array.astype(np.float64))) for array in change.values()
    )
    return float(np.sqrt(sum(squares)))


def clipped(change: Mapping[str, NDArray[np.float32]], clip: float) -> Arrays:
    """Scale a change down to the length `clip`; a shorter change stays as it is."""
    length = length_of(change)
    scale = np.float32(1.0 if length <= clip else clip / length)
    return {name: np.asarray(array * scale, np.float32) for name, array in change.items()}


def with_noise(
    change: Mapping[str, NDArray[np.float32]], deviation: float, generator: np.random.Generator
) -> Arrays:
    """Add Gaussian noise of this standard deviation to every value.

    A change of length at most `clip` with a deviation of m * clip is the Gaussian mechanism with noise
    multiplier m; its unit is the silo.
    """
    if deviation == 0.0:
        return dict(change)
    return {
        name: np.asarray(array + generator.normal(0.0, deviation, array.shape), np.float32)
        for name, array in change.items()
    }


def popularity_of(counts: NDArray[np.float64], least: int) -> NDArray[np.float32]:
    """Return the share of each item in a silo's events, without the items that few events have.

    An item with fewer than `least` events counts as 0, so that a rare purchase of one shopper does not leave
    the silo.

    Args:
        counts: float64 [size], the events of each item.
        least: the smallest count that is told.
    """
    told = np.where(counts >= least, counts, 0.0)
    return np.asarray(told / max(float(counts.sum()), 1.0), np.float32)
