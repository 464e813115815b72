"""The exported part of a model with online updates: it reads a session's items and its shopper."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.data.features import FeatureReader, Features
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
        self._rows = FeatureReader(Features({USER: shoppers.names}))
        vectors = np.concatenate([shoppers.of([None]), shoppers.of(shoppers.names)])
        self._shoppers = tf.Variable(vectors, trainable=False)  # [1 + shoppers, d]
        self._popular = tf.Variable(log_shares(counts), trainable=False)  # [size]

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None), tf.int32, name="prefixes"),
            tf.TensorSpec((None,), tf.string, name=USER),
        ]
    )
    def score_in_context(self, prefixes: tf.Tensor, user: tf.Tensor) -> dict[str, tf.Tensor]:
        """Score sessions, int32 [b, length], of shoppers, pseudonyms [b], "" = unknown.

        Returns:
            scores, float32 [b, size]; and known, bool [b]: whether the session has a known item or a known
            shopper.
        """
        items = prefixes > 0
        is_empty = ~tf.reduce_any(items, -1, keepdims=True)
        shoppers = tf.gather(self._shoppers, self._rows({USER: user}, tf.shape(user))[USER])
        scores = self._state_scores(
            states_with_shoppers(self._states(prefixes), items, shoppers, self._weight)
        )
        scores += tf.where(is_empty, self._popular, 0.0)
        return {"scores": scores, "known": tf.reduce_any(shoppers != 0.0, -1) | ~is_empty[:, 0]}


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
