"""How far two consecutive versions of the model lie from each other: their items, and what they recommend."""

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
MOST_ITEMS = 1000
MOST_PREFIXES = 500
#: The array of a model's state that holds one vector an item, by the model's kind.
_TABLES = ("table", "items")
_TENTHS = 10


def neighbour_drift(first: NDArray[np.float32], second: NDArray[np.float32], k: int = NEIGHBOURS) -> float:
    """Return 1 - the mean overlap@k of the items' nearest neighbours by cosine, [n, d] and [n, e], same rows.

    0: every item has the same k neighbours in both; 1: none has one in common. Preferred to the movement
    after a Procrustes rotation: it asks what a recommender is used for, which items are near which, and it
    holds for vectors of other lengths, and where training stretched the axes, which no rotation undoes.
    Source: Hamilton et al., Cultural Shift or Linguistic Drift?, EMNLP 2016 (local neighbourhood measure).
    """
    k = min(k, len(first) - 1)
    if k < 1:
        return 0.0
    near = [_nearest(vectors, k) for vectors in (first, second)]
    return 1.0 - float((near[0][:, :, None] == near[1][:, None, :]).any(axis=2).mean())


def _nearest(vectors: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    return np.argpartition(-cosine, k - 1, axis=1)[:, :k]


def churn(first: Sequence[Sequence[str]], second: Sequence[Sequence[str]]) -> float:
    """Return the mean share of the second's lists that the first's do not have; 0 for two empty lists."""
    changed = [
        1.0 - len(set(before) & set(after)) / max(len(before), len(after), 1)
        for before, after in zip(first, second, strict=True)
        if before or after
    ]
    return float(np.mean(changed)) if changed else 0.0


def version_scores(previous: Recommender, champion: Recommender, log: SessionLog) -> list[Score]:
    """Score embeddings, predictions and the popularity of what is recommended.

    Args:
        previous: the version before.
        champion: the version that serves.
        log: sessions; the beginnings of its first 500 of two items or more are the prefixes, for both.
    """
    found = []
    shared = _shared(previous, champion)
    if len(shared) > NEIGHBOURS and (tables := _vectors(previous, champion, shared)):
        drift = neighbour_drift(*tables)
        found.append(Score("embeddings", "all", CHURN, drift, None, len(shared), len(shared)))
    sessions = [session[:-1] for session in log.select(log.lengths >= 2).select(slice(MOST_PREFIXES))]
    k = min(TOP, len(previous.vocabulary), len(champion.vocabulary))
    if not sessions or not k:
        return found
    lists = [model.recommend(sessions, k)[0] for model in (previous, champion)]
    sizes = (len(sessions), len(sessions))
    found.append(Score("predictions", "all", CHURN, churn(*lists), None, *sizes))
    counts = [_by_popularity(champion, ids) for ids in lists]
    moved = float(jensen_shannon(*counts))
    found.append(Score("recommended_popularity", "all", JENSEN_SHANNON, moved, moved, *sizes))
    return found


def _shared(previous: Recommender, champion: Recommender) -> list[str]:
    """Return the items that both know, the champion's most frequent first."""
    vocabulary = champion.vocabulary
    ranked = vocabulary.decode(vocabulary.popular(len(vocabulary)))
    return [item for item in ranked if item in previous.vocabulary][:MOST_ITEMS]


def _vectors(
    previous: Recommender, champion: Recommender, items: list[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    found = []
    for model in (previous, champion):
        arrays = model.arrays()
        table = next((arrays[name] for name in _TABLES if name in arrays), None)
        if table is None or table.ndim != 2 or len(table) < model.vocabulary.size:
            return None  # a model that counts has no vectors
        found.append(np.asarray(table[model.vocabulary.encode(items)], np.float32))
    return found[0], found[1]


def _by_popularity(model: Recommender, lists: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Count recommendations by how popular the model holds their items: unknown, then ten equal tenths."""
    vocabulary = model.vocabulary
    tenth = np.zeros(vocabulary.size, np.int64)
    popular = vocabulary.popular(len(vocabulary))
    tenth[popular] = 1 + np.arange(len(popular)) * _TENTHS // len(popular)
    found = tenth[vocabulary.encode(chain.from_iterable(lists))]
    return np.bincount(found, minlength=_TENTHS + 1).astype(np.float64)
