"""How sound the feed was that brought a stretch of sessions: which share of its rows lies in quarantine."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from lastaisle.lake.tables import BATCHES, EVENTS
from lastaisle.lake.workspace import open_tables

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

# When a batch's broken rows were, nobody knows: it counts as far as its clean ones lie in that time. Of a
# file that came again, as mended ones do, the latest batch counts.
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
told AS (
    SELECT events, events / rows_clean * rows_quarantined AS broken
    FROM brought JOIN latest USING (batch_id) WHERE rows_clean > 0
)
SELECT sum(broken) / sum(events + broken) FROM told
"""


def quarantined_share(lake: Lake, start: datetime, end: datetime, version: int | None) -> float | None:
    """Return which share of the rows lies in quarantine, of those that came with the events of [start, end).

    Args:
        lake: where `events` and `batches` are.
        start: the first moment.
        end: the moment after the last.
        version: of `events`; None = the newest.

    Returns:
        A share from 0 to 1; None where no batch tells.
    """
    tables = {EVENTS: lake.dataset(EVENTS, version), BATCHES: lake.dataset(BATCHES)}
    if None in tables.values():
        return None
    within = {"start": start, "end": end, "first_day": start.date(), "last_day": end.date()}
    with open_tables(**tables) as connection:
        row = connection.execute(_SHARE, within).fetchone()
    return None if row is None or row[0] is None else float(row[0])
