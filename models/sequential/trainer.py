"""One training step of a sequence model, and the variables that the step changes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.layers.blocks import Encoder
from models.layers.losses import LOSSES, SampledItems
from models.layers.optimizer import Adam
from models.options import TrainingOptions
from models.tensorflow_import import tf

ROW_RATE = 5.0  # how many times longer the steps of rows are, because batches read a row rarely; see Adam


class Trainer(tf.Module):
    """The table of embeddings, the encoder, the optimizer, and one training step.

    Attributes:
        signature: the inputs of `_step`.
        step: `_step`, compiled by TensorFlow.
    """

    def __init__(
        self,
        table: NDArray[np.float32],
        encoder: Encoder,
        options: TrainingOptions,
        inputs: Mapping[str, tf.TensorSpec] | None = None,
    ) -> None:
        super().__init__()
        self.options = options
        # The number of rows is open, so that new items need no new trace of the step, which takes a second.
        self.table = tf.Variable(table, shape=(None, table.shape[1]), name="table")
        self.encoder = encoder
        self.adam = Adam(encoder.weights, self.table, ROW_RATE)
        self.expected = tf.Variable(tf.ones(len(table)), shape=(None,), trainable=False)
        self.signature = [
            tf.TensorSpec((None, None), tf.int32),
            tf.TensorSpec((None, None), tf.float32),
            tf.TensorSpec((None,), tf.int32),
            dict(inputs or {}),
            (tf.TensorSpec((), tf.float32), tf.TensorSpec((), tf.int32)),
        ]
        self.step = tf.function(self._step, input_signature=self.signature, autograph=False)

    def fits(self, encoder: Encoder, options: TrainingOptions) -> bool:
        """Tell whether the compiled step is right for this encoder and these options."""
        traced = ("dropout", "loss", "temperature")
        same = all(getattr(self.options, name) == getattr(options, name) for name in traced)
        return same and encoder is self.encoder

    def keep_rows(self, rows: NDArray[np.intp], new: NDArray[np.float32]) -> None:
        """Keep the rows `rows`, [r], in this order, with their slots, and append the new rows, [n, d]."""
        self.table.assign(np.concatenate([self.table.numpy()[rows], new]))
        self.adam.keep_rows(rows, len(new))

    def embeddings(self) -> tf.Tensor:
        """Return the embedding that scores each item, [size, d], not normalized."""
        return self.table

    def _embedded(self, rows: tf.Tensor, table_rows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return the normalized embeddings of the items `rows`, [r, d], from their rows of the table."""
        return tf.math.l2_normalize(table_rows, -1)

    def _step(
        self,
        sessions: tf.Tensor,
        weights: tf.Tensor,
        negatives: tf.Tensor,
        inputs: dict[str, tf.Tensor],
        pace: tuple[tf.Tensor, tf.Tensor],
    ) -> tf.Tensor:
        """Learn from one batch (see `Batch`) with `pace` = (learning rate, seed); return its mean loss."""
        rate, seed = pace
        shape = tf.shape(sessions)
        rows, place = tf.unique(tf.concat([tf.reshape(sessions, [-1]), negatives], 0))
        in_sessions = tf.reshape(place[: tf.size(sessions)], shape)
        in_negatives = place[tf.size(sessions) :]
        table_rows = tf.gather(self.table, rows)
        drawn = tf.math.unsorted_segment_sum(
            tf.ones_like(in_negatives, tf.float32), in_negatives, tf.size(rows)
        )
        places = tf.where(weights > 0)  # session and position of each target with a weight
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([table_rows, *self.encoder.weights.values()])
            normalized = self._embedded(rows, table_rows, seed)
            expected = tf.gather(self.expected, rows)
            items = SampledItems(normalized, expected, drawn, in_negatives)
            embedded = tf.gather(normalized, in_sessions[:, :-1])
            states = self.encoder(embedded, sessions[:, :-1] > 0, self.options.dropout, seed, **inputs)
            targets = tf.gather_nd(in_sessions[:, 1:], places)
            loss_function = LOSSES[self.options.loss]
            losses = loss_function(tf.gather_nd(states, places), targets, items, self.options.temperature)
            loss = tf.reduce_mean(losses * tf.gather_nd(weights, places))
        row_gradient, gradients = tape.gradient(loss, (table_rows, self.encoder.weights))
        gradients = {name: tf.convert_to_tensor(gradient) for name, gradient in gradients.items()}
        self.adam.apply(gradients, rows, tf.convert_to_tensor(row_gradient), rate)
        return loss
