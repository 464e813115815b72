"""The share of quarantined rows in the batches that brought the evaluation sessions."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from lastaisle.lake.tables import BATCHES, BATCHES_SCHEMA, EVENTS
from lastaisle.lake.workspace import open_tables

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

# A file that grew or was repaired comes again as a whole. Its sound rows are then duplicates, and its broken
# rows are quarantined again. So a batch goes on from the batch before if it repeats all sound rows of that
# batch. `still` counts those broken rows of a batch that no later batch of the file repaired, and `broken`
# counts those of them that are new in this batch.
#
# Broken rows have no reliable time. So the query counts a batch's broken rows in proportion to its clean rows
# in the period. A batch without a clean row counts with the clean rows of the batch before it, of the same
# source; without one, of the batch after it; without one, of another source.
_SHARE = """
WITH brought AS (
    SELECT batch_id, count(*) AS events FROM events
    WHERE event_date BETWEEN $first_day AND $last_day AND occurred_at >= $start AND occurred_at < $end
    GROUP BY batch_id
),
told AS (
    SELECT batch_id, source, source_file, part, started_at, rows_clean, rows_quarantined,
        coalesce(rows_duplicate, 0) AS repeated
    FROM (SELECT * FROM batches UNION ALL BY NAME SELECT * FROM no_batches)
),
linked AS (
    SELECT *, coalesce(repeated >= lag(rows_clean + repeated) OVER file, false) AS goes_on
    FROM told WINDOW file AS (PARTITION BY source_file, part ORDER BY started_at)
),
grown AS (
    SELECT *, count(*) FILTER (WHERE NOT goes_on) OVER file AS contents
    FROM linked WINDOW file AS (PARTITION BY source_file, part ORDER BY started_at)
),
unrepaired AS (
    SELECT *, min(rows_quarantined) OVER (
        PARTITION BY source_file, part, contents ORDER BY started_at
        ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS still
    FROM grown
),
placed AS (
    SELECT still - coalesce(lag(still) OVER (PARTITION BY source_file, part, contents ORDER BY started_at), 0)
            AS broken,
        CASE WHEN rows_clean > 0 THEN batch_id END AS clean_batch,
        coalesce(
            last_value(clean_batch IGNORE NULLS) OVER so_far,
            first_value(clean_batch IGNORE NULLS) OVER from_here,
            last_value(clean_batch IGNORE NULLS) OVER all_so_far,
            first_value(clean_batch IGNORE NULLS) OVER all_from_here
        ) AS batch_id
    FROM unrepaired
    WINDOW so_far AS (PARTITION BY source ORDER BY started_at, source_file, part ROWS UNBOUNDED PRECEDING),
        from_here AS (PARTITION BY source ORDER BY started_at, source_file, part
            ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING),
        all_so_far AS (ORDER BY started_at, source_file, part ROWS UNBOUNDED PRECEDING),
        all_from_here AS (ORDER BY started_at, source_file, part
            ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)
),
judged AS (SELECT batch_id, sum(broken) AS broken FROM placed GROUP BY batch_id),
counted AS (
    SELECT events, events / rows_clean * broken AS broken
    FROM brought JOIN told USING (batch_id) JOIN judged USING (batch_id) WHERE rows_clean > 0
)
SELECT sum(broken) / sum(events + broken) FROM counted
"""


def quarantined_share(lake: Lake, start: datetime, end: datetime, version: int | None) -> float | None:
    """Return the share of quarantined rows among the rows that came with the events of [start, end).

    A file that grew is judged by its new rows, a repaired file by its last state, and a file without a single
    sound row counts with all of its rows.

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
    tables["no_batches"] = BATCHES_SCHEMA.empty_table()  # names the columns that an older lake lacks
    within = {"start": start, "end": end, "first_day": start.date(), "last_day": end.date()}
    with open_tables(**tables) as connection:
        row = connection.execute(_SHARE, within).fetchone()
    return None if row is None or row[0] is None else float(row[0])
