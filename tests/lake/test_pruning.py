"""A filter by any column finds its rows, whether or not the log states bounds of the column."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from lastaisle.lake import Lake, Query
from lastaisle.lake.tables import EVENTS
from lastaisle.lake.workspace import open_workspace

DAY = date(2026, 1, 1)
COLUMNS = {
    "number": (pa.int64(), "range"),
    "price": (pa.float64(), "range * 0.5"),
    "flag": (pa.bool_(), "range % 2 = 0"),
    "short": (pa.string(), "'n' || range"),
    "long": (pa.string(), "repeat('x', 300) || range"),
    "accents": (pa.string(), "repeat('é', 300) || range"),
    "not_a_number": (pa.float64(), "if(range = 5, 'nan'::DOUBLE, range * 1.0)"),
    "endless": (pa.float64(), "if(range = 5, 'inf'::DOUBLE, range * 1.0)"),
    "empty": (pa.string(), "NULL::VARCHAR"),
}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Return a lake whose events are one file of a hundred rows."""
    lake = Lake(str(tmp_path))
    schema = pa.schema([*((name, kind) for name, (kind, _) in COLUMNS.items()), ("event_date", pa.date32())])
    selected = ", ".join(f"{sql} AS {name}" for name, (_, sql) in COLUMNS.items())
    with open_workspace(writes_to=lake.url) as connection:
        sql = f"SELECT {selected}, DATE '{DAY}' AS event_date FROM range(100)"
        lake.append(EVENTS, Query(connection, sql, schema, [DAY]), key="rows")
    return lake


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("number", 7),
        ("price", 3.5),
        ("flag", True),
        ("short", "n7"),
        ("long", "x" * 300 + "7"),
        ("long", "x" * 300 + "99"),
        ("accents", "é" * 300 + "7"),
        ("not_a_number", 7.0),
        ("endless", 7.0),
        ("endless", float("inf")),
    ],
)
def test_a_filter_finds_its_rows(lake: Lake, column: str, value: Any) -> None:
    found = lake.scan(EVENTS, ["number"], pc.field(column) == value)
    assert found.num_rows == (50 if column == "flag" else 1)


def test_a_column_without_a_value_has_no_rows_to_find(lake: Lake) -> None:
    assert lake.scan(EVENTS, ["number"], pc.field("empty") == "x").num_rows == 0
    assert lake.scan(EVENTS, ["number"], pc.field("empty").is_null()).num_rows == 100


@pytest.mark.parametrize(
    "where",
    [
        pc.field("number") > 1000,
        pc.field("price") < -1.0,
        pc.field("long") > "y",
        pc.field("event_date") > pa.scalar(DAY),
    ],
    ids=str,
)
def test_a_file_outside_its_bounds_is_not_read(lake: Lake, where: pc.Expression) -> None:
    # Only columns whose bounds are all known: a file with unknown bounds is skipped by its day alone.
    dataset = lake.require(EVENTS)
    assert lake.scan(EVENTS, ["number"], where).num_rows == 0
    if "event_date" in str(where):
        assert not list(dataset.get_fragments(where))


def test_a_file_with_known_bounds_is_skipped_by_them(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    schema = pa.schema([("price", pa.float64()), ("flag", pa.bool_()), ("event_date", pa.date32())])
    with open_workspace(writes_to=lake.url) as connection:
        sql = f"SELECT range * 0.5 AS price, true AS flag, DATE '{DAY}' AS event_date FROM range(100)"
        lake.append(EVENTS, Query(connection, sql, schema, [DAY]), key="rows")
    dataset = lake.require(EVENTS)
    assert not list(dataset.get_fragments(pc.field("price") > 1000))
    assert not list(dataset.get_fragments(pc.field("flag") == pa.scalar(False)))
    assert len(list(dataset.get_fragments(pc.field("price") > 40))) == 1
