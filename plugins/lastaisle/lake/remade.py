"""Days of a table that are made again: which days are read at once, and which of them got other rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def blocks_of(days: Iterable[date], most: int) -> Iterator[tuple[date, date]]:
    """Return the first and the last day of each run of successive days, of at most some days each."""
    block: list[date] = []
    for day in days:
        if block and (day != block[-1] + timedelta(days=1) or len(block) == most):
            yield block[0], block[-1]
            block = []
        block.append(day)
    if block:
        yield block[0], block[-1]


def differing_days(
    connection: DuckDBPyConnection, made: str, stored: str, schema: pa.Schema, days: Sequence[date]
) -> list[date]:
    """Return the days, in order, on which two tables have other rows, in whatever order the rows stand.

    Rows are compared by their hashes, so that a day of any size fits into memory.

    Args:
        connection: the database with both tables.
        made: the name of the table with the rows made now; it has rows of `days` alone.
        stored: the name of the table with the rows made before.
        schema: the columns that are compared; `event_date` is one of them.
        days: the days that were made again.
    """
    if not days:
        return []
    row = ", ".join(f'"{column}"' for column in schema.names)
    summed = f"SELECT event_date, count(*) AS rows, sum(hash({row})) AS hashes"
    # DuckDB skips the files of other days by the bounds, and not by the list.
    sql = f"""
        WITH made AS ({summed} FROM {made} GROUP BY event_date),
        stored AS (
            {summed} FROM {stored}
            WHERE event_date BETWEEN $first AND $last AND list_contains($days, event_date)
            GROUP BY event_date
        )
        SELECT event_date FROM made FULL JOIN stored USING (event_date)
        WHERE made.rows IS DISTINCT FROM stored.rows OR made.hashes IS DISTINCT FROM stored.hashes
        ORDER BY event_date
    """
    found = connection.execute(sql, {"first": min(days), "last": max(days), "days": list(days)}).fetchall()
    return [day for (day,) in found]
