"""How sound the feed was that brought the newest sessions: which share of its rows lies in quarantine."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from lastaisle.lake.tables import BATCHES, EVENTS

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

# When a batch's broken rows were, nobody knows: they are dealt out over the days as its clean ones are. Of a
# file that came again, as mended ones do, the latest batch counts. Long windows have no day of any weight.
_SHARE = """
WITH newest AS (
    SELECT batch_id, event_date, count(*) AS events FROM events
    WHERE event_date BETWEEN $first_day AND $last_day AND occurred_at >= $start AND occurred_at < $end
    GROUP BY ALL
),
latest AS (
    SELECT * FROM batches
    QUALIFY 1 = row_number() OVER (PARTITION BY source_file, part ORDER BY started_at DESC)
),
days AS (
    SELECT event_date, sum(events / rows_clean * rows_quarantined) AS broken, sum(events) + broken AS total
    FROM newest JOIN latest USING (batch_id) WHERE rows_clean > 0
    GROUP BY event_date
)
SELECT greatest(
    (SELECT sum(broken) / sum(total) FROM days),
    (SELECT max(broken / total) FROM days WHERE total >= $weight * (SELECT sum(total) FROM days))
)
"""
_WEIGHT = 0.1  # share of the rows from which on a day is judged alone


def quarantined_share(lake: Lake, start: datetime, end: datetime, version: int | None) -> float | None:
    """Return which share of the rows lies in quarantine, of those that came with the events of [start, end).

    The share of all, or of the worst day, if that is greater and the day has a tenth of the rows.

    Args:
        lake: where `events` and `batches` are.
        start: the first moment.
        end: the moment after the last.
        version: of `events`; None = the newest.

    Returns:
        A share from 0 to 1; None where no batch tells.
    """
    import duckdb

    tables = {EVENTS: lake.dataset(EVENTS, version), BATCHES: lake.dataset(BATCHES)}
    if None in tables.values():
        return None
    within = {
        "start": start,
        "end": end,
        "first_day": start.date(),
        "last_day": end.date(),
        "weight": _WEIGHT,
    }
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, table in tables.items():
            connection.register(name, table)
        row = connection.execute(_SHARE, {**within, "weight": _WEIGHT}).fetchone()
    return None if row is None or row[0] is None else float(row[0])
