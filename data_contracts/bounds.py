"""The bounds of a field, `multipleOf` and values of a field in general, alike in DuckDB and in pandas.

A value from the YAML is first brought into the type of its field: a bound of an f32 is rounded to f32, as the
values of the column are; a time becomes UTC. So both engines compare the same values.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from data_contracts.field import Field
from data_contracts.privacy import literal, quote
from data_contracts.types import ORDERED_TYPES, accepts, limits

BOUNDS = {"minimum": ">=", "maximum": "<=", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
#: The relative error of a multiple of a decimal fraction, which binary numbers do not hold exactly.
_TOLERANCES = {"FLOAT": 1e-6, "DOUBLE": 1e-9}
_HUGE = 2**126  # DuckDB compares integers of 128 bits


def typed(field: Field, value: Any) -> Any:
    """Return a value of the YAML in the type of a field: int, float, str, bool, date or datetime (UTC).

    Raises:
        ValueError: the value has another type, or the type cannot hold it.
    """
    if not accepts(field.logical_type, value):
        raise ValueError(f"{value!r} is no {field.logical_type} (a time needs its zone)")
    if field.logical_type == "date":
        return date.fromisoformat(value)
    try:
        if field.logical_type == "timestamp":
            return datetime.fromisoformat(value).astimezone(UTC)
        if field.logical_type == "integer":
            return pa.scalar(value, field.arrow_type).as_py()
        if field.logical_type == "number":
            return _finite(pa.scalar(float(value), field.arrow_type).as_py())
    except (OverflowError, pa.ArrowInvalid) as error:
        raise ValueError(f"{value!r} does not fit into {field.arrow_type}") from error
    return value


def sql_value(field: Field, value: Any) -> str:
    """Return a typed value as an SQL literal of the type of its field."""
    if field.logical_type in ("integer", "boolean"):
        return repr(value)
    text = value.isoformat() if isinstance(value, date) else str(value)
    return literal(text) if field.logical_type == "string" else f"{literal(text)}::{field.sql_type}"


def frame_value(field: Field, value: Any) -> Any:
    """Return a typed value for Great Expectations; data frames hold dates as times."""
    if isinstance(value, datetime):
        return value.isoformat()
    return f"{value.isoformat()}T00:00:00+00:00" if isinstance(value, date) else value


def range_type(field: Field) -> str:
    """Return the expectation for a range. Great Expectations turns bounds of integers into floats."""
    return f"expect_column_{'integers' if field.logical_type == 'integer' else 'values'}_to_be_between"


def compile_range(field: Field, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the SQL of the bounds of a field, and their arguments for `range_type`.

    Raises:
        ValueError: a bound has another type, one side has two bounds, or no value satisfies the bounds.
    """
    if field.logical_type not in ORDERED_TYPES:
        raise ValueError(f"logicalTypeOptions: a {field.logical_type} has no {', '.join(given)}")
    arguments: dict[str, Any] = {}
    parts: list[str] = []
    ends: dict[str, tuple[Any, bool]] = {}
    for name, bound in given.items():
        side, strict = ("min" if "inimum" in name else "max"), name.startswith("exclusive")
        if side in ends:
            raise ValueError(f"logicalTypeOptions: give either {side}imum or its exclusive form")
        try:
            value = _bound(field, bound)
        except ValueError as error:
            raise ValueError(f"logicalTypeOptions.{name}: {error}") from error
        ends[side] = (value, strict)
        parts.append(f"{quote(field.name)} {BOUNDS[name]} {sql_value(field, value)}")
        arguments |= {f"{side}_value": frame_value(field, value), f"strict_{side}": strict}
    if _is_empty(field, ends):
        raise ValueError(f"logicalTypeOptions: no {field.logical_type} satisfies {given}")
    return " AND ".join(parts), arguments


def compile_multiple(field: Field, factor: Any) -> tuple[str, dict[str, Any]]:
    """Return the SQL of multipleOf, and its arguments for expect_column_values_to_be_multiples.

    Raises:
        ValueError: the field is no number, or the factor has another type.
    """
    if field.logical_type not in ("integer", "number"):
        raise ValueError(f"logicalTypeOptions: a {field.logical_type} has no multipleOf")
    try:
        value = typed(field, factor)
    except ValueError as error:
        raise ValueError(f"logicalTypeOptions.multipleOf: {error}") from error
    if value <= 0:
        raise ValueError(f"logicalTypeOptions.multipleOf should be above 0, received {factor!r}")
    name = quote(field.name)
    if field.logical_type == "integer":
        return f"{name} % {value} = 0", {"multiple_of": value, "tolerance": 0}
    tolerance, value = _TOLERANCES[field.sql_type], float(factor)
    times = f"abs({name}::DOUBLE / '{value!r}'::DOUBLE)"
    predicate = f"abs({times} - round({times})) <= '{tolerance!r}'::DOUBLE * greatest(1, {times})"
    return predicate, {"multiple_of": value, "tolerance": tolerance}


def compile_length(field: Field, given: dict[str, int]) -> tuple[str, dict[str, Any]]:
    """Return the SQL of minLength and maxLength, and their arguments for Great Expectations.

    Raises:
        ValueError: the field is no text, or no length satisfies both.
    """
    if field.logical_type != "string":
        raise ValueError(f"logicalTypeOptions: a {field.logical_type} has no {', '.join(given)}")
    low, high = given.get("minLength", 0), given.get("maxLength", 2**31)
    if low > high:
        raise ValueError(f"logicalTypeOptions: no text has minLength {low} and maxLength {high}")
    predicate = f"length({quote(field.name)}) BETWEEN {low} AND {high}"
    return predicate, {"min_value": low, "max_value": high}


def _bound(field: Field, bound: Any) -> Any:
    """Return a typed bound; the bound of an integer may lie beyond the values of its type."""
    if accepts(field.logical_type, bound) and field.logical_type == "integer" and abs(bound) < _HUGE:
        return bound
    return typed(field, bound)


def _finite(number: float) -> float:
    if math.isinf(number):
        raise OverflowError
    return number


def _is_empty(field: Field, ends: dict[str, tuple[Any, bool]]) -> bool:
    (low, above), (high, below) = ends.get("min", (None, False)), ends.get("max", (None, False))
    if field.logical_type == "integer":
        least, most = limits(field.arrow_type)
        low = least if low is None else low + above
        high = most if high is None else high - below
        return bool(max(low, least) > min(high, most))
    if low is None or high is None:
        return False
    return bool(low > high or (low == high and (above or below)))
