"""Features: from columns of names, numbers and times to what a model reads, in training as in serving.

What they were learned from travels with the model as plain JSON: which name has which row, and the mean and
deviation of numbers. Raw columns are encoded by TensorFlow alone, so an exported model encodes them itself
and cannot differ from the training.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]

NUMBERS = ("dwell_ms", "price")  # read as log1p; negative ones as 0
TIMES = ("started_at",)  # seconds since the epoch, read as hour of the day and weekday (UTC)
MOST_NAMES = 1000  # of a column; what is rarer counts as unknown
TIME_ROWS = {"hour": 25, "weekday": 8}


@dataclass(frozen=True)
class Bound:
    """Which names of a column get a row of their own.

    Attributes:
        most: so many at most, the most frequent.
        least: occurrences that a name needs.
    """

    most: int = MOST_NAMES
    least: int = 1


@dataclass(frozen=True)
class Features:
    """What one kind of thing (sessions, events or items) is described by.

    A column without any known value is no feature.

    Attributes:
        names: column to its known names; name i has row i + 1, row 0 is for all that is unknown.
        numbers: column to mean and standard deviation of its known values, on the scale of log1p.
        times: columns of times.
    """

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    times: tuple[str, ...] = ()

    @classmethod
    def learn(
        cls, columns: Columns, wanted: Sequence[str], bounds: Mapping[str, Bound] | None = None
    ) -> Features:
        """Read names and statistics off those of the wanted columns that are there.

        Args:
            columns: [n] each; None and NaN are unknown.
            wanted: which to look for.
            bounds: of columns of names, where other than the usual.
        """
        names, numbers, times = {}, {}, []
        for column in (name for name in wanted if name in columns):
            if column in NUMBERS or column in TIMES:
                values = _numbers(columns[column])
                values = values[np.isfinite(values)]
                if len(values) and column in TIMES:
                    times.append(column)
                elif len(values):
                    scaled = np.log1p(np.maximum(values, 0.0))
                    numbers[column] = (float(scaled.mean()), float(scaled.std()) or 1.0)
            else:
                found = _frequent((), columns[column], (bounds or {}).get(column, Bound()))
                if found:
                    names[column] = found
        return cls(names, numbers, tuple(times))

    def grown(self, columns: Columns, bounds: Mapping[str, Bound] | None = None) -> Features:
        """Give new names of the known columns rows after those there are.

        Means and deviations stay: the weights have learned on their scale, and on another the same price
        would mean another thing to them. A column that is new stays unread, for no weight knows it.
        """
        names = {
            column: _frequent(known, columns[column], (bounds or {}).get(column, Bound()))
            if column in columns
            else known
            for column, known in self.names.items()
        }
        return Features(names, self.numbers, self.times)

    @property
    def rows(self) -> dict[str, int]:
        """Return the rows of each feature that is read as one of so many."""
        rows = {column: 1 + len(known) for column, known in self.names.items()}
        return rows | (TIME_ROWS if self.times else {})

    @property
    def columns(self) -> dict[str, tf.DType]:
        """Return the raw columns and what they hold."""
        strings = dict.fromkeys(self.names, tf.string)
        return strings | dict.fromkeys((*self.numbers, *self.times), tf.float64)

    def specs(self, *shape: int | None) -> dict[str, tf.TensorSpec]:
        """Return what `FeatureReader` makes of columns of this shape."""
        specs = {name: tf.TensorSpec(shape, tf.int32, name=name) for name in self.rows}
        pairs = {name: tf.TensorSpec((*shape, 2), tf.float32, name=name) for name in self.numbers}
        return specs | pairs

    def raw(self, columns: Columns, *shape: int) -> dict[str, tf.Tensor]:
        """Return the columns that are features as tensors of a shape, unknown throughout where missing."""
        unknown = np.full(shape, None)
        return {
            name: tf.constant((_strings if kind == tf.string else _numbers)(columns.get(name, unknown)), kind)
            for name, kind in self.columns.items()
        }

    def to_array(self) -> NDArray[np.str_]:
        """Return everything as JSON in an array of one string."""
        return np.array(json.dumps([dict(self.names), dict(self.numbers), self.times]))

    @classmethod
    def from_array(cls, array: NDArray[np.str_]) -> Features:
        """Read what `to_array` wrote."""
        names, numbers, times = json.loads(str(array))
        return cls(
            {column: tuple(known) for column, known in names.items()},
            {column: (mean, deviation) for column, (mean, deviation) in numbers.items()},
            tuple(times),
        )


class FeatureReader(tf.Module):
    """Encodes raw columns; part of what is exported."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        self._numbers = tuple((name, *scale) for name, scale in features.numbers.items())
        self._times = features.times
        self._tables = {
            column: tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    tf.constant(known), tf.range(1, len(known) + 1, dtype=tf.int32)
                ),
                default_value=0,
            )
            for column, known in features.names.items()
        }

    def __call__(self, columns: Mapping[str, tf.Tensor], shape: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encode columns; one that is missing is unknown throughout.

        Args:
            columns: strings ("" = unknown) or float64 (not finite = unknown), each of `shape`.
            shape: int32 [rank].

        Returns:
            a name or a part of a time: int32 `shape`, the row, 0 = unknown. A number: float32 `shape` + [2],
            normalized, and 1 where known; 0 and 0 where not.
        """
        unknown = tf.zeros(shape, tf.int32)
        found = {
            name: table.lookup(columns[name]) if name in columns else unknown
            for name, table in self._tables.items()
        }
        for name, mean, deviation in self._numbers:
            values = columns.get(name, tf.fill(shape, tf.constant(np.nan, tf.float64)))
            known = tf.math.is_finite(values)
            scaled = (tf.math.log1p(tf.maximum(tf.where(known, values, 0.0), 0.0)) - mean) / deviation
            pair = tf.stack([tf.where(known, scaled, 0.0), tf.cast(known, tf.float64)], -1)
            found[name] = tf.cast(pair, tf.float32)
        for name in self._times:
            found |= _parts_of_time(columns[name]) if name in columns else dict.fromkeys(TIME_ROWS, unknown)
        return found


def _parts_of_time(seconds: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return hour of the day and weekday from Monday, both from 1, as int32; 0 where unknown."""
    known = tf.math.is_finite(seconds)
    hours = tf.floor(tf.where(known, seconds, 0.0) / 3600.0)
    hour = tf.math.floormod(hours, 24.0)
    weekday = tf.math.floormod(tf.floor(hours / 24.0) + 3.0, 7.0)  # the epoch began on a Thursday
    parts = {"hour": hour, "weekday": weekday}
    return {name: tf.where(known, 1 + tf.cast(part, tf.int32), 0) for name, part in parts.items()}


def _frequent(known: tuple[str, ...], column: NDArray[Any], bound: Bound) -> tuple[str, ...]:
    """Return the known names and, as far as there is room, the most frequent others; ties by name."""
    counts = Counter(column[[isinstance(value, str) and value != "" for value in column]].tolist())
    for name in known:
        counts.pop(name, None)
    new = sorted(
        (name for name in counts if counts[name] >= bound.least), key=lambda name: (-counts[name], name)
    )
    return (*known, *new[: max(0, bound.most - len(known))])


def _strings(column: NDArray[Any]) -> NDArray[np.object_]:
    """Return names with "" for what is not a string."""
    flat = [value if isinstance(value, str) else "" for value in column.ravel()]
    return np.array(flat, dtype=object).reshape(column.shape)


def _numbers(column: NDArray[Any]) -> NDArray[np.float64]:
    """Return numbers with NaN for None."""
    return column.astype(np.float64)
