"""The co-occurrence baseline: what followed the last item of the session in other sessions."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.counting.popularity import CountingModel, popularity_scores
from models.data.private import Units, few_parts
from models.data.sequences import Context, SessionLog
from models.layers.private_counts import count, generator_of, private_weights
from models.options import Learned, Training, TrainingOptions
from models.private.accounting import release_noise_for
from models.private.counts import noisy_cells, unit_vectors
from models.private.mechanism import Mechanism, Release

if TYPE_CHECKING:
    from models.counting.transitions import TransitionScorer

MAX_DISTANCE = 10  # events between the two items of a pair, at most
MOST_PAIRS = 64  # different pairs of a unit that count in a private training, by random choice
NOISE_PAIRS = 1.0  # pairs of each item that noise alone lifts over the threshold of a private training
MOST_PASSING = 0.1  # the largest share of all pairs that noise alone lifts over it, in a small catalogue


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
    can_be_private = True

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
        self._add(*self._pairs_of(training.log, items, training.weights)[1:])

    def _pairs_of(
        self, log: SessionLog, items: NDArray[np.int32], weights: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return the session, the pair (first item times size, plus follower) and the weight of each pair."""
        session, by_event = log.session_of_event, np.repeat(weights, log.lengths).astype(np.float64)
        sessions, pairs, found = [], [], []
        for distance in range(1, MAX_DISTANCE + 1):
            same = session[distance:] == session[:-distance]
            sessions.append(session[distance:][same])
            first = items[:-distance][same].astype(np.int64)
            pairs.append(first * self.vocabulary.size + items[distance:][same])
            found.append(by_event[distance:][same] / distance)
        return np.concatenate(sessions), np.concatenate(pairs), np.concatenate(found)

    def _add(self, pairs: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        """Add pairs to the decayed pairs of before."""
        size = self.vocabulary.size
        keys = np.concatenate([self._first.astype(np.int64) * size + self._second, pairs])
        weights = np.concatenate([self.options.memory * self._weight, weights])
        distinct, place = np.unique(keys, return_inverse=True)
        self._first, self._second = (distinct // size).astype(np.int32), (distinct % size).astype(np.int32)
        self._weight = np.bincount(place, weights, minlength=len(distinct)).astype(np.float64)
        self._scorer = None

    def _learn_privately(self, training: Training) -> Learned:
        """Count items and pairs with noise, and keep the pairs whose noisy weight stands out.

        Each unit adds a vector of length 1 at most over its pairs. Of all pairs of items there are, noise
        alone lifts about NOISE_PAIRS a row over the least weight that is kept.
        """
        options, log, generator = self.options, training.log, generator_of(self.private_seed)
        assert options.epsilon is not None
        counted = count(training, self.vocabulary, options, generator)
        self.vocabulary = counted.vocabulary
        noise = release_noise_for(options.epsilon, options.delta, beside=[counted.release])
        items, units = self.vocabulary.encode(log.catalogue)[log.items], Units.of(log)
        session, pair, weight = self._pairs_of(log, items, private_weights(training))
        known = (pair // self.vocabulary.size > 0) & (pair % self.vocabulary.size > 0)
        parts = (units.of_session[session[known]], pair[known], weight[known])
        _, pair, weight = unit_vectors(*few_parts(parts, MOST_PAIRS, generator))
        passing = min(NOISE_PAIRS / self.vocabulary.size, MOST_PASSING)
        least = noise * NormalDist().inv_cdf(1.0 - passing)
        cells = self.vocabulary.size**2
        pairs, sums = noisy_cells(pair, weight, cells, noise=noise, least=least, generator=generator)
        real = (pairs // self.vocabulary.size > 0) & (pairs % self.vocabulary.size > 0)
        self._add(pairs[real], sums[real])
        releases = (counted.release, Release("weights of pairs", noise))
        return Learned(mechanism=Mechanism(units.kind, 1.0, 0.0, 0, 1.0, units.count, releases))

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
