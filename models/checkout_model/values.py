"""Reads raw values: the items of sessions, and columns of names, numbers and times. It imports only NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

TIME_ROWS = {"hour": 25, "weekday": 8}
EXACT = 2**53  # up to here a float holds every whole number
PLAIN = {float, type(None)}  # what NumPy turns into numbers at once
NO_NUMBERS = (bool, np.bool_, np.timedelta64, np.datetime64, np.complexfloating)  # though they convert
LATEST = 253_402_300_800  # the year 10000: later "seconds" are milliseconds
LONGEST_DATE = 10  # characters of an ISO 8601 text without an hour
MAX_SHOWN = 200  # characters of a value in an error


class ColumnReader:
    """Turns raw columns into the inputs of a graph.

    Args:
        names: each column of names to its known names; name i has row i + 1, and row 0 means unknown.
        numbers: each column of numbers to the mean and the standard deviation of their log1p.
        times: the columns of times, read as hour of the day and weekday (UTC).

    Attributes:
        columns: the names of the raw columns.
    """

    def __init__(
        self,
        names: Mapping[str, Sequence[str]],
        numbers: Mapping[str, Sequence[float]],
        times: Sequence[str],
    ) -> None:
        self.columns = (*names, *numbers, *times)
        self._rows = {
            column: {name: row for row, name in enumerate(known, start=1)} for column, known in names.items()
        }
        self._numbers = {column: (float(mean), float(scale)) for column, (mean, scale) in numbers.items()}
        self._times = tuple(times)

    def __call__(self, columns: Mapping[str, Any], *shape: int) -> dict[str, NDArray[Any]]:
        """Read columns of one shape. A missing column is unknown, and so are None, NaN and "".

        Returns:
            for a name or a part of a time: int32 `shape`, the row, 0 = unknown. For a number: float32
            `shape` + [2], the normalized number and 1, or 0 and 0 if the number is unknown. Negative numbers
            count as 0.

        Raises:
            ValueError: a value that is no text, no number or no time, where one is expected; the error names
                the column and the value.
        """
        read: dict[str, NDArray[Any]] = {}
        for name, rows in self._rows.items():
            texts = _names(name, columns[name]) if name in columns else [""] * int(np.prod(shape))
            read[name] = np.array([rows.get(text, 0) for text in texts], np.int32).reshape(shape)
        for name, (mean, scale) in self._numbers.items():
            values = _numbers(name, columns[name]) if name in columns else np.full(shape, np.nan)
            known = np.isfinite(values)
            scaled = (np.log1p(np.maximum(np.where(known, values, 0.0), 0.0)) - mean) / scale
            pairs = np.stack([np.where(known, scaled, 0.0), known.astype(float)], -1)
            read[name] = pairs.astype(np.float32).reshape(*shape, 2)
        for name in self._times:
            seconds = _numbers(name, columns[name], time=True) if name in columns else np.full(shape, np.nan)
            late = seconds[np.isfinite(seconds) & (np.abs(seconds) >= LATEST)]
            if late.size:
                raise _unreadable(name, "a time or seconds since the epoch", float(late.flat[0]))
            read |= _parts_of_time(seconds.reshape(shape))
        return read


def _is_missing(value: Any) -> bool:
    """Tell whether a value is None, NaN, NaT, NA or masked. A value that holds others is not missing."""
    if value is None or type(value).__name__ in ("NAType", "NaTType", "MaskedConstant"):
        return True
    if isinstance(value, Iterable):
        return False
    try:
        return bool(value != value)  # noqa: PLR0124 (NaN is not equal to itself)
    except (ArithmeticError, TypeError, ValueError):  # Decimal("sNaN") refuses to be compared
        return False


def _unreadable(name: str, expected: str, value: Any) -> ValueError:
    try:
        received = repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        received = f"a value of type {type(value).__name__} that is too long to show"
    received = received if len(received) <= MAX_SHOWN else f"{received[:MAX_SHOWN]}…"
    return ValueError(f"{name} should be {expected}, received {received}")


def listed(name: str, values: Any, *, ordered: bool = True) -> Iterable[Any]:
    """Return a list of values; a missing list is empty.

    Args:
        name: what the values are, for an error.
        values: the list, in any form.
        ordered: whether the order of the values counts. A set has no order.

    Raises:
        ValueError: a value that is no list, or that has several dimensions.
    """
    if isinstance(values, (list, tuple)):
        return values
    dimensions = getattr(values, "ndim", 1)
    one_value = isinstance(values, (str, bytes, bytearray, memoryview, Mapping)) or dimensions == 0
    if isinstance(values, Iterable) and not one_value and dimensions == 1:
        if not (ordered and isinstance(values, (set, frozenset))):
            return values.tolist() if isinstance(values, np.ma.MaskedArray) else list(values)
    elif _is_missing(values):
        return ()
    raise _unreadable(name, "a list", values)


def item_id(name: str, value: Any) -> str:
    """Return an item id as the text that the training has; "" for a missing id.

    Raises:
        ValueError: a value that is neither a text nor a whole number.
    """
    if isinstance(value, str):
        return value
    try:
        if isinstance(value, (int, np.integer)) and not isinstance(value, NO_NUMBERS):
            return str(value)
        if isinstance(value, (float, np.floating)):  # pandas turns whole numbers beside NaN into floats
            number = float(value)
            if number.is_integer() and abs(number) < EXACT:
                return str(int(number))
    except ValueError:  # Python writes no whole number of more than 4300 digits
        raise _unreadable(name, "a list of texts or whole numbers", value) from None
    if _is_missing(value):
        return ""
    raise _unreadable(name, "a list of texts or whole numbers", value)


def _names(column: str, values: Any) -> list[str]:
    """Return the names of a column, flat; "" for missing names."""
    flat = values.ravel().tolist() if isinstance(values, np.ndarray) else values
    return [value if isinstance(value, str) else _no_name(column, value) for value in flat]


def _no_name(column: str, value: Any) -> str:
    if not _is_missing(value):
        raise _unreadable(column, "a text", value)
    return ""


def _numbers(column: str, values: Any, *, time: bool = False) -> NDArray[np.float64]:
    """Return the numbers of a column, or its times as seconds since the epoch; NaN for missing values."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        return values.astype(np.float64)
    flat = values.ravel() if isinstance(values, np.ndarray) else values
    if set(map(type, flat)) <= PLAIN:
        return np.array(flat, np.float64)
    return np.array([_number(column, value, time) for value in flat], np.float64)


