"""Days that are made again: they are read in blocks, and those with other rows are found."""

from datetime import date, timedelta

import pyarrow as pa
import pytest

from lastaisle.lake.remade import blocks_of, differing_days
from lastaisle.lake.workspace import make_view, open_tables

FIRST = date(2025, 10, 9)
SCHEMA = pa.schema([("event_date", pa.date32()), ("item", pa.string()), ("price", pa.float64())])
STORED = [(0, "a", 1.0), (0, "a", 1.0), (0, "b", None), (2, "c", 2.0)]


def rows(given):
    found = [(FIRST + timedelta(days=day), *others) for day, *others in given]
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in found], schema=SCHEMA)


def test_days_are_read_in_blocks():
    days = [FIRST + timedelta(days=shift) for shift in (0, 1, 2, 3, 9, 10)]
    found = [((a - FIRST).days, (b - FIRST).days) for a, b in blocks_of(days, 3)]
    assert found == [(0, 2), (3, 3), (9, 10)]
    assert list(blocks_of([], 3)) == []


@pytest.mark.parametrize(
    ("made", "days", "differing"),
    [
        (STORED, (0, 2), []),
        (STORED[::-1], (0, 1, 2), []),
        (STORED[:3], (0, 1), []),  # the stored rows of day 2 were not made again
        (STORED[1:], (0, 2), [0]),
        (STORED[:3], (0, 2), [2]),
        ([*STORED, (1, "d", 1.0)], (0, 1, 2), [1]),
        ([(0, "a", 1.0), (0, "b", None), (0, "b", None), (2, "c", None)], (0, 2), [0, 2]),
        ([], (0, 1, 2), [0, 2]),
        ([], (), []),
    ],
    ids=[
        "same",
        "other order",
        "of some days",
        "twin gone",
        "day gone",
        "day new",
        "changed",
        "all gone",
        "none",
    ],
)
def test_days_with_other_rows_are_found(made, days, differing):
    asked = [FIRST + timedelta(days=day) for day in days]
    with open_tables(made=rows(made), stored=rows(STORED)) as connection:
        found = differing_days(connection, "made", "stored", SCHEMA, asked)
    assert [(day - FIRST).days for day in found] == differing


def test_a_view_has_null_for_a_column_that_the_table_lacks():
    columns = {"item": "VARCHAR", "quantity": "BIGINT"}
    with open_tables() as connection:
        make_view(connection, "events", rows(STORED), columns)
        make_view(connection, "exposures", None, columns)
        assert connection.sql("SELECT DISTINCT * FROM events ORDER BY item").fetchall() == [
            *(("a", None), ("b", None), ("c", None))
        ]
        empty = connection.sql("SELECT * FROM exposures")
        assert (empty.fetchall(), empty.columns) == ([], ["item", "quantity"])
        assert [str(kind) for kind in empty.types] == ["VARCHAR", "BIGINT"]
