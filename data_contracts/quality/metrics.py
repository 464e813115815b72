"""The library metrics of ODCS, each as a rule of a row (`mustBe: 0`) or as a rule of a batch.

    metric           counts                                                       arguments
    nullValues       rows without a value                                         none
    missingValues    rows with a listed value; `null` in the list is no value     missingValues
    invalidValues    rows whose value is not listed or does not match             validValues, pattern
    duplicateValues  rows whose value stood in an earlier row; rows without a     none; of a table: properties
                     value do not count
    rowCount         rows (only of a table)                                       none

`unit: percent` counts in percent of all sound rows of the batch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from open_data_contract_standard.model import DataQuality

from data_contracts.errors import UnknownFieldError
from data_contracts.field import Field
from data_contracts.privacy import quote
from data_contracts.quality.batch_rules import BatchRule, parse_limits, repeated_sql
from data_contracts.quality.values import check_values, in_sql, listed_value
from data_contracts.rules import Rule, for_python, make_rule, parse_severity, pattern_rule

_ARGUMENTS = {
    "nullValues": (),
    "missingValues": ("missingValues",),
    "invalidValues": ("validValues", "pattern"),
    "duplicateValues": (),
    "rowCount": (),
}
_UNITS = (None, "rows", "percent")


def field_metric(quality: DataQuality, field: Field) -> list[Rule | BatchRule]:
    """Compile a library metric of a field.

    Returns:
        One rule; two if no value and some other values are missing, since Great Expectations has no
        expectation for both.

    Raises:
        ValueError: the metric cannot be enforced; the message holds the reason and the value received.
    """
    if quality.metric == "rowCount":
        raise ValueError("metric: rowCount counts the rows of a table: write it under the table's quality")
    arguments = _arguments(quality, _ARGUMENTS)
    operator, limits = parse_limits(quality)
    if quality.metric == "duplicateValues":
        return [
            _batch_rule(quality, f"{field.name}_has_duplicates", [field.name], repeated_sql([field.name]))
        ]
    rules = _ROW_RULES[str(quality.metric)](field, arguments)
    if operator == "mustBe" and limits.maximum == 0:
        severity = parse_severity(quality.severity)
        return [
            replace(
                rule,
                name=f"{quality.name}{'_null' if position else ''}" if quality.name else rule.name,
                severity=severity,
                description=" ".join((quality.description or rule.description).split()),
            )
            for position, rule in enumerate(rules)
        ]
    broken = " OR ".join(f"({rule.predicate}) IS FALSE" for rule in rules)
    return [_batch_rule(quality, f"rows_of_{rules[0].name}", [field.name], f"count_if({broken})")]


def table_metric(quality: DataQuality, fields: Sequence[Field]) -> BatchRule:
    """Compile a library metric of a table.

    Raises:
        ValueError: the metric cannot be enforced; the message holds the reason and the value received.
    """
    if quality.metric not in ("rowCount", "duplicateValues"):
        raise ValueError(f"metric: {quality.metric} belongs to a property: write it under its quality")
    arguments = _arguments(quality, {"rowCount": (), "duplicateValues": ("properties",)})
    if quality.metric == "rowCount":
        if quality.unit == "percent":
            raise ValueError("unit: rowCount counts rows, received 'percent'")
        return _batch_rule(quality, "row_count", [], "count(*)")
    names, known = arguments.get("properties"), [field.name for field in fields]
    if not isinstance(names, list) or not names:
        raise ValueError(f"arguments.properties takes a list of fields, received {names!r}")
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise UnknownFieldError(name, known)
    return _batch_rule(quality, f"{'_and_'.join(names)}_has_duplicates", names, repeated_sql(names))


def _batch_rule(quality: DataQuality, name: str, columns: Sequence[str], count: str) -> BatchRule:
    _, limits = parse_limits(quality)
    percent = quality.unit == "percent"
    return BatchRule(
        quality.name or name,
        tuple(columns),
        f"100.0 * {count} / nullif(count(*), 0)" if percent else count,
        limits,
        " ".join((quality.description or f"{count}: {limits}{' percent' if percent else ''}").split()),
        parse_severity(quality.severity),
    )


def _arguments(quality: DataQuality, known: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the arguments of a metric, all of which it knows."""
    if quality.unit not in _UNITS:
        raise ValueError(f"unit is rows or percent, received {quality.unit!r}")
    given, names = dict(quality.arguments or {}), known.get(str(quality.metric))
    if names is None:
        raise ValueError(f"metric is one of {', '.join(_ARGUMENTS)}; received {quality.metric!r}")
    unknown = [name for name in given if name not in names]
    if unknown:
        takes = f"takes {' and '.join(names)}" if names else "takes none"
        raise ValueError(f"arguments: {quality.metric} {takes}, received {', '.join(map(str, unknown))}")
    return given


def _null_rules(field: Field, arguments: Mapping[str, Any]) -> list[Rule]:
    del arguments
    predicate = f"{quote(field.name)} IS NOT NULL"
    return [make_rule(field, "is_not_null", predicate, "expect_column_values_to_not_be_null")]


def _missing_rules(field: Field, arguments: Mapping[str, Any]) -> list[Rule]:
    place, listed = "arguments.missingValues", arguments.get("missingValues")
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{place} takes a list of values, received {listed!r}")
    values = [value for value in listed if value is not None]
    rules = []
    if values:
        values = check_values(field, values, place)
        predicate = f"NOT ({in_sql(quote(field.name), field, values)})"
        kind = "expect_column_values_to_not_be_in_set"
        missing = [listed_value(value) for value in values]
        rules.append(make_rule(field, "is_not_missing", predicate, kind, value_set=missing))
    return rules + (_null_rules(field, {}) if None in listed else [])


def _invalid_rules(field: Field, arguments: Mapping[str, Any]) -> list[Rule]:
    if not arguments:
        raise ValueError("arguments: invalidValues takes validValues, pattern, or both; received none")
    if "validValues" not in arguments:
        rule = pattern_rule(field, arguments["pattern"], "arguments.pattern")
        return [replace(rule, name=f"{field.name}_has_valid_pattern")]
    values = check_values(field, arguments["validValues"], "arguments.validValues")
    if "pattern" in arguments:  # the values decide, so the pattern may only confirm them
        pattern_rule(field, arguments["pattern"], "arguments.pattern")
        wrong = [value for value in values if not re.search(for_python(arguments["pattern"]), value)]
        if wrong:
            raise ValueError(f"arguments: {wrong[0]!r} of validValues does not match the pattern")
    predicate = in_sql(quote(field.name), field, values)
    allowed = [listed_value(value) for value in values]
    return [make_rule(field, "is_allowed", predicate, "expect_column_values_to_be_in_set", value_set=allowed)]


_ROW_RULES: dict[str, Callable[[Field, Mapping[str, Any]], list[Rule]]] = {
    "nullValues": _null_rules,
    "missingValues": _missing_rules,
    "invalidValues": _invalid_rules,
}
