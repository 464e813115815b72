"""Context features: they turn columns of names, numbers and times into model inputs.

The contract `events` lists the features; see data_contracts.features. The model stores as plain JSON what it
learned about them: the row of each name, and the mean and standard deviation of numbers. `ColumnReader` reads
the raw columns, in the training and in the packed model.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.features import Feature, context_features
from models.checkout_model.values import TIME_ROWS, ColumnReader
from models.tensorflow_import import tf

Columns = Mapping[str, NDArray[Any]]

FEATURES: Mapping[str, tuple[Feature, ...]] = {
    "sessions": context_features("session"),
    "events": context_features("event"),
    "items": context_features("item"),
}
"""The features that the contract lists, by what they describe.

Numbers are read as log1p, negative numbers as 0. Times are seconds since the epoch, read as hour of the day
and weekday (UTC).
"""
MAX_NAMES = 1000  # of a column; rarer names count as unknown


@dataclass(frozen=True)
class Bound:
    """Which names of a column get a row of their own.

    Attributes:
        max_names: the largest number of names, of which the most frequent are taken.
        min_count: how often a name must occur.
    """

    max_names: int = MAX_NAMES
    min_count: int = 1


@dataclass(frozen=True)
class Features:
    """The features that a model learned for sessions, events or items.

    A column without a known value is not a feature.

    Attributes:
        names: each column's known names; name i has row i + 1, and row 0 is for all unknown values.
        numbers: each column's mean and standard deviation, of the log1p of its known values.
        times: the columns of times.
    """

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    times: tuple[str, ...] = ()

    @classmethod
    def learn(
        cls, columns: Columns, wanted: Sequence[Feature], bounds: Mapping[str, Bound] | None = None
    ) -> Features:
        """Learn names and statistics from the wanted columns, as far as they exist.

        Args:
            columns: [n] each; None and NaN mean unknown.
            wanted: the features to learn.
            bounds: for columns of names that need another bound than the default.
        """
        names, numbers, times = {}, {}, []
        for feature in (feature for feature in wanted if feature.name in columns):
            column = columns[feature.name]
            if feature.kind == "category":
                known = _frequent((), column, (bounds or {}).get(feature.name, Bound()))
                if known:
                    names[feature.name] = known
                continue
            values = column.astype(np.float64)  # None becomes NaN
            values = values[np.isfinite(values)]
            if len(values) and feature.kind == "time":
                times.append(feature.name)
            elif len(values):
                scaled = np.log1p(np.maximum(values, 0.0))
                numbers[feature.name] = (float(scaled.mean()), float(scaled.std()) or 1.0)
        return cls(names, numbers, tuple(times))

    def grown(self, columns: Columns, bounds: Mapping[str, Bound] | None = None) -> Features:
        """Return the features with rows for the new names of the known columns, after the present rows.

        Means and deviations do not change, because the weights have learned on their scale. A new column is
        not read, because no weight belongs to it; see `joined`.
        """
        names = {
            column: _frequent(known, columns[column], (bounds or {}).get(column, Bound()))
            if column in columns
            else known
            for column, known in self.names.items()
        }
        return Features(names, self.numbers, self.times)

    def joined(self, columns: Columns, wanted: Sequence[Feature]) -> Features:
        """Return the features with the wanted columns that they lack; see `learn`."""
        present = {*self.names, *self.numbers, *self.times}
        new = Features.learn(columns, [feature for feature in wanted if feature.name not in present])
        return Features(
            {**self.names, **new.names}, {**self.numbers, **new.numbers}, (*self.times, *new.times)
        )

    @classmethod
    def merged(cls, several: Sequence[Features]) -> Features:
        """Return the features that any of several models reads, with all their names.

        The numbers of a column keep the scale of the first model that reads it; see `translated`.
        """
        names: dict[str, dict[str, None]] = {}
        numbers: dict[str, tuple[float, float]] = {}
        for features in several:
            for column, known in features.names.items():
                names.setdefault(column, {}).update(dict.fromkeys(known))
            numbers = {**features.numbers, **numbers}
        times = tuple(dict.fromkeys(column for features in several for column in features.times))
        return cls({column: tuple(known) for column, known in names.items()}, numbers, times)

    def translated(self, inputs: Mapping[str, tf.Tensor], merged: Features) -> dict[str, tf.Tensor]:
        """Return the inputs of these features from the inputs of the merged features."""
        own = {name: inputs[name] for name in self.rows if name not in self.names and name in inputs}
        for column in self.names.keys() & inputs.keys():
            place = {name: row for row, name in enumerate(self.names[column], start=1)}
            rows = [0, *(place.get(name, 0) for name in merged.names[column])]
            own[column] = tf.gather(tf.constant(rows, tf.int32), inputs[column])
        for column in self.numbers.keys() & inputs.keys():
            (mean, scale), (given_mean, given_scale) = self.numbers[column], merged.numbers[column]
            values, known = inputs[column][..., :1], inputs[column][..., 1:]
            values = (values * given_scale + (given_mean - mean)) / scale
            own[column] = tf.concat([values * known, known], -1)
        return own

    @property
    def rows(self) -> dict[str, int]:
        """Return the number of rows of each feature that is read as a row."""
        rows = {column: 1 + len(known) for column, known in self.names.items()}
        return rows | (TIME_ROWS if self.times else {})

    def specs(self, *shape: int | None) -> dict[str, tf.TensorSpec]:
        """Return the specifications of the reader's outputs for columns of this shape."""
        specs = {name: tf.TensorSpec(shape, tf.int32, name=name) for name in self.rows}
        pairs = {name: tf.TensorSpec((*shape, 2), tf.float32, name=name) for name in self.numbers}
        return specs | pairs

    def reader(self) -> ColumnReader:
        """Return the reader of raw columns; its outputs are the inputs that `specs` describes."""
        return ColumnReader(*self.content)

    @property
    def content(self) -> tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[float]], Sequence[str]]:
        """Return names, numbers and times, as `ColumnReader` takes them."""
        return dict(self.names), dict(self.numbers), self.times

    def to_array(self) -> NDArray[np.str_]:
        """Return the features as JSON, in an array of one string."""
        return np.array(json.dumps(self.content))

    @classmethod
    def from_array(cls, array: NDArray[np.str_]) -> Features:
        """Read what `to_array` wrote."""
        names, numbers, times = json.loads(str(array))
        return cls(
            {column: tuple(known) for column, known in names.items()},
            {column: (mean, deviation) for column, (mean, deviation) in numbers.items()},
            tuple(times),
        )


def _frequent(known: tuple[str, ...], column: NDArray[Any], bound: Bound) -> tuple[str, ...]:
    """Return the known names and, up to the bound, the most frequent other names; ties go by name."""
    counts = Counter(column[[isinstance(value, str) and value != "" for value in column]].tolist())
    for name in known:
        counts.pop(name, None)
    new = sorted(
        (name for name in counts if counts[name] >= bound.min_count), key=lambda name: (-counts[name], name)
    )
    return (*known, *new[: max(0, bound.max_names - len(known))])
