"""Weights of a blend, by the softmax regression of targets on what the members say of candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

RIDGE = 1e-3  # draws weights to where they were; matters where members say the same
MAX_STEPS = 50
TOLERANCE = 1e-4
PADDED = -1e9


@dataclass(frozen=True)
class Evidence:
    """What members say of some candidates for each example; rows have the target among them.

    Attributes:
        values: float32 [n, c, members].
        known: bool [n, c]; False = padding.
        target: int64 [n], the target's column.
    """

    values: NDArray[np.float32]
    known: NDArray[np.bool_]
    target: NDArray[np.int64]

    @classmethod
    def of(cls, said: NDArray[np.float32], candidates: NDArray[np.int32], targets: NDArray[np.int32]) -> Self:
        """Keep what is said of candidates, where the target is one of them.

        Args:
            said: float32 [b, size, members].
            candidates: int32 [b, c], items from 1, which may come more than once.
            targets: int32 [b].
        """
        candidates = np.sort(candidates, 1)
        known = np.ones(candidates.shape, bool)
        known[:, 1:] = candidates[:, 1:] != candidates[:, :-1]
        hit = known & (candidates == targets[:, None])
        rows = np.flatnonzero(hit.any(1))
        values = np.take_along_axis(said[rows], candidates[rows][:, :, None], 1)
        return cls(values, known[rows], hit[rows].argmax(1))

    @classmethod
    def concat(cls, parts: Sequence[Evidence], members: int) -> Self:
        """Join what was said of several chunks of examples, with as many candidates each."""
        if not parts:
            return cls(np.zeros((0, 1, members), np.float32), np.zeros((0, 1), bool), np.zeros(0, np.int64))
        return cls(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.known for part in parts]),
            np.concatenate([part.target for part in parts]),
        )


def learned_weights(seen: Evidence, start: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the weights, float32 [members], that make the targets likeliest: a convex problem.

    Newton's method, its steps halved until they gain, on the mean cross-entropy of a softmax over the
    candidates, with a small ridge to the weights at the start.
    """
    weights = start.astype(np.float64)
    loss, shares = _cross_entropy(seen, weights, start)
    told = seen.values[np.arange(len(seen.target)), seen.target]
    for _ in range(MAX_STEPS):
        weighted = shares[:, :, None] * seen.values
        mean = weighted.sum(1)
        gradient = (mean - told).mean(0) + RIDGE * (weights - start)
        spread = np.tensordot(weighted, seen.values, ((0, 1), (0, 1))) - mean.T @ mean
        step = np.linalg.solve(spread / len(told) + RIDGE * np.eye(len(weights)), gradient)
        while np.abs(step).max() >= TOLERANCE:
            reached, shares_there = _cross_entropy(seen, weights - step, start)
            if reached < loss:
                break
            step /= 2
        else:
            break
        weights, loss, shares = weights - step, reached, shares_there
    return weights.astype(np.float32)


def _cross_entropy(
    seen: Evidence, weights: NDArray[np.float64], start: NDArray[np.float32]
) -> tuple[float, NDArray[np.float64]]:
    """Return what Newton's method makes small, and the candidates' shares, [n, c]."""
    scores = np.where(seen.known, seen.values @ weights, PADDED)
    shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    of_targets = shares[np.arange(len(seen.target)), seen.target]
    ridge = 0.5 * RIDGE * float(np.sum((weights - start) ** 2))
    return float(-np.log(np.maximum(of_targets, 1e-30)).mean()) + ridge, shares
