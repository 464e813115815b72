"""One step of private training of a sequence model (DP-SGD), and the noisy sums that it releases."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from models.layers.private_gradients import (
    WeightUse,
    clip_factors,
    linear_squared_norms,
    rows_squared_norms,
    rows_weighted_sum,
)
from models.layers.private_losses import Negatives, softmax_gradients
from models.layers.recorded import Record, recording
from models.sequential.private_batches import Part
from models.sequential.trainer import Trainer
from models.tensorflow_import import tf


class PrivateTrainer(tf.Module):
    """Adds the clipped gradients of units, adds noise to the sum, and takes the step with the sum.

    The gradient of a unit is by the encoder's weights and by the normalized embeddings of the items. What
    turns a gradient by normalized embeddings into one by the table's rows follows from the table alone, so
    it comes after the noise. Rows that are not `trained` keep their values, and no gradient by them is added
    or released.

    Attributes:
        trainer: the model's trainer; its table and its weights change.
    """

    def __init__(
        self, trainer: Trainer, trained: NDArray[np.bool_], clip: float, seed: int | None = None
    ) -> None:
        """Prepare the sums.

        Args:
            trainer: see the class. The rows of its table are normalized here.
            trained: bool [size], the rows that the training changes.
            clip: the largest length of a unit's gradient.
            seed: of the noise; None takes a secret one from the operating system. Only tests give a seed:
                whoever knows the seed can subtract the noise.
        """
        super().__init__()
        self.trainer = trainer
        self._clip = clip
        self._rows = tf.constant(np.flatnonzero(trained), tf.int32)
        self._is_trained = trained
        self._trained = tf.constant(trained, tf.float32)
        self._place = tf.constant(np.where(trained, np.cumsum(trained) - 1, -1), tf.int32)
        self._noise = tf.random.Generator.from_seed(secrets.randbits(62) if seed is None else seed)
        weights = trainer.encoder.weights
        self.sums = {name: tf.Variable(tf.zeros_like(weight)) for name, weight in weights.items()}
        self.row_sum = tf.Variable(tf.zeros((len(self._rows), trainer.table.shape[1])))
        trainer.table.assign(tf.math.l2_normalize(trainer.table, -1, epsilon=1e-12))
        self._compiled: dict[int, Callable[..., tf.Tensor]] = {}

    def step(
        self,
        parts: Iterable[Part],
        negatives: NDArray[np.int32],
        log_expected: NDArray[np.float32],
        *,
        noise_multiplier: float,
        expected_units: float,
        rate: float,
        seed: int,
    ) -> None:
        """Take one step. A step without units is taken too: it is noise alone.

        Args:
            parts: the units of the step.
            negatives: int32 [m], distinct items, drawn without a look at the units.
            log_expected: float32 [m], the logarithm of the probability of each to be drawn.
            noise_multiplier: the standard deviation of the noise, divided by the clip.
            expected_units: the expected number of units, by which the sum is divided.
            rate: the learning rate.
            seed: decides the dropout.
        """
        self.begin()
        for place, part in enumerate(parts):
            self.add(part, negatives, log_expected, seed + place)
        self._apply(noise_multiplier * self._clip, expected_units, np.float32(rate))

    def begin(self) -> None:
        """Empty the sums."""
        for total in (*self.sums.values(), self.row_sum):
            total.assign(tf.zeros_like(total))

    def add(
        self, part: Part, negatives: NDArray[np.int32], log_expected: NDArray[np.float32], seed: int
    ) -> NDArray[np.float32]:
        """Add the clipped gradients of some units to the sums; return the lengths before, float32 [u]."""
        trained = self._is_trained[negatives]
        add = self._compiled_for(part.sessions.shape[2])
        lengths: NDArray[np.float32] = add(
            part.sessions,
            part.weights,
            (negatives[trained], negatives[~trained]),
            (log_expected[trained], log_expected[~trained]),
            np.int32(seed % 2**31),
        ).numpy()
        return lengths

    def _compiled_for(self, length: int) -> Callable[..., tf.Tensor]:
        """Return `_add_part`, compiled once for each length of sessions: a GRU is a chain of its places."""
        if length not in self._compiled:
            items, logarithms = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None,), tf.float32)
            signature = [
                tf.TensorSpec((None, None, length), tf.int32),
                tf.TensorSpec((None, None, length - 1), tf.float32),
                (items, items),
                (logarithms, logarithms),
                tf.TensorSpec((), tf.int32),
            ]
            self._compiled[length] = tf.function(self._add_part, input_signature=signature, autograph=False)
        return self._compiled[length]

    def _add_part(
        self,
        sessions: tf.Tensor,
        weights: tf.Tensor,
        negatives: tuple[tf.Tensor, tf.Tensor],
        log_expected: tuple[tf.Tensor, tf.Tensor],
        seed: tf.Tensor,
    ) -> tf.Tensor:
        units, length = tf.shape(sessions)[0], sessions.shape[2]
        flat, own = tf.reshape(sessions, (-1, length)), tf.reshape(sessions, (units, -1))
        encoder, options = self.trainer.encoder, self.trainer.options
        table = self.trainer.table.value()
        size = table.shape[1]
        with tf.GradientTape(watch_accessed_variables=False) as tape, recording(tape) as recorder:
            embedded = tf.gather(table, flat)  # the items that are read, and the items that are predicted
            tape.watch(embedded)
            states = encoder(embedded[:, :-1], flat[:, :-1] > 0, options.dropout, seed)
            states = tf.reshape(states, (units, -1, size)) / options.temperature
        trained, frozen = (
            Negatives(items, tf.gather(table, items), log)
            for items, log in zip(negatives, log_expected, strict=True)
        )
        found = softmax_gradients(
            states,
            tf.reshape(embedded[:, 1:], tf.shape(states)),
            tf.reshape(weights, (units, -1)),
            own,
            trained=trained,
            frozen=frozen,
            temperature=options.temperature,
        )
        taps = {name: [r.tap for r in self._records(recorder.records, name)] for name in encoder.weights}
        read = {name: taps_of for name, taps_of in taps.items() if taps_of}
        gradients, by_items = tape.gradient(
            states,
            (read, embedded),
            output_gradients=found.by_states,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        by_targets = tf.reshape(found.by_targets, tf.shape(embedded[:, 1:]))
        by_items += tf.pad(by_targets, ((0, 0), (1, 0), (0, 0)))
        # The two sums below have no common row: a unit's own items are not among its negatives.
        by_items = tf.reshape(by_items, (units, -1, size)) * tf.gather(self._trained, own)[:, :, None]
        uses = {
            name: WeightUse(
                encoder.weights[name], self._records(recorder.records, name), gradients[name], units
            )
            for name in read
        }
        squares = [use.squared_norms() for use in uses.values()]
        squares += [rows_squared_norms(own, by_items), linear_squared_norms(states, found.by_logits)]
        norms = tf.add_n(squares)
        factors = clip_factors(norms, self._clip)
        for name, use in uses.items():
            self.sums[name].assign_add(use.weighted_sum(factors))
        total = rows_weighted_sum(tf.gather(self._place, own), by_items, factors, len(self._rows))
        by_logits = tf.reshape(found.by_logits, (-1, tf.size(trained.items)))
        scaled = tf.reshape(states * factors[:, None, None], (-1, size))
        total += tf.math.unsorted_segment_sum(
            tf.matmul(by_logits, scaled, transpose_a=True),
            tf.gather(self._place, trained.items),
            len(self._rows),
        )
        self.row_sum.assign_add(total)
        return tf.sqrt(norms)

    def _records(self, records: Mapping[object, list[Record]], name: str) -> list[Record]:
        return records.get(self.trainer.encoder.weights[name].ref(), [])

    def _apply(self, deviation: float, expected_units: float, rate: np.float32) -> None:
        """Add noise to each sum, and take the step with the noisy means."""
        noisy = {
            name: (total + self._noise.normal(total.shape, stddev=deviation)) / expected_units
            for name, total in self.sums.items()
        }
        rows = (self.row_sum + self._noise.normal(self.row_sum.shape, stddev=deviation)) / expected_units
        table = self.trainer.table
        directions = tf.gather(table, self._rows)
        along = tf.reduce_sum(rows * directions, -1, keepdims=True)
        self.trainer.adam.apply(noisy, self._rows, rows - along * directions, rate)
        moved = tf.math.l2_normalize(tf.gather(table, self._rows), -1, epsilon=1e-12)
        table.scatter_update(tf.IndexedSlices(moved, self._rows))
