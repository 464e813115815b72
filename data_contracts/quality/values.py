"""Lists of values that a contract allows or forbids a field, for DuckDB and for Great Expectations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from data_contracts.bounds import sql_value, typed
from data_contracts.field import Field

SHORT_LIST = 50


def check_values(field: Field, values: Any, place: str) -> list[Any]:
    """Return the values of a list in the type of a field.

    Raises:
        ValueError: the argument is no list, is empty, or holds a value that the field cannot hold.
    """
    if not isinstance(values, list) or not values:
        raise ValueError(f"{place} takes a list of values, received {values!r}")
    try:
        return [typed(field, value) for value in values]
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def in_sql(column: str, field: Field, values: Iterable[Any]) -> str:
    """Return SQL that tells whether a quoted column holds one of some typed values."""
    return among(column, [sql_value(field, value) for value in values])


def among(column: str, values: Sequence[str]) -> str:
    """Return SQL that tells whether an SQL value is one of some SQL literals of one type."""
    listed = ", ".join(values)
    # DuckDB compares a list value by value, and looks up a relation.
    return f"{column} IN ({listed if len(values) <= SHORT_LIST else f'SELECT unnest([{listed}])'})"


def listed_value(value: Any) -> Any:
    """Return a typed value as Great Expectations finds it in a column; a frame holds dates as midnights."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value
