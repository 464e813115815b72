"""The types that a contract may use, in Arrow, in DuckDB and in Python."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import pyarrow as pa

_INTEGERS = {
    "i8": (pa.int8(), "TINYINT"),
    "i16": (pa.int16(), "SMALLINT"),
    "i32": (pa.int32(), "INTEGER"),
    "i64": (pa.int64(), "BIGINT"),
}
_MAX_F32 = (2 - 2**-23) * 2.0**127
_NUMBERS = {"f32": (pa.float32(), "FLOAT"), "f64": (pa.float64(), "DOUBLE")}
_PLAIN = {
    "string": (pa.string(), "VARCHAR"),
    "boolean": (pa.bool_(), "BOOLEAN"),
    "timestamp": (pa.timestamp("us", tz="UTC"), "TIMESTAMPTZ"),
    "date": (pa.date32(), "DATE"),
}
_YEARS = {
    "timestamp": ("0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00"),
    "date": ("0001-01-01", "9999-12-31"),
}
LOGICAL_TYPES = (*_PLAIN, "integer", "number")
ORDERED_TYPES = ("integer", "number", "timestamp", "date")


def column_type(logical_type: str | None, options: Mapping[str, Any]) -> tuple[pa.DataType, str]:
    """Return the Arrow and the DuckDB type of an ODCS logicalType and its options.

    An integer has 32 bits and a number is f64, unless `format` says otherwise. A timestamp counts
    microseconds in UTC.

    Raises:
        ValueError: the tables cannot hold this type or width.
    """
    if logical_type in _PLAIN:
        if logical_type != "boolean" and "format" in options:
            raise ValueError(
                f"logicalTypeOptions.format of a {logical_type} is not enforced here: use pattern or a rule"
            )
        if options.get("timezone") is False or options.get("defaultTimezone", "UTC") not in (
            "UTC",
            "Etc/UTC",
        ):
            raise ValueError("logicalTypeOptions: every timestamp here is UTC")
        return _PLAIN[logical_type]
    widths = {"integer": _INTEGERS, "number": _NUMBERS}.get(str(logical_type))
    if widths is None:
        raise ValueError(
            f"logicalType should be one of {', '.join(LOGICAL_TYPES)}; received {logical_type!r}"
        )
    width = options.get("format", "i32" if logical_type == "integer" else "f64")
    if width not in widths:
        raise ValueError(
            f"logicalTypeOptions.format should be one of {', '.join(widths)}; received {width!r}"
        )
    return widths[width]


def accepts(logical_type: str, value: Any) -> bool:
    """Tell whether a value in YAML has a logical type (times and dates are ISO 8601 text)."""
    if logical_type == "boolean":
        return isinstance(value, bool)
    if logical_type == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if logical_type == "number":
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    if logical_type in ("timestamp", "date"):
        return isinstance(value, str) and _is_iso(logical_type, value)
    return isinstance(value, str)


def limits(kind: pa.DataType) -> tuple[Any, Any]:
    """Return the smallest and the largest finite value of an integer or a floating type."""
    if kind == pa.float32():
        return -_MAX_F32, _MAX_F32
    if kind == pa.float64():
        return -sys.float_info.max, sys.float_info.max
    return -(2 ** (kind.bit_width - 1)), 2 ** (kind.bit_width - 1) - 1


def parse_sql(text: str, logical_type: str, sql_type: str) -> str:
    """Return DuckDB SQL that turns text into a type; NULL if the text is of another type.

    The SQL is stricter than TRY_CAST, which rounds '1.5' to the integer 2 and reads '0x10' and '1_000' as
    numbers and 'epoch' as a time. A time without a time zone is read in the zone of the DuckDB session: SET
    TimeZone = 'UTC' first. A time or a date lies in the years 1 to 9999, as in Python: DuckDB holds others.
    """
    if logical_type == "string":
        return text
    pattern = {
        "integer": r"\s*[+-]?[0-9]+(\.0*)?\s*",
        "number": r"\s*[+-]?([0-9.]+([eE][+-]?[0-9]+)?|[nN]a[nN]|[iI]nf(inity)?)\s*",
        "boolean": r"(?i)true|false|0|1",
    }.get(logical_type)
    if pattern is None:  # a time or a date; 'epoch' and 'infinity' are refused
        cast = f"TRY_CAST({text} AS {sql_type})"
        first, last = _YEARS[logical_type]
        within = f"{cast} BETWEEN {sql_type} '{first}' AND {sql_type} '{last}'"
        # Most years have four digits and are near, which spares them a second cast. A year before Christ has
        # a bracket.
        near = f"{text} BETWEEN '1000' AND '3' AND {text}[5] = '-' AND NOT contains({text}, '(')"
        return f"""CASE WHEN {near} THEN {cast}
          WHEN ltrim({text}) BETWEEN '0' AND ':' AND {within} THEN {cast} END"""
    return f"CASE WHEN regexp_full_match({text}, '{pattern}') THEN TRY_CAST({text} AS {sql_type}) END"


def _is_iso(logical_type: str, text: str) -> bool:
    if re.search(r"[.,][0-9]{7}", text):  # a timestamp counts microseconds
        return False
    try:
        if logical_type == "date":
            date.fromisoformat(text)
            return True
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