def _number(column: str, value: Any, time: bool) -> float:
    """Return a number, or a time as seconds since the epoch; a time without a zone is in UTC.

    A time may be an ISO 8601 text, since JSON has no times. A date alone is no time: it has no hour.
    """
    if (isinstance(value, str) and not value) or _is_missing(value):
        return float("nan")
    if time and isinstance(value, np.datetime64):
        return float(value.astype("datetime64[us]").astype(np.int64)) / 1e6
    if time and isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, str) or not isinstance(value, (*NO_NUMBERS, Iterable)):
        with suppress(ArithmeticError, TypeError, ValueError):
            return float(value)
    if time and isinstance(value, str) and len(value) > LONGEST_DATE:
        with suppress(ArithmeticError, ValueError):
            return _number(column, datetime.fromisoformat(value), time)
    raise _unreadable(column, "a time or seconds since the epoch" if time else "a number", value)


def _parts_of_time(seconds: NDArray[np.float64]) -> dict[str, NDArray[np.int32]]:
    """Return the hour of the day and the weekday from Monday, both counted from 1; 0 = unknown."""
    known = np.isfinite(seconds)
    hours = np.floor(np.where(known, seconds, 0.0) / 3600.0)
    parts = {"hour": hours % 24, "weekday": (np.floor(hours / 24) + 3) % 7}  # the epoch began on a Thursday
    return {name: np.where(known, 1 + part, 0).astype(np.int32) for name, part in parts.items()}
