"""GRU4Rec: a gated recurrent unit reads the session item by item (Hidasi et al. 2016, 2018)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.layers.blocks import Dropout, Encoder, glorot, linear, shifted, variables
from models.options import TrainingOptions
from models.sequential.base import SequenceModel
from models.tensorflow_import import tf


class GRUEncoder(tf.Module):
    """Stacked gated recurrent units over the items' embeddings; see `Encoder`.

    The embeddings are constrained: one table both enters the encoder and is scored (Hidasi & Karatzoglou
    2018). The state is projected and normalized, so that it scores items by cosine, as in every sequence
    model.
    """

    def __init__(self, size: int, max_length: int, layers: int, seed: int) -> None:
        super().__init__()
        self.size = size
        self.max_length = max_length
        self.layers = layers
        generator = np.random.default_rng(seed)
        initial = {}
        for layer in range(layers):
            initial[f"{layer}/input"] = np.concatenate([glorot(generator, size, size) for _ in range(3)], 1)
            initial[f"{layer}/state"] = np.concatenate([_orthogonal(generator, size) for _ in range(3)], 1)
            initial[f"{layer}/input_bias"] = np.zeros(3 * size)
            initial[f"{layer}/state_bias"] = np.zeros(3 * size)
        initial["project"] = glorot(generator, size, size)
        self.weights = variables(initial)

    def __call__(
        self, items: tf.Tensor, known: tf.Tensor, dropout: float = 0.0, seed: tf.Tensor | int = 0
    ) -> tf.Tensor:
        """Encode every position of every session; see `Encoder`."""
        drop = Dropout(dropout, seed)
        hidden = tf.transpose(items * math.sqrt(self.size), (1, 0, 2))  # step by step: [length, b, size]
        known = tf.transpose(known)[:, :, None]
        for layer in range(self.layers):
            hidden = self._layer(layer, drop(hidden), known)
        states = linear(tf.transpose(drop(hidden), (1, 0, 2)), self.weights["project"])
        return tf.math.l2_normalize(states, -1, epsilon=1e-12)

    def _layer(self, layer: int, inputs: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
        """Return one layer's state after every step, [length, b, size]. A padded step does not change it.

        The inputs of all steps are multiplied at once, so that each step needs one matrix product, of the
        state. For this the reset gate acts after the product, not before it, as in cuDNN.
        """
        weights = self.weights
        by_session = tf.transpose(inputs, (1, 0, 2))  # the first axis of what a layer reads is the sessions'
        from_inputs = shifted(linear(by_session, weights[f"{layer}/input"]), weights[f"{layer}/input_bias"])
        from_inputs = tf.transpose(from_inputs, (1, 0, 2))
        kernel, bias = weights[f"{layer}/state"], weights[f"{layer}/state_bias"]

        def step(state: tf.Tensor, inputs_of_step: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            from_input, is_known = inputs_of_step
            from_state = shifted(linear(state, kernel), bias)
            size = 2 * self.size
            gates = tf.sigmoid(from_input[:, :size] + from_state[:, :size])
            reset, keep = tf.split(gates, 2, axis=1)
            proposed = tf.tanh(from_input[:, size:] + reset * from_state[:, size:])
            return tf.where(is_known, proposed + keep * (state - proposed), state)

        if inputs.shape[0] is None:
            return tf.scan(step, (from_inputs, known), tf.zeros_like(inputs[0]))
        states = [tf.zeros_like(inputs[0])]  # a known length needs no loop, which LiteRT does not have
        for place in range(inputs.shape[0]):
            states.append(step(states[-1], (from_inputs[place], known[place])))
        return tf.stack(states[1:])


class GRU(SequenceModel):
    """GRU4Rec with constrained embeddings; see `GRUEncoder`."""

    name = "gru"

    def make_encoder(self, options: TrainingOptions) -> Encoder:
        """Make an untrained encoder."""
        return GRUEncoder(options.embedding_size, options.max_length, options.layers, options.seed)


def _orthogonal(generator: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Draw an orthogonal matrix: it keeps the length of a state, however often it multiplies the state."""
    q, r = np.linalg.qr(generator.standard_normal((size, size)))
    return np.asarray(q * np.sign(np.diag(r)))
