"""Quality entries with `engine: greatExpectations`, each compiled into SQL that judges all rows.

An expectation about values becomes a rule of a row. An expectation about a column or a table becomes a rule
of the batch, and so does an expectation about values with `mostly`. An expectation that is not listed here is
refused, since Great Expectations itself sees only a sample of a batch.

The SQL means what Great Expectations means: rows without a value break no expectation about values, and
`mostly` is a share of the rows with a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml
from open_data_contract_standard.model import DataQuality

from data_contracts.bounds import compile_range, range_type
from data_contracts.errors import UnknownFieldError
from data_contracts.field import Field
from data_contracts.privacy import quote
from data_contracts.quality.batch_rules import BatchRule, Limits, repeated_sql
from data_contracts.quality.values import check_values, in_sql, listed_value
from data_contracts.rules import Rule, Severity, parse_severity, pattern_rule
from data_contracts.types import accepts

ENGINES = ("greatExpectations", "great-expectations", "great_expectations")
_KEYS = {"type", "expectation_type", "kwargs", "meta", "notes", "description", "severity"}
_RANGE = ("min_value", "max_value", "strict_min", "strict_max")
_NUMERIC = ("integer", "number")
#: Expectations about a number of one column: the SQL that measures it, and the types of column it takes.
_COLUMN_NUMBERS = {
    "expect_column_max_to_be_between": ("max({0})", _NUMERIC),
    "expect_column_min_to_be_between": ("min({0})", _NUMERIC),
    "expect_column_mean_to_be_between": ("avg({0})", _NUMERIC),
    "expect_column_median_to_be_between": ("median({0})", _NUMERIC),
    "expect_column_sum_to_be_between": ("sum({0})", _NUMERIC),
    "expect_column_stdev_to_be_between": ("stddev_samp({0})", _NUMERIC),
    "expect_column_unique_value_count_to_be_between": ("count(DISTINCT {0})", None),
    "expect_column_proportion_of_unique_values_to_be_between": (
        "count(DISTINCT {0}) / nullif(count({0}), 0)",
        None,
    ),
    "expect_column_proportion_of_non_null_values_to_be_between": ("count({0}) / nullif(count(*), 0)", None),
}


def gx_rule(quality: DataQuality, fields: Sequence[Field], field: Field | None = None) -> Rule | BatchRule:
    """Compile an entry of Great Expectations.

    Args:
        quality: the entry; its `implementation` is a mapping, or the text of one in YAML.
        fields: the fields of the table.
        field: the field under which the entry stands, which is its column; None under the table.

    Raises:
        ValueError: the expectation cannot be enforced; the message holds the reason and the value received.
    """
    kind, given, severity = _read(quality)
    if field is not None and not kind.startswith("expect_table_"):
        given = {"column": field.name, **given}
        if given["column"] != field.name:
            raise ValueError(f"kwargs.column: stands under {field.name}, received {given['column']!r}")
    known = {entry.name: entry for entry in fields}
    named = quality.name or _name(kind, given)
    words = " ".join((quality.description or f"{kind} {given}").split())
    rule = _compile(kind, given, known)
    if given:
        raise ValueError(f"kwargs: {kind} takes no {', '.join(map(str, given))} here")
    return replace(rule, name=named, severity=severity, description=words)


def _compile(kind: str, given: dict[str, Any], known: Mapping[str, Field]) -> Rule | BatchRule:
    """Compile an expectation, and take the arguments that it understands out of `given`."""
    if kind in _TABLE_RULES:
        return _TABLE_RULES[kind](kind, given, known)
    if kind in _COLUMN_NUMBERS:
        return _column_number(kind, given, _column(given, known))
    if kind in _ROW_RULES:
        rule = _ROW_RULES[kind](given, _column(given, known))
        return _mostly(rule, given.pop("mostly")) if "mostly" in given else rule
    raise ValueError(
        f"implementation.type: {kind!r} is not enforced here; these are: {', '.join(EXPECTATIONS)}"
    )


def _read(quality: DataQuality) -> tuple[str, dict[str, Any], Severity]:
    body = quality.implementation
    if isinstance(body, str):
        try:
            body = yaml.safe_load(body)
        except yaml.YAMLError as error:
            raise ValueError(f"implementation is no usable YAML: {error}") from error
    if not isinstance(body, dict) or set(body) - _KEYS:
        raise ValueError(f"implementation takes type, kwargs and meta; received {body!r}")
    kind = body.get("type", body.get("expectation_type"))
    if not isinstance(kind, str):
        raise ValueError(f"implementation.type is the name of an expectation, received {kind!r}")
    kwargs = body.get("kwargs", {})
    if not isinstance(kwargs, dict):
        raise ValueError(f"implementation.kwargs is a mapping, received {kwargs!r}")
    inner = body.get("severity", quality.severity)
    severity = parse_severity(inner)
    if quality.severity is not None and parse_severity(quality.severity) != severity:
        raise ValueError(f"severity is given twice: {quality.severity!r} and {inner!r}")
    return kind, dict(kwargs), severity


def _name(kind: str, given: Mapping[str, Any]) -> str:
    """Return the name of an entry without a name: its column, or columns, and its type."""
    columns = given.get("column_list", [given["column"]] if "column" in given else [])
    short = re.sub(r"^expect_(column_|compound_columns_)?", "", kind)
    return "_".join([*map(str, columns if isinstance(columns, list) else []), short])


def _column(given: dict[str, Any], known: Mapping[str, Field]) -> Field:
    name = given.pop("column", None)
    if not isinstance(name, str) or name not in known:
        raise UnknownFieldError(name, known)
    return known[name]


def _row_rule(field: Field, predicate: str, kind: str, **kwargs: Any) -> Rule:
    expectation = {"type": kind, "kwargs": {"column": field.name, **kwargs}}
    return Rule("", (field.name,), predicate, "", "error", expectation)


def _null(given: dict[str, Any], field: Field) -> Rule:
    del given
    return _row_rule(field, f"{quote(field.name)} IS NULL", "expect_column_values_to_be_null")


def _not_null(given: dict[str, Any], field: Field) -> Rule:
    del given
    return _row_rule(field, f"{quote(field.name)} IS NOT NULL", "expect_column_values_to_not_be_null")


def _in_set(given: dict[str, Any], field: Field) -> Rule:
    values = check_values(field, given.pop("value_set", None), "kwargs.value_set")
    allowed = [listed_value(value) for value in values]
    predicate = in_sql(quote(field.name), field, values)
    return _row_rule(field, predicate, "expect_column_values_to_be_in_set", value_set=allowed)


def _not_in_set(given: dict[str, Any], field: Field) -> Rule:
    rule = _in_set(given, field)
    values = rule.expectation["kwargs"]["value_set"]
    kind = "expect_column_values_to_not_be_in_set"
    return _row_rule(field, f"NOT ({rule.predicate})", kind, value_set=values)


def _between(given: dict[str, Any], field: Field) -> Rule:
    taken = _take_range(given)
    bounds = {}
    for side, name, strict_name in (
        ("min", "minimum", "exclusiveMinimum"),
        ("max", "maximum", "exclusiveMaximum"),
    ):
        if taken.get(f"{side}_value") is not None:
            bounds[strict_name if taken.get(f"strict_{side}") else name] = taken[f"{side}_value"]
    if not bounds:
        raise ValueError("kwargs: takes min_value, max_value, or both; received none")
    predicate, arguments = compile_range(field, bounds)
    return _row_rule(field, predicate, range_type(field), **arguments)


def _matches(given: dict[str, Any], field: Field) -> Rule:
    rule = pattern_rule(field, given.pop("regex", None), "kwargs.regex")
    kwargs = {name: value for name, value in rule.expectation["kwargs"].items() if name != "column"}
    return _row_rule(field, rule.predicate, rule.expectation["type"], **kwargs)


def _matches_not(given: dict[str, Any], field: Field) -> Rule:
    rule = _matches(given, field)
    kwargs = {"regex": rule.expectation["kwargs"]["regex"]}
    return _row_rule(field, f"NOT ({rule.predicate})", "expect_column_values_to_not_match_regex", **kwargs)


def _lengths(given: dict[str, Any], field: Field) -> Rule:
    if field.logical_type != "string":
        raise ValueError(f"{field.name} is a {field.logical_type}, which has no length")
    limits = _limits(given)
    length, parts = f"length({quote(field.name)})", []
    kwargs: dict[str, Any] = {}
    if limits.minimum is not None:
        parts.append(f"{length} {'>' if limits.strict_minimum else '>='} {limits.minimum!r}")
        kwargs |= {"min_value": limits.minimum, "strict_min": limits.strict_minimum}
    if limits.maximum is not None:
        parts.append(f"{length} {'<' if limits.strict_maximum else '<='} {limits.maximum!r}")
        kwargs |= {"max_value": limits.maximum, "strict_max": limits.strict_maximum}
    return _row_rule(field, " AND ".join(parts), "expect_column_value_lengths_to_be_between", **kwargs)


def _length(given: dict[str, Any], field: Field) -> Rule:
    value = given.pop("value", None)
    return _lengths({"min_value": value, "max_value": value}, field)


def _mostly(rule: Rule, share: Any) -> Rule | BatchRule:
    """Return a rule of the batch, for an expectation that some rows may break; the rule itself for 1."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"kwargs.mostly is a share from 0 to 1, received {share!r}")
    if share == 1:
        return rule
    (column,) = rule.columns
    judged = "count(*)" if rule.expectation["type"].endswith("_null") else f"count({quote(column)})"
    measure = f"coalesce(count_if({rule.predicate}) / nullif({judged}, 0), 1)"
    kwargs = {**rule.expectation["kwargs"], "mostly": share}
    return _batch_rule(rule.expectation["type"], kwargs, rule.columns, measure, Limits(minimum=share))


