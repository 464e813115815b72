"""The exported scorer of the co-occurrence model: it scores items by the weights of item-to-item pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.scorer import SessionScorer
from models.tensorflow_import import tf


class TransitionScorer(SessionScorer):
    """Scores every item by how much it followed the last item of a session. This module is exported.

    Attributes:
        max_length: how many of a session's last items it accepts; only the last item changes the scores.
    """

    def __init__(
        self,
        offsets: NDArray[np.int64],
        followers: NDArray[np.int32],
        weights: NDArray[np.float64],
        fallback: NDArray[np.float32],
        max_length: int,
    ) -> None:
        """Take over the pairs.

        Args:
            offsets: int64 [size + 1]; item i was followed by followers[offsets[i]:offsets[i + 1]].
            followers: int32 [n_pairs], vocabulary indices.
            weights: float64 [n_pairs], the weight of each pair.
            fallback: float32 [size], the scores of items that never followed.
            max_length: see the class.
        """
        super().__init__(max_length)
        arrays = {
            "offsets": offsets,
            "followers": followers,
            "weights": weights.astype(np.float32),
            "fallback": fallback,
        }
        self._arrays = {name: tf.Variable(value, trainable=False) for name, value in arrays.items()}

    def compute(self, prefixes: tf.Tensor, **inputs: tf.Tensor) -> tf.Tensor:
        """Score every item; see `SessionScorer`."""
        entries, owner = flat_entries(self._arrays["offsets"], prefixes[:, -1])
        shape = (tf.shape(prefixes)[0], tf.size(self._arrays["fallback"]))
        cells = tf.stack([owner, tf.gather(self._arrays["followers"], entries)], 1)
        sums = tf.scatter_nd(cells, tf.gather(self._arrays["weights"], entries), shape)
        return tf.where(sums > 0, sums, self._arrays["fallback"])


def flat_entries(offsets: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return where the entries of some rows lie in a flat array of variable-length rows.

    Args:
        offsets: [n + 1]; row r has the entries offsets[r] to offsets[r + 1].
        rows: [m].

    Returns:
        the places of all entries, row after row, and for each entry its index in `rows`.
    """
    start = tf.gather(offsets, rows)
    counts = tf.gather(offsets, rows + 1) - start
    owner = tf.repeat(tf.range(tf.size(rows)), counts)
    before = tf.cumsum(counts, exclusive=True)
    return tf.gather(start - before, owner) + tf.range(tf.reduce_sum(counts)), owner
