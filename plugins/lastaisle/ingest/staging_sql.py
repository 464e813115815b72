"""The SQL that turns lines into typed rows, each with the names of the rules that it broke."""

from __future__ import annotations

from collections.abc import Iterable

from data_contracts.contract import Contract
from data_contracts.field import Field
from data_contracts.rules import Rule
from lastaisle.ingest.sources import Adapter

#: The UTC day of an event. Counted, not cast: a cast would use the calendar of a time zone.
_DAY = "DATE '1970-01-01' + (epoch_us(occurred_at) // 86400000000)::INTEGER"
PAYLOAD_CHARACTERS = 16_384  # at most 64 KiB as UTF-8


def row_tests(contract: Contract) -> list[tuple[str, str]]:
    """Return the name and the SQL of every test that sends a row to quarantine."""
    fields = contract.fields
    return [*_type_tests(fields), *_rule_tests(contract.rules, fields)]


def staged_sql(contract: Contract, adapter: Adapter) -> str:
    """Return the SELECT of typed rows from the relation `source_lines`.

    Columns: source_row, sub_row, the fields of the contract, rules (NULL for a clean row), event_date, and
    payload (NULL for a clean row).
    """
    fields = contract.fields
    typed = ",\n  ".join(f'{_with_default(field)} AS "{field.name}"' for field in fields)
    texts = ",\n  ".join(
        f'"{field.name}" AS "text_{field.name}"' for field in fields if field.logical_type != "string"
    )
    tests = row_tests(contract)
    passes = "\n    AND ".join(f"coalesce({test}, true)" for _, test in tests)
    broken = ",\n    ".join(f"CASE WHEN ({test}) IS FALSE THEN '{name}' END" for name, test in tests)
    columns = ", ".join(f'"{field.name}"' for field in fields)
    return f"""
WITH texts AS ({adapter.select(contract)}
), typed AS (
SELECT source_row, sub_row, payload, malformed,
  {typed}{"," if texts else ""}
  {texts}
FROM texts
), judged AS (
SELECT source_row, sub_row, payload, {columns},
  CASE WHEN malformed IS NOT NULL THEN [malformed]
    WHEN NOT ({passes})
    THEN string_split(concat_ws(',', {broken}), ',') END AS rules
FROM typed
)
SELECT source_row, sub_row, {columns}, rules, {_DAY} AS event_date,
  CASE WHEN rules IS NOT NULL THEN left(payload, {PAYLOAD_CHARACTERS}) END AS payload
FROM judged"""


def _with_default(field: Field) -> str:
    """Return the typed column. A default replaces an absent value, never a value of a wrong type."""
    parsed = field.parse_sql()
    if field.default is None:
        return parsed
    default = str(field.default).replace("'", "''")
    return f"CASE WHEN \"{field.name}\" IS NULL THEN '{default}'::{field.sql_type} ELSE {parsed} END"


def _type_tests(fields: Iterable[Field]) -> list[tuple[str, str]]:
    """Return name and test of each type rule: a text that is present must give a value."""
    return [
        (field.type_rule, f'("text_{field.name}" IS NULL OR "{field.name}" IS NOT NULL)')
        for field in fields
        if field.logical_type != "string"
    ]


def _rule_tests(rules: Iterable[Rule], fields: Iterable[Field]) -> list[tuple[str, str]]:
    """Return name and test of each rule; a text of a wrong type does not count as a missing value, too."""
    typed = {field.name for field in fields if field.logical_type != "string"}
    return [
        (rule.name, f'("text_{rule.columns[0]}" IS NOT NULL OR ({rule.predicate}))')
        if rule.name.endswith("_is_required") and set(rule.columns) <= typed
        else (rule.name, f"({rule.predicate})")
        for rule in rules
        if rule.severity == "error"
    ]
