"""Compile the rules of a row, each as DuckDB SQL and as a Great Expectations configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from open_data_contract_standard.model import Relationship, SchemaProperty

from data_contracts.bounds import BOUNDS, compile_length, compile_multiple, compile_range, range_type
from data_contracts.document import custom_values
from data_contracts.errors import Problems
from data_contracts.field import Field
from data_contracts.privacy import literal, quote
from data_contracts.types import limits

Severity = Literal["error", "warning"]
_SEVERITIES: dict[str, Severity] = {
    "error": "error",
    "critical": "error",
    "warning": "warning",
    "info": "warning",
}
_LISTED_TYPES = ("string", "integer")
#: The column of allowed values in the relation of a reference rule.
ALLOWED = "_allowed"
_LENGTHS = ("minLength", "maxLength")
_NOT_A_RULE = ("format", "timezone", "defaultTimezone")  # parts of the type


@dataclass(frozen=True)
class Rule:
    """One rule that a row must satisfy.

    Attributes:
        name: the name that quarantine stores beside each row that broke the rule.
        columns: the fields that the rule reads.
        predicate: DuckDB SQL over the typed columns. It is TRUE or NULL if the row passes. It may use the
            parameter $now (a TIMESTAMPTZ) and the relation that `reference` names.
        description: the rule in words.
        severity: an error sends the row to quarantine, a warning is only counted.
        expectation: the rule as a Great Expectations configuration: type, kwargs and perhaps row_condition.
        reference: for a reference rule the `table.column` of the allowed values, else None. The predicate
            reads them from a relation of this name, "table.column", as its column ALLOWED.
    """

    name: str
    columns: tuple[str, ...]
    predicate: str
    description: str
    severity: Severity
    expectation: dict[str, Any]
    reference: str | None = None

    @property
    def uses_now(self) -> bool:
        """Whether the predicate needs the parameter $now."""
        values = self.expectation["kwargs"].values()
        named = (value.get("$PARAMETER", "") for value in values if isinstance(value, dict))
        return any(re.fullmatch(r"now_(plus|minus)_[0-9]+s", name) for name in named)


def refuse_broken_sql(problems: Problems, table: str, fields: Sequence[Field], rules: Sequence[Rule]) -> None:
    """Let DuckDB run every rule and every coarsening on a row that holds only the defaults.

    Args:
        problems: collects SQL that DuckDB refuses, for example because of its regular expression, and
            defaults that break a rule of their own field. Rules of a field with an error are left out.
        table: the name of the table.
        fields: the fields that could be compiled.
        rules: the rules of a row.
    """
    import duckdb  # here, so that reading a contract's fields and features needs no DuckDB

    if not fields:
        return
    columns = ", ".join(f"{quote(field.name)} {field.sql_type}" for field in fields)
    with duckdb.connect() as connection:

        def run(query: str, *, uses_now: bool = False) -> Any:
            try:
                parameters = {"now": "2000-01-01T00:00:00Z"} if uses_now else None
                return connection.execute(query, parameters).fetchone()
            except duckdb.Error as error:
                raise ValueError(f"DuckDB refuses it: {error}") from error

        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE TABLE contract_rows ({columns})")
        connection.execute("INSERT INTO contract_rows DEFAULT VALUES")
        for field in fields:
            where = f"schema.{table}.properties.{field.name}"
            with problems.at(where):
                if field.default is not None:
                    run(f"UPDATE contract_rows SET {quote(field.name)} = {field.default_sql()}")
            with problems.at(f"{where}: treatment"):
                if field.treatment.action == "coarsen":
                    run(f"SELECT {field.treatment.sql(field.name)} FROM contract_rows")
        by_name = {field.name: field for field in fields}
        for rule in rules:
            if rule.reference or any(problems.has_broken(column) for column in rule.columns):
                continue
            passed = None
            with problems.at(f"schema.{table}.rule {rule.name}"):
                (passed,) = run(f"SELECT {rule.predicate} FROM contract_rows", uses_now=rule.uses_now)
            if passed is False and len(rule.columns) == 1:
                _refuse_own_rule(problems, f"schema.{table}", by_name[rule.columns[0]], rule)


def _refuse_own_rule(problems: Problems, where: str, field: Field, rule: Rule) -> None:
    """Refuse a rule that the default of its field breaks, or that asks for a value which the field drops."""
    with problems.at(f"{where}.properties.{field.name}.customProperties.default"):
        if field.default is not None:
            raise ValueError(f"the default {field.default!r} breaks the rule {rule.name}")
    with problems.at(f"{where}.properties.{field.name}.customProperties.unreadable"):
        if field.unreadable == "drop" and rule.severity == "error":
            raise ValueError(
                f"drop leaves out a value that breaks a rule, but the rule {rule.name} asks for a value: "
                "give one of both up"
            )


def field_rules(entry: SchemaProperty, field: Field) -> Iterator[Rule]:
    """Yield the rules that follow from the entry of a field, without those under its `quality`.

    Raises:
        ValueError: a rule cannot be compiled.
    """
    if field.required:
        yield make_rule(
            field, "is_required", f"{quote(field.name)} IS NOT NULL", "expect_column_values_to_not_be_null"
        )
    if field.logical_type == "number":
        low, high = limits(field.arrow_type)
        finite = {"min_value": low, "max_value": high}
        yield make_rule(field, "is_finite", f"isfinite({quote(field.name)})", range_type(field), **finite)
    yield from _option_rules(field, entry.logicalTypeOptions or {})
    for relationship in entry.relationships or []:
        yield _reference_rule(field, relationship)


def _option_rules(field: Field, options: dict[str, Any]) -> Iterator[Rule]:
    known = {*BOUNDS, *_LENGTHS, *_NOT_A_RULE, "pattern", "multipleOf"}
    if set(options) - known:
        raise ValueError(
            f"logicalTypeOptions: {', '.join(sorted(set(options) - known))} is not enforced here"
        )
    bounds = {name: options[name] for name in BOUNDS if name in options}
    if bounds:
        predicate, arguments = compile_range(field, bounds)
        yield make_rule(field, "in_range", predicate, range_type(field), **arguments)
    lengths = {name: options[name] for name in _LENGTHS if name in options}
    if lengths:
        predicate, arguments = compile_length(field, lengths)
        kind = "expect_column_value_lengths_to_be_between"
        yield make_rule(field, "has_length", predicate, kind, **arguments)
    if "multipleOf" in options:
        predicate, arguments = compile_multiple(field, options["multipleOf"])
        yield make_rule(field, "is_multiple", predicate, "expect_column_values_to_be_multiples", **arguments)
    if "pattern" in options:
        yield pattern_rule(field, options["pattern"])


def pattern_rule(field: Field, pattern: Any, place: str = "logicalTypeOptions.pattern") -> Rule:
    """Return the rule that a text matches a pattern, anywhere in the text, as ECMA-262 does.

    Raises:
        ValueError: the field is no text, or Python and DuckDB read the pattern differently; the message
            names the place of the pattern.
    """
    if field.logical_type != "string" or not isinstance(pattern, str):
        raise ValueError(
            f"{place}: a {field.logical_type} has no pattern, or it is no text; received {pattern!r}"
        )
    ambiguous = re.search(r"\\[dDwWsSbBZzAkpPGQ]|\(\?|\\[1-9]", pattern)
    if ambiguous:
        raise ValueError(
            f"{place}: {ambiguous.group()} means different things to different engines;"
            f" write the characters out, as [0-9]; received {pattern!r}"
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{place}: {pattern!r}: {error}") from error
    predicate = f"regexp_matches({quote(field.name)}, {literal(pattern)})"
    return make_rule(
        field, "matches_pattern", predicate, "expect_column_values_to_match_regex", regex=for_python(pattern)
    )


def for_python(pattern: str) -> str:
    r"""Write \Z for each $ that anchors, since Python's $ also matches before a last newline."""
    tokens = re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", pattern, re.DOTALL)
    return "".join(r"\Z" if token == "$" else token for token in tokens)


