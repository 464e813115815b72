"""Scoring by lists of one item each, flat in memory: here, of what followed it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


class FollowerScorer(tf.Module):
    """Scores every item by how much it followed the last one of a session; what is exported.

    Attributes:
        max_length: the last items of a session that it reads; only the last counts.
    """

    def __init__(
        self,
        offsets: NDArray[np.int64],
        followers: NDArray[np.int32],
        weights: NDArray[np.float64],
        unmatched: NDArray[np.float32],
        max_length: int,
    ) -> None:
        super().__init__()
        self.max_length = tf.Variable(max_length, trainable=False)
        arrays = {
            "offsets": offsets,
            "followers": followers,
            "weights": weights.astype(np.float32),
            "unmatched": unmatched,
        }
        self._arrays = {name: tf.Variable(value, trainable=False) for name, value in arrays.items()}

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32, name="prefixes")])
    def score(self, prefixes: tf.Tensor) -> tf.Tensor:
        """Score every item: int32 [b, length], left-padded with 0, to float32 [b, size]."""
        entries, owner = ranges(self._arrays["offsets"], prefixes[:, -1])
        shape = (tf.shape(prefixes)[0], tf.size(self._arrays["unmatched"]))
        cells = tf.stack([owner, tf.gather(self._arrays["followers"], entries)], 1)
        followed = tf.scatter_nd(cells, tf.gather(self._arrays["weights"], entries), shape)
        return tf.where(followed > 0, followed, self._arrays["unmatched"])


def ranges(offsets: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the places of these rows' entries, one after the other, and which of the rows each is of."""
    start = tf.gather(offsets, rows)
    counts = tf.gather(offsets, rows + 1) - start
    owner = tf.repeat(tf.range(tf.size(rows)), counts)
    before = tf.cumsum(counts, exclusive=True)
    return tf.gather(start - before, owner) + tf.range(tf.reduce_sum(counts)), owner
