"""The list of the tables: sizes by Delta's statistics, and a damaged table hides no other."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from lastaisle.feedback.health import SERVICE_METRICS_SCHEMA
from lastaisle.lake import Lake, tables
from lastaisle.lake.inventory import NEWEST, measure, take_inventory

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)
FILES = pa.schema([("url", pa.string()), ("taken_in_at", tables.TIMESTAMP)])


@pytest.fixture
def lake(tmp_path):
    lake = Lake(tmp_path / "lake")
    for number in (1, 2):
        rows = pa.table({"url": ["a", "b"], "taken_in_at": [None, NOON.replace(hour=number)]}, FILES)
        lake.append(tables.FILES, rows, key=f"{number}")
    return lake


def test_a_table_has_rows_files_a_version_and_its_newest_moment(lake):
    size = measure(lake, tables.FILES)
    assert (size.rows, size.files, size.version, size.newest) == (4, 2, 2, NOON.replace(hour=2))
    folder = Path(lake.table_url(tables.FILES))
    assert size.bytes == sum(file.stat().st_size for file in folder.glob("*.parquet"))
    assert measure(lake, tables.EVENTS) is None


def test_a_table_without_statistics_or_rows_or_column_is_listed(lake):
    lake.append(tables.GAPS, pa.table({"topic": ["t"]}), key="older")  # of a release without the column
    lake.append(tables.ALERTS, pa.table({"at": pa.array([], tables.TIMESTAMP)}), key="none")
    assert measure(lake, tables.GAPS).newest is None
    assert (measure(lake, tables.ALERTS).rows, measure(lake, tables.ALERTS).newest) == (0, None)


def test_a_damaged_table_is_named_and_the_others_are_listed(lake):
    lake.append(tables.GAPS, pa.table({"topic": ["t"]}), key="1")
    for file in Path(lake.table_url(tables.GAPS), "_delta_log").iterdir():
        file.write_text("{")
    found = take_inventory(lake)
    assert [size.table for size in found.tables] == [tables.FILES]
    assert list(found.problems) == [tables.GAPS]


def test_every_table_has_a_column_that_says_how_new_it_is():
    assert set(NEWEST) == set(tables.ALL_TABLES)
    schemas = {"SERVICE_METRICS": SERVICE_METRICS_SCHEMA, **vars(tables)}
    for name, column in NEWEST.items():
        schema = schemas.get(f"{name.upper()}_SCHEMA")
        assert schema is None or column in schema.names, name
