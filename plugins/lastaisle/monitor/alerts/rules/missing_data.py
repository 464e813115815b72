"""The rule missing_data: the logs of a day or an hour did not come, while those before it came in time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import Field

from lastaisle.kafka.address import is_kafka
from lastaisle.lake.tables import BATCHES, BATCHES_SCHEMA
from lastaisle.lake.workspace import open_tables
from lastaisle.monitor.alerts.context import Context, RuleOptions
from lastaisle.monitor.alerts.model import MISSING_DATA, Evidence, Finding
from lastaisle.monitor.alerts.rules.words import span
from lastaisle.telemetry.shown import utc

_ARRIVED: Final = """
WITH told AS (SELECT * FROM batches UNION ALL BY NAME SELECT * FROM no_batches)
SELECT hour, min(finished_at) AS first FROM (
    SELECT unnest(hours) AS hour, finished_at FROM told WHERE finished_at >= $since AND finished_at <= $until
) GROUP BY hour
"""
_HOUR: Final = "%Y-%m-%dT%H"
_FORMATS: Final = {"day": ("%Y-%m-%d", timedelta(days=1)), "hour": (_HOUR, timedelta(hours=1))}
_PAST: Final = timedelta(days=35)
_LEAST_LIVE: Final = 3


class MissingDataOptions(RuleOptions):
    """The limits of missing_data."""

    grace_hours: float = Field(
        default=3.0,
        ge=0,
        le=720,
        description="How long after its end a day or an hour may have no logs.",
    )
    live_hours: float = Field(
        default=48.0,
        gt=0,
        le=720,
        description="Logs that came later than this after their end are a backfill: they promise no others.",
    )
    look_back_days: int = Field(
        default=7,
        ge=1,
        le=28,
        description="Older days and hours are no longer missed.",
    )


def check(context: Context[MissingDataOptions]) -> list[Finding]:
    """Find the days or hours without logs.

    A partition is expected if at least three partitions before it came live, that is shortly after their end
    by the clock of ingestion. So a backfill of the past, or a simulated shop, expects nothing. An hour is not
    expected if the same hour brought nothing on the days before, and a day not if the same weekday did not.
    In its first week each weekday is expected, and on its first day no hour.
    An alert that Airflow reported stays until its partition has logs.
    """
    arrived = _arrived(context)
    missing = {**dict(_missing(context, arrived)), **_still_missing(context, arrived)}
    return list(missing.values())


def _arrived(context: Context[MissingDataOptions]) -> dict[str, datetime]:
    """Return when the first rows of each partition came, for the arrivals of the last weeks."""
    dataset = context.lake.dataset(BATCHES)
    if dataset is None:
        return {}
    with open_tables(batches=dataset, no_batches=BATCHES_SCHEMA.empty_table()) as connection:
        within = {"since": context.now - _PAST, "until": context.now}
        rows = connection.sql(_ARRIVED, params=within).to_arrow_table().to_pylist()
    length = len("2026-11-24" if context.settings.sources.partition == "day" else "2026-11-24T05")
    first: dict[str, datetime] = {}
    for row in rows:
        for key in {row["hour"][:length], row["hour"]}:
            first[key] = min(row["first"], first.get(key, row["first"]))
    return first


def _missing(
    context: Context[MissingDataOptions], arrived: Mapping[str, datetime]
) -> Iterator[tuple[str, Finding]]:
    form, length = _FORMATS[context.settings.sources.partition]
    options, now = context.options, context.now
    late = timedelta(hours=options.live_hours)
    pauses = {}
    for key, first in arrived.items():
        start = _start(key, form)
        if start is not None and start <= first <= start + length + late:
            pauses[start] = first - start - length
    if len(pauses) < _LEAST_LIVE or len({arrived[start.strftime(form)] for start in pauses}) < _LEAST_LIVE:
        return
    usual = sorted(pauses.values())[-max(1, len(pauses) // 20)]  # but for the slowest twentieth
    allowed = max(timedelta(hours=options.grace_hours), 1.5 * usual)
    start = max(min(pauses), now - timedelta(days=options.look_back_days))
    start = datetime.strptime(start.strftime(form), form).replace(tzinfo=UTC)
    known = {_start(key, form) for key in arrived}
    while start + length + allowed < now:
        if start not in known and start > min(pauses) and _is_usual(start, length, known, min(pauses)):
            key = start.strftime(form)
            yield key, _finding(context, key, start + length, allowed)
        start += length


def _is_usual(start: datetime, length: timedelta, known: set[datetime | None], first_live: datetime) -> bool:
    """Tell whether the same hour of past days, or the same weekday of past weeks, had logs."""
    step, number = (timedelta(days=7), 4) if length.days else (timedelta(days=1), 7)
    past = [start - step * count for count in range(1, number + 1)]
    past = [one for one in past if one >= first_live]
    return any(one in known for one in past) or (not past and length.days > 0)


def _still_missing(
    context: Context[MissingDataOptions], arrived: Mapping[str, datetime]
) -> dict[str, Finding]:
    """Return the open alerts whose partition still has no logs."""
    return {
        alert.scope["partition"]: alert
        for alert in context.open
        if "partition" in alert.scope and alert.scope["partition"] not in arrived
    }


def _finding(context: Context[MissingDataOptions], key: str, end: datetime, allowed: timedelta) -> Finding:
    source = "" if is_kafka(context.settings.sources.address) else f" at {context.settings.sources.address}"
    query = f"SELECT source_file, finished_at FROM batches WHERE list_contains(hours, '{key}')"
    if len(key) == len("2026-11-24"):
        query = f"SELECT source_file, finished_at FROM batches WHERE hours::VARCHAR LIKE '%{key}T%'"
    return Finding(
        MISSING_DATA,
        "warning",
        {"partition": key},
        f"No logs of {key} came{source} by {utc(end + allowed)}, {span(allowed)} after its end.",
        end,
        (Evidence(f"The batches with rows of {key}", table=BATCHES, query=query),),
    )


def _start(key: str, form: str) -> datetime | None:
    """Return the first moment of a partition; None for a key of the other kind."""
    try:
        return datetime.strptime(key, form).replace(tzinfo=UTC)
    except ValueError:
        return None
