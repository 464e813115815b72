"""Sessions where the shop sends none: a user's visit ends where 30 minutes pass without an event."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow.dataset as ds

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SESSION_GAP = timedelta(minutes=30)
DAYS_AROUND = 1


class Sessions:
    """Gives every row of `taken` that has a user a session.

    A session goes on in other batches: the user's events of the day before and of the day after are looked at
    too. Rows that come late may open a session earlier or close a silence between two; what other batches
    have in it is then in the table `moved`, so that in the end it makes no difference in which order batches
    came. (A visit without 30 minutes of silence for more than a day is cut where the look ends.)

    Attributes:
        relation: `taken`, or a view of it with the sessions filled in.
        derived: whether there was anything to derive.

    Args:
        connection: holds the relation `taken`, rows of raw_events.
        raw: raw_events; None before its first row.
        gap: a longer silence than this ends a session.
    """

    def __init__(
        self, connection: DuckDBPyConnection, raw: ds.Dataset | None, gap: timedelta = SESSION_GAP
    ) -> None:
        self.connection = connection
        self.relation = "taken"
        first, last = connection.execute(
            """SELECT (min(event_date) - $days)::DATE::VARCHAR, (max(event_date) + $days)::DATE::VARCHAR
               FROM taken WHERE session_id IS NULL AND user_id IS NOT NULL""",
            {"days": DAYS_AROUND},
        ).fetchall()[0]
        self.derived = first is not None
        if self.derived:
            self._visits(raw, first, last)
            self._derive(gap)
            self.relation = "visited"

    def _visits(self, raw: ds.Dataset | None, first: str, last: str) -> None:
        """Make the table `visits`: all rows without a session of these users around these days."""
        columns = "user_id, occurred_at, batch_id, source_row, sub_row, event_id, event_date"
        self.connection.execute(f"""
            CREATE OR REPLACE TABLE visits AS SELECT {columns}, true AS own FROM taken
            WHERE session_id IS NULL AND user_id IS NOT NULL""")
        if raw is None:
            return
        self.connection.register("raw", raw)
        self.connection.execute(f"""
            INSERT INTO visits SELECT {columns}, false FROM raw
            WHERE event_date BETWEEN DATE '{first}' AND DATE '{last}' AND session_id IS NULL
              AND user_id IN (SELECT user_id FROM visits)
              AND (batch_id, source_row, sub_row) NOT IN (
                SELECT (batch_id, source_row, sub_row) FROM visits)""")
        self.connection.unregister("raw")

    def _derive(self, gap: timedelta) -> None:
        silence = "epoch_us(occurred_at) - epoch_us(lag(occurred_at) OVER visit)"
        self.connection.execute(f"""
            CREATE OR REPLACE TABLE derived AS
            WITH starts AS (
              SELECT *, CASE WHEN coalesce({silence} > {gap // timedelta(microseconds=1)}, true)
                             THEN epoch_us(occurred_at) END AS start
              FROM visits
              WINDOW visit AS (PARTITION BY user_id ORDER BY occurred_at, batch_id, source_row, sub_row)
            )
            SELECT * EXCLUDE (start), user_id || '@' || max(start) OVER (
              PARTITION BY user_id ORDER BY occurred_at, batch_id, source_row, sub_row
              ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS session_id
            FROM starts""")
        self.connection.execute("""
            CREATE OR REPLACE VIEW visited AS
            SELECT taken.* REPLACE (coalesce(taken.session_id, derived.session_id) AS session_id)
            FROM taken LEFT JOIN derived ON own AND taken.batch_id = derived.batch_id
              AND taken.source_row = derived.source_row AND taken.sub_row = derived.sub_row""")
        # Only what follows a row of ours can have another beginning than before.
        self.connection.execute("""
            CREATE OR REPLACE TABLE moved AS
            SELECT derived.* FROM derived JOIN (
              SELECT session_id, min(occurred_at) AS first FROM derived WHERE own GROUP BY session_id
            ) AS ours USING (session_id) WHERE NOT own AND occurred_at >= first""")
