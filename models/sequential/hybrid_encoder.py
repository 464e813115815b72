"""The hybrid's encoder: it adds the context and the basket to the state of the session's encoder."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.data.features import Features
from models.layers.blocks import Dropout, Encoder, glorot, linear, variables
from models.tensorflow_import import tf

BASKET_EVENTS = ("item_added", "order_completed")  # event types of items that are in the basket
CONTEXT_WIDTH = 16  # the width of the embeddings of users, devices, places, hours and weekdays
HALF_WEIGHT_EVENTS = 5.0  # with so many events an item's own row has half of its full weight


class HybridEncoder(tf.Module):
    """Adds what it learned about the context and the basket to a session's state; see `Encoder`.

    As in NeuMF (He et al. 2017) there are two parts: a product of the context and the basket, and a network
    over the context, the basket and the session's state. The features of an event (type, dwell time, price)
    are added to its item before the session is encoded. All additions start at 0, so that a log without
    context trains the same model as the session's encoder alone.

    The embedding of an item is the sum of its own row and a linear map of its features. With fewer events the
    item's own row weighs less. In training some items lose their own row at random, so that the features
    learn to represent an item that has no row of its own (Volkovs et al., DropoutNet, 2017).
    """

    def __init__(self, session: Encoder, size: int, features: Mapping[str, Features], seed: int) -> None:
        super().__init__()
        self.max_length = session.max_length
        self._session = session
        self._context_names = tuple(features["sessions"].rows)
        self._event_rows, self._event_numbers = _names(features["events"])
        self._item_rows, self._item_numbers = _names(features["items"])
        types = features["events"].names.get("event_type", ())
        self._basket_rows = tuple(row for row, name in enumerate(types, start=1) if name in BASKET_EVENTS)
        generator = np.random.default_rng((seed, 1))
        context = _initial_context_weights(generator, size, features)
        items = _initial_item_weights(generator, size, features)
        session_weights = {f"session/{name}": weight for name, weight in session.weights.items()}
        self.weights = session_weights | variables(context | items)

    def __call__(
        self,
        items: tf.Tensor,
        known: tf.Tensor,
        dropout: float = 0.0,
        seed: tf.Tensor | int = 0,
        **inputs: tf.Tensor,
    ) -> tf.Tensor:
        """Encode every position of every session; see `Encoder`.

        In training each feature is made unknown in the share `dropout` of the sessions, so that the rows for
        unknown values learn too.

        Args:
            items: see `Encoder`.
            known: see `Encoder`.
            dropout: see `Encoder`.
            seed: see `Encoder`.
            inputs: the outputs of `ColumnReader` for the sessions, [b], and for the events, [b, length, …].
        """
        weights, drop = self.weights, Dropout(dropout, seed + 1)  # the session's encoder uses `seed`
        inputs = {name: _hide_some(value, drop) for name, value in inputs.items()}
        states = self._session(items + self._event_additions(inputs), known, dropout, seed)
        basket = self._basket(items, known, inputs)
        hidden = linear(states, weights["tower/session"]) + linear(basket, weights["tower/basket"])
        hidden += weights["tower/bias"]
        if self._context_names:
            rows = [tf.gather(weights[f"who/{name}"], inputs[name]) for name in self._context_names]
            context = drop(tf.concat(rows, -1))
            hidden += (context @ weights["tower/who"])[:, None]
            states += (context @ weights["product/who"])[:, None] * basket
        states += linear(drop(tf.nn.relu(hidden)), weights["tower/out"])
        return tf.math.l2_normalize(states, -1, epsilon=1e-12)

    def embedded(
        self, own: tf.Tensor, seen: tf.Tensor, features: Mapping[str, tf.Tensor], drop: Dropout
    ) -> tf.Tensor:
        """Return the normalized embeddings of some items, [r, size].

        Args:
            own: [r, size], the items' own rows.
            seen: float32 [r], the number of the items' events in training.
            features: the outputs of `ColumnReader` for the items, [r, …]; empty if no item has features.
            drop: decides which items lose their own row.
        """
        if features:
            kept = tf.cast(drop(tf.ones_like(seen)) > 0.0, tf.float32)
            own = own * (kept * seen / (seen + HALF_WEIGHT_EVENTS))[:, None] + tf.add_n(
                [tf.gather(self.weights[f"item/{name}"], features[name]) for name in self._item_rows]
                + [features[name] @ self.weights[f"item/{name}"] for name in self._item_numbers]
            )
        return tf.math.l2_normalize(own, -1, epsilon=1e-12)

    def _event_additions(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor | float:
        """Return what the features of the events add to their items, [b, length, size]."""
        rows = [tf.gather(self.weights[f"event/{name}"], inputs[name]) for name in self._event_rows]
        numbers = [linear(inputs[name], self.weights[f"event/{name}"]) for name in self._event_numbers]
        return tf.add_n(rows + numbers) if rows or numbers else 0.0

    def _basket(self, items: tf.Tensor, known: tf.Tensor, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the mean of the items in the basket at every position, [b, length, size]; 0 if it is empty.

        The basket has the items that were added up to the position. An item whose event type is unknown
        counts as added.
        """
        in_basket = known
        if "event_type" in self._event_rows:
            types = inputs["event_type"][:, :, None]
            in_basket &= tf.reduce_any(types == tf.constant([0, *self._basket_rows]), -1)
        share = tf.cast(in_basket, tf.float32)[:, :, None]
        return tf.cumsum(items * share, axis=1) / tf.maximum(tf.cumsum(share, axis=1), 1.0)


def _names(features: Features) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the features that are rows, and of those that are numbers."""
    return tuple(features.rows), tuple(features.numbers)


def _hide_some(values: tf.Tensor, drop: Dropout) -> tf.Tensor:
    """Make a feature, [b, …], unknown in the sessions that `drop` chooses."""
    kept = drop(tf.ones(tf.shape(values)[:1])) > 0.0
    kept = tf.reshape(kept, tf.concat([tf.shape(kept), tf.ones(tf.rank(values) - 1, tf.int32)], 0))
    return tf.where(kept, values, tf.zeros_like(values))


def _initial_context_weights(
    generator: np.random.Generator, size: int, features: Mapping[str, Features]
) -> dict[str, NDArray[np.float64]]:
    """Return the initial weights for the context, the basket and the events, by name."""
    context, events = features["sessions"].rows, features["events"]
    initial = {
        "tower/session": glorot(generator, size, size),
        "tower/basket": glorot(generator, size, size),
        "tower/bias": np.zeros(size),
        "tower/out": np.zeros((size, size)),
    }
    if context:
        initial["tower/who"] = glorot(generator, CONTEXT_WIDTH * len(context), size)
        initial["product/who"] = np.zeros((CONTEXT_WIDTH * len(context), size))
    for name, rows in context.items():
        initial[f"who/{name}"] = generator.standard_normal((rows, CONTEXT_WIDTH))
    initial |= {f"event/{name}": np.zeros((rows, size)) for name, rows in events.rows.items()}
    return initial | {f"event/{name}": np.zeros((2, size)) for name in events.numbers}


def _initial_item_weights(
    generator: np.random.Generator, size: int, features: Mapping[str, Features]
) -> dict[str, NDArray[np.float64]]:
    """Return the initial weights for the items' features, by name."""
    rows = features["items"].rows | dict.fromkeys(features["items"].numbers, 2)
    scale = 0.5 / math.sqrt(size)
    return {f"item/{name}": scale * generator.standard_normal((n, size)) for name, n in rows.items()}
