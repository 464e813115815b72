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
_NO_DAY = "NULL::DATE"  # of a row that is no event
#: The condition of a staged row that keeps every rule and is of interest; duplicates are among these rows.
SOUND = "_rules IS NULL AND _ignored IS NULL"
PAYLOAD_CHARACTERS = 16_384  # at most 64 KiB as UTF-8


def row_tests(contract: Contract) -> list[tuple[str, str]]:
    """Return the name and the SQL of every test that sends a row to quarantine."""
    dropped = {name for tests in dropping_tests(contract).values() for name, _ in tests}
    tests = [*_type_tests(contract.fields), *_rule_tests(contract.rules, contract.fields)]
    return [(name, test) for name, test in tests if name not in dropped]


def dropping_tests(contract: Contract) -> dict[str, list[tuple[str, str]]]:
    """Return, for each field with `unreadable: drop`, name and test of the rules that leave its value out."""
    return {
        field.name: [
            *_type_tests([field]),
            *_rule_tests([rule for rule in contract.rules if rule.columns == (field.name,)], [field]),
        ]
        for field in contract.fields
        if field.unreadable == "drop"
    }


def staged_sql(contract: Contract, adapter: Adapter) -> str:
    """Return the SELECT of typed rows from the relation `source_lines`.

    Columns: _source_row, _sub_row, the fields of the contract, _rules (NULL for a clean row), _ignored (the
    reason for a row of no interest, else NULL), _warnings (the rules whose breach left a value out, or NULL),
    _event_date, and _payload (NULL for a clean row). No field's name begins with an underscore.
    """
    fields = contract.fields
    typed = ",\n  ".join(f"{_with_default(field)} AS {quote(field.name)}" for field in fields)
    texts = ",\n  ".join(
        f"{quote(field.name)} AS {_text_of(field.name)}" for field in fields if not field.is_plain_text
    )
    tests = row_tests(contract)
    columns = ", ".join(quote(field.name) for field in fields)
    day = _DAY if any(field.name == "occurred_at" for field in fields) else _NO_DAY
    return f"""
WITH texts AS ({adapter.select(contract)}
), typed AS (
SELECT _source_row, _sub_row, _payload, _malformed, _ignored,
  {typed}{"," if texts else ""}
  {texts}
FROM texts
), kept AS ({_kept(contract)}
), judged AS (
SELECT _source_row, _sub_row, _payload, _ignored, _warnings, {columns},
  CASE WHEN _malformed IS NOT NULL THEN [_malformed]
    WHEN _ignored IS NULL AND NOT ({_passes(tests)}) THEN {_broken(tests)} END AS _rules
FROM kept
)
SELECT _source_row, _sub_row, {columns}, _rules, _ignored, _warnings, {day} AS _event_date,
  CASE WHEN _rules IS NOT NULL THEN left(_payload, {PAYLOAD_CHARACTERS}) END AS _payload
FROM judged"""


def count_values(field: Field, dropping: Iterable[tuple[str, str]]) -> str:
    """Return SQL that counts the values of a field that have its type, those included that were left out."""
    rules = ", ".join(literal(rule) for rule, _ in dropping if rule != field.type_rule)
    left_out = f" OR list_has_any(_warnings, [{rules}])" if rules else ""
    if field.scan != "none" and field.unreadable == "drop":  # see `take_out_personal_data`
        begins = f"starts_with(_rule, {literal(f'{field.name}_holds_')})"
        left_out += f" OR len(list_filter(_warnings, lambda _rule: {begins})) > 0"
    return f"count(*) FILTER (WHERE {quote(field.name)} IS NOT NULL{left_out})"


def _kept(contract: Contract) -> str:
    """Return the SELECT over `typed` that leaves out the values that break a rule of their field."""
    by_field = dropping_tests(contract)
    if not by_field:
        return "SELECT *, NULL::VARCHAR[] AS _warnings FROM typed"
    values = ",\n  ".join(
        f"CASE WHEN _all_kept THEN {quote(name)} WHEN {_passes(tests)} THEN {quote(name)} END\n"
        f"    AS {quote(name)}"
        for name, tests in by_field.items()
    )
    tests = [test for tests in by_field.values() for test in tests]
    return f"""SELECT * REPLACE ({values}), CASE WHEN NOT _all_kept THEN {_broken(tests)} END AS _warnings
FROM (SELECT *, {_passes(tests)} AS _all_kept FROM typed)"""


def _passes(tests: Iterable[tuple[str, str]]) -> str:
    return "\n    AND ".join(f"coalesce({test}, true)" for _, test in tests) or "true"


def _broken(tests: Iterable[tuple[str, str]]) -> str:
    names = ",\n    ".join(f"CASE WHEN ({test}) IS FALSE THEN {literal(name)} END" for name, test in tests)
    return f"list_filter([{names}], lambda _rule: _rule IS NOT NULL)"


def _text_of(name: str) -> str:
    """Return the column that holds the text of a typed field."""
    return quote(f"_text_{name}")


def _with_default(field: Field) -> str:
    """Return the typed column. A default replaces an absent value, never a value of a wrong type."""
    parsed = field.parse_sql()
    if field.default is None:
        return parsed
    return f"CASE WHEN {quote(field.name)} IS NULL THEN {field.default_sql()} ELSE {parsed} END"


def _type_tests(fields: Iterable[Field]) -> list[tuple[str, str]]:
    """Return name and test of each type rule: a text that is present must give a value."""
    return [
        (field.type_rule, f"({_text_of(field.name)} IS NULL OR {quote(field.name)} IS NOT NULL)")
        for field in fields
        if not field.is_plain_text
    ]


def _rule_tests(rules: Iterable[Rule], fields: Iterable[Field]) -> list[tuple[str, str]]:
    """Return name and test of each rule; a text of a wrong type does not count as a missing value, too."""
    typed = {field.name for field in fields if not field.is_plain_text}
    return [
        (rule.name, f"({_text_of(rule.columns[0])} IS NOT NULL OR ({rule.predicate}))")
        if rule.name.endswith("_is_required") and set(rule.columns) <= typed
        else (rule.name, f"({rule.predicate})")
        for rule in rules
        if rule.severity == "error"
    ]
