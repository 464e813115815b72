"""Clipped gradients: the gradient of each unit is scaled down to a length, and then all of them are added.

The gradients of single units are never built where they are large. Their lengths follow from what the
layers read and from the gradients of the layers' outputs; see `recorded.py`. A sum of scaled gradients is one
product of the same arrays, so a step needs one pass backwards (Bu et al., Differentially Private Optimization
on Large Model at Small Cost, ICML 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

from models.layers.recorded import Record
from models.tensorflow_import import tf


class WeightUse:
    """All uses of one weight in a step, with the gradients of the outputs.

    The sessions of a unit stand one after the other, and each unit has the same number of them. In the
    shapes, u is the number of units and p that of all places of a unit's sessions.
    """

    def __init__(
        self, weight: tf.Tensor, records: Sequence[Record], gradients: Sequence[tf.Tensor], units: tf.Tensor
    ) -> None:
        """Take the uses.

        Args:
            weight: the weight.
            records: its uses, all of one kind.
            gradients: by the tap of each record.
            units: the number of units, a scalar.
        """
        self._use, self._weight, self._units = records[0].use, weight, units
        if self._use in ("linear", "rows"):
            width = () if self._use == "rows" else (weight.shape[0],)
            self._read = tf.concat([self._by_unit(record.values, *width) for record in records], 1)
            self._gradient = tf.concat(
                [self._by_unit(gradient, gradient.shape[-1]) for gradient in gradients], 1
            )
        else:
            pairs = zip(records, gradients, strict=True)
            self._own = tf.add_n([self._gradients_of_units(*pair) for pair in pairs])  # [u, …]

    def squared_norms(self) -> tf.Tensor:
        """Return the squared length of each unit's gradient by this weight, [u]."""
        if self._use == "linear":
            return linear_squared_norms(self._read, self._gradient)
        if self._use == "rows":
            return rows_squared_norms(self._read, self._gradient)
        return tf.reduce_sum(tf.reshape(self._own, (self._units, -1)) ** 2, 1)

    def weighted_sum(self, factors: tf.Tensor) -> tf.Tensor:
        """Return the sum of the units' gradients, each times its factor, [u], in the shape of the weight."""
        if self._use == "linear":
            read = tf.reshape(self._read, (-1, self._weight.shape[0]))
            scaled = tf.reshape(self._gradient * factors[:, None, None], (-1, self._weight.shape[1]))
            return tf.matmul(read, scaled, transpose_a=True)
        if self._use == "rows":
            return rows_weighted_sum(self._read, self._gradient, factors, self._weight.shape[0])
        return tf.tensordot(factors, self._own, 1)

    def _by_unit(self, values: tf.Tensor, *width: int) -> tf.Tensor:
        """Return values of sessions, [sessions, …], as [u, p, width], or [u, p] without a width."""
        return tf.reshape(values, (self._units, -1, *width))

    def _gradients_of_units(self, record: Record, gradient: tf.Tensor) -> tf.Tensor:
        """Return the gradient of each unit by a small weight: [u, n], or [u, heads, distances] for lags."""
        if record.use == "lags":
            heads, distances = self._weight.shape
            by_pair = tf.reshape(gradient, (self._units, -1, heads, tf.size(record.values)))
            places = tf.one_hot(tf.reshape(record.values, [-1]), distances)
            return tf.tensordot(tf.reduce_sum(by_pair, 1), places, 1)
        if record.use == "scale":
            gradient *= record.values
        return tf.reduce_sum(self._by_unit(gradient, self._weight.shape[0]), 1)


def linear_squared_norms(read: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """Return ‖Σ_p read_p gradient_pᵀ‖² of each unit, [u], from products of places: no [n, m] array is built.

    Args:
        read: [u, p, n].
        gradient: [u, p, m].
    """
    return tf.reduce_sum(
        tf.matmul(read, read, transpose_b=True) * tf.matmul(gradient, gradient, transpose_b=True), (1, 2)
    )


def rows_squared_norms(rows: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """Return the squared length of each unit's gradient by the rows of a table, [u].

    Args:
        rows: int32 [u, p], the row that each place reads; a row may come several times.
        gradient: [u, p, d].
    """
    same = tf.cast(rows[:, :, None] == rows[:, None, :], tf.float32)
    return tf.reduce_sum(same * tf.matmul(gradient, gradient, transpose_b=True), (1, 2))


def rows_weighted_sum(
    rows: tf.Tensor, gradient: tf.Tensor, factors: tf.Tensor, size: int | tf.Tensor
) -> tf.Tensor:
    """Return the sum of the units' gradients by a table, each times its factor, [size, d]."""
    scaled = tf.reshape(gradient * factors[:, None, None], (-1, gradient.shape[-1]))
    return tf.math.unsorted_segment_sum(scaled, tf.reshape(rows, [-1]), size)


def clip_factors(squared_norms: tf.Tensor, clip: tf.Tensor | float) -> tf.Tensor:
    """Return the factor, at most 1, that scales each gradient down to the length `clip`, [u].

    The factor is smaller by a ten-thousandth than would be exact, so that rounding in float32 never makes a
    gradient longer than `clip`.
    """
    return tf.minimum(1.0, clip * (1.0 - 1e-4) / tf.sqrt(tf.maximum(squared_norms, 1e-24)))
