"""Compile the rules of a row, each as DuckDB SQL and as a Great Expectations configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from open_data_contract_standard.model import DataQuality, Relationship, SchemaObject, SchemaProperty

from data_contracts.bounds import BOUNDS, compile_length, compile_multiple, compile_range, range_type
from data_contracts.crossfield import cross_field_rule
from data_contracts.document import custom_values
from data_contracts.errors import ContractError
from data_contracts.field import Field
from data_contracts.privacy import literal, quote
from data_contracts.types import accepts, limits

Severity = Literal["error", "warning"]
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


def compile_rules(path: Path, table: SchemaObject, fields: Sequence[Field]) -> tuple[Rule, ...]:
    """Compile every rule of a table, field by field and then across fields.

    Raises:
        ContractError: a rule cannot be compiled, or two rules have the same name.
    """
    rules: list[Rule] = []
    for entry, field in zip(table.properties or [], fields, strict=True):
        where = f"schema.{table.name}.properties.{field.name}"
        try:
            rules.extend(_field_rules(entry, field))
        except ValueError as error:
            raise ContractError(path, where, str(error)) from error
    for position, quality in enumerate(table.quality or []):
        where = f"schema.{table.name}.quality.{quality.name or position}"
        if quality.type == "text" or quality.engine == "greatExpectations":
            continue
        try:
            rules.append(Rule(**cross_field_rule(quality, fields), severity=_severity(quality.severity)))
        except ValueError as error:
            raise ContractError(path, where, str(error)) from error
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise ContractError(path, f"schema.{table.name}.quality", f"the rule {name!r} stands twice")
    return tuple(rules)


def compile_expectations(path: Path, table: SchemaObject) -> tuple[dict[str, Any], ...]:
    """Return the Great Expectations configurations of the table (`engine: greatExpectations`), unchanged.

    Raises:
        ContractError: a configuration has no type.
    """
    expectations = []
    for quality in table.quality or []:
        if quality.engine != "greatExpectations":
            continue
        given = quality.implementation
        if not isinstance(given, dict) or not str(given.get("type", "")).startswith("expect_"):
            where = f"schema.{table.name}.quality.{quality.name}.implementation"
            raise ContractError(path, where, f"should have a type as expect_..., received {given!r}")
        expectations.append({**given, "meta": {"rule": quality.name or given["type"]}})
    return tuple(expectations)


def refuse_broken_sql(path: Path, table: str, fields: Sequence[Field], rules: Sequence[Rule]) -> None:
    """Let DuckDB run every rule and every coarsening on a row that holds only the defaults.

    Raises:
        ContractError: DuckDB refuses the SQL, for example because of its regular expression; or a default
            breaks a rule of its own field.
    """
    import duckdb  # here, so that reading a contract's fields and features needs no DuckDB

    columns = ", ".join(f"{quote(field.name)} {field.sql_type}" for field in fields)
    with duckdb.connect() as connection:

        def run(where: str, query: str, *, uses_now: bool = False) -> Any:
            parameters = {"now": "2000-01-01T00:00:00Z"} if uses_now else None
            try:
                return connection.execute(query, parameters).fetchone()
            except duckdb.Error as error:
                raise ContractError(path, f"schema.{table}.{where}", f"DuckDB refuses it: {error}") from error

        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE TABLE contract_rows ({columns})")
        connection.execute("INSERT INTO contract_rows DEFAULT VALUES")
        for field in fields:
            where = f"properties.{field.name}"
            if field.default is not None:
                run(where, f"UPDATE contract_rows SET {quote(field.name)} = {field.default_sql()}")
            if field.treatment.action == "coarsen":
                run(f"{where}: treatment", f"SELECT {field.treatment.sql(field.name)} FROM contract_rows")
        defaults = {field.name: field.default for field in fields}
        for rule in (rule for rule in rules if not rule.reference):
            query = f"SELECT {rule.predicate} FROM contract_rows"
            (passed,) = run(f"rule {rule.name}", query, uses_now=rule.uses_now)
            if passed is False and len(rule.columns) == 1 and defaults[rule.columns[0]] is not None:
                where = f"schema.{table}.properties.{rule.columns[0]}.customProperties.default"
                reason = f"the default {defaults[rule.columns[0]]!r} breaks the rule {rule.name}"
                raise ContractError(path, where, reason)


def _field_rules(entry: SchemaProperty, field: Field) -> Iterator[Rule]:
    if field.required:
        yield _rule(
            field, "is_required", f"{quote(field.name)} IS NOT NULL", "expect_column_values_to_not_be_null"
        )
    if field.logical_type == "number":
        low, high = limits(field.arrow_type)
        finite = {"min_value": low, "max_value": high}
        yield _rule(field, "is_finite", f"isfinite({quote(field.name)})", range_type(field), **finite)
    yield from _option_rules(field, entry.logicalTypeOptions or {})
    for quality in entry.quality or []:
        if quality.type != "text":
            yield _allowed_rule(field, quality)
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
        yield _rule(field, "in_range", predicate, range_type(field), **arguments)
    lengths = {name: options[name] for name in _LENGTHS if name in options}
    if lengths:
        predicate, arguments = compile_length(field, lengths)
        kind = "expect_column_value_lengths_to_be_between"
        yield _rule(field, "has_length", predicate, kind, **arguments)
    if "multipleOf" in options:
        predicate, arguments = compile_multiple(field, options["multipleOf"])
        yield _rule(field, "is_multiple", predicate, "expect_column_values_to_be_multiples", **arguments)
    if "pattern" in options:
        yield _pattern_rule(field, options["pattern"])


def _pattern_rule(field: Field, pattern: str) -> Rule:
    """Match anywhere in the text, as ECMA-262 does; refuse patterns that Python and RE2 read differently."""
    if field.logical_type != "string":
        raise ValueError(f"logicalTypeOptions: a {field.logical_type} has no pattern")
    ambiguous = re.search(r"\\[dDwWsSbBZzAkpPGQ]|\(\?|\\[1-9]", pattern)
    if ambiguous:
        raise ValueError(
            f"logicalTypeOptions.pattern: {ambiguous.group()} means different things to different engines;"
            f" write the characters out, as [0-9]; received {pattern!r}"
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"logicalTypeOptions.pattern: {pattern!r}: {error}") from error
    predicate = f"regexp_matches({quote(field.name)}, {literal(pattern)})"
    return _rule(
        field, "matches_pattern", predicate, "expect_column_values_to_match_regex", regex=_for_python(pattern)
    )


def _for_python(pattern: str) -> str:
    r"""Write \Z for each $ that anchors, since Python's $ also matches before a last newline."""
    tokens = re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", pattern, re.DOTALL)
    return "".join(r"\Z" if token == "$" else token for token in tokens)


