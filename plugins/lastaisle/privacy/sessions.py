"""Sessions where the shop sends none: a user's visit ends where 30 minutes pass without an event."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow.dataset as ds

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SESSION_GAP = timedelta(minutes=30)
LOOK_BACK_DAYS = 1


def derive_sessions(connection: DuckDBPyConnection, raw: ds.Dataset, gap: timedelta = SESSION_GAP) -> None:
    """Make the table `derived`: batch_id, source_row, sub_row and session_id of rows of `taken` without one.

    A session goes on in later files: the user's events of the day before are looked at too. What an earlier
    run has already given to `events` keeps its session, so a late row that would have joined two sessions
    does not.

    Args:
        connection: holds the table `taken`, rows of raw_events.
        raw: raw_events.
        gap: a longer silence than this ends a session.
    """
    bounds = connection.execute(
        """SELECT (min(event_date) - $days)::DATE::VARCHAR, max(event_date)::VARCHAR
           FROM taken WHERE session_id IS NULL AND user_id IS NOT NULL""",
        {"days": LOOK_BACK_DAYS},
    ).fetchall()
    first, last = bounds[0]
    if first is not None:
        visits = f"""
            SELECT user_id, occurred_at, batch_id, source_row, sub_row FROM raw
            WHERE event_date BETWEEN DATE '{first}' AND DATE '{last}' AND session_id IS NULL AND user_id IN
              (SELECT user_id FROM taken WHERE session_id IS NULL AND user_id IS NOT NULL)"""
    else:
        visits = "SELECT user_id, occurred_at, batch_id, source_row, sub_row FROM taken WHERE false"
    connection.register("raw", raw)
    connection.execute(f"CREATE TABLE visits AS {visits}")
    connection.unregister("raw")
    silence = "epoch_us(occurred_at) - epoch_us(lag(occurred_at) OVER visit)"
    connection.execute(f"""
        CREATE TABLE derived AS
        WITH starts AS (
          SELECT *, CASE WHEN coalesce({silence} > {gap // timedelta(microseconds=1)}, true)
                         THEN epoch_us(occurred_at) END AS start
          FROM visits
          WINDOW visit AS (PARTITION BY user_id ORDER BY occurred_at, batch_id, source_row, sub_row)
        )
        SELECT batch_id, source_row, sub_row, user_id || '@' || max(start) OVER (
          PARTITION BY user_id ORDER BY occurred_at, batch_id, source_row, sub_row
          ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS session_id
        FROM starts""")
