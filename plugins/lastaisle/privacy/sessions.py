"""Sessions where the shop sends none: a user's visit ends where 30 minutes pass without an event."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow.dataset as ds

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SESSION_GAP = timedelta(minutes=30)
LOOK_BACK_DAYS = 1


def name_sessions(
    connection: DuckDBPyConnection, raw: ds.Dataset | None, gap: timedelta = SESSION_GAP
) -> str:
    """Return the relation that is `taken` with a session in every row that has a user.

    A session goes on in later files: the user's events of the day before are looked at too. What an earlier
    run has already given to `events` keeps its session, so a late row that would have joined two sessions
    does not.

    Args:
        connection: holds the relation `taken`, rows of raw_events.
        raw: raw_events; None before its first row.
        gap: a longer silence than this ends a session.
    """
    first, last = connection.execute(
        """SELECT (min(event_date) - $days)::DATE::VARCHAR, max(event_date)::VARCHAR
           FROM taken WHERE session_id IS NULL AND user_id IS NOT NULL""",
        {"days": LOOK_BACK_DAYS},
    ).fetchall()[0]
    if first is None:
        return "taken"
    visits = """
        CREATE TABLE visits AS SELECT user_id, occurred_at, batch_id, source_row, sub_row FROM taken
        WHERE session_id IS NULL AND user_id IS NOT NULL"""
    connection.execute(visits)
    if raw is not None:
        connection.register("raw", raw)
        connection.execute(f"""
            INSERT INTO visits SELECT user_id, occurred_at, batch_id, source_row, sub_row FROM raw
            WHERE event_date BETWEEN DATE '{first}' AND DATE '{last}' AND session_id IS NULL
              AND batch_id NOT IN (SELECT batch_id FROM taken)
              AND user_id IN (SELECT user_id FROM visits)""")
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
    connection.execute("""
        CREATE VIEW visited AS
        SELECT taken.* REPLACE (coalesce(taken.session_id, derived.session_id) AS session_id)
        FROM taken LEFT JOIN derived USING (batch_id, source_row, sub_row)""")
    return "visited"
