"""The session encoder: causal attention whose output weighs the session's own item embeddings."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

HEADS, WIDER = 2, 2


class _Dropout:
    """Dropout whose choices follow from the seed and the order of its calls alone."""

    def __init__(self, share: float, seed: tf.Tensor | int) -> None:
        self._share = share
        self._seed = seed
        self._calls = 0

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Set a share of the values to 0 and scale the others up."""
        if not self._share:
            return values
        self._calls += 1
        seed = tf.stack([self._seed, self._calls])
        return tf.nn.experimental.stateless_dropout(values, self._share, seed=seed)


class SessionEncoder(tf.Module):
    """From the normalized embeddings of a session's items to its state at every position.

    One block of causal self-attention with a learned bias for how far back an item lies, then one more
    attention, whose weights mean the items' own embeddings, untransformed, so that a state lives in the
    space of the items (CORE, Hou et al. 2022).

    Attributes:
        weights: every trained variable, by name.
    """

    def __init__(self, size: int, max_length: int, seed: int) -> None:
        super().__init__()
        self.size = size
        self.max_length = max_length
        generator = np.random.default_rng(seed)

        def uniform(*shape: int) -> np.ndarray:  # Glorot
            return generator.uniform(-1, 1, shape) * math.sqrt(6 / (shape[0] + shape[-1]))

        initial = {
            "attend/norm": np.ones(size),
            "attend/qkv": uniform(size, 3 * size),
            "attend/out": uniform(size, size),
            "attend/lag": np.zeros((HEADS, max_length)),
            "feed/norm": np.ones(size),
            "feed/up": uniform(size, WIDER * size),
            "feed/up_bias": np.zeros(WIDER * size),
            "feed/down": uniform(WIDER * size, size),
            "feed/down_bias": np.zeros(size),
            "pool/query": uniform(size, size),
            "pool/key": uniform(size, size),
            "pool/lag": np.zeros((1, max_length)),
        }
        self.weights = {
            name: tf.Variable(value.astype(np.float32), name=name) for name, value in initial.items()
        }

    def __call__(
        self,
        items: tf.Tensor,
        known: tf.Tensor,
        dropout: float = 0.0,
        seed: tf.Tensor | int = 0,
    ) -> tf.Tensor:
        """Encode every position of every session.

        Args:
            items: [b, length, size], normalized embeddings.
            known: bool [b, length], false where padded.
            dropout: share of values dropped; 0 outside training.
            seed: int32 scalar, decides which.

        Returns:
            [b, length, size], normalized; position t sees items 0 … t.
        """
        weights = self.weights
        length = tf.shape(items)[1]
        drop = _Dropout(dropout, seed)
        hidden = self._block(drop(items * math.sqrt(self.size)), known, drop)
        hidden = _normalized(hidden)
        query, key = hidden @ weights["pool/query"], hidden @ weights["pool/key"]
        logits = tf.matmul(query, key, transpose_b=True) / math.sqrt(self.size)
        attention = tf.nn.softmax(logits + self._lags("pool/lag", length) + barrier(known))
        return tf.math.l2_normalize(attention @ items, -1, epsilon=1e-12)

    def _block(self, hidden: tf.Tensor, known: tf.Tensor, drop: _Dropout) -> tf.Tensor:
        """Return the Transformer block's output, [b, length, size]; norms stand before each half."""
        weights, size = self.weights, self.size
        length = tf.shape(hidden)[1]
        mixed = (_normalized(hidden) * weights["attend/norm"]) @ weights["attend/qkv"]
        mixed = tf.reshape(mixed, (-1, length, 3, HEADS, size // HEADS))
        query, key, value = tf.unstack(tf.transpose(mixed, (2, 0, 3, 1, 4)))  # [b, heads, length, size/heads]
        logits = tf.matmul(query, key, transpose_b=True) / math.sqrt(size // HEADS)
        attention = tf.nn.softmax(logits + self._lags("attend/lag", length) + barrier(known)[:, None])
        heads = tf.transpose(attention @ value, (0, 2, 1, 3))
        joined = tf.reshape(heads, (-1, length, size))
        hidden = hidden + drop(joined @ weights["attend/out"])
        wide = (_normalized(hidden) * weights["feed/norm"]) @ weights["feed/up"] + weights["feed/up_bias"]
        narrow = tf.nn.relu(wide) @ weights["feed/down"] + weights["feed/down_bias"]
        return hidden + drop(narrow)

    def _lags(self, name: str, length: tf.Tensor) -> tf.Tensor:
        """Return the bias of each pair of places by how far they are apart: [heads, length, length]."""
        places = tf.range(length)
        lag = tf.clip_by_value(places[:, None] - places[None, :], 0, self.max_length - 1)
        return tf.gather(self.weights[name], lag, axis=1)


def barrier(known: tf.Tensor) -> tf.Tensor:
    """Return 0 where a place may look, else -1e9: at known items, not ahead. [b, length, length]."""
    length = tf.shape(known)[1]
    causal = tf.linalg.band_part(tf.ones((length, length), tf.bool), -1, 0)
    return tf.where(causal[None] & known[:, None, :], 0.0, -1e9)


def _normalized(hidden: tf.Tensor) -> tf.Tensor:
    """Return values of mean 0 and variance 1 over the last axis."""
    centred = hidden - tf.reduce_mean(hidden, -1, keepdims=True)
    return centred * tf.math.rsqrt(tf.reduce_mean(centred * centred, -1, keepdims=True) + 1e-6)
