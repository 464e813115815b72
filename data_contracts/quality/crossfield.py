"""Rules across fields, from the entries of the YAML with `engine: lastaisle`.

A rule has one of four forms. An optional `when` limits it to some rows:

    when: {event_type: order_completed}          rows with this value, or one of a list of values
    require: order_id                            the field holds a value
    require_any: [user_id, session_id]           at least one of the fields holds a value
    allow: {currency: [EUR, USD]}                the field holds one of the values, or no value
    compare: [occurred_at, <=, received_at]      checked if both sides are known; the right side is a field,
                                                 a number or $now; times may have a `tolerance: 5 minutes`
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from open_data_contract_standard.model import DataQuality

from data_contracts.bounds import range_type, sql_value, typed
from data_contracts.errors import UnknownFieldError
from data_contracts.field import Field
from data_contracts.privacy import literal, quote
from data_contracts.quality.values import among
from data_contracts.types import ORDERED_TYPES, accepts

NOW = "$now"
OPERATORS = ("<", "<=", ">", ">=")
_FORMS = ("require", "require_any", "allow", "compare")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def cross_field_rule(quality: DataQuality, fields: Sequence[Field]) -> dict[str, Any]:
    """Return name, columns, predicate, description and expectation of one rule.

    Raises:
        ValueError: the rule is wrong; the message holds the reason and the value received.
    """
    if not quality.name:
        raise ValueError("a rule across fields needs a lower_snake_case name")
    body = quality.implementation
    if not isinstance(body, dict):
        raise ValueError(f"implementation takes one of {', '.join(_FORMS)} (and when); received {body!r}")
    forms = [form for form in _FORMS if form in body]
    unknown = set(body) - {*_FORMS, "when", "tolerance"}
    if len(forms) != 1 or unknown or ("tolerance" in body and forms != ["compare"]):
        raise ValueError(
            f"implementation takes one of {', '.join(_FORMS)} (and when); received {sorted(body)}"
        )
    known = {field.name: field for field in fields}
    condition = _When(body.get("when", {}), known)
    columns, predicate, expectation = _COMPILERS[forms[0]](body, known)
    if condition.sql:
        predicate = f"CASE WHEN {condition.sql} THEN {predicate} END"
    conditions = [*condition.parts, *expectation.pop("conditions", [])]
    if conditions:
        expectation["row_condition"] = (
            conditions[0] if len(conditions) == 1 else {"type": "and", "conditions": conditions}
        )
    return {
        "name": quality.name,
        "columns": tuple(dict.fromkeys([*condition.columns, *columns])),
        "predicate": predicate,
        "description": " ".join((quality.description or quality.name.replace("_", " ")).split()),
        "expectation": expectation,
    }


class _When:
    """The rows to which a rule applies, as SQL and as Great Expectations conditions."""

    def __init__(self, given: Any, known: dict[str, Field]) -> None:
        if not isinstance(given, dict):
            raise ValueError(f"when should be a mapping of fields to values, received {given!r}")
        self.columns = [_known(name, known).name for name in given]
        tests: list[str] = []
        self.parts: list[dict[str, Any]] = []
        for name, value in given.items():
            values = _values(known[name], value)
            if known[name].logical_type not in ("string", "integer"):
                raise ValueError(
                    f"when: {name} should be a string or an integer, it is a {known[name].logical_type}"
                )
            tests.append(_in_sql(name, values))
            self.parts.append(
                {"type": "comparison", "column": {"name": name}, "operator": "IN", "parameter": values}
            )
        self.sql = " AND ".join(tests)


def _require(body: dict[str, Any], known: dict[str, Field]) -> tuple[list[str], str, dict[str, Any]]:
    name = _known(body["require"], known).name
    return [name], f"{quote(name)} IS NOT NULL", _expect("expect_column_values_to_not_be_null", column=name)


def _require_any(body: dict[str, Any], known: dict[str, Field]) -> tuple[list[str], str, dict[str, Any]]:
    given = body["require_any"]
    if not isinstance(given, list) or len(given) < 2:
        raise ValueError(f"require_any takes a list of two fields or more, received {given!r}")
    names = [_known(name, known).name for name in given]
    expectation = _expect("expect_column_values_to_not_be_null", column=names[-1])
    expectation["conditions"] = [
        {"type": "nullity", "column": {"name": name}, "is_null": True} for name in names[:-1]
    ]
    return names, "(" + " OR ".join(f"{quote(name)} IS NOT NULL" for name in names) + ")", expectation


def _allow(body: dict[str, Any], known: dict[str, Field]) -> tuple[list[str], str, dict[str, Any]]:
    given = body["allow"]
    if not isinstance(given, dict) or len(given) != 1:
        raise ValueError(f"allow takes one field and its values, received {given!r}")
    name, value = next(iter(given.items()))
    values = _values(_known(name, known), value)
    expectation = _expect("expect_column_values_to_be_in_set", column=name, value_set=values)
    return [name], _in_sql(name, values), expectation


def _compare(body: dict[str, Any], known: dict[str, Field]) -> tuple[list[str], str, dict[str, Any]]:
    given = body["compare"]
    if not isinstance(given, list) or len(given) != 3 or given[1] not in OPERATORS:
        raise ValueError(
            f"compare takes [field, one of {' '.join(OPERATORS)}, field, number or $now]; received {given!r}"
        )
    left, operator, right = _known(given[0], known), given[1], given[2]
    seconds = _tolerance(body.get("tolerance"), left)
    if left.logical_type not in ORDERED_TYPES:
        raise ValueError(f"compare: {left.name} is a {left.logical_type}, which has no order")
    if right == NOW:
        return _compare_now(left, operator, seconds)
    if isinstance(right, int | float):
        return _compare_number(left, operator, right)
    other = _known(right, known)
    numeric = ("integer", "number")
    if left.logical_type != other.logical_type and not {left.logical_type, other.logical_type} <= set(
        numeric
    ):
        raise ValueError(
            f"compare: {left.name} is a {left.logical_type}, {other.name} a {other.logical_type}"
        )
    as_number = "::DOUBLE" if left.logical_type != other.logical_type else ""
    predicate = f"{quote(left.name)}{as_number} {operator} {quote(other.name)}{as_number}"
    if (
        left.logical_type == "timestamp"
    ):  # as whole microseconds, which neither overflow nor ask for a time zone
        apart = f"epoch_us({quote(left.name)})::HUGEINT - epoch_us({quote(other.name)})"
        sign = "" if operator.startswith("<") else "-"
        predicate = f"{apart} {operator} {sign}{seconds * 1_000_000}"
    expectation = _expect("expect_column_pair_values_to_compare", column_A=left.name, column_B=other.name)
    expectation["kwargs"] |= {"operator": operator, "tolerance_seconds": seconds}
    return [left.name, other.name], predicate, expectation


def _compare_now(left: Field, operator: str, seconds: int) -> tuple[list[str], str, dict[str, Any]]:
    if left.logical_type != "timestamp":
        raise ValueError(
            f"compare: only a timestamp compares with $now, {left.name} is a {left.logical_type}"
        )
    sign = "+" if operator.startswith("<") else "-"
    predicate = f"{quote(left.name)} {operator} $now::TIMESTAMPTZ {sign} INTERVAL {seconds} SECOND"
    parameter = {"$PARAMETER": f"now_{'plus' if sign == '+' else 'minus'}_{seconds}s"}
    return [left.name], predicate, _between(left, operator, parameter)


def _compare_number(left: Field, operator: str, right: float) -> tuple[list[str], str, dict[str, Any]]:
    try:
        bound = typed(left, right)
    except ValueError as error:
        raise ValueError(f"compare: {left.name}: {error}") from error
    predicate = f"{quote(left.name)} {operator} {sql_value(left, bound)}"
    return [left.name], predicate, _between(left, operator, bound)


def _between(left: Field, operator: str, bound: Any) -> dict[str, Any]:
    side = "max" if operator.startswith("<") else "min"
    strict = {f"strict_{side}": True} if len(operator) == 1 else {}
    return _expect(range_type(left), column=left.name, **{f"{side}_value": bound}, **strict)


def _tolerance(text: Any, left: Field) -> int:
    if text is None:
        return 0
    match = re.fullmatch(r"([0-9]+) (second|minute|hour|day)s?", str(text))
    if not match or left.logical_type != "timestamp":
        raise ValueError(f"tolerance is a time, as `5 minutes`, between timestamps; received {text!r}")
    return int(match[1]) * _SECONDS[match[2]]


def _known(name: Any, known: dict[str, Field]) -> Field:
    if not isinstance(name, str) or name not in known:
        raise UnknownFieldError(name, known)
    return known[name]


def _values(field: Field, value: Any) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    wrong = [entry for entry in values if not accepts(field.logical_type, entry)]
    if wrong or not values:
        raise ValueError(f"{field.name} takes values of type {field.logical_type}, received {value!r}")
    return values


def _in_sql(name: str, values: list[Any]) -> str:
    return among(quote(name), [literal(value) if isinstance(value, str) else repr(value) for value in values])


def _expect(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs}


_COMPILERS = {"require": _require, "require_any": _require_any, "allow": _allow, "compare": _compare}
