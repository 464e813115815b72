"""The rule personal_data: a source sends e-mail addresses and the like in fields where none belongs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from pydantic import Field

from lastaisle.lake.tables import (
    BATCHES,
    BATCHES_SCHEMA,
    CATALOGUE_BATCHES,
    CATALOGUE_BATCHES_SCHEMA,
    EXPOSURE_BATCHES,
    EXPOSURE_BATCHES_SCHEMA,
)
from lastaisle.lake.workspace import open_tables
from lastaisle.monitor.alerts.context import Context, RuleOptions
from lastaisle.monitor.alerts.model import PERSONAL_DATA, Evidence, Finding
from lastaisle.telemetry.shown import one_line, utc, without_password

_SCHEMAS: Final = {
    BATCHES: BATCHES_SCHEMA,
    EXPOSURE_BATCHES: EXPOSURE_BATCHES_SCHEMA,
    CATALOGUE_BATCHES: CATALOGUE_BATCHES_SCHEMA,
}
_MOST_NAMES: Final = 5
_FINDS: Final = """
WITH told AS (SELECT * FROM batches UNION ALL BY NAME SELECT * FROM no_batches),
finds AS (
    SELECT coalesce(source, 'unknown') AS source, finished_at, found.key AS name, found.value::BIGINT AS rows
    FROM told, json_each(personal_data::JSON) AS found
    WHERE finished_at >= $since AND finished_at <= $until AND personal_data IS NOT NULL
)
SELECT source, name, sum(rows)::BIGINT AS rows, min(finished_at) AS since FROM finds
GROUP BY source, name ORDER BY source, rows DESC, name
"""
_QUERY: Final = (
    "SELECT source, finished_at, personal_data FROM {table} WHERE finished_at >= TIMESTAMPTZ '{since}' "
    "AND personal_data <> '{{}}' ORDER BY finished_at DESC"
)


class PersonalDataOptions(RuleOptions):
    """The limits of personal_data."""

    hours: float = Field(
        default=24.0,
        gt=0,
        le=336,
        description="The arrivals that are looked at.",
    )
    least_rows: int = Field(
        default=1,
        ge=1,
        description="Fewer rows of a source than this are no alert.",
    )


def check(context: Context[PersonalDataOptions]) -> list[Finding]:
    """Find the sources of whose newest rows some held personal data; no value of a row is told."""
    since = context.now - timedelta(hours=context.options.hours)
    findings = []
    for table, schema in _SCHEMAS.items():
        dataset = context.lake.dataset(table)
        if dataset is None:
            continue
        with open_tables(batches=dataset, no_batches=schema.empty_table()) as connection:
            asked = connection.sql(_FINDS, params={"since": since, "until": context.now})
            rows = asked.to_arrow_table().to_pylist()
        for source in dict.fromkeys(row["source"] for row in rows):
            of_source = [row for row in rows if row["source"] == source]
            if sum(row["rows"] for row in of_source) >= context.options.least_rows:
                findings.append(_finding(table, without_password(source), of_source))
    return findings


def _finding(table: str, source: str, rows: list[dict[str, Any]]) -> Finding:
    begin = min(row["since"] for row in rows)
    named = [f"{one_line(row['name'])} {row['rows']:,}" for row in rows[:_MOST_NAMES]]
    more = [f"and {len(rows) - _MOST_NAMES} more"] if len(rows) > _MOST_NAMES else []
    return Finding(
        PERSONAL_DATA,
        "warning",
        {"source": source},
        f"Rows of source {source} that came since {utc(begin)} hold personal data where none belongs, by "
        f"field and kind: {', '.join([*named, *more])}. The values were left out, or the rows quarantined.",
        begin,
        (
            Evidence(
                "The finds by batch", table=table, query=_QUERY.format(table=table, since=begin.isoformat())
            ),
        ),
    )
