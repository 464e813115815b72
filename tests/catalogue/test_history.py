"""What the catalogue says now, and what it said at a moment."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from lastaisle.catalogue.history import catalogue_version, read_catalogue, read_titles
from lastaisle.lake import Lake
from lastaisle.lake.tables import ITEMS, ITEMS_SCHEMA


def day(number):
    return datetime(2025, 10, number, tzinfo=UTC)


def store(lake, *rows):
    known = [{"available": True, "removed": False, **row} for row in rows]
    lake.append(ITEMS, pa.Table.from_pylist(known, schema=ITEMS_SCHEMA), key=str(rows))


@pytest.fixture
def lake(tmp_path):
    lake = Lake(tmp_path / "lake")
    store(
        lake,
        {"item_id": "1", "valid_from": day(1), "title": "Lamp", "price": 10.0},
        {"item_id": "1", "valid_from": day(3), "title": "Lamp", "price": 8.0},
        {"item_id": "2", "valid_from": day(1), "title": "Knife"},
        {"item_id": "2", "valid_from": day(2), "title": "Knife", "removed": True},
        {"item_id": "3", "valid_from": day(2), "available": False},
    )
    return lake


def test_a_lake_without_catalogue_says_so(tmp_path):
    lake = Lake(tmp_path / "lake")
    assert read_catalogue(lake) is None
    assert catalogue_version(lake) is None
    assert read_titles(lake) == {}


def test_the_newest_row_of_an_item_counts_and_removed_items_are_left_out(lake):
    rows = read_catalogue(lake).to_pylist()
    assert [(row["item_id"], row["price"], row["available"]) for row in rows] == [
        ("1", 8.0, True),
        ("3", None, False),
    ]
    assert read_catalogue(lake).schema == ITEMS_SCHEMA


def test_a_moment_shows_the_catalogue_of_that_time(lake):
    rows = read_catalogue(lake, day(1)).to_pylist()
    assert [(row["item_id"], row["price"]) for row in rows] == [("1", 10.0), ("2", None)]
    assert read_catalogue(lake, datetime(2025, 9, 1, tzinfo=UTC)).num_rows == 0


def test_a_moment_without_time_zone_is_refused(lake):
    with pytest.raises(ValueError, match="time zone"):
        read_catalogue(lake, datetime(2025, 10, 2))


def test_the_version_changes_with_the_table(lake):
    before = catalogue_version(lake)
    store(lake, {"item_id": "9", "valid_from": day(9)})
    assert catalogue_version(lake) != before


def test_titles_of_items_that_are_no_longer_listed_stay_known(lake):
    assert read_titles(lake) == {"1": "Lamp", "2": "Knife"}
    assert read_titles(lake, ["2", "7"]) == {"2": "Knife"}
    assert read_titles(lake, []) == {}
