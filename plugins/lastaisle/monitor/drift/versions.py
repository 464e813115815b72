"""How much two consecutive versions of the model differ: in their items' vectors, and in their lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastaisle.evaluation.churn import share_changed
from lastaisle.monitor.drift.measure import JENSEN_SHANNON, Score, jensen_shannon
from models.data.sequences import Examples
from models.evaluation.objectives import NEW_ITEM, NEXT_ITEM

if TYPE_CHECKING:
    from lastaisle.monitor.drift.serving import ServingVersion
    from models.data.sequences import SessionLog
    from models.recommender import Recommender

CHURN = "churn"
TOP = 20
NEIGHBOURS = 10
MAX_ITEMS = 1000
MAX_PREFIXES = 500
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


def version_scores(
    previous: ServingVersion, champion: ServingVersion, log: SessionLog, objective: str = NEXT_ITEM
) -> list[Score]:
    """Score the embeddings, the lists that services get, and the popularity of the recommended items.

    Args:
        previous: the version before the champion.
        champion: the version that serves.
        log: sessions. Both versions predict the last item of the first 500 sessions of two items or more.
        objective: the objective whose lists services get.
    """
    scores = []
    shared = _shared_items(previous.trained, champion.trained)
    if len(shared) > NEIGHBOURS and (vectors := _vectors(previous.trained, champion.trained, shared)):
        drift = neighbour_drift(*vectors)
        scores.append(Score("embeddings", "all", CHURN, drift, None, len(shared), len(shared)))
    sessions = np.flatnonzero(log.lengths >= 2)[:MAX_PREFIXES]
    if not len(sessions):
        return scores
    last_items = Examples(log, sessions.astype(np.int32), (log.lengths[sessions] - 1).astype(np.int32))
    models = (previous.served, champion.served)
    tops = [model.rank(last_items, TOP, exclude_seen=objective == NEW_ITEM).top for model in models]
    sizes = (len(sessions), len(sessions))
    changed = float(share_changed((tops[0], models[0].vocabulary), (tops[1], models[1].vocabulary)).mean())
    scores.append(Score("predictions", "all", CHURN, changed, None, *sizes))
    ids = [model.vocabulary.decode(top[top > 0]) for model, top in zip(models, tops, strict=True)]
    moved = float(jensen_shannon(*(_count_by_popularity(champion.trained, each) for each in ids)))
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
    tables = [model.item_vectors() for model in (previous, champion)]
    rows = [model.vocabulary.encode(items) for model in (previous, champion)]
    first, second = (
        None if table is None else table[places] for table, places in zip(tables, rows, strict=True)
    )
    return None if first is None or second is None else (first, second)


def _count_by_popularity(model: Recommender, items: Iterable[str]) -> NDArray[np.float64]:
    """Count recommended items by their popularity in the model: unknown, then ten equal tenths."""
    vocabulary = model.vocabulary
    tenth = np.zeros(vocabulary.size, np.int64)
    popular = vocabulary.popular(len(vocabulary))
    tenth[popular] = 1 + np.arange(len(popular)) * _TENTHS // len(popular)
    tenths = tenth[vocabulary.encode(items)]
    return np.bincount(tenths, minlength=_TENTHS + 1).astype(np.float64)
