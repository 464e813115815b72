"""Compare the rows that were sent with the rows of the tables: none is lost, none is there twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from data_contracts.privacy import SURROGATE
from lastaisle.lake import Lake
from lastaisle.lake.tables import BATCHES, EVENTS, QUARANTINE, RAW_EVENTS

#: The rows that were sent, one for each message or line. `source` is the row's file, or the topic's partition
#: as kafka://cluster/topic/partition. `event_id` is NULL for rows that belong in quarantine. `user_id` and
#: `occurred_at` identify the visit of an event; `user_id` is NULL if the sender named a session.
SENT = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("row", pa.int64()),
        pa.field("event_id", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("occurred_at", pa.timestamp("us", tz="UTC")),
    ]
)

_SHOWN = 5
_SETUP = f"""
CREATE TABLE wanted AS SELECT event_id, any_value(user_id) AS user_id, any_value(occurred_at) AS occurred_at
  FROM sent WHERE event_id IS NOT NULL GROUP BY event_id;
CREATE TABLE raw AS SELECT event_id, batch_id, source_row, sub_row, split_part(source_file, '?', 1) AS source,
  {SURROGATE} AS surrogate FROM raw_events;
CREATE TABLE refused AS SELECT batch_id, source_row AS row, split_part(source_file, '?', 1) AS source
  FROM quarantine;
CREATE TABLE visits AS SELECT event_id, user_id || '/' || sum(opens) OVER visit AS visit FROM (
    SELECT *, CASE WHEN occurred_at - lag(occurred_at) OVER (PARTITION BY user_id ORDER BY occurred_at)
      <= INTERVAL 30 MINUTE THEN 0 ELSE 1 END AS opens FROM wanted WHERE user_id IS NOT NULL)
  WINDOW visit AS (PARTITION BY user_id ORDER BY occurred_at RANGE UNBOUNDED PRECEDING);
CREATE TABLE placed AS SELECT visit, session_id FROM visits JOIN raw USING (event_id)
  JOIN events ON events.event_id = surrogate;
"""

#: Queries that must find nothing, by the meaning of a row that they find.
_CHECKS = {
    "events were lost on the way to raw_events": "SELECT event_id FROM wanted ANTI JOIN raw USING (event_id)",
    "raw_events holds events that nobody sent": "SELECT event_id FROM raw ANTI JOIN wanted USING (event_id)",
    "raw_events holds events twice": "SELECT event_id, count(*) FROM raw GROUP BY 1 HAVING count(*) > 1",
    "raw_events holds rows from where they were not sent": """
        SELECT event_id, source, source_row FROM raw ANTI JOIN sent
        ON raw.event_id = sent.event_id AND raw.source = sent.source AND raw.source_row = sent.row""",
    "broken rows are missing in quarantine": """
        SELECT source, row FROM sent ANTI JOIN refused USING (source, row) WHERE event_id IS NULL""",
    "quarantine holds good rows": """
        SELECT source, row FROM refused ANTI JOIN (FROM sent WHERE event_id IS NULL) USING (source, row)""",
    "quarantine holds rows twice": """
        SELECT source, row, count(*) FROM refused GROUP BY ALL HAVING count(*) > 1""",
    "events were lost on the way from raw_events": """
        SELECT raw.event_id, batch_id FROM raw ANTI JOIN events ON events.event_id = surrogate""",
    "events holds rows that raw_events has not": """
        SELECT event_id, batch_id FROM events ANTI JOIN raw ON events.event_id = surrogate""",
    "events holds rows twice": "SELECT event_id, count(*) FROM events GROUP BY 1 HAVING count(*) > 1",
    "batches holds a batch twice": "SELECT batch_id, count(*) FROM batches GROUP BY 1 HAVING count(*) > 1",
    "the counts of a batch do not add up": """
        SELECT batch_id, source_file, rows_in, rows_clean, rows_quarantined, rows_duplicate, rows_ignored
        FROM batches
        WHERE rows_in <> rows_clean + rows_quarantined + rows_duplicate + rows_ignored""",
    "batches counts other rows than raw_events holds": """
        SELECT batch_id, coalesce(rows_clean, 0) AS counted, coalesce(rows, 0) AS held FROM batches
        FULL JOIN (SELECT batch_id, count(*) AS rows FROM raw GROUP BY 1) USING (batch_id)
        WHERE counted <> held""",
    "batches counts other rows than quarantine holds": """
        SELECT batch_id, coalesce(rows_quarantined, 0) AS counted, coalesce(rows, 0) AS held FROM batches
        FULL JOIN (SELECT batch_id, count(*) AS rows FROM refused GROUP BY 1) USING (batch_id)
        WHERE counted <> held""",
    "one visit lies in several sessions": """
        SELECT visit, count(DISTINCT session_id) AS found FROM placed GROUP BY 1 HAVING found <> 1""",
    "one session holds several visits": """
        SELECT session_id, count(DISTINCT visit) AS found FROM placed GROUP BY 1 HAVING found > 1""",
}


class UnreconciledError(AssertionError):
    """The tables do not hold the rows that were sent; the message lists every difference."""


@dataclass(frozen=True)
class Counts:
    """The counts of all rows that were sent, by their outcome."""

    sent: int = 0
    clean: int = 0
    quarantined: int = 0
    duplicate: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.sent + other.sent,
            self.clean + other.clean,
            self.quarantined + other.quarantined,
            self.duplicate + other.duplicate,
        )

    def __str__(self) -> str:
        return f"{self.sent} = {self.clean} + {self.quarantined} + {self.duplicate}"


def reconcile(lake: Lake, sent: pa.Table, offsets: Mapping[str, int] | None = None) -> Counts:
    """Account for every row that was sent, in every table.

    Args:
        lake: the lake with the tables.
        sent: rows of SENT.
        offsets: end of each partition, by the partition's name in the tables.

    Returns:
        Rows sent = clean + quarantined + duplicate, as the table batches counts them.

    Raises:
        UnreconciledError: rows are missing, are there twice, or are counted wrongly.
    """
    import duckdb

    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        db.register("sent", sent)
        for name in (RAW_EVENTS, QUARANTINE, BATCHES, EVENTS):
            table = lake.scan(name)
            if not table.num_columns:
                raise UnreconciledError(f"table {name} was never written")
            db.register(name, table)
        db.execute(_SETUP)
        problems = [_described(meaning, db.sql(f"FROM ({query})")) for meaning, query in _CHECKS.items()]
        counts = Counts(
            *db.sql("""
                SELECT sum(rows_in)::BIGINT, sum(rows_clean)::BIGINT, sum(rows_quarantined)::BIGINT,
                  sum(rows_duplicate)::BIGINT FROM batches
            """).fetchall()[0]
        )
    if counts.sent != len(sent):
        problems.append(f"batches counts {counts.sent} rows, {len(sent)} were sent")
    for app_id, end in (offsets or {}).items():
        reached = [lake.stamp(name, app_id) for name in (RAW_EVENTS, BATCHES)]
        if reached != [end, end]:
            problems.append(f"{app_id} ends at {end}, raw_events and batches say {reached}")
    if differences := [problem for problem in problems if problem]:
        raise UnreconciledError(
            "\n".join([f"{len(differences)} differences in {lake.url} ({counts}):", *differences])
        )
    return counts


def _described(meaning: str, relation: Any) -> str:
    rows = relation.fetchall()
    return f"- {meaning}: {len(rows)}, such as {rows[:_SHOWN]}" if rows else ""
