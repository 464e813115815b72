"""How much two consecutive versions of the model differ: in their items' vectors, and in their lists."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastaisle.monitor.drift.measure import JENSEN_SHANNON, Score, jensen_shannon

if TYPE_CHECKING:
    from models.data.sequences import SessionLog
    from models.recommender import Recommender

CHURN = "churn"
TOP = 20
NEIGHBOURS = 10
MAX_ITEMS = 1000
MAX_PREFIXES = 500
#: Names of the array that holds one vector an item; the name depends on the kind of model.
_EMBEDDING_ARRAYS = ("table", "items")
_TENTHS = 10


def neighbour_drift(first: NDArray[np.float32], second: NDArray[np.float32], k: int = NEIGHBOURS) -> float:
    """Return 1 - the mean overlap@k of the items' nearest neighbours by cosine, [n, d] and [n, e], same rows.

    0: every item has the same k neighbours in both; 1: no item has a common neighbour. Another measure would
    be the movement of the vectors after a Procrustes rotation. Neighbours are preferred, since a recommender
    is used for this very question: which items are near each other? Neighbours can also be compared if the
    vectors have other lengths, or if training stretched the axes, which no rotation can undo.
    Source: Hamilton et al., Cultural Shift or Linguistic Drift?, EMNLP 2016 (local neighbourhood measure).
    """
    k = min(k, len(first) - 1)
    if k < 1:
        return 0.0
    near, near_too = (_nearest(vectors, k) for vectors in (first, second))
    return 1.0 - float((near[:, :, None] == near_too[:, None, :]).any(axis=2).mean())


def _nearest(vectors: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Return the rows of each vector's k nearest other vectors, [n, k]."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    nearest: NDArray[np.intp] = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
    return nearest


def churn(first: Sequence[Sequence[str]], second: Sequence[Sequence[str]]) -> float:
    """Return the mean share of each second list that the first list does not have; 0 for two empty lists."""
    changed = [
        1.0 - len(set(before) & set(after)) / max(len(before), len(after), 1)
        for before, after in zip(first, second, strict=True)
        if before or after
    ]
    return float(np.mean(changed)) if changed else 0.0


def version_scores(previous: Recommender, champion: Recommender, log: SessionLog) -> list[Score]:
    """Score the embeddings, the predictions, and the popularity of the recommended items.

    Args:
        previous: the version before the champion.
        champion: the version that serves.
        log: sessions. Both versions predict the next item of the first 500 sessions of two items or more.
    """
    scores = []
    shared = _shared_items(previous, champion)
    if len(shared) > NEIGHBOURS and (vectors := _vectors(previous, champion, shared)):
        drift = neighbour_drift(*vectors)
        scores.append(Score("embeddings", "all", CHURN, drift, None, len(shared), len(shared)))
    prefixes = [session[:-1] for session in log.select(log.lengths >= 2).select(slice(MAX_PREFIXES))]
    k = min(TOP, len(previous.vocabulary), len(champion.vocabulary))
    if not prefixes or not k:
        return scores
    lists = [model.recommend(prefixes, k)[0] for model in (previous, champion)]
    sizes = (len(prefixes), len(prefixes))
    scores.append(Score("predictions", "all", CHURN, churn(*lists), None, *sizes))
    counts = [_count_by_popularity(champion, ids) for ids in lists]
    moved = float(jensen_shannon(*counts))
    scores.append(Score("recommended_popularity", "all", JENSEN_SHANNON, moved, moved, *sizes))
    return scores


def _shared_items(previous: Recommender, champion: Recommender) -> list[str]:
    """Return the items that both versions know, the champion's most frequent first; 1,000 at most."""
    vocabulary = champion.vocabulary
    by_popularity = vocabulary.decode(vocabulary.popular(len(vocabulary)))
    return [item for item in by_popularity if item in previous.vocabulary][:MAX_ITEMS]


def _vectors(
    previous: Recommender, champion: Recommender, items: list[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Return the items' vectors in both versions; None if a version has none, such as a model that counts."""
    vectors = []
    for model in (previous, champion):
        arrays = model.arrays()
        table = next((arrays[name] for name in _EMBEDDING_ARRAYS if name in arrays), None)
        if table is None or table.ndim != 2 or len(table) < model.vocabulary.size:
            return None
        vectors.append(np.asarray(table[model.vocabulary.encode(items)], np.float32))
    return vectors[0], vectors[1]


def _count_by_popularity(model: Recommender, lists: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Count the recommended items by their popularity in the model: unknown, then ten equal tenths."""
    vocabulary = model.vocabulary
    tenth = np.zeros(vocabulary.size, np.int64)
    popular = vocabulary.popular(len(vocabulary))
    tenth[popular] = 1 + np.arange(len(popular)) * _TENTHS // len(popular)
    tenths = tenth[vocabulary.encode(chain.from_iterable(lists))]
    return np.bincount(tenths, minlength=_TENTHS + 1).astype(np.float64)
