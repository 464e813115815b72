"""Read the catalogue as it is now, or as it was at a moment."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.dataset as ds

from lastaisle.lake import Lake
from lastaisle.lake.errors import LakeUnusableError, clear_errors
from lastaisle.lake.tables import ITEMS
from lastaisle.lake.workspace import open_tables


def catalogue_version(lake: Lake) -> int | None:
    """Return a number that changes whenever the table `items` changes; None without a catalogue."""
    return lake.version(ITEMS)


def read_catalogue(lake: Lake, at: datetime | None = None, *, version: int | None = None) -> pa.Table | None:
    """Return the items that are listed, one row an item, in the order of their ids.

    An item that a full file no longer lists is left out. An item that is sold out is listed; its `available`
    is false.

    Args:
        lake: holds the table `items`.
        at: the moment, with a time zone; by default the newest row of each item counts.
        version: the version of the table to read; None = the newest.

    Returns:
        The columns of the table; None if the lake has no catalogue.

    Raises:
        ValueError: the moment has no time zone.
        LakeUnusableError: the table cannot be read.
    """
    dataset = lake.dataset(ITEMS, version)
    if dataset is None:
        return None
    with clear_errors(f"read table {ITEMS}", lake.url):
        return listed_at(dataset, at)


def listed_at(rows: pa.Table | ds.Dataset, at: datetime | None = None) -> pa.Table:
    """Return the items that are listed, one row an item, in the order of their ids.

    Args:
        rows: rows of the table `items`.
        at: the moment, with a time zone; by default the newest row of each item counts.

    Raises:
        ValueError: the moment has no time zone.
        LakeUnusableError: the rows cannot be read.
    """
    import duckdb  # here, as in lake.workspace: never before a fork

    until = "" if at is None else f"WHERE valid_from <= TIMESTAMPTZ '{_utc(at).isoformat()}'"
    with open_tables(items=rows) as connection:
        newest = f"""SELECT * FROM items {until}
            QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY valid_from DESC) = 1"""
        listed = f"SELECT * FROM ({newest}) WHERE NOT coalesce(removed, false) ORDER BY item_id"
        try:
            return connection.sql(listed).to_arrow_table().cast(rows.schema)
        except (duckdb.Error, pa.ArrowException) as error:
            raise LakeUnusableError(f"the rows of the table {ITEMS} cannot be read: {error}") from error


def read_titles(lake: Lake, ids: Collection[str] | None = None) -> dict[str, str]:
    """Return the newest title of each item that has one, by its id, also of items that are no longer listed.

    Args:
        lake: holds the table `items`; without that table no item has a title.
        ids: the items; all items by default.
    """
    dataset = lake.dataset(ITEMS)
    if dataset is None:
        return {}
    wanted = pa.table({"item_id": pa.array(sorted(ids or ()), pa.string())})
    of_these = "" if ids is None else "AND item_id IN (SELECT item_id FROM wanted)"
    newest = f"""SELECT item_id, arg_max(title, valid_from) FROM items
        WHERE title IS NOT NULL {of_these} GROUP BY item_id"""
    with (
        clear_errors(f"read table {ITEMS}", lake.url),
        open_tables(items=dataset, wanted=wanted) as connection,
    ):
        rows = connection.execute(newest).fetchall()
    return {str(item): str(title) for item, title in rows}


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError(f"a moment needs a time zone, such as 2025-10-09T12:00:00Z; received {at}")
    return at.astimezone(UTC)
