"""Parts of the encoders: their interface, dropout, linear maps, norms, and the Transformer block."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.layers.recorded import recorded
from models.tensorflow_import import tf

HEADS = 2
FEED_FORWARD_FACTOR = 2  # the width of the feed-forward layer, in widths of the block


class Encoder(Protocol):
    """A tf.Module that turns the normalized embeddings of a session's items into its state at every position.

    An encoder that reads more than items takes the other inputs as keyword arguments.

    Attributes:
        weights: all trained variables, by name.
        max_length: how many of a session's last items it reads.
    """

    weights: dict[str, tf.Variable]
    max_length: int

    def __call__(
        self, items: tf.Tensor, known: tf.Tensor, dropout: float = 0.0, seed: tf.Tensor | int = 0
    ) -> tf.Tensor:
        """Encode every position of every session.

        Args:
            items: [b, length, size], normalized embeddings.
            known: bool [b, length], False at padding, which is on the left.
            dropout: the share of values set to 0; 0 outside training.
            seed: int32 scalar, decides which values are set to 0.

        Returns:
            [b, length, size], normalized; position t reads items 0 to t. Padded positions hold any value.
        """


class Dropout:
    """Dropout whose choices follow only from the seed and the order of the calls."""

    def __init__(self, share: float, seed: tf.Tensor | int) -> None:
        self._share = share
        self._seed = seed
        self._calls = 0

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Set a share of the values to 0, and scale up the others."""
        if not self._share:
            return values
        self._calls += 1
        seed = tf.stack([self._seed, self._calls])
        return tf.nn.experimental.stateless_dropout(values, self._share, seed=seed)


def glorot(generator: np.random.Generator, *shape: int) -> NDArray[np.float64]:
    """Draw initial weights uniformly, in a range that follows from the shape (Glorot & Bengio 2010).

    The last axis is the output, the first one the input.
    """
    return generator.uniform(-1, 1, shape) * math.sqrt(6 / (shape[0] + shape[-1]))


def variables(initial: Mapping[str, NDArray[Any]]) -> dict[str, tf.Variable]:
    """Make a float32 variable of each array."""
    return {name: tf.Variable(value.astype(np.float32), name=name) for name, value in initial.items()}


def standardized(hidden: tf.Tensor) -> tf.Tensor:
    """Return values of mean 0 and variance 1 over the last axis."""
    centred = hidden - tf.reduce_mean(hidden, -1, keepdims=True)
    return centred * tf.math.rsqrt(tf.reduce_mean(centred * centred, -1, keepdims=True) + 1e-6)


def linear(values: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Multiply the last axis of values, [..., n], by a weight, [n, m].

    This is one product of two matrices. The operator `@` multiplies the sessions one by one, and its gradient
    stores the weight's gradient of every session before it adds them. That took more than half of a training
    step.
    """
    shape = tf.concat([tf.shape(values)[:-1], weight.shape[-1:]], 0)
    product = tf.reshape(tf.matmul(tf.reshape(values, (-1, weight.shape[0])), weight), shape)
    return recorded("linear", weight, values, product)


def scaled(values: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Multiply the last axis of values, [..., n], by a weight for each place, [n]."""
    return recorded("scale", weight, values, values * weight)


def shifted(values: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Add a weight for each place, [n], to the last axis of values, [..., n]."""
    return recorded("shift", weight, values, values + weight)


def causal_mask(known: tf.Tensor) -> tf.Tensor:
    """Return what is added to attention logits: 0 for known items at or before a place, else -1e9.

    Its shape is [b, length, length].
    """
    length = tf.shape(known)[1]
    causal = tf.linalg.band_part(tf.ones((length, length), tf.bool), -1, 0)
    return tf.where(causal[None] & known[:, None, :], 0.0, -1e9)


def transformer_block_weights(generator: np.random.Generator, size: int) -> dict[str, NDArray[np.float64]]:
    """Return the initial weights of one `transformer_block`, by name."""
    return {
        "attend/norm": np.ones(size),
        "attend/qkv": glorot(generator, size, 3 * size),
        "attend/out": glorot(generator, size, size),
        "feed/norm": np.ones(size),
        "feed/up": glorot(generator, size, FEED_FORWARD_FACTOR * size),
        "feed/up_bias": np.zeros(FEED_FORWARD_FACTOR * size),
        "feed/down": glorot(generator, FEED_FORWARD_FACTOR * size, size),
        "feed/down_bias": np.zeros(size),
    }


def transformer_block(
    weights: Mapping[str, tf.Variable], hidden: tf.Tensor, bias: tf.Tensor, drop: Dropout
) -> tf.Tensor:
    """Return the output of a Transformer block whose norms come first in each half (Xiong et al. 2020).

    Args:
        weights: by the names of `transformer_block_weights`.
        hidden: [b, length, size].
        bias: is added to the attention logits, [b, 1 or heads, length, length]; it contains `causal_mask`.
        drop: is applied to the outputs of attention and feed-forward.
    """
    length, size = tf.shape(hidden)[1], hidden.shape[-1]
    mixed = linear(scaled(standardized(hidden), weights["attend/norm"]), weights["attend/qkv"])
    mixed = tf.reshape(mixed, (-1, length, 3, HEADS, size // HEADS))
    query, key, value = tf.unstack(tf.transpose(mixed, (2, 0, 3, 1, 4)))  # [b, heads, length, size/heads]
    logits = tf.matmul(query, key, transpose_b=True) / math.sqrt(size // HEADS)
    heads = tf.transpose(tf.nn.softmax(logits + bias) @ value, (0, 2, 1, 3))
    joined = tf.reshape(heads, (-1, length, size))
    hidden = hidden + drop(linear(joined, weights["attend/out"]))
    normed = scaled(standardized(hidden), weights["feed/norm"])
    wide = shifted(linear(normed, weights["feed/up"]), weights["feed/up_bias"])
    narrow = shifted(linear(tf.nn.relu(wide), weights["feed/down"]), weights["feed/down_bias"])
    return hidden + drop(narrow)
