"""The counts of the table `exposures`."""

from __future__ import annotations

from typing import Any, Final

from lastaisle.lake import Lake
from lastaisle.lake.tables import EXPOSURES
from lastaisle.lake.workspace import open_tables

MOST: Final = 20
"""The most values that are counted by name."""
_TIME: Final = "'%Y-%m-%dT%H:%M:%SZ'"
_BY: Final = ("kind", "placement", "model_version", "policy", "arm")


def count_exposures(lake: Lake) -> dict[str, Any] | None:
    """Count the rows of the table, its lists, its shoppers and sessions, and the rows of each kind.

    Returns:
        The counts; None if the table holds no row.
    """
    rows = lake.dataset(EXPOSURES)
    if rows is None:
        return None
    with open_tables(exposures=rows) as connection:
        names = ("rows", "lists", "items", "shoppers", "sessions", "first", "last")
        counted = connection.execute(f"""
            SELECT count(*), count(DISTINCT recommendation_id), count(DISTINCT item_id),
              count(DISTINCT user_id), count(DISTINCT session_id),
              strftime(min(occurred_at), {_TIME}), strftime(max(occurred_at), {_TIME})
            FROM exposures""").fetchall()[0]
        if not counted[0]:
            return None
        found: dict[str, Any] = dict(zip(names, counted, strict=True))
        for name in _BY:
            of_name = connection.execute(
                f"""SELECT {name}, count(*) FROM exposures WHERE {name} IS NOT NULL
                    GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MOST}"""
            ).fetchall()
            found[f"rows_by_{name}"] = dict(of_name)
    return found
