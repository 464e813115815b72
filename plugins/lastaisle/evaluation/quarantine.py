"""The share of quarantined and refused rows among the rows that came with the evaluation sessions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lastaisle.lake.tables import (
    BATCHES,
    BATCHES_SCHEMA,
    EVENTS,
    FILES,
    FILES_SCHEMA,
    REFUSED_FILES,
    REFUSED_FILES_SCHEMA,
)
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
#
# A file that was refused as a whole counts as a batch without a clean row. Nobody knows its rows, so it
# counts with the mean rows of the files of its source; without any, of all files. It counts no longer when a
# file of its address was ingested later as events. The table files holds files of other tables, too.
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
judged AS (
    SELECT batch_id, source, source_file, part, started_at, rows_clean, false AS is_refused,
        still - coalesce(lag(still) OVER (PARTITION BY source_file, part, contents ORDER BY started_at), 0)
            AS broken
    FROM unrepaired
),
sized AS (SELECT source, sum(rows_clean + broken) AS rows FROM judged GROUP BY source, source_file),
refused AS (
    SELECT url, min_by(source, began_at) AS source, min(began_at) AS began_at FROM refused_files AS refusal
    WHERE NOT EXISTS (
            FROM files WHERE files.url = refusal.url AND taken_in_at > refused_at AND (
                files.format = refusal.format
                OR EXISTS (FROM told WHERE list_contains(files.batch_ids, told.batch_id))))
        AND (state <> '' OR NOT EXISTS (FROM told WHERE source_file = refusal.url AND started_at > began_at))
    GROUP BY url
),
all_batches AS (
    FROM judged UNION ALL BY NAME
    SELECT source, url AS source_file, -1 AS part, began_at AS started_at, 0 AS rows_clean,
        true AS is_refused, (SELECT coalesce(avg(rows) FILTER (sized.source = refused.source), avg(rows))
            FROM sized) AS broken
    FROM refused
),
placed AS (
    SELECT broken, is_refused,
        CASE WHEN rows_clean > 0 THEN batch_id END AS clean_batch,
        coalesce(
            last_value(clean_batch IGNORE NULLS) OVER so_far,
            first_value(clean_batch IGNORE NULLS) OVER from_here,
            last_value(clean_batch IGNORE NULLS) OVER all_so_far,
            first_value(clean_batch IGNORE NULLS) OVER all_from_here
        ) AS batch_id
    FROM all_batches
    WINDOW so_far AS (PARTITION BY source ORDER BY started_at, source_file, part ROWS UNBOUNDED PRECEDING),
        from_here AS (PARTITION BY source ORDER BY started_at, source_file, part
            ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING),
        all_so_far AS (ORDER BY started_at, source_file, part ROWS UNBOUNDED PRECEDING),
        all_from_here AS (ORDER BY started_at, source_file, part
            ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)
),
summed AS (
    SELECT batch_id, sum(broken) AS broken, count(*) FILTER (is_refused) AS refused_files
    FROM placed GROUP BY batch_id
),
counted AS (
    SELECT events, events / rows_clean * broken AS broken, refused_files
    FROM brought JOIN told USING (batch_id) JOIN summed USING (batch_id) WHERE rows_clean > 0
)
SELECT sum(broken) / sum(events + broken), coalesce(sum(refused_files), 0) FROM counted
"""


@dataclass(frozen=True)
class MissingRows:
    """What is missing among the rows that came with some events.

    Attributes:
        share: the share of the rows that are in quarantine, or in a file that was refused, from 0 to 1; None
            if no batch has the counts.
        refused_files: the number of these refused files.
    """

    share: float | None = None
    refused_files: int = 0


def missing_rows(lake: Lake, start: datetime, end: datetime, version: int | None) -> MissingRows:
    """Return the share of the rows that are missing among the rows that came with the events of [start, end).

    A file that grew is judged by its new rows, a repaired file by its last state, and a file without a single
    sound row counts with all of its rows. A file that was refused as a whole counts with the mean rows of the
    files of its source.

    Args:
        lake: the lake with the tables `events`, `batches`, `files` and `refused_files`.
        start: the first moment.
        end: the moment after the last.
        version: version of `events`; None = the newest.
    """
    tables = {EVENTS: lake.dataset(EVENTS, version), BATCHES: lake.dataset(BATCHES)}
    if None in tables.values():
        return MissingRows()
    tables["no_batches"] = BATCHES_SCHEMA.empty_table()  # names the columns that an older lake lacks
    for name, schema in ((FILES, FILES_SCHEMA), (REFUSED_FILES, REFUSED_FILES_SCHEMA)):
        tables[name] = lake.dataset(name) or schema.empty_table()
    within = {"start": start, "end": end, "first_day": start.date(), "last_day": end.date()}
    with open_tables(**tables) as connection:
        row = connection.execute(_SHARE, within).fetchone()
    if row is None or row[0] is None:
        return MissingRows()
    return MissingRows(float(row[0]), int(row[1]))
