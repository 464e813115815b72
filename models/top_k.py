"""The best items of each row of scores, and the ranks of targets. Equal scores rank the lower index first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GROUP_SIZE = 64  # items in a group of which only the highest score is compared


def top_k(scores: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    """Return the columns of the k highest scores of each row, best first.

    Args:
        scores: float32 [b, size]; column 0 is padding and is never returned.
        k: at most size - 1.

    Returns:
        int32 [b, k].
    """
    if k < 1:
        return np.zeros((len(scores), 0), np.int32)
    items = scores[:, 1:]
    lowest = _lower_bounds(items, k)
    top = np.empty((len(scores), k), np.int32)
    for row, values in enumerate(items):
        candidates = np.flatnonzero(values >= lowest[row])
        top[row] = 1 + candidates[np.lexsort((candidates, -values[candidates]))[:k]]
    return top


def target_ranks(scores: NDArray[np.float32], targets: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the rank of each row's target among all items: int32 [b], from 1.

    Args:
        scores: float32 [b, size]; column 0 is padding.
        targets: int32 [b]; the rank of target 0 (an unknown item) is 0.
    """
    ranks = np.zeros(len(targets), np.int32)
    for row, target in enumerate(targets):
        if target:
            above = np.count_nonzero(scores[row] > scores[row, target])
            ties = np.count_nonzero(scores[row, 1:target] == scores[row, target])
            ranks[row] = 1 + above + ties
    return ranks


def _lower_bounds(items: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """Return for each row a value that at least k items reach, and few more than k.

    The value is the k-th of the highest scores of groups of items. To partition all items would take far
    longer.
    """
    groups = items.shape[1] // GROUP_SIZE
    if groups <= k:
        return np.partition(items, -k, axis=1)[:, -k]
    highest = items[:, : groups * GROUP_SIZE].reshape(len(items), GROUP_SIZE, groups).max(axis=1)
    return np.partition(highest, -k, axis=1)[:, -k]
