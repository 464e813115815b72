"""What a model with online updates exports: a session's state beside the vector of its shopper."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.data.features import FeatureReader, Features
from models.layers.encoder import Encoder
from models.online.shoppers import Shoppers
from models.sequential.scorer import Scorer


class OnlineScorer(Scorer):
    """Scores every item for sessions of shoppers who have a vector, or have none.

    `score` takes every shopper for unknown, and scores as `Scorer.score` does.
    """

    def __init__(
        self,
        table: NDArray[np.float32],
        encoder: Encoder,
        temperature: float,
        *,
        counts: NDArray[np.float64],
        shoppers: Shoppers,
        weight: float,
    ) -> None:
        super().__init__(table, encoder, temperature)
        self._weight = weight
        self._rows = FeatureReader(Features({"user": shoppers.names}))
        vectors = np.concatenate([shoppers.of([None]), shoppers.of(shoppers.names)])
        self._shoppers = tf.Variable(vectors, trainable=False)  # [1 + shoppers, d]
        self._popular = tf.Variable(log_shares(counts), trainable=False)  # [size]

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None), tf.int32, name="prefixes"),
            tf.TensorSpec((None,), tf.string, name="user"),
        ]
    )
    def score_in_context(self, prefixes: tf.Tensor, user: tf.Tensor) -> dict[str, tf.Tensor]:
        """Score sessions, int32 [b, length], of shoppers, pseudonyms [b], "" = unknown.

        Returns:
            scores, float32 [b, size]; and known, bool [b]: whether there is an item or a shopper to score by.
        """
        items = prefixes > 0
        is_empty = ~tf.reduce_any(items, -1, keepdims=True)
        shoppers = tf.gather(self._shoppers, self._rows({"user": user}, tf.shape(user))["user"])
        scores = self._scores_of(personal(self._states(prefixes), items, shoppers, self._weight))
        scores += tf.where(is_empty, self._popular, 0.0)
        return {"scores": scores, "known": tf.reduce_any(shoppers != 0.0, -1) | ~is_empty[:, 0]}


def personal(states: tf.Tensor, items: tf.Tensor, shoppers: tf.Tensor, weight: float) -> tf.Tensor:
    """Return what sessions are scored by: states and shoppers' vectors, the vector alone without an item.

    Args:
        states: [b, d], normalized; anything where there is no item.
        items: bool [b, length], where there is one.
        shoppers: [b, d]; zeros where unknown, which leaves a state as it is.
        weight: of a shopper's vector, beside 1 for the state.
    """
    is_known = tf.reduce_any(shoppers != 0.0, -1, keepdims=True)
    mixed = tf.math.l2_normalize(states + weight * shoppers, -1, epsilon=1e-12)
    within = tf.where(is_known, mixed, states)
    return tf.where(tf.reduce_any(items, -1, keepdims=True), within, shoppers)


def log_shares(counts: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the logarithm of each item's share of all events, [size], each counted once more than it was.

    With a shopper's u·v over the temperature it makes the logits that the vectors are learned with.
    """
    logs: NDArray[np.float64] = np.log((counts + 1.0) / (counts[1:] + 1.0).sum())
    return logs.astype(np.float32)
