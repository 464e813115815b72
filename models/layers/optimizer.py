"""Adam that changes only the embedding rows that a batch read. Its slots can be saved and extended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tensorflow_import import tf

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Adam(tf.Module):
    """Adam (Kingma & Ba 2015) for dense weights, and lazy Adam for the rows of one large table.

    The moments of a row do not change while no batch reads the row. Dense Adam would move the row by its
    momentum for about ten more steps, at a cost that grows with the number of items. To move as far, a step
    of a row is `row_rate` times as long.
    """

    def __init__(self, weights: Mapping[str, tf.Variable], table: tf.Variable, row_rate: float) -> None:
        super().__init__()
        self._weights = dict(weights)
        self._table = table
        self._row_rate = row_rate
        self.steps = tf.Variable(0.0, name="steps")
        self.mean = {name: tf.Variable(tf.zeros_like(value)) for name, value in self._weights.items()}
        self.square = {name: tf.Variable(tf.zeros_like(value)) for name, value in self._weights.items()}
        self.row_mean = tf.Variable(tf.zeros_like(table), shape=table.shape)
        self.row_square = tf.Variable(tf.zeros_like(table), shape=table.shape)

    def apply(
        self, gradients: Mapping[str, tf.Tensor], rows: tf.Tensor, row_gradient: tf.Tensor, rate: tf.Tensor
    ) -> None:
        """Take one step.

        Args:
            gradients: the gradient of each dense weight, by name.
            rows: int32 [r], distinct indices into the table.
            row_gradient: [r, d].
            rate: the learning rate, a scalar.
        """
        self.steps.assign_add(1.0)
        rate = rate * tf.sqrt(1.0 - BETA_2**self.steps) / (1.0 - BETA_1**self.steps)
        for name, weight in self._weights.items():
            gradient, mean, square = gradients[name], self.mean[name], self.square[name]
            mean.assign(BETA_1 * mean + (1.0 - BETA_1) * gradient)
            square.assign(BETA_2 * square + (1.0 - BETA_2) * gradient * gradient)
            weight.assign_sub(rate * mean / (tf.sqrt(square) + EPSILON))
        mean = BETA_1 * tf.gather(self.row_mean, rows) + (1.0 - BETA_1) * row_gradient
        square = BETA_2 * tf.gather(self.row_square, rows) + (1.0 - BETA_2) * row_gradient * row_gradient
        self.row_mean.scatter_update(tf.IndexedSlices(mean, rows))
        self.row_square.scatter_update(tf.IndexedSlices(square, rows))
        step = self._row_rate * rate * mean / (tf.sqrt(square) + EPSILON)
        self._table.scatter_sub(tf.IndexedSlices(step, rows))

    def keep_rows(self, rows: NDArray[np.intp], added: int) -> None:
        """Keep the slots of the table's rows `rows`, [r], in this order, and append `added` empty slots."""
        for slot in (self.row_mean, self.row_square):
            slot.assign(np.pad(slot.numpy()[rows], ((0, added), (0, 0))))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the steps and the slots by name."""
        slots = {"steps": self.steps, "row_mean": self.row_mean, "row_square": self.row_square}
        slots |= {f"mean/{name}": value for name, value in self.mean.items()}
        slots |= {f"square/{name}": value for name, value in self.square.items()}
        return {name: value.numpy() for name, value in slots.items()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned. Rows that were added since then start with empty slots."""
        self.steps.assign(arrays["steps"])
        slots = {"row_mean": self.row_mean, "row_square": self.row_square}
        slots |= {f"mean/{name}": slot for name, slot in self.mean.items()}
        slots |= {f"square/{name}": slot for name, slot in self.square.items()}
        for name, slot in slots.items():
            shape = slot.numpy().shape
            added = [(0, now - saved) for now, saved in zip(shape, arrays[name].shape, strict=True)]
            slot.assign(np.pad(arrays[name], added))
