"""The attention model: a session is a weighted mean of its own items' embeddings and what it saw in them."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from models.layers.encoder import (
    HEADS,
    Dropout,
    Encoder,
    barrier,
    block,
    block_weights,
    glorot,
    linear,
    normalized,
    variables,
)
from models.options import TrainingOptions
from models.sequential.sequence_model import SequenceModel

NEARLY_CLOSED = -1.0  # logit of a gate that lets a quarter through before it has learned


class AttentionEncoder(tf.Module):
    """Causal attention whose output weighs the session's own item embeddings; see `Encoder`.

    One block of causal self-attention with a learned bias for how far back an item lies, then one more
    attention, whose weights mean the items' own embeddings, untransformed, so that a state lives in the
    space of the items (CORE, Hou et al. 2022). A mean cannot point away from the session's items, as what
    comes next often does, so a gate lets in as much of the block's own output as it learns to: on the tail
    of yoochoose64's train part that took mrr@20 from 29.4 to 30.5, and hit_rate@20 from 70.6 to 71.1.
    """

    def __init__(self, size: int, max_length: int, seed: int) -> None:
        super().__init__()
        self.size = size
        self.max_length = max_length
        generator = np.random.default_rng(seed)
        self.weights = variables(
            {
                **block_weights(generator, size),
                "attend/lag": np.zeros((HEADS, max_length)),
                "pool/query": glorot(generator, size, size),
                "pool/key": glorot(generator, size, size),
                "pool/lag": np.zeros((1, max_length)),
                "leave/gate": np.zeros((size, 1)),
                "leave/gate_bias": np.full(1, NEARLY_CLOSED),
                "leave/out": glorot(generator, size, size),
            }
        )

    def __call__(
        self, items: tf.Tensor, known: tf.Tensor, dropout: float = 0.0, seed: tf.Tensor | int = 0
    ) -> tf.Tensor:
        """Encode every position of every session; see `Encoder`."""
        weights = self.weights
        length = tf.shape(items)[1]
        drop, ahead = Dropout(dropout, seed), barrier(known)
        bias = self._lags("attend/lag", length) + ahead[:, None]
        hidden = normalized(block(weights, drop(items * math.sqrt(self.size)), bias, drop))
        query, key = (linear(hidden, weights[f"pool/{name}"]) for name in ("query", "key"))
        logits = tf.matmul(query, key, transpose_b=True) / math.sqrt(self.size)
        attention = tf.nn.softmax(logits + self._lags("pool/lag", length) + ahead)
        within = tf.math.l2_normalize(attention @ items, -1, epsilon=1e-12)
        gate = tf.sigmoid(linear(hidden, weights["leave/gate"]) + weights["leave/gate_bias"])
        beyond = tf.math.l2_normalize(linear(drop(hidden), weights["leave/out"]), -1, epsilon=1e-12)
        return tf.math.l2_normalize((1.0 - gate) * within + gate * beyond, -1, epsilon=1e-12)

    def _lags(self, name: str, length: tf.Tensor) -> tf.Tensor:
        """Return the bias of each pair of places by how far they are apart: [heads, length, length]."""
        places = tf.range(length)
        lag = tf.clip_by_value(places[:, None] - places[None, :], 0, self.max_length - 1)
        return tf.gather(self.weights[name], lag, axis=1)


class Attention(SequenceModel):
    """Causal attention over the session's own item embeddings; see `AttentionEncoder`."""

    name = "attention"

    def make_encoder(self, options: TrainingOptions) -> Encoder:
        """Make an untrained encoder."""
        return AttentionEncoder(options.embedding_size, options.max_length, options.seed)
