"""The exported part of a sequence model: it scores every item by its cosine with a session's state."""

from __future__ import annotations

from models.layers.blocks import Encoder
from models.scorer import SessionScorer
from models.tensorflow_import import tf

PADDED_SCORE = -1e9


class Scorer(SessionScorer):
    """Scores every item for the last position of sessions. This module is exported.

    Attributes:
        max_length: how many of a session's last items it reads.
        encoder: turns a session's items into its state.
    """

    def __init__(self, table: tf.Tensor, encoder: Encoder, temperature: float) -> None:
        super().__init__(encoder.max_length)
        self.encoder = encoder
        self._temperature = temperature
        normalized = tf.math.l2_normalize(table, -1)
        padding = tf.one_hot(0, tf.shape(table)[0])[:, None] * PADDED_SCORE
        self._items = tf.Variable(tf.concat([normalized, padding], 1), trainable=False)  # [size, d + 1]

    def compute(self, prefixes: tf.Tensor, **inputs: tf.Tensor) -> tf.Tensor:
        """Score every item; `inputs` are the other inputs of the encoder, by name."""
        return self._state_scores(self._states(prefixes, **inputs))

    def _states(self, prefixes: tf.Tensor, **inputs: tf.Tensor) -> tf.Tensor:
        """Return the sessions' states at their last position, [b, d]."""
        embedded = tf.gather(self._items, prefixes)[:, :, :-1]
        return self.encoder(embedded, prefixes > 0, **inputs)[:, -1]

    def _state_scores(self, states: tf.Tensor) -> tf.Tensor:
        """Score every item, [b, size], by the sessions' states, [b, d]."""
        last = states / self._temperature
        last = tf.concat([last, tf.ones((tf.shape(last)[0], 1))], 1)
        return tf.matmul(last, self._items, transpose_b=True)
