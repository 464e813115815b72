"""Sessions for shops that send none: the visit of a user ends after 30 minutes without an event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow.dataset as ds

from data_contracts.privacy import Treatment, literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SESSION_GAP = timedelta(minutes=30)
REACH = timedelta(hours=2)
DAYS_AROUND = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_OTHERS = "user_id, occurred_at, batch_id, source_row, sub_row, event_id, event_date"


def derive_sessions(
    connection: DuckDBPyConnection, raw: ds.Dataset | None, gap: timedelta = SESSION_GAP
) -> bool:
    """Derive the sessions of the rows of `taken` that have a user and no session.

    A session may continue in other batches. So the events of the same users in other batches are read, too:
    two hours before and after the rows. If a visit reaches that far, all events of its user on the day before
    and the day after are read. (A visit that lasts more than a day without 30 minutes of silence is cut at
    the end of these days.)

    The function makes the table `visits`: these rows and the rows of other batches. `start` is the
    microsecond since 1970 in which the session of the row began. `_place` is -1, -2, … in the rows of other
    batches; these are rows 0, 1, … of the table `others`.

    Args:
        connection: holds the relation `taken`, rows of raw_events that `_place` numbers.
        raw: raw_events; None before its first row.
        gap: a session ends after a longer silence than this.

    Returns:
        Whether any row needed a derived session.
    """
    first, last = connection.execute(
        """SELECT epoch_us(min(occurred_at)), epoch_us(max(occurred_at))
           FROM taken WHERE session_id IS NULL AND user_id IS NOT NULL"""
    ).fetchall()[0]
    if first is None:
        return False
    connection.execute("""
        CREATE OR REPLACE TABLE seen AS SELECT _place, user_id, occurred_at FROM taken
        WHERE session_id IS NULL AND user_id IS NOT NULL""")
    connection.execute(f"CREATE OR REPLACE TABLE others AS SELECT {_OTHERS} FROM taken LIMIT 0")
    if raw is None:
        _cut_visits(connection, gap)
        return True
    start, end = (_EPOCH + timedelta(microseconds=moment) for moment in (first, last))
    near = _during(start - REACH, end + REACH)
    _read_other_batches(connection, raw, "SELECT user_id FROM seen", near)
    _cut_visits(connection, gap)
    at_the_edge = f"""SELECT user_id FROM visits WHERE start <= {first - (REACH - gap) // _MICROSECOND}
        OR epoch_us(occurred_at) >= {last + (REACH - gap) // _MICROSECOND}"""
    if _read_other_batches(
        connection, raw, at_the_edge, f"{_days(start - DAYS_AROUND, end + DAYS_AROUND)} AND NOT ({near})"
    ):
        _cut_visits(connection, gap)
    return True


def _read_other_batches(connection: DuckDBPyConnection, raw: ds.Dataset, users: str, where: str) -> int:
    """Add the rows of some users in other batches to `seen` and `others`; return the number of rows."""
    connection.execute(f"CREATE OR REPLACE TABLE users AS SELECT DISTINCT user_id FROM ({users})")
    before, n_users, own_batches = connection.execute(
        """SELECT (SELECT count(*) FROM others), (SELECT count(*) FROM users),
                  (SELECT list(DISTINCT batch_id) FROM taken)"""
    ).fetchall()[0]
    if not n_users:
        return 0
    connection.register("raw", raw)
    # A literal list and distinct users: NOT IN and IN over millions of rows take ten times as long.
    connection.execute(f"""
        INSERT INTO others SELECT {_OTHERS} FROM raw SEMI JOIN users USING (user_id)
        WHERE session_id IS NULL AND batch_id NOT IN ({", ".join(map(literal, own_batches))}) AND {where}""")
    connection.unregister("raw")
    connection.execute(
        "INSERT INTO seen SELECT -1 - rowid, user_id, occurred_at FROM others WHERE rowid >= $before",
        {"before": before},
    )
    added = connection.execute("SELECT count(*) - $before FROM others", {"before": before}).fetchall()
    return int(added[0][0])


def _cut_visits(connection: DuckDBPyConnection, gap: timedelta) -> None:
    """Make the table `visits` from the table `seen`."""
    silence = "epoch_us(occurred_at) - epoch_us(lag(occurred_at) OVER visit)"
    connection.execute(f"""
        CREATE OR REPLACE TABLE visits AS
        SELECT * REPLACE (max(start) OVER (
          PARTITION BY user_id ORDER BY occurred_at
          ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS start)
        FROM (
          SELECT *, CASE WHEN coalesce({silence} > {gap // _MICROSECOND}, true)
                         THEN epoch_us(occurred_at) END AS start
          FROM seen WINDOW visit AS (PARTITION BY user_id ORDER BY occurred_at))""")


def _days(start: datetime, end: datetime) -> str:
    """Return the SQL condition for rows of the UTC days from one moment to another."""
    return f"event_date BETWEEN DATE '{start.date()}' AND DATE '{end.date()}'"


def _during(start: datetime, end: datetime) -> str:
    """Return the SQL condition for rows between two moments; its days spare the files of other days."""
    between = f"TIMESTAMPTZ '{start.isoformat()}' AND TIMESTAMPTZ '{end.isoformat()}'"
    return f"{_days(start, end)} AND occurred_at BETWEEN {between}"


def name_sessions(connection: DuckDBPyConnection, treatment: Treatment) -> None:
    """Treat the session names in `visits`, each name once.

    The function makes two tables. `named` holds the session of each `_place`. `moved` holds the rows of other
    batches that follow a row of `taken` in their session. Only the session of these rows can have changed: a
    late row may start a session earlier, or join two sessions.

    Args:
        connection: holds `visits`.
        treatment: the treatment of session_id.
    """
    connection.execute(f"""
        CREATE OR REPLACE TABLE sessions AS
        SELECT user_id, start, ours, {treatment.sql("session_id")} AS session_id
        FROM (SELECT user_id, start, user_id || '@' || start AS session_id, min(occurred_at) AS ours
              FROM visits WHERE _place >= 0 GROUP BY user_id, start)""")
    connection.execute("""
        CREATE OR REPLACE TABLE named AS
        SELECT _place, session_id AS _session_id FROM visits JOIN sessions USING (user_id, start)
        WHERE _place >= 0""")
    connection.execute("""
        CREATE OR REPLACE TABLE moved AS
        SELECT others.*, session_id FROM visits JOIN sessions USING (user_id, start)
        JOIN others ON others.rowid = -1 - _place WHERE _place < 0 AND visits.occurred_at >= ours""")
