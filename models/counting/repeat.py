"""The repeat baseline: the items of the session, the newest first, and then the popular items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.counting.popularity import CountingModel, popularity_scores
from models.data.sequences import Context


class Repeat(CountingModel):
    """Recommends the items of the session, the newest first, and then the items with the highest counts.

    Shoppers often come back to an item: on a week of YooChoose clicks a third of the targets repeat an item
    of the session. A model that is not better than this list has learned little.
    """

    name = "repeat"
    scores_are = "counts"
    can_be_private = True

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score an item of the session by its last place in the session, and the others by their counts."""
        scores = np.tile(popularity_scores(self.vocabulary.counts), (len(prefixes), 1))
        rows = np.arange(len(prefixes))
        for place in range(prefixes.shape[1]):  # from the oldest item on, so that its last place counts
            scores[rows, prefixes[:, place]] = place + 1.0
        scores[:, 0] = -np.inf
        return scores
