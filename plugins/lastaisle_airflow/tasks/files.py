"""Find the files that a run of `ingest_sessions` takes in."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.errors import SourceError
from lastaisle.settings import Settings
from lastaisle_airflow.runtime.partitions import interval, source_of
from lastaisle_airflow.runtime.stores import open_lake, source_options

# Functions import the pipeline inside: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)
HOUR = timedelta(hours=1)
SETTLE_ATTEMPTS = 6


def files_of(key: str, settings: Settings, *, look_back: bool = False) -> list[str]:
    """Return the addresses of a partition's files, and of files uploaded late into earlier partitions.

    The partition's own files are listed again after a run took them in, so that a run that died can be
    finished.

    Args:
        key: the partition's key.
        settings: settings with the place of the logs and the hours to look back.
        look_back: whether to list files of earlier partitions.

    Raises:
        AirflowSkipException: there are no files yet.
    """
    late = _late(key, settings) if look_back else []
    try:
        return [*late, *_settled(source_of(key, settings), settings.sources.settle_seconds)]
    except SourceError as no_files:
        if late:
            return late
        raise AirflowSkipException(str(no_files)) from no_files


def _settled(source: str, settle_seconds: float) -> list[str]:
    """Return the files at a place, after none of them has changed for `settle_seconds`."""
    from lastaisle.ingest.files import list_files

    plain, options = source_options(source)
    for attempt in range(SETTLE_ATTEMPTS):
        files = list_files(plain, options)
        if attempt == SETTLE_ATTEMPTS - 1 or not any(file.changed_within(settle_seconds) for file in files):
            break
        log.info("Files at %s were changed just now; waiting until they are complete", plain)
        time.sleep(settle_seconds)
    if not files:
        raise SourceError(f"no files at {plain}")
    return [file.url for file in files]


def _late(key: str, settings: Settings) -> list[str]:
    """Return the files in the places of earlier partitions that no run has taken in yet."""
    from lastaisle.ingest.listing import new_files, places

    start, lookback = interval(key)[0], timedelta(hours=settings.sources.lookback_hours)
    before = places(settings.source_at, start - HOUR, lookback - HOUR) if lookback >= HOUR else []
    sources = [source_options(place) for place in before if place != settings.source_at(start)]
    if not sources:
        return []
    try:
        late_files = new_files(
            [plain for plain, _ in sources],
            open_lake(settings),
            format_name=settings.sources.format,
            options=sources[0][1],
            settle=timedelta(seconds=settings.sources.settle_seconds),
        )
    except SourceError as no_files:
        log.info("No file was uploaded late: %s", no_files)
        return []
    return [file.url for file in late_files]