def _column_number(kind: str, given: dict[str, Any], field: Field) -> BatchRule:
    measure, types = _COLUMN_NUMBERS[kind]
    if types and field.logical_type not in types:
        raise ValueError(f"{kind} takes {' or '.join(types)}; {field.name} is a {field.logical_type}")
    kwargs = {"column": field.name, **given}
    return _batch_rule(kind, kwargs, (field.name,), measure.format(quote(field.name)), _limits(given))


def _unique(kind: str, given: dict[str, Any], known: Mapping[str, Field]) -> BatchRule:
    field = _column(given, known)
    return _batch_rule(kind, {"column": field.name}, (field.name,), repeated_sql([field.name]), Limits(0, 0))


def _unique_tuple(kind: str, given: dict[str, Any], known: Mapping[str, Field]) -> BatchRule:
    names = given.pop("column_list", None)
    if not isinstance(names, list) or len(names) < 2:
        raise ValueError(f"kwargs.column_list takes two columns or more, received {names!r}")
    columns = tuple(_column({"column": name}, known).name for name in names)
    return _batch_rule(
        kind, {"column_list": names}, columns, repeated_sql(columns, incomplete=True), Limits(0, 0)
    )


def _row_count(kind: str, given: dict[str, Any], known: Mapping[str, Field]) -> BatchRule:
    del known
    kwargs = dict(given)
    return _batch_rule(kind, kwargs, (), "count(*)", _limits(given))