def _reference_rule(field: Field, relationship: Relationship) -> Rule:
    target = relationship.to
    if not isinstance(target, str) or not re.fullmatch(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*", target):
        raise ValueError(f"relationships.to should be table.column, received {target!r}")
    if field.logical_type not in _LISTED_TYPES:
        raise ValueError(
            f"relationships: a {field.logical_type} refers to nothing; use {' or '.join(_LISTED_TYPES)}"
        )
    if relationship.type not in (None, "foreignKey"):
        raise ValueError(f"relationships.type should be foreignKey, received {relationship.type!r}")
    if relationship.from_ not in (None, field.name):
        raise ValueError(f"relationships.from should be {field.name}, received {relationship.from_!r}")
    custom = custom_values(relationship.customProperties)
    if set(custom) - {"severity"}:
        unknown = ", ".join(sorted(set(custom) - {"severity"}))
        raise ValueError(f"relationships.customProperties: unknown property {unknown}; there is severity")
    name, values = quote(field.name), {"$PARAMETER": target.replace(".", "__")}
    known = f"SELECT {ALLOWED} FROM {quote(target)}"
    predicate = f"({name} IS NULL OR {name} IN ({known}))"
    suffix = f"refers_to_{target.split('.')[0]}"
    rule = make_rule(field, suffix, predicate, "expect_column_values_to_be_in_set", value_set=values)
    return replace(rule, reference=target, severity=parse_severity(custom.get("severity")))


def make_rule(field: Field, suffix: str, predicate: str, expectation: str, **kwargs: Any) -> Rule:
    """Return a rule of one field, whose name begins with the field's name."""
    name = f"{field.name}_{suffix}"
    configuration = {"type": expectation, "kwargs": {"column": field.name, **kwargs}}
    description = f"{field.name} {suffix.replace('_', ' ')}"
    return Rule(name, (field.name,), predicate, description, "error", configuration)


def parse_severity(given: Any) -> Severity:
    """Return the severity of a rule; `critical` and `info` are Great Expectations' words beside ours.

    Raises:
        ValueError: the severity is another word.
    """
    severity = _SEVERITIES.get(given or "error")
    if severity is None:
        raise ValueError(f"severity is one of {', '.join(_SEVERITIES)}; received {given!r}")
    return severity
