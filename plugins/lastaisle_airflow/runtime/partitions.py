"""Partitions: the days or hours of logs that runs of ingestion cover, each named by a key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.settings import Settings


class PartitionError(LastaisleError):
    """A run has no partition key, or a key that names neither a day nor an hour."""

    exit_code = ExitCode.WRONG_REQUEST


@dataclass(frozen=True)
class Cadence:
    """The rhythm of ingestion.

    Attributes:
        cron: the moments when runs start: a run starts at the end of its partition.
        key_format: format of a partition's key; keys sort in the order of time.
        length: the time that one partition covers.
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


def unfinished(key: str, newest: datetime, settings: Settings) -> str | None:
    """Return why a day that is ingested hour by hour is not over yet; None if the day is over.

    Args:
        key: key of a day or of an hour. An announced hour is always over, and so is an announced day if
            whole days are ingested.
        newest: the moment after the newest event.
        settings: settings with the length of a partition.
    """
    start, end = interval(key)
    length = cadence(settings).length
    if end - start == length or newest > end - length:
        return None
    return f"{key} is not over yet: the newest event came at {newest:%Y-%m-%dT%H:%M}"


def keys_of_hours(hours: Iterable[str], settings: Settings) -> list[str]:
    """Return the keys of the partitions in which these hours (2025-10-09T14) lie, the oldest first."""
    characters = len("2025-10-09" if settings.sources.partition == "day" else "2025-10-09T14")
    return sorted({hour[:characters] for hour in hours})


def completed(before: datetime | None, after: datetime, first: str, settings: Settings) -> list[str]:
    """Return the keys of the partitions whose end a watermark has passed.

    Args:
        before: the watermark before a run; None if there was no watermark.
        after: the watermark after the run.
        first: the oldest key that may be returned where `before` is None.
        settings: settings with the length of a partition.
    """
    chosen = cadence(settings)
    start, _ = interval(first if before is None else before.astimezone(UTC).strftime(chosen.key_format))
    keys = []
    while start + chosen.length <= after:
        keys.append(start.strftime(chosen.key_format))
        start += chosen.length
    return keys


def interval(key: str) -> tuple[datetime, datetime]:
    """Return the first moment (UTC) of a partition and the first moment after it.

    Raises:
        PartitionError: the key is neither like 2025-10-09 nor like 2025-10-09T14.
    """
    for known_cadence in CADENCES.values():
        try:
            start = datetime.strptime(key, known_cadence.key_format).replace(tzinfo=UTC)
        except ValueError:
            continue
        return start, start + known_cadence.length
    raise PartitionError(f"a partition key should be like 2025-10-09 or 2025-10-09T14, received {key!r}")


def source_of(key: str, settings: Settings) -> str:
    """Return the place of one partition's logs: LASTAISLE_SOURCE with its placeholders filled in."""
    start, _ = interval(key)
    return settings.source_at(start)


def partition_of(dag_run: Any) -> str:
    """Return the partition key of a DAG run.

    Raises:
        PartitionError: the run was triggered by hand without a key.
    """
    if not dag_run.partition_key:
        raise PartitionError(
            f"run {dag_run.run_id} has no partition key; trigger it with one, like 2025-10-09"
        )
    return str(dag_run.partition_key)