def _allowed_rule(field: Field, quality: DataQuality) -> Rule:
    values = (quality.arguments or {}).get("validValues")
    if quality.metric != "invalidValues" or quality.mustBe != 0 or not isinstance(values, list) or not values:
        raise ValueError(
            "quality of a field takes {metric: invalidValues, mustBe: 0, arguments: {validValues: [...]}};"
            " write other rules under the table's quality"
        )
    if field.logical_type not in _LISTED_TYPES:
        raise ValueError(
            f"quality: list the values of a {' or '.join(_LISTED_TYPES)}, not of a {field.logical_type}"
        )
    wrong = [value for value in values if not accepts(field.logical_type, value)]
    if wrong:
        raise ValueError(f"quality.arguments.validValues: {wrong[0]!r} is no {field.logical_type}")
    listed = ", ".join(literal(value) if isinstance(value, str) else repr(value) for value in values)
    predicate = f"{quote(field.name)} IN ({listed})"
    rule = _rule(field, "is_allowed", predicate, "expect_column_values_to_be_in_set", value_set=values)
    return replace(rule, name=quality.name or rule.name, severity=_severity(quality.severity))


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
    rule = _rule(field, suffix, predicate, "expect_column_values_to_be_in_set", value_set=values)
    return replace(rule, reference=target, severity=_severity(custom.get("severity")))


def _rule(field: Field, suffix: str, predicate: str, expectation: str, **kwargs: Any) -> Rule:
    name = f"{field.name}_{suffix}"
    configuration = {"type": expectation, "kwargs": {"column": field.name, **kwargs}}
    description = f"{field.name} {suffix.replace('_', ' ')}"
    return Rule(name, (field.name,), predicate, description, "error", configuration)


def _severity(given: Any) -> Severity:
    if given in (None, "error"):
        return "error"
    if given == "warning":
        return "warning"
    raise ValueError(f"severity is error or warning, received {given!r}")
