"""SASRec: causal self-attention whose last hidden state is the session (Kang & McAuley 2018)."""

from __future__ import annotations

import math

import numpy as np

from models.layers.blocks import (
    Dropout,
    Encoder,
    causal_mask,
    scaled,
    standardized,
    transformer_block,
    transformer_block_weights,
    variables,
)
from models.layers.recorded import recorded
from models.options import TrainingOptions
from models.sequential.base import SequenceModel
from models.tensorflow_import import tf


class TransformerEncoder(tf.Module):
    """Stacked Transformer blocks over the items' embeddings and learned position embeddings; see `Encoder`.

    Positions count from the first known item, so that neither padding nor later items change a state.
    """

    def __init__(self, size: int, max_length: int, layers: int, seed: int) -> None:
        super().__init__()
        self.size = size
        self.max_length = max_length
        self.layers = layers
        generator = np.random.default_rng(seed)
        initial = {"positions": generator.standard_normal((max_length, size)) * 0.02, "norm": np.ones(size)}
        for layer in range(layers):
            initial |= {
                f"{layer}/{name}": value for name, value in transformer_block_weights(generator, size).items()
            }
        self.weights = variables(initial)

    def __call__(
        self, items: tf.Tensor, known: tf.Tensor, dropout: float = 0.0, seed: tf.Tensor | int = 0
    ) -> tf.Tensor:
        """Encode every position of every session; see `Encoder`."""
        drop, bias = Dropout(dropout, seed), causal_mask(known)[:, None]
        position = tf.cumsum(tf.cast(known, tf.int32), axis=1) - 1
        position = tf.clip_by_value(position, 0, self.max_length - 1)
        positions = tf.gather(self.weights["positions"], position)
        positions = recorded("rows", self.weights["positions"], position, positions)
        hidden = drop(items * math.sqrt(self.size) + positions)
        for layer in range(self.layers):
            hidden = transformer_block(self._weights_of(layer), hidden, bias, drop)
        return tf.math.l2_normalize(scaled(standardized(hidden), self.weights["norm"]), -1, epsilon=1e-12)

    def _weights_of(self, layer: int) -> dict[str, tf.Variable]:
        prefix = f"{layer}/"
        return {
            name.removeprefix(prefix): value
            for name, value in self.weights.items()
            if name.startswith(prefix)
        }


class Transformer(SequenceModel):
    """SASRec; see `TransformerEncoder`."""

    name = "transformer"

    def make_encoder(self, options: TrainingOptions) -> Encoder:
        """Make an untrained encoder."""
        return TransformerEncoder(options.embedding_size, options.max_length, options.layers, options.seed)
