"""The SQL that turns lines into typed rows, each with the names of the rules that it broke."""

from __future__ import annotations

from collections.abc import Iterable

from data_contracts.contract import Contract
from data_contracts.field import Field
from data_contracts.privacy import literal, quote
from data_contracts.rules import Rule
from lastaisle.ingest.sources import Adapter

#: The UTC day of an event. Counted, not cast: a cast would use the calendar of a time zone.
_DAY = "DATE '1970-01-01' + (epoch_us(occurred_at) // 86400000000)::INTEGER"
#: The condition of a staged row that keeps every rule and is of interest; duplicates are among these rows.
SOUND = "_rules IS NULL AND _ignored IS NULL"
PAYLOAD_CHARACTERS = 16_384  # at most 64 KiB as UTF-8


def row_tests(contract: Contract) -> list[tuple[str, str]]:
    """Return the name and the SQL of every test that sends a row to quarantine."""
    fields = contract.fields
    return [*_type_tests(fields), *_rule_tests(contract.rules, fields)]


def staged_sql(contract: Contract, adapter: Adapter) -> str:
    """Return the SELECT of typed rows from the relation `source_lines`.

    Columns: _source_row, _sub_row, the fields of the contract, _rules (NULL for a clean row), _ignored (the
    reason for a row of no interest, else NULL), _event_date, and _payload (NULL for a clean row). No field's
    name begins with an underscore.
    """
    fields = contract.fields
    typed = ",\n  ".join(f"{_with_default(field)} AS {quote(field.name)}" for field in fields)
    texts = ",\n  ".join(
        f"{quote(field.name)} AS {_text_of(field.name)}" for field in fields if field.logical_type != "string"
    )
    tests = row_tests(contract)
    passes = "\n    AND ".join(f"coalesce({test}, true)" for _, test in tests)
    broken = ",\n    ".join(f"CASE WHEN ({test}) IS FALSE THEN {literal(name)} END" for name, test in tests)
    columns = ", ".join(quote(field.name) for field in fields)
    return f"""
WITH texts AS ({adapter.select(contract)}
), typed AS (
SELECT _source_row, _sub_row, _payload, _malformed, _ignored,
  {typed}{"," if texts else ""}
  {texts}
FROM texts
), judged AS (
SELECT _source_row, _sub_row, _payload, _ignored, {columns},
  CASE WHEN _malformed IS NOT NULL THEN [_malformed]
    WHEN _ignored IS NULL AND NOT ({passes})
    THEN list_filter([{broken}], lambda _rule: _rule IS NOT NULL) END AS _rules
FROM typed
)
SELECT _source_row, _sub_row, {columns}, _rules, _ignored, {_DAY} AS _event_date,
  CASE WHEN _rules IS NOT NULL THEN left(_payload, {PAYLOAD_CHARACTERS}) END AS _payload
FROM judged"""


def _text_of(name: str) -> str:
    """Return the column that holds the text of a typed field."""
    return quote(f"_text_{name}")


def _with_default(field: Field) -> str:
    """Return the typed column. A default replaces an absent value, never a value of a wrong type."""
    parsed = field.parse_sql()
    if field.default is None:
        return parsed
    default = f"{literal(str(field.default))}::{field.sql_type}"
    return f"CASE WHEN {quote(field.name)} IS NULL THEN {default} ELSE {parsed} END"


def _type_tests(fields: Iterable[Field]) -> list[tuple[str, str]]:
    """Return name and test of each type rule: a text that is present must give a value."""
    return [
        (field.type_rule, f"({_text_of(field.name)} IS NULL OR {quote(field.name)} IS NOT NULL)")
        for field in fields
        if field.logical_type != "string"
    ]


def _rule_tests(rules: Iterable[Rule], fields: Iterable[Field]) -> list[tuple[str, str]]:
    """Return name and test of each rule; a text of a wrong type does not count as a missing value, too."""
    typed = {field.name for field in fields if field.logical_type != "string"}
    return [
        (rule.name, f"({_text_of(rule.columns[0])} IS NOT NULL OR ({rule.predicate}))")
        if rule.name.endswith("_is_required") and set(rule.columns) <= typed
        else (rule.name, f"({rule.predicate})")
        for rule in rules
        if rule.severity == "error"
    ]
