"""The exported part of a model with online updates: it reads a session's items and its shopper."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.data.features import Features
from models.data.sequences import USER
from models.layers.blocks import Encoder
from models.online.shoppers import Shoppers
from models.sequential.scorer import Scorer
from models.tensorflow_import import tf


class OnlineScorer(Scorer):
    """Scores every item for sessions of shoppers with or without a vector.

    `score` treats every shopper as unknown, and scores as `Scorer.score` does.
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
        self.session_features, self.alone = Features({USER: shoppers.names}), (USER,)
        vectors = np.concatenate([shoppers.of([None]), shoppers.of(shoppers.names)])
        self._shoppers = tf.Variable(vectors, trainable=False)  # [1 + shoppers, d]
        self._popular = tf.Variable(log_shares(counts), trainable=False)  # [size]

    def compute(self, prefixes: tf.Tensor, **inputs: tf.Tensor) -> tf.Tensor:
        """Score every item for the sessions of shoppers; see `SessionScorer`.

        A session without an item gets the items for its shopper.
        """
        if USER not in inputs:
            return super().compute(prefixes)
        items = prefixes > 0
        is_empty = ~tf.reduce_any(items, -1, keepdims=True)
        shoppers = tf.gather(self._shoppers, inputs[USER])
        scores = self._state_scores(
            states_with_shoppers(self._states(prefixes), items, shoppers, self._weight)
        )
        return scores + tf.where(is_empty, self._popular, 0.0)


def states_with_shoppers(
    states: tf.Tensor, items: tf.Tensor, shoppers: tf.Tensor, weight: float
) -> tf.Tensor:
    """Return the sum of states and shoppers' vectors, normalized; without an item, the vector alone.

    Args:
        states: [b, d], normalized; any value for a session without an item.
        items: bool [b, length], True where the session has an item.
        shoppers: [b, d]; zeros for an unknown shopper, with which the state stays the same.
        weight: the weight of a shopper's vector; the state has the weight 1.
    """
    is_known = tf.reduce_any(shoppers != 0.0, -1, keepdims=True)
    mixed = tf.math.l2_normalize(states + weight * shoppers, -1, epsilon=1e-12)
    with_items = tf.where(is_known, mixed, states)
    return tf.where(tf.reduce_any(items, -1, keepdims=True), with_items, shoppers)


def log_shares(counts: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the logarithm of each item's share of all events, [size]. Each count is increased by 1.

    The shoppers' vectors are learned with logits that are the sum of this logarithm and u·v / temperature.
    """
    logs: NDArray[np.float64] = np.log((counts + 1.0) / (counts[1:] + 1.0).sum())
    return logs.astype(np.float32)
