"""The same rule says the same in DuckDB and in Great Expectations, row for row, on the wildest rows."""

import random
from datetime import UTC, date, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest

from data_contracts import load_contract
from data_contracts.expectations import frame_from_arrow, validate_frame
from data_contracts.rules import ALLOWED

NOW = datetime(2025, 10, 9, 13, tzinfo=UTC)
ROWS = 80
STRINGS = [
    "",
    "a",
    "EUR",
    "eur",
    "EUR\n",
    "\nEUR",
    "DE",
    "D\u0130",
    "DE-BY",
    "DE-BY-9",
    "mobile",
    "Mobile",
    "example.com",
    "a@b.c",
    "item_viewed",
    "order_completed",
    "page_viewed",
    "nan",
    "None",
    "control\x01character",
    "nul\x00character",
    "delete\x7f",
    "line\u2028separator",
    "e\u0301" * 100,
    "\U0001f6d2" * 200,
    "x" * 200,
    "x" * 201,
    "x" * 5000,
    "0123456789abcdef" * 2,
    "0123456789ABCDEF" * 2,
    "\u0663" * 32,
    "'quoted\"",
]
TIMES = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC) - timedelta(microseconds=1),
    datetime(2000, 1, 1, tzinfo=UTC),
    NOW - timedelta(minutes=5, microseconds=1),
    NOW - timedelta(minutes=5),
    NOW,
    NOW + timedelta(minutes=5),
    NOW + timedelta(minutes=5, microseconds=1),
    datetime(2999, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]
POOLS = {
    "string": STRINGS,
    "integer": [-(2**31), -1, 0, 1, 2, 1000, 1001, 100_000, 100_001, 2**31 - 1],
    "number": [
        float("nan"),
        float("inf"),
        float("-inf"),
        -1e308,
        -5e-324,
        -0.0,
        0.0,
        5e-324,
        0.5,
        1.0,
        1.0000001,
        1e308,
    ],
    "boolean": [True, False],
    "timestamp": TIMES,
    "date": [date(1970, 1, 1), date(1999, 12, 31), date(2000, 1, 1), date(2025, 10, 9), date(9999, 12, 31)],
}


def random_text(chance: random.Random) -> str:
    points = [
        chance.choice(
            [chance.randrange(0, 0x80), chance.randrange(0, 0xD800), chance.randrange(0xE000, 0x110000)]
        )
    ]
    return "".join(map(chr, points * chance.randrange(1, 4)))


def random_rows(contract, chance):
    def value(field):
        if chance.random() < 0.25:
            return None
        if field.logical_type == "string" and chance.random() < 0.15:
            return random_text(chance)
        if field.name == "event_type" and chance.random() < 0.6:
            return chance.choice(["item_viewed", "item_added", "order_completed"])
        return chance.choice(POOLS[field.logical_type])

    rows = [{field.name: value(field) for field in contract.fields} for _ in range(ROWS)]
    return pa.Table.from_pylist(rows, schema=contract.arrow_schema())


def broken_in_sql(contract, table, references):
    """Count the rows that break each rule, as ingest does."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("typed_rows", table)
        for target, values in references.items():
            connection.register(target, pa.table({ALLOWED: pa.array(values, pa.string())}))
        counts = {}
        for rule in contract.rules:
            query = f"SELECT count(*) FROM typed_rows WHERE NOT coalesce({rule.predicate}, TRUE)"
            parameters = {"now": NOW} if rule.uses_now else None
            (counts[rule.name],) = connection.execute(query, parameters).fetchone()
        return counts


def broken_in_gx(contract, table, references):
    report = validate_frame(contract, frame_from_arrow(table), now=NOW, references=references)
    problems = {outcome.name: outcome.problem for outcome in report.outcomes if outcome.problem}
    assert not problems
    return {rule.name: report.outcome(rule.name).unexpected_count for rule in contract.rules}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["raw_events", "events", "exposures", "items"])
def test_sql_and_great_expectations_agree_rule_by_rule(name, seed):
    contract = load_contract(name)
    table = random_rows(contract, random.Random(f"{name}-{seed}"))
    targets = {rule.reference for rule in contract.rules if rule.reference}
    known = ["a", "x" * 200, "0123456789abcdef" * 2]
    references = dict.fromkeys(targets, known)

    expected = broken_in_sql(contract, table, references)

    assert broken_in_gx(contract, table, references) == expected


def test_every_rule_of_raw_events_is_broken_by_some_row_and_kept_by_another():
    contract = load_contract("raw_events")
    tables = [random_rows(contract, random.Random(f"raw_events-{seed}")) for seed in range(3)]
    total = [
        sum(counts)
        for counts in zip(*(broken_in_sql(contract, table, {}).values() for table in tables), strict=True)
    ]
    assert all(0 < count < 3 * ROWS for count in total), dict(
        zip((rule.name for rule in contract.rules), total, strict=True)
    )


def test_one_wrong_row_breaks_exactly_the_rules_it_should():
    contract = load_contract("raw_events")
    good = {
        "event_id": "e1",
        "event_type": "item_added",
        "occurred_at": datetime(2025, 10, 9, 12, tzinfo=UTC),
        "received_at": datetime(2025, 10, 9, 12, tzinfo=UTC),
        "user_id": "u7",
        "item_id": "i42",
        "quantity": 1,
        "price": 9.9,
        "currency": "EUR",
    }
    wrong = {
        "price": (float("nan"), {"price_is_finite", "price_in_range"}),
        "quantity": (0, {"quantity_in_range"}),
        "item_id": (None, {"item_event_needs_item_id"}),
        "user_id": (None, {"user_or_session_is_required"}),
        "event_type": ("order_completed", {"order_completed_needs_order_id"}),
        "currency": ("euro", {"currency_matches_pattern"}),
        "occurred_at": (datetime(2999, 1, 1, tzinfo=UTC), {"occurred_at_not_in_future", "clock_skew"}),
        "received_at": (datetime(1970, 1, 1, tzinfo=UTC), {"received_at_in_range", "clock_skew"}),
        "event_id": (None, {"event_id_is_required"}),
    }
    assert set(
        broken_in_sql(contract, pa.Table.from_pylist([good], contract.arrow_schema()), {}).values()
    ) == {0}
    for field, (value, rules) in wrong.items():
        table = pa.Table.from_pylist([good | {field: value}], contract.arrow_schema())
        broken = {rule for rule, count in broken_in_sql(contract, table, {}).items() if count}
        assert broken == rules, field
