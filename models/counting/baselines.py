"""The baselines that a trained model has to beat: popularity, and co-occurrence with the last item."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.data.sequences import Context, SessionLog
from models.data.vocabulary import Vocabulary
from models.options import Progress, TrainingOptions, TrainingReport, session_weights
from models.recommender import ModelError, Recommender

if TYPE_CHECKING:
    from models.counting.followers import FollowerScorer


class _Counter(Recommender):
    """What both baselines share: they count, once, and a warm start adds to the counts it remembers.

    All events count alike, whatever the objectives.
    """

    def fit(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None = None,
        options: TrainingOptions | None = None,
        progress: Progress | None = None,
    ) -> TrainingReport:
        """Count from nothing; see `Recommender.fit`."""
        self.vocabulary = Vocabulary()
        self.restore({})
        return self.warm_start(log, weights, options, progress)

    def warm_start(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None = None,
        options: TrainingOptions | None = None,
        progress: Progress | None = None,
    ) -> TrainingReport:
        """Count on: old counts are multiplied by options.memory; see `Recommender.warm_start`."""
        began = perf_counter()
        self.options = options or self.options
        weights = session_weights(log, weights, self.options)
        before = len(self.vocabulary)
        items = self._count_items(log, weights)
        self._count(log, items, np.repeat(weights, log.lengths).astype(np.float64))
        if progress:
            progress(1.0, f"{self.name} counted")
        seconds = perf_counter() - began
        targets = int(np.maximum(log.lengths - 1, 0).sum())
        items_now = len(self.vocabulary)
        return TrainingReport(
            len(log), targets, 1, 1, items_now, items_now - before, seconds, targets / max(seconds, 1e-9)
        )

    def _count(self, log: SessionLog, items: NDArray[np.int32], weights: NDArray[np.float64]) -> None:
        """Count what a subclass counts beside the items; items and weights are by event."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return no arrays: the counts are in the vocabulary."""
        return {}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Restore nothing: the counts are in the vocabulary."""


class Popularity(_Counter):
    """The same list for every session: the items seen most, decayed as the sessions are."""

    name = "popularity"
    scores_are = "counts"

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score each item by its count."""
        counts = self.vocabulary.counts.astype(np.float32)
        counts[:1] = -np.inf
        return np.tile(counts, (len(prefixes), 1))


class Cooccurrence(_Counter):
    """What followed the last item of the session in other sessions, within ten clicks, nearer counts more.

    A pair that is d clicks apart counts 1/d of its session's weight, an item with itself too: a quarter of
    the clicks in a real shop repeat the one before, and a baseline without them would flatter the models.
    Items that never followed come after all that did, by popularity.
    """

    name = "cooccurrence"
    scores_are = "counts"
    reach = 10

    def __init__(self, options: TrainingOptions | None = None) -> None:
        super().__init__(options)
        self.restore({})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the pairs: what came first, what followed, and how much, sorted by the first."""
        return {"first": self._first, "follower": self._follower, "weight": self._weight}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over the pairs."""
        self._first = arrays.get("first", np.zeros(0, np.int32))
        self._follower = arrays.get("follower", np.zeros(0, np.int32))
        self._weight = arrays.get("weight", np.zeros(0, np.float64))
        self._scorer: FollowerScorer | None = None

    def _count(self, log: SessionLog, items: NDArray[np.int32], weights: NDArray[np.float64]) -> None:
        session = log.session_of_event
        first, follower, weight = [self._first], [self._follower], [self.options.memory * self._weight]
        for distance in range(1, self.reach + 1):
            pair = session[distance:] == session[:-distance]
            first.append(items[:-distance][pair])
            follower.append(items[distance:][pair])
            weight.append(weights[distance:][pair] / distance)
        size = self.vocabulary.size
        keys = np.concatenate(first).astype(np.int64) * size + np.concatenate(follower)
        pairs, place = np.unique(keys, return_inverse=True)
        self._first, self._follower = (pairs // size).astype(np.int32), (pairs % size).astype(np.int32)
        self._weight = np.bincount(place, np.concatenate(weight), minlength=len(pairs)).astype(np.float64)
        self._scorer = None

    def scorer(self) -> FollowerScorer:
        """Return the scorer: the pairs, and the counts."""
        if not len(self.vocabulary):
            raise ModelError("the cooccurrence model is not trained yet: call fit or load first")
        if self._scorer is None:
            from models.counting.followers import FollowerScorer

            offsets = np.searchsorted(self._first, np.arange(self.vocabulary.size + 1))
            base = below_matches(self.vocabulary.counts)
            self._scorer = FollowerScorer(
                offsets, self._follower, self._weight, base, self.options.max_length
            )
        return self._scorer

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score each item by how much it followed the last one, and below that by its count."""
        scores: NDArray[np.float32] = self.scorer().score(prefixes).numpy()
        return scores


def below_matches(counts: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return scores by popularity in [-1, 0], below those of every match, and -inf for padding.

    Args:
        counts: float64 [size].
    """
    scores = (counts / max(float(counts.max(initial=0.0)), 1e-12) - 1.0).astype(np.float32)
    scores[:1] = -np.inf
    return scores
