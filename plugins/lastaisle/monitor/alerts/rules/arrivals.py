"""When sources brought rows, by the clock of ingestion: the times of events tell nothing of a backfill."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lastaisle.lake.tables import (
    BATCHES,
    BATCHES_SCHEMA,
    CATALOGUE_BATCHES,
    CATALOGUE_BATCHES_SCHEMA,
    EXPOSURE_BATCHES,
    EXPOSURE_BATCHES_SCHEMA,
)
from lastaisle.lake.workspace import open_tables
from lastaisle.telemetry.shown import without_password

if TYPE_CHECKING:
    from lastaisle.lake.reader import LakeReader

ARRIVAL_TABLES: Final = (BATCHES, EXPOSURE_BATCHES, CATALOGUE_BATCHES)
PAST: Final = timedelta(days=28)
"""How much of the past tells what is usual for a source."""

_SCHEMAS: Final = dict(
    zip(
        ARRIVAL_TABLES,
        (BATCHES_SCHEMA, EXPOSURE_BATCHES_SCHEMA, CATALOGUE_BATCHES_SCHEMA),
        strict=True,
    )
)
# By hand, a source is named by its place on one day. In Airflow it has placeholders instead of the day.
_SOURCE: Final = r"regexp_replace(source, '\d{4}-\d{2}-\d{2}(T\d{2})?|\b\d{13}\b', '{time}', 'g')"
_PLACEHOLDERS: Final = r"regexp_replace(" + _SOURCE + r", '\{(day|hour|day_ms)\}', '{time}', 'g')"
_ARRIVALS: Final = f"""
WITH told AS (SELECT * FROM batches UNION ALL BY NAME SELECT * FROM no_batches)
SELECT {_PLACEHOLDERS} AS source, max(finished_at) AS at,
    sum(rows_in)::BIGINT AS rows_in, sum(rows_quarantined)::BIGINT AS rows_quarantined,
    max($NEWEST) AS newest
FROM told
WHERE finished_at >= $since AND finished_at <= $until AND rows_in > 0 AND source IS NOT NULL
GROUP BY 1, time_bucket(INTERVAL 5 MINUTE, finished_at) ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Arrival:
    """Rows that came within five minutes from one source.

    Attributes:
        at: when their last batch was stored (UTC).
        rows_in: the rows.
        rows_quarantined: the rows that broke a rule.
        newest: the time of the newest event; None if no row was sound, and for a catalogue.
    """

    at: datetime
    rows_in: int
    rows_quarantined: int
    newest: datetime | None


@dataclass(frozen=True)
class Source:
    """A source of rows with its arrivals, the oldest first.

    Attributes:
        name: the format and the place, with {time} for a day or an hour.
        table: the table of its batches.
        arrivals: its arrivals.
    """

    name: str
    table: str
    arrivals: tuple[Arrival, ...]


def read_sources(lake: LakeReader, now: datetime, past: timedelta = PAST) -> list[Source]:
    """Return every source that brought rows in a time before now, with its arrivals in this time."""
    sources = []
    for table in ARRIVAL_TABLES:
        dataset = lake.dataset(table)
        if dataset is None:
            continue
        newest = "newest" if table != CATALOGUE_BATCHES else "NULL::TIMESTAMPTZ"
        with open_tables(batches=dataset, no_batches=_SCHEMAS[table].empty_table()) as connection:
            within = {"since": now - past, "until": now}
            found = connection.sql(_ARRIVALS.replace("$NEWEST", newest), params=within)
            rows = found.to_arrow_table().to_pylist()
        by_source = defaultdict[str, list[dict[str, Any]]](list)
        for row in rows:
            by_source[row.pop("source")].append(row)
        sources += [
            Source(without_password(name), table, tuple(Arrival(**row) for row in of_source))
            for name, of_source in by_source.items()
        ]
    return sources
