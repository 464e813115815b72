"""The co-occurrence baseline: what followed the last item of the session in other sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.counting.popularity import CountingModel, popularity_scores
from models.data.sequences import Context
from models.options import Training, TrainingOptions

if TYPE_CHECKING:
    from models.counting.transitions import TransitionScorer

MAX_DISTANCE = 10  # events between the two items of a pair, at most


class Cooccurrence(CountingModel):
    """Scores items by how often they followed the last item of the session within ten events.

    A pair of items that are d events apart counts 1/d of its session's weight, so near items count more. An
    item also forms pairs with itself: a quarter of the clicks in a real shop repeat the click before, and a
    baseline without these pairs would make the other models look better than they are. Items that never
    followed rank below all items that did, by popularity.
    """

    name = "cooccurrence"
    item_indices = ("first", "follower")
    scores_are = "counts"

    def __init__(self, options: TrainingOptions | None = None) -> None:
        super().__init__(options)
        self.restore({})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the pairs, sorted by the first item: the first item, the one that followed, the weight."""
        return {"first": self._first, "follower": self._second, "weight": self._weight}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over the pairs."""
        self._first = arrays.get("first", np.zeros(0, np.int32))
        self._second = arrays.get("follower", np.zeros(0, np.int32))
        self._weight = arrays.get("weight", np.zeros(0, np.float64))
        self._scorer: TransitionScorer | None = None

    def _count(self, training: Training, items: NDArray[np.int32]) -> None:
        session = training.log.session_of_event
        weights = np.repeat(training.weights, training.log.lengths).astype(np.float64)
        first, second, weight = [self._first], [self._second], [self.options.memory * self._weight]
        for distance in range(1, MAX_DISTANCE + 1):
            same = session[distance:] == session[:-distance]
            first.append(items[:-distance][same])
            second.append(items[distance:][same])
            weight.append(weights[distance:][same] / distance)
        size = self.vocabulary.size
        keys = np.concatenate(first).astype(np.int64) * size + np.concatenate(second)
        pairs, place = np.unique(keys, return_inverse=True)
        self._first, self._second = (pairs // size).astype(np.int32), (pairs % size).astype(np.int32)
        self._weight = np.bincount(place, np.concatenate(weight), minlength=len(pairs)).astype(np.float64)
        self._scorer = None

    def scorer(self) -> TransitionScorer:
        """Return the scorer: the pairs and the counts."""
        if not self.is_trained:
            raise self._untrained_error()
        if self._scorer is None:
            # Here, so that this module stays light: only the scores need TensorFlow, the counts do not.
            from models.counting.transitions import TransitionScorer

            offsets = np.searchsorted(self._first, np.arange(self.vocabulary.size + 1))
            fallback = popularity_scores(self.vocabulary.counts)
            self._scorer = TransitionScorer(
                offsets, self._second, self._weight, fallback, self.options.max_length
            )
        return self._scorer

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score each item by the weight of its pairs with the last item, or else by its count."""
        scores: NDArray[np.float32] = self.scorer().score(prefixes).numpy()
        return scores
