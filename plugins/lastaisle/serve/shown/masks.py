"""Tests of one field of a table of items, as masks: bool [rows]. Arrow computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Kind: TypeAlias = Literal["text", "number", "flag", "time"]
Mask: TypeAlias = NDArray[np.bool_]
Test: TypeAlias = Callable[[pa.Table], Mask]

_COMPARE: Final[Mapping[str, Callable[..., Any]]] = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


def fields_of(schema: pa.Schema) -> dict[str, Kind]:
    """Return the fields of a table that can be tested, with the kind of their values."""
    kinds = {entry.name: _kind(entry.type) for entry in schema}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def compare_with(name: str, sign: str, value: Any) -> Test:
    """Return the test of a field against a value; only != is true where the field has no value."""

    def test(items: pa.Table) -> Mask:
        column = items[name]
        typed = pa.scalar(value, None if isinstance(value, float) else column.type)
        return _mask(_COMPARE[sign](column, typed), of_missing=sign == "!=")

    return test


def lies_in(name: str, values: Sequence[Any]) -> Test:
    """Return the test whether a field has one of some values."""

    def test(items: pa.Table) -> Mask:
        column = items[name]
        if _kind(column.type) == "number":
            column = column.cast(pa.float64())
        return _mask(pc.is_in(column, pa.array(values, column.type)), of_missing=False)

    return test


def is_missing(name: str) -> Test:
    """Return the test whether a field has no value; a number that is NaN is no value."""
    return lambda items: _mask(pc.is_null(items[name], nan_is_null=True), of_missing=True)


def negate(test: Test) -> Test:
    """Return the opposite of a test."""
    return lambda items: ~test(items)


def _mask(truths: pa.ChunkedArray, *, of_missing: bool) -> Mask:
    mask: Mask = pc.fill_null(truths, of_missing).to_numpy()
    return mask


def _kind(arrow: pa.DataType) -> Kind | None:
    if pa.types.is_string(arrow) or pa.types.is_large_string(arrow):
        return "text"
    if pa.types.is_boolean(arrow):
        return "flag"
    if pa.types.is_integer(arrow) or pa.types.is_floating(arrow):
        return "number"
    return "time" if pa.types.is_timestamp(arrow) and arrow.tz else None
