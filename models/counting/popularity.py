"""The popularity baseline, and the base class of the baselines, which count once and add to their counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.private import Units
from models.data.sequences import Context
from models.layers.private_counts import count, generator_of
from models.options import Learned, Training
from models.private.mechanism import Mechanism
from models.recommender import Recommender


class CountingModel(Recommender):
    """A baseline that counts. A warm start adds to the counts, after it multiplied them by options.memory.

    All events count alike, for every objective.
    """

    def _learn(self, training: Training) -> Learned:
        if self.options.epsilon is not None:
            return self._learn_privately(training)
        items = self._count_items(training)
        self._count(training, items)
        if training.progress:
            training.progress(1.0, f"{self.name} counted")
        return Learned()

    def _learn_privately(self, training: Training) -> Learned:
        """Count the items with noise, which is all that is released; see models.layers.private_counts."""
        generator = generator_of(self.private_seed)
        counted = count(training, self.vocabulary, self.options, generator, share=1.0)
        self.vocabulary = counted.vocabulary
        units = Units.of(training.log)
        return Learned(mechanism=Mechanism(units.kind, 1.0, 0.0, 0, 1.0, units.count, (counted.release,)))

    def _forget(self) -> None:
        self.restore({})

    def _count(self, training: Training, items: NDArray[np.int32]) -> None:
        """Count what a subclass counts besides the items; `items` has the vocabulary index of each event."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return no arrays: the counts are in the vocabulary."""
        return {}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Restore nothing: the counts are in the vocabulary."""


class Popularity(CountingModel):
    """Recommends the same list to every session: the items with the highest counts, weighted by session."""

    name = "popularity"
    scores_are = "counts"
    can_be_private = True

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score each item by its count."""
        counts = self.vocabulary.counts.astype(np.float32)
        counts[:1] = -np.inf
        return np.tile(counts, (len(prefixes), 1))


def popularity_scores(counts: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return scores by popularity in [-1, 0], and -inf for padding.

    They rank the items that a model has no positive score for.

    Args:
        counts: float64 [size].
    """
    scores = (counts / max(float(counts.max(initial=0.0)), 1e-12) - 1.0).astype(np.float32)
    scores[:1] = -np.inf
    return scores
