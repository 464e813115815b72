"""Sessions where the shop sends none: a user's visit ends where 30 minutes pass without an event."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow.dataset as ds

from data_contracts.privacy import Treatment, literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SESSION_GAP = timedelta(minutes=30)
DAYS_AROUND = 1


def derive_sessions(
    connection: DuckDBPyConnection, raw: ds.Dataset | None, gap: timedelta = SESSION_GAP
) -> bool:
    """Find the sessions of those rows of `taken` that have a user and no session.

    A session goes on in other batches: the user's events of the day before and of the day after are looked at
    too. (A visit without 30 minutes of silence for more than a day is cut where the look ends.) Makes the
    table `visits`: these rows and the others', each with `start`, the microsecond since 1970 in which its
    session began; `place` is -1, -2, … in the others', which are rows 0, 1, … of the table `others`.

    Args:
        connection: holds the relation `taken`, rows of raw_events with a number of their own, `place`.
        raw: raw_events; None before its first row.
        gap: a longer silence than this ends a session.

    Returns:
        Whether there was anything to find.
    """
    first, last = connection.execute(
        """SELECT (min(event_date) - $days)::DATE::VARCHAR, (max(event_date) + $days)::DATE::VARCHAR
           FROM taken WHERE session_id IS NULL AND user_id IS NOT NULL""",
        {"days": DAYS_AROUND},
    ).fetchall()[0]
    if first is None:
        return False
    connection.execute("""
        CREATE OR REPLACE TABLE seen AS SELECT place, user_id, occurred_at FROM taken
        WHERE session_id IS NULL AND user_id IS NOT NULL""")
    _look_around(connection, raw, first, last)
    silence = "epoch_us(occurred_at) - epoch_us(lag(occurred_at) OVER visit)"
    connection.execute(f"""
        CREATE OR REPLACE TABLE visits AS
        SELECT * REPLACE (max(start) OVER (
          PARTITION BY user_id ORDER BY occurred_at
          ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS start)
        FROM (
          SELECT *, CASE WHEN coalesce({silence} > {gap // timedelta(microseconds=1)}, true)
                         THEN epoch_us(occurred_at) END AS start
          FROM seen WINDOW visit AS (PARTITION BY user_id ORDER BY occurred_at))""")
    return True


def _look_around(connection: DuckDBPyConnection, raw: ds.Dataset | None, first: str, last: str) -> None:
    """Add what other batches have of these users to `seen`, and make the table `others` of it."""
    columns = "user_id, occurred_at, batch_id, source_row, sub_row, event_id, event_date"
    if raw is None:
        connection.execute(f"CREATE OR REPLACE TABLE others AS SELECT {columns} FROM taken LIMIT 0")
        return
    # A list and a table of single users: NOT IN and IN over millions of rows take ten times as long.
    ours = connection.execute("SELECT list(DISTINCT batch_id) FROM taken").fetchall()[0][0]
    connection.execute("CREATE OR REPLACE TABLE users AS SELECT DISTINCT user_id FROM seen")
    connection.register("raw", raw)
    connection.execute(f"""
        CREATE OR REPLACE TABLE others AS SELECT {columns} FROM raw SEMI JOIN users USING (user_id)
        WHERE event_date BETWEEN DATE '{first}' AND DATE '{last}' AND session_id IS NULL
          AND batch_id NOT IN ({", ".join(map(literal, ours))})""")
    connection.unregister("raw")
    connection.execute("INSERT INTO seen SELECT -1 - rowid, user_id, occurred_at FROM others")


def name_sessions(connection: DuckDBPyConnection, treatment: Treatment) -> None:
    """Treat the names of the sessions in `visits`, one each.

    Makes the table `named`: the session of each `place`; and `moved`: the visits of other batches that follow
    one of ours in their session. Only these can have begun elsewhere before: rows that come late may open a
    session earlier, or close the silence between two.

    Args:
        connection: holds `visits`.
        treatment: that of session_id.
    """
    connection.execute(f"""
        CREATE OR REPLACE TABLE sessions AS
        SELECT user_id, start, ours, {treatment.sql("session_id")} AS session_id
        FROM (SELECT user_id, start, user_id || '@' || start AS session_id, min(occurred_at) AS ours
              FROM visits WHERE place >= 0 GROUP BY user_id, start)""")
    connection.execute("""
        CREATE OR REPLACE TABLE named AS
        SELECT place, session_id FROM visits JOIN sessions USING (user_id, start) WHERE place >= 0""")
    connection.execute("""
        CREATE OR REPLACE TABLE moved AS
        SELECT others.*, session_id FROM visits JOIN sessions USING (user_id, start)
        JOIN others ON others.rowid = -1 - place WHERE place < 0 AND visits.occurred_at >= ours""")