def _row_count_equal(kind: str, given: dict[str, Any], known: Mapping[str, Field]) -> BatchRule:
    value = given.pop("value", None)
    rule = _row_count(kind, {"min_value": value, "max_value": value}, known)
    return replace(rule, expectation={"type": kind, "kwargs": {"value": value}})


def _batch_rule(
    kind: str, kwargs: dict[str, Any], columns: Sequence[str], measure: str, limits: Limits
) -> BatchRule:
    expectation = {"type": kind, "kwargs": kwargs}
    return BatchRule("", tuple(columns), measure, limits, "", "error", expectation=expectation)


def _limits(given: dict[str, Any]) -> Limits:
    """Take the limits of a number out of the arguments."""
    taken = _take_range(given)
    numbers = [taken[name] for name in ("min_value", "max_value") if taken.get(name) is not None]
    if not numbers or not all(accepts("number", number) for number in numbers):
        raise ValueError(f"kwargs: min_value and max_value are numbers, received {taken}")
    if len(numbers) == 2 and numbers[0] > numbers[1]:
        raise ValueError(f"kwargs: min_value {numbers[0]} is more than max_value {numbers[1]}")
    return Limits(
        taken.get("min_value"),
        taken.get("max_value"),
        taken.get("strict_min", False),
        taken.get("strict_max", False),
    )


def _take_range(given: dict[str, Any]) -> dict[str, Any]:
    """Take the bounds out of the arguments."""
    taken = {name: given.pop(name) for name in _RANGE if name in given}
    for name in ("strict_min", "strict_max"):
        if not isinstance(taken.get(name, False), bool):
            raise ValueError(f"kwargs.{name} is true or false, received {taken[name]!r}")
    return taken


_ROW_RULES: dict[str, Callable[[dict[str, Any], Field], Rule]] = {
    "expect_column_values_to_be_null": _null,
    "expect_column_values_to_not_be_null": _not_null,
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_values_to_not_be_in_set": _not_in_set,
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_match_regex": _matches,
    "expect_column_values_to_not_match_regex": _matches_not,
    "expect_column_value_lengths_to_be_between": _lengths,
    "expect_column_value_lengths_to_equal": _length,
}
_TABLE_RULES: dict[str, Callable[[str, dict[str, Any], Mapping[str, Field]], BatchRule]] = {
    "expect_column_values_to_be_unique": _unique,
    "expect_compound_columns_to_be_unique": _unique_tuple,
    "expect_table_row_count_to_be_between": _row_count,
    "expect_table_row_count_to_equal": _row_count_equal,
}
#: Every expectation that is enforced.
EXPECTATIONS = tuple(sorted({*_ROW_RULES, *_TABLE_RULES, *_COLUMN_NUMBERS}))
