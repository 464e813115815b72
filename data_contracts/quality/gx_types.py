"""The expectations that Great Expectations does not have; importing this module registers them for pandas.

* `expect_column_values_to_have_logical_type` checks the types of a contract value by value. So it counts the
  wrong values of a column of mixed objects.
* `expect_column_integers_to_be_between` compares integers with integers. Great Expectations' own expectation
  turns the bounds into floats, which hold no integer above 2^53 exactly.
* `expect_column_values_to_be_multiples` is multipleOf.
* `expect_column_pair_values_to_compare` compares two columns within a tolerance.
"""

from __future__ import annotations

import datetime
import operator
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation, ColumnPairMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    ColumnPairMapMetricProvider,
    column_condition_partial,
    column_pair_condition_partial,
)

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool, np.bool_),
    "integer": (int, np.integer),
    "number": (int, float, np.integer, np.floating),
    "timestamp": (datetime.datetime, np.datetime64),
    "date": (datetime.date, np.datetime64),
}
# The dtypes that decide for all values of a column at once.
_DTYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda dtype: isinstance(dtype, pd.StringDtype),
    "boolean": pd.api.types.is_bool_dtype,
    "integer": pd.api.types.is_integer_dtype,
    "number": lambda dtype: pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype),
    "timestamp": pd.api.types.is_datetime64_any_dtype,
    "date": pd.api.types.is_datetime64_any_dtype,
}
_COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def has_logical_type(column: pd.Series, logical_type: str) -> pd.Series:
    """Return, value by value, whether a column without missing values has a logical type.

    Whole floats pass as integers: pandas stores integers with missing values as floats.
    """
    if logical_type == "integer" and pd.api.types.is_float_dtype(column.dtype):
        return column % 1 == 0
    if _DTYPES[logical_type](column.dtype):
        return pd.Series(True, index=column.index)
    wanted = _PYTHON_TYPES[logical_type]
    if logical_type in ("integer", "number"):
        return column.map(lambda value: isinstance(value, wanted) and not isinstance(value, bool)).astype(
            bool
        )
    return column.map(lambda value: isinstance(value, wanted)).astype(bool)


class ColumnValuesHaveLogicalType(ColumnMapMetricProvider):  # type: ignore[misc]
    """The metric behind ExpectColumnValuesToHaveLogicalType."""

    condition_metric_name = "column_values.have_logical_type"
    condition_value_keys = ("logical_type",)

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series, logical_type: str, **_: Any) -> pd.Series:  # noqa: N805
        return has_logical_type(column, logical_type)


class ExpectColumnValuesToHaveLogicalType(ColumnMapExpectation):  # type: ignore[misc]
    """Expect every value of a column to have an ODCS logicalType."""

    logical_type: str
    map_metric = "column_values.have_logical_type"
    success_keys: ClassVar[tuple[str, ...]] = ("logical_type", "mostly")
    args_keys: ClassVar[tuple[str, ...]] = ("column", "logical_type")


class ColumnIntegersBetween(ColumnMapMetricProvider):  # type: ignore[misc]
    """The metric behind ExpectColumnIntegersToBeBetween."""

    condition_metric_name = "column_integers.between"
    condition_value_keys = ("min_value", "max_value", "strict_min", "strict_max")

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(
        cls,  # noqa: N805
        column: pd.Series,
        min_value: int | None,
        max_value: int | None,
        strict_min: bool,
        strict_max: bool,
        **_: Any,
    ) -> pd.Series:
        inside = pd.Series(True, index=column.index)
        if min_value is not None:
            inside &= column > min_value if strict_min else column >= min_value
        if max_value is not None:
            inside &= column < max_value if strict_max else column <= max_value
        return inside


class ExpectColumnIntegersToBeBetween(ColumnMapExpectation):  # type: ignore[misc]
    """Expect every integer of a column to lie between two integers, each of which may be None."""

    min_value: int | None = None
    max_value: int | None = None
    strict_min: bool = False
    strict_max: bool = False
    map_metric = "column_integers.between"
    success_keys: ClassVar[tuple[str, ...]] = ("min_value", "max_value", "strict_min", "strict_max", "mostly")
    args_keys: ClassVar[tuple[str, ...]] = ("column", "min_value", "max_value", "strict_min", "strict_max")


class ColumnValuesMultiples(ColumnMapMetricProvider):  # type: ignore[misc]
    """The metric behind ExpectColumnValuesToBeMultiples."""

    condition_metric_name = "column_values.multiples"
    condition_value_keys = ("multiple_of", "tolerance")

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series, multiple_of: float, tolerance: float, **_: Any) -> pd.Series:  # noqa: N805
        if not tolerance:
            return column % int(multiple_of) == 0
        times = (column.astype("float64") / multiple_of).abs()
        with np.errstate(invalid="ignore"):
            return (times - times.round()).abs() <= tolerance * times.clip(lower=1.0)


class ExpectColumnValuesToBeMultiples(ColumnMapExpectation):  # type: ignore[misc]
    """Expect every value of a column to be a multiple of a number, within a relative tolerance."""

    multiple_of: Any
    tolerance: float = 0.0
    map_metric = "column_values.multiples"
    success_keys: ClassVar[tuple[str, ...]] = ("multiple_of", "tolerance", "mostly")
    args_keys: ClassVar[tuple[str, ...]] = ("column", "multiple_of", "tolerance")


class ColumnPairValuesCompare(ColumnPairMapMetricProvider):  # type: ignore[misc]
    """The metric behind ExpectColumnPairValuesToCompare."""

    condition_metric_name = "column_pair_values.compare"
    condition_domain_keys = (
        "batch_id",
        "table",
        "column_A",
        "column_B",
        "row_condition",
        "condition_parser",
        "ignore_row_if",
    )
    condition_value_keys = ("operator", "tolerance_seconds")

    @column_pair_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(
        cls,  # noqa: N805
        column_A: pd.Series,  # noqa: N803
        column_B: pd.Series,  # noqa: N803
        operator: str,
        tolerance_seconds: int,
        **_: Any,
    ) -> pd.Series:
        compare: Callable[[Any, Any], pd.Series] = _COMPARISONS[operator]
        if not tolerance_seconds:
            return compare(column_A, column_B)
        signed = tolerance_seconds if operator.startswith("<") else -tolerance_seconds
        return compare(column_A - column_B, pd.Timedelta(seconds=signed))


class ExpectColumnPairValuesToCompare(ColumnPairMapExpectation):  # type: ignore[misc]
    """Expect that the comparison of column A with column B holds, within the tolerance."""

    operator: str
    tolerance_seconds: int = 0
    ignore_row_if: str = "either_value_is_missing"
    map_metric = "column_pair_values.compare"
    domain_keys: ClassVar[tuple[str, ...]] = (
        "batch_id",
        "column_A",
        "column_B",
        "row_condition",
        "condition_parser",
        "ignore_row_if",
    )
    success_keys: ClassVar[tuple[str, ...]] = ("operator", "tolerance_seconds", "mostly")
    args_keys: ClassVar[tuple[str, ...]] = ("column_A", "column_B", "operator", "tolerance_seconds")
