"""Ranking metrics for predictions with one target each, and their bootstrap intervals.

Every metric takes `ranks`, int [n]: the rank of each prediction's target in the full ranking of all items,
counted from 1. Rank 0 means that the target is not among the items, which is always a miss. k is the length
of the list. The mean of no predictions is 0.0.

With one target per prediction, recall@k equals hit_rate@k (which some papers print as P@k), and precision@k
is that divided by k.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 32  # resamples that are multiplied together

Ranks = NDArray[np.integer[Any]]


def _mean(values: NDArray[Any]) -> float:
    return float(np.mean(values, dtype=np.float64)) if len(values) else 0.0


def _check(k: int) -> None:
    if k < 1:
        raise ValueError(f"k should be at least 1, received {k!r}")


def hits(ranks: Ranks, k: int) -> NDArray[np.bool_]:
    """Tell for each prediction whether its target is among the first k: 1 ≤ rank ≤ k."""
    _check(k)
    return (ranks >= 1) & (ranks <= k)


def reciprocal_ranks(ranks: Ranks, k: int) -> NDArray[np.float64]:
    """Return for each prediction 1 / rank if rank ≤ k, else 0."""
    return np.where(hits(ranks, k), 1.0 / np.maximum(ranks, 1), 0.0)


def discounted_gains(ranks: Ranks, k: int) -> NDArray[np.float64]:
    """Return for each prediction 1 / log2(1 + rank) if rank ≤ k, else 0."""
    return np.where(hits(ranks, k), 1.0 / np.log2(1.0 + np.maximum(ranks, 1)), 0.0)


def precision_at_k(ranks: Ranks, k: int) -> float:
    """Return precision@k: relevant items among the first k, divided by k, averaged over predictions.

    Formula: (1/n) Σ [1 ≤ rank ≤ k] / k. The denominator is k, even if the catalogue has fewer than k
    items. With one target the metric is at most 1/k. No predictions: 0.0.
    """
    return _mean(hits(ranks, k)) / k


def recall_at_k(ranks: Ranks, k: int) -> float:
    """Return recall@k: relevant items among the first k, divided by all relevant items, averaged.

    Formula: (1/n) Σ [1 ≤ rank ≤ k] / 1. The denominator is 1, the one target, even if the model does not
    know the target (rank 0). No predictions: 0.0.
    """
    return _mean(hits(ranks, k))


def hit_rate_at_k(ranks: Ranks, k: int) -> float:
    """Return hit_rate@k: the share of predictions whose first k items contain the target.

    Formula: (1/n) Σ [1 ≤ rank ≤ k]. The denominator is the number of predictions, unknown targets
    included. No predictions: 0.0.
    """
    return _mean(hits(ranks, k))


def mrr_at_k(ranks: Ranks, k: int) -> float:
    """Return mrr@k: the mean of 1/rank, where a rank above k counts 0.

    Formula: (1/n) Σ [1 ≤ rank ≤ k] / rank. The denominator is the number of predictions, misses included.
    No predictions: 0.0.
    """
    return _mean(reciprocal_ranks(ranks, k))


def ndcg_at_k(ranks: Ranks, k: int) -> float:
    """Return ndcg@k: the mean of 1/log2(1 + rank), where a rank above k counts 0.

    Formula: DCG / ideal DCG; with one target the ideal is 1/log2(2) = 1. The denominator of the mean is
    the number of predictions. No predictions: 0.0.
    """
    return _mean(discounted_gains(ranks, k))


def coverage_at_k(top: NDArray[np.integer[Any]], k: int, n_items: int) -> float:
    """Return coverage@k: the share of the items that are among the first k of at least one prediction.

    Formula: |union of each prediction's first k| / n_items. Index 0 (no item) never counts. No predictions
    or no items: 0.0. Where models are compared, n_items is the number of distinct items that any of them
    knows: a model that learned new items shows no smaller share for the same lists.

    Args:
        top: int [n, at least k], each prediction's list, best first, as vocabulary indices; 0 = none.
        k: how many items of each list count.
        n_items: the number of items that could be shown, without padding.

    Raises:
        ValueError: lists shorter than k.
    """
    _check(k)
    if len(top) == 0 or n_items == 0:
        return 0.0
    if top.shape[1] < k:
        raise ValueError(f"coverage@{k} needs lists of {k}, received {top.shape[1]}")
    shown = np.unique(top[:, :k])
    return float(np.count_nonzero(shown) / n_items)


BY_RANK: dict[str, Callable[[Ranks, int], float]] = {
    "precision": precision_at_k,
    "recall": recall_at_k,
    "hit_rate": hit_rate_at_k,
    "mrr": mrr_at_k,
    "ndcg": ndcg_at_k,
}

PER_EXAMPLE: dict[str, Callable[[Ranks, int], NDArray[Any]]] = {
    "precision": lambda ranks, k: hits(ranks, k) / k,
    "recall": hits,
    "hit_rate": hits,
    "mrr": reciprocal_ranks,
    "ndcg": discounted_gains,
}


def per_example(name: str, ranks: Ranks) -> NDArray[np.float64]:
    """Return a metric's value for each prediction, by the metric's full name, e.g. "recall@20".

    Raises:
        ValueError: a name that is not a metric.
    """
    metric, _, k = name.partition("@")
    if metric not in PER_EXAMPLE or not k.isdigit():
        raise ValueError(f"a metric is one of {', '.join(PER_EXAMPLE)} with @k, received {name!r}")
    return np.asarray(PER_EXAMPLE[metric](ranks, int(k)), np.float64)


def summarize_ranks(
    ranks: Ranks, top: NDArray[np.integer[Any]], n_items: int, ks: Sequence[int] = (1, 5, 10, 20)
) -> dict[str, float]:
    """Return every metric at every k, including coverage, as {"recall@20": …}."""
    summary = {f"{name}@{k}": metric(ranks, k) for name, metric in BY_RANK.items() for k in ks}
    return summary | {f"coverage@{k}": coverage_at_k(top, k, n_items) for k in ks}


def resampled_means(
    values: NDArray[np.float64], groups: NDArray[Any], *, seed: int = 0, resamples: int = 1000
) -> NDArray[np.float64]:
    """Draw whole groups with replacement, and average the drawn examples; repeat this `resamples` times.

    Metrics in several columns share the draws, which costs little more than one metric. The draws are
    multiplied AT_ONCE at a time: one by one took eight times as long with a thousand columns.

    Args:
        values: float [n, m], m values of each example.
        groups: [n], each example's group.
        seed: the seed of the draws.
        resamples: the number of repetitions.

    Returns:
        float64 [resamples, m].
    """
    _, group = np.unique(groups, return_inverse=True)
    columns = [np.bincount(group, column) for column in values.T]
    sums = np.stack([*columns, np.bincount(group).astype(np.float64)], axis=1)  # [n_groups, m + 1]
    generator = np.random.default_rng(seed)
    totals = np.empty((resamples, sums.shape[1]))
    for first in range(0, resamples, AT_ONCE):
        drawn = [
            np.bincount(generator.integers(len(sums), size=len(sums)), minlength=len(sums))
            for _ in range(first, min(first + AT_ONCE, resamples))
        ]
        totals[first : first + AT_ONCE] = np.array(drawn, np.float64) @ sums
    return totals[:, :-1] / totals[:, -1:]


def bootstrap_interval(
    values: NDArray[np.float64],
    groups: NDArray[Any],
    *,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile interval of the mean of `values`, resampling whole groups.

    The examples of one shopper depend on each other, in one session and from session to session. So shoppers
    are drawn, and sessions of unknown shoppers, not single examples.

    Args:
        values: float [n], a metric's value for each example (see `per_example`).
        groups: [n], each example's unit (see `Ranking.unit`).
        seed: the seed of the resampling.
        resamples: the number of resamples.
        level: the share of the resampled means that lie inside the interval.

    Returns:
        (low, high); (0.0, 0.0) without examples, like the mean.
    """
    if len(values) == 0:
        return 0.0, 0.0
    column = np.asarray(values, np.float64)[:, None]
    means = resampled_means(column, groups, seed=seed, resamples=resamples)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_difference(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    groups: NDArray[Any],
    *,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Return mean(a - b) and its percentile interval, paired: a and b are values of the same examples.

    Returns:
        (mean, low, high); zeros without examples.

    Raises:
        ValueError: a and b have different lengths.
    """
    if len(a) != len(b):
        raise ValueError(f"paired values should be of the same examples, received {len(a)} and {len(b)}")
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return _mean(difference), *bootstrap_interval(
        difference, groups, seed=seed, resamples=resamples, level=level
    )
