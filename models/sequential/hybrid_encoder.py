"""The hybrid's encoder: towers for who comes and for the basket beside the encoder of the session."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.data.features import Features
from models.layers.encoder import Dropout, Encoder, glorot, linear, variables

ADDED = ("item_added", "order_completed")  # event types that say an item is in the basket
WIDTH = 16  # of the embedding of a user, a device, a place, an hour, a weekday
RARE = 5.0  # events at which an item's own row and its features weigh about the same


class HybridEncoder(tf.Module):
    """Adds to a session's state what its context and its basket say; see `Encoder`.

    As in NeuMF (He et al. 2017) there is a product, of the context with the basket, and a network, over the
    context, the basket and the session's state. What an event is (type, dwell time, price) is added to its
    item before the session is encoded. All additions start at nothing, so that a log which has nothing to
    say of them trains what the session's encoder is without them.

    An item is its own row and a linear map of its features. The fewer events an item has, the less its own
    row weighs, and while training some items go without: so the features learn to stand for an item that
    has nothing else (Volkovs et al., DropoutNet, 2017).
    """

    def __init__(self, session: Encoder, size: int, features: Mapping[str, Features], seed: int) -> None:
        super().__init__()
        self.max_length = session.max_length
        self._session = session
        self._who = tuple(features["sessions"].rows)
        self._event_rows, self._event_numbers = _names(features["events"])
        self._item_rows, self._item_numbers = _names(features["items"])
        types = features["events"].names.get("event_type", ())
        self._added = tuple(row for row, name in enumerate(types, start=1) if name in ADDED)
        generator = np.random.default_rng((seed, 1))
        added = _towers(generator, size, features) | _of_items(generator, size, features)
        of_session = {f"session/{name}": weight for name, weight in session.weights.items()}
        self.weights = of_session | variables(added)

    def __call__(
        self,
        items: tf.Tensor,
        known: tf.Tensor,
        dropout: float = 0.0,
        seed: tf.Tensor | int = 0,
        **inputs: tf.Tensor,
    ) -> tf.Tensor:
        """Encode every position of every session; see `Encoder`.

        While training, the share `dropout` of the sessions goes without one feature or another, so that the
        rows of the unknown learn too.

        Args:
            items: as there.
            known: as there.
            dropout: as there.
            seed: as there.
            inputs: what `FeatureReader` makes of the sessions, [b], and of their events, [b, length, …].
        """
        weights, drop = self.weights, Dropout(dropout, seed + 1)  # the session's encoder draws with `seed`
        inputs = {name: _without_some(value, drop) for name, value in inputs.items()}
        states = self._session(items + self._events(inputs), known, dropout, seed)
        basket = self._basket(items, known, inputs)
        hidden = linear(states, weights["tower/session"]) + linear(basket, weights["tower/basket"])
        hidden += weights["tower/bias"]
        if self._who:
            rows = [tf.gather(weights[f"who/{name}"], inputs[name]) for name in self._who]
            who = drop(tf.concat(rows, -1))
            hidden += (who @ weights["tower/who"])[:, None]
            states += (who @ weights["product/who"])[:, None] * basket
        states += linear(drop(tf.nn.relu(hidden)), weights["tower/out"])
        return tf.math.l2_normalize(states, -1, epsilon=1e-12)

    def embedded(
        self, own: tf.Tensor, seen: tf.Tensor, features: Mapping[str, tf.Tensor], drop: Dropout
    ) -> tf.Tensor:
        """Return the embeddings of some items, normalized, [r, size].

        Args:
            own: [r, size], their rows.
            seen: float32 [r], their events in training.
            features: what `FeatureReader` makes of them, [r, …]; empty where no item has any.
            drop: decides whose own row is left out.
        """
        if features:
            kept = tf.cast(drop(tf.ones_like(seen)) > 0.0, tf.float32)
            own = own * (kept * seen / (seen + RARE))[:, None] + tf.add_n(
                [tf.gather(self.weights[f"item/{name}"], features[name]) for name in self._item_rows]
                + [features[name] @ self.weights[f"item/{name}"] for name in self._item_numbers]
            )
        return tf.math.l2_normalize(own, -1, epsilon=1e-12)

    def _events(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor | float:
        """Return what is added to the items of the events, [b, length, size]."""
        rows = [tf.gather(self.weights[f"event/{name}"], inputs[name]) for name in self._event_rows]
        numbers = [linear(inputs[name], self.weights[f"event/{name}"]) for name in self._event_numbers]
        return tf.add_n(rows + numbers) if rows or numbers else 0.0

    def _basket(self, items: tf.Tensor, known: tf.Tensor, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the mean of the items in the basket at every position, [b, length, size]; 0 where empty.

        They are the items added so far; one of whose event nothing is known counts as added.
        """
        inside = known
        if "event_type" in self._event_rows:
            types = inputs["event_type"][:, :, None]
            inside &= tf.reduce_any(types == tf.constant([0, *self._added]), -1)
        share = tf.cast(inside, tf.float32)[:, :, None]
        return tf.cumsum(items * share, axis=1) / tf.maximum(tf.cumsum(share, axis=1), 1.0)


def _names(features: Features) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(features.rows), tuple(features.numbers)


def _without_some(values: tf.Tensor, drop: Dropout) -> tf.Tensor:
    """Make a feature unknown in the sessions that `drop` chooses: values are [b, …]."""
    kept = drop(tf.ones(tf.shape(values)[:1])) > 0.0
    kept = tf.reshape(kept, tf.concat([tf.shape(kept), tf.ones(tf.rank(values) - 1, tf.int32)], 0))
    return tf.where(kept, values, tf.zeros_like(values))


def _towers(
    generator: np.random.Generator, size: int, features: Mapping[str, Features]
) -> dict[str, NDArray[np.float64]]:
    """Return the initial weights of the towers and the events, by name."""
    who, events = features["sessions"].rows, features["events"]
    initial = {
        "tower/session": glorot(generator, size, size),
        "tower/basket": glorot(generator, size, size),
        "tower/bias": np.zeros(size),
        "tower/out": np.zeros((size, size)),
    }
    if who:
        initial["tower/who"] = glorot(generator, WIDTH * len(who), size)
        initial["product/who"] = np.zeros((WIDTH * len(who), size))
    initial |= {f"who/{name}": generator.standard_normal((rows, WIDTH)) for name, rows in who.items()}
    initial |= {f"event/{name}": np.zeros((rows, size)) for name, rows in events.rows.items()}
    return initial | {f"event/{name}": np.zeros((2, size)) for name in events.numbers}


def _of_items(
    generator: np.random.Generator, size: int, features: Mapping[str, Features]
) -> dict[str, NDArray[np.float64]]:
    """Return the initial weights of the items' features, by name."""
    rows = features["items"].rows | dict.fromkeys(features["items"].numbers, 2)
    scale = 0.5 / math.sqrt(size)
    return {f"item/{name}": scale * generator.standard_normal((n, size)) for name, n in rows.items()}
