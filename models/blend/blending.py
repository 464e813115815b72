"""The weights of an ensemble, by softmax regression of targets on the members' scores of candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

RIDGE = 1e-3  # draws the weights to their old values; it decides where members give equal scores
MAX_STEPS = 50
TOLERANCE = 1e-4
PADDED = -1e9


@dataclass(frozen=True)
class CandidateScores:
    """The members' log-scores of some candidates for each example. The target is among the candidates.

    Attributes:
        values: float32 [n, c, members].
        known: bool [n, c]; False = padding.
        target: int64 [n], the target's column.
    """

    values: NDArray[np.float32]
    known: NDArray[np.bool_]
    target: NDArray[np.int64]

    @classmethod
    def of(
        cls, log_scores: NDArray[np.float32], candidates: NDArray[np.int32], targets: NDArray[np.int32]
    ) -> Self:
        """Keep the scores of the candidates, of the examples whose target is a candidate.

        Args:
            log_scores: float32 [b, size, members].
            candidates: int32 [b, c], items from 1; an item may occur more than once.
            targets: int32 [b].
        """
        candidates = np.sort(candidates, 1)
        known = np.ones(candidates.shape, bool)
        known[:, 1:] = candidates[:, 1:] != candidates[:, :-1]
        hit = known & (candidates == targets[:, None])
        rows = np.flatnonzero(hit.any(1))
        values = np.take_along_axis(log_scores[rows], candidates[rows][:, :, None], 1)
        return cls(values, known[rows], hit[rows].argmax(1))

    @classmethod
    def concat(cls, parts: Sequence[CandidateScores], members: int) -> Self:
        """Join the scores of several chunks of examples with the same number of candidates."""
        if not parts:
            return cls(np.zeros((0, 1, members), np.float32), np.zeros((0, 1), bool), np.zeros(0, np.int64))
        return cls(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.known for part in parts]),
            np.concatenate([part.target for part in parts]),
        )


def learned_weights(examples: CandidateScores, start: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the weights, float32 [members], under which the targets are most likely. The problem is convex.

    Newton's method minimizes the mean cross-entropy of a softmax over the candidates, plus a small ridge
    penalty for the distance from the first weights. A step is halved until it lowers the loss.
    """
    weights = start.astype(np.float64)
    loss, shares = _cross_entropy(examples, weights, start)
    target_values = examples.values[np.arange(len(examples.target)), examples.target]
    for _ in range(MAX_STEPS):
        weighted = shares[:, :, None] * examples.values
        mean = weighted.sum(1)
        gradient = (mean - target_values).mean(0) + RIDGE * (weights - start)
        spread = np.tensordot(weighted, examples.values, ((0, 1), (0, 1))) - mean.T @ mean
        step = np.linalg.solve(spread / len(target_values) + RIDGE * np.eye(len(weights)), gradient)
        while np.abs(step).max() >= TOLERANCE:
            next_loss, next_shares = _cross_entropy(examples, weights - step, start)
            if next_loss < loss:
                break
            step /= 2
        else:
            break
        weights, loss, shares = weights - step, next_loss, next_shares
    return weights.astype(np.float32)


def _cross_entropy(
    examples: CandidateScores, weights: NDArray[np.float64], start: NDArray[np.float32]
) -> tuple[float, NDArray[np.float64]]:
    """Return the loss that Newton's method minimizes, and the candidates' shares, [n, c]."""
    scores = np.where(examples.known, examples.values @ weights, PADDED)
    shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    target_shares = shares[np.arange(len(examples.target)), examples.target]
    ridge = 0.5 * RIDGE * float(np.sum((weights - start) ** 2))
    return float(-np.log(np.maximum(target_shares, 1e-30)).mean()) + ridge, shares
