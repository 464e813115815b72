"""Every expectation that is compiled into SQL says the same as Great Expectations itself, on wild rows."""

import random
from dataclasses import replace
from datetime import UTC, date, datetime

import duckdb
import pyarrow as pa
import pytest

from data_contracts import load_contract
from data_contracts.expectations import frame_from_arrow, validate_frame
from data_contracts.quality.gx_entries import EXPECTATIONS

ENTRIES = {
    "expect_column_values_to_be_null": {"column": "word"},
    "expect_column_values_to_not_be_null": {"column": "word"},
    "expect_column_values_to_be_in_set": {"column": "word", "value_set": ["a", "it's"]},
    "expect_column_values_to_not_be_in_set": {"column": "day", "value_set": ["2025-10-09"]},
    "expect_column_values_to_be_between": {"column": "moment", "min_value": "2000-01-01T00:00:00Z"},
    "expect_column_values_to_match_regex": {"column": "word", "regex": "^a$"},
    "expect_column_values_to_not_match_regex": {"column": "word", "regex": "[a-c]"},
    "expect_column_value_lengths_to_be_between": {"column": "word", "min_value": 2, "strict_min": True},
    "expect_column_value_lengths_to_equal": {"column": "word", "value": 1},
    "expect_column_values_to_be_unique": {"column": "number"},
    "expect_compound_columns_to_be_unique": {"column_list": ["word", "number"]},
    "expect_table_row_count_to_be_between": {"min_value": 3},
    "expect_table_row_count_to_equal": {"value": 3},
    "expect_column_max_to_be_between": {"column": "number", "max_value": 2},
    "expect_column_min_to_be_between": {"column": "number", "min_value": 1},
    "expect_column_mean_to_be_between": {"column": "price", "min_value": 1},
    "expect_column_median_to_be_between": {"column": "price", "max_value": 1},
    "expect_column_sum_to_be_between": {"column": "price", "max_value": 3},
    "expect_column_stdev_to_be_between": {"column": "price", "max_value": 1},
    "expect_column_unique_value_count_to_be_between": {"column": "word", "max_value": 2},
    "expect_column_proportion_of_unique_values_to_be_between": {"column": "word", "min_value": 0.9},
    "expect_column_proportion_of_non_null_values_to_be_between": {"column": "word", "min_value": 0.7},
}
MORE = [
    ("expect_column_values_to_be_in_set", {"column": "number", "value_set": [1, 2**31 - 1]}),
    ("expect_column_values_to_be_in_set", {"column": "price", "value_set": [0.1, -0.0]}),
    ("expect_column_values_to_be_in_set", {"column": "flag", "value_set": [True]}),
    ("expect_column_values_to_be_in_set", {"column": "day", "value_set": ["2025-10-09"]}),
    ("expect_column_values_to_be_in_set", {"column": "moment", "value_set": ["2025-10-09T14:00:00+02:00"]}),
    ("expect_column_values_to_be_between", {"column": "price", "min_value": 0.1, "strict_min": True}),
    ("expect_column_values_to_be_between", {"column": "day", "max_value": "2025-10-08"}),
    ("expect_column_values_to_not_be_null", {"column": "word", "mostly": 0.7}),
    ("expect_column_values_to_be_in_set", {"column": "word", "value_set": ["a"], "mostly": 0.4}),
]
POOLS = {
    "word": ["a", "b", "ab", "it's", "", "a\n", "abc", "é"],
    "number": [1, 2, -5, 2**31 - 1],
    "price": [0.1, 0.5, 2.0, -0.0, 1e300],
    "flag": [True, False],
    "day": [date(2025, 10, 9), date(1999, 12, 31)],
    "moment": [datetime(2025, 10, 9, 12, tzinfo=UTC), datetime(1999, 12, 31, tzinfo=UTC)],
}
FIELDS = {
    "word": {"logicalType": "string"},
    "number": {"logicalType": "integer"},
    "price": {"logicalType": "number"},
    "flag": {"logicalType": "boolean"},
    "day": {"logicalType": "date"},
    "moment": {"logicalType": "timestamp"},
}


@pytest.fixture
def contract(written):
    entries = [*ENTRIES.items(), *MORE]
    quality = [
        {
            "name": f"rule_{position}",
            "type": "custom",
            "engine": "greatExpectations",
            "implementation": {"type": kind, "kwargs": kwargs},
        }
        for position, (kind, kwargs) in enumerate(entries)
    ]
    return load_contract(written(fields=FIELDS, quality=quality))


def test_every_compiled_expectation_is_tried():
    assert tuple(sorted(ENTRIES)) == EXPECTATIONS


@pytest.mark.parametrize(("rows", "seed"), [(1, 1), (3, 2), (40, 3), (40, 4)])
def test_the_sql_of_an_entry_agrees_with_great_expectations(contract, rows, seed):
    chance = random.Random(seed)
    filled = [
        {name: None if chance.random() < 0.3 else chance.choice(pool) for name, pool in POOLS.items()}
        for _ in range(rows - 1)
    ]
    table = pa.Table.from_pylist(
        [*filled, {name: pool[0] for name, pool in POOLS.items()}], contract.arrow_schema()
    )
    own = replace(contract, rules=tuple(rule for rule in contract.rules if rule.name.startswith("rule_")))

    report = validate_frame(own, frame_from_arrow(table))

    assert not [outcome for outcome in report.outcomes if outcome.problem]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("typed_rows", table)
        for rule in own.rules:
            query = f"SELECT count(*) FROM typed_rows WHERE ({rule.predicate}) IS FALSE"
            (broken,) = connection.execute(query).fetchone()
            assert broken == report.outcome(rule.name).unexpected_count, rule
        for batch_rule in own.batch_rules:
            (measured,) = connection.execute(f"SELECT {batch_rule.measure} FROM typed_rows").fetchone()
            kept = batch_rule.problem(measured, rows) is None
            assert kept == report.outcome(batch_rule.name).passed, (batch_rule, measured)
