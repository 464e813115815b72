"""The share of quarantined rows in the batches that brought the evaluation sessions."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from lastaisle.lake.tables import BATCHES, EVENTS
from lastaisle.lake.workspace import open_tables

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

# Broken rows have no reliable time. So the query counts a batch's broken rows in proportion to its clean rows
# in that time. If a file came again, as repaired files do, only its latest batch counts.
_SHARE = """
WITH brought AS (
    SELECT batch_id, count(*) AS events FROM events
    WHERE event_date BETWEEN $first_day AND $last_day AND occurred_at >= $start AND occurred_at < $end
    GROUP BY batch_id
),
latest AS (
    SELECT * FROM batches
    QUALIFY 1 = row_number() OVER (PARTITION BY source_file, part ORDER BY started_at DESC)
),
counted AS (
    SELECT events, events / rows_clean * rows_quarantined AS broken
    FROM brought JOIN latest USING (batch_id) WHERE rows_clean > 0
)
SELECT sum(broken) / sum(events + broken) FROM counted
"""


def quarantined_share(lake: Lake, start: datetime, end: datetime, version: int | None) -> float | None:
    """Return the share of quarantined rows among the rows that came with the events of [start, end).

    Args:
        lake: the lake with the tables `events` and `batches`.
        start: the first moment.
        end: the moment after the last.
        version: version of `events`; None = the newest.

    Returns:
        A share from 0 to 1; None if no batch has the counts.
    """
    tables = {EVENTS: lake.dataset(EVENTS, version), BATCHES: lake.dataset(BATCHES)}
    if None in tables.values():
        return None
    within = {"start": start, "end": end, "first_day": start.date(), "last_day": end.date()}
    with open_tables(**tables) as connection:
        row = connection.execute(_SHARE, within).fetchone()
    return None if row is None or row[0] is None else float(row[0])
