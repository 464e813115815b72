"""What one run of ingestion covers: a day or an hour of logs, named by its partition key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lastaisle.errors import LastaisleError
from lastaisle.kafka.address import is_kafka
from lastaisle.settings import Settings, SettingsError
from lastaisle_airflow.runtime.assets import BACKLOG


class PartitionError(LastaisleError):
    """A run without a partition key, or with one that names neither a day nor an hour."""

    exit_code = 2


@dataclass(frozen=True)
class Cadence:
    """How often ingestion runs.

    Attributes:
        cron: when a run starts: as soon as its partition is over.
        key_format: how its key is written; the keys sort as their times do.
        length: how much time one partition covers.
    """

    cron: str
    key_format: str
    length: timedelta


CADENCES = {
    "day": Cadence("0 0 * * *", "%Y-%m-%d", timedelta(days=1)),
    "hour": Cadence("0 * * * *", "%Y-%m-%dT%H", timedelta(hours=1)),
}


def cadence(settings: Settings) -> Cadence:
    """Return the cadence that LASTAISLE_PARTITION names."""
    return CADENCES[settings.sources.partition]


def schedule(settings: Settings) -> Any:
    """Return when ingestion runs: after each partition of files; for Kafka every few minutes.

    A run that leaves messages behind announces the backlog, and so the next one follows at once.
    """
    from airflow.sdk import AssetOrTimeSchedule, CronPartitionTimetable, CronTriggerTimetable

    if is_kafka(settings.sources.address):
        timetable = CronTriggerTimetable(settings.sources.drain_cron, timezone="UTC")
        return AssetOrTimeSchedule(timetable=timetable, assets=BACKLOG)
    found = cadence(settings)
    return CronPartitionTimetable(found.cron, timezone="UTC", run_offset=-1, key_format=found.key_format)


def by_day(asset: Any, settings: Settings) -> Any:
    """Return a schedule with a run for the day of each partition of an asset that is announced.

    Not by a roll-up (`RollupMapper`): that waits for all hours of the day, so an hour without logs would hold
    the day for ever, and so would one that is announced again, alone (Airflow 3.3.2).
    """
    from airflow.sdk import PartitionedAssetTimetable, StartOfDayMapper

    mapper = StartOfDayMapper(input_format=cadence(settings).key_format)
    return PartitionedAssetTimetable(assets=asset, default_partition_mapper=mapper)


def learning(asset: Any, settings: Settings) -> Any:
    """Return when an incremental training runs: for each partition, or for the day of each.

    Raises:
        SettingsError: LASTAISLE_LEARN_EVERY asks for hours where whole days are ingested.
    """
    from airflow.sdk import PartitionedAssetTimetable

    every = settings.learning.every or settings.sources.partition
    if every == settings.sources.partition:
        return PartitionedAssetTimetable(assets=asset)
    if every != "day":
        raise SettingsError(
            f"LASTAISLE_LEARN_EVERY should be day or, with LASTAISLE_PARTITION=hour, hour; received {every!r}"
        )
    return by_day(asset, settings)


def unfinished(key: str, newest: datetime, settings: Settings) -> str | None:
    """Say why a day whose hours come one by one is not over yet; None = it is, or partitions are days.

    Args:
        key: the day's, or an hour's, which is over since it was announced.
        newest: the moment after the newest event.
        settings: say how long a partition is.
    """
    start, end = interval(key)
    length = cadence(settings).length
    if end - start == length or newest > end - length:
        return None
    return f"{key} is not over yet: the newest event is of {newest:%Y-%m-%dT%H:%M}"


def keys_of_hours(hours: Iterable[str], settings: Settings) -> list[str]:
    """Return the keys of the partitions in which these hours (2025-10-09T14) lie, the oldest first."""
    characters = len("2025-10-09" if settings.sources.partition == "day" else "2025-10-09T14")
    return sorted({hour[:characters] for hour in hours})


def completed(before: datetime | None, after: datetime, first: str, settings: Settings) -> list[str]:
    """Return the keys of the partitions that a watermark passed on its way.

    Args:
        before: the watermark before; None if there was none.
        after: the watermark now.
        first: the oldest key that may be returned where there was no watermark before.
        settings: say how long a partition is.
    """
    found = cadence(settings)
    start, _ = interval(first if before is None else before.astimezone(UTC).strftime(found.key_format))
    keys = []
    while start + found.length <= after:
        keys.append(start.strftime(found.key_format))
        start += found.length
    return keys


def interval(key: str) -> tuple[datetime, datetime]:
    """Return the first moment (UTC) of a partition and the first moment after it.

    Raises:
        PartitionError: the key is neither like 2025-10-09 nor like 2025-10-09T14.
    """
    for each in CADENCES.values():
        try:
            start = datetime.strptime(key, each.key_format).replace(tzinfo=UTC)
        except ValueError:
            continue
        return start, start + each.length
    raise PartitionError(f"a partition key should be like 2025-10-09 or 2025-10-09T14, received {key!r}")


def source_of(key: str, settings: Settings) -> str:
    """Return where the logs of one partition lie: LASTAISLE_SOURCE with its placeholders filled in."""
    start, _ = interval(key)
    return settings.source_at(start)


def partition_of(context: Mapping[str, Any]) -> str:
    """Return the partition key of the run that a task belongs to.

    Raises:
        PartitionError: the run was triggered by hand without a key.
    """
    key = context["dag_run"].partition_key
    if not key:
        raise PartitionError(
            f"run {context['dag_run'].run_id} has no partition key; trigger it with one, like 2025-10-09"
        )
    return str(key)
