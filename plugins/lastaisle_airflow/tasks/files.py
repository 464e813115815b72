"""Find the files that a run of `ingest_sessions` takes in."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from lastaisle.errors import SourceError
from lastaisle.settings import Settings
from lastaisle_airflow.runtime.notes import note, shortened, skipped
from lastaisle_airflow.runtime.partitions import interval, source_of
from lastaisle_airflow.runtime.stores import open_lake, source_options
from lastaisle_airflow.tasks import sentences

if TYPE_CHECKING:
    from lastaisle.ingest.reading.files import FoundFiles

# Functions import the pipeline inside: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)
HOUR = timedelta(hours=1)
SETTLE_ATTEMPTS = 6


class MissingLogsError(SourceError):
    """A partition has no logs, and LASTAISLE_MISSING_LOGS is fail.

    Args:
        key: the partition's key.
        nothing: where nothing was found.
    """

    def __init__(self, key: str, nothing: str) -> None:
        super().__init__(
            f"{nothing}. Upload the logs of {key}; if this shop has days or hours without logs, set "
            "LASTAISLE_MISSING_LOGS=skip"
        )


def report_missing(key: str, nothing: str, settings: Settings) -> None:
    """Open the alert that a partition has no logs, whatever the state of its run will be.

    The rules of alerts resolve it when the logs have come.

    Args:
        key: the partition's key.
        nothing: where nothing was found.
        settings: the place of the lake.
    """
    from lastaisle.monitor.alerts.log import report
    from lastaisle.monitor.alerts.model import MISSING_DATA, Evidence, Finding

    told = sentences.of_missing_logs(key)
    note(told, warn=True)
    log.info("Where the logs should be: %s", nothing)
    scope, end = {"partition": key}, interval(key)[1]
    seen = Evidence("Where the run of ingest_sessions looked for logs: " + shortened(nothing))
    report(open_lake(settings), Finding(MISSING_DATA, "warning", scope, f"There are {told}.", end, (seen,)))


@dataclass(frozen=True)
class RunFiles:
    """The files that one run takes in, and what it does not read.

    Attributes:
        urls: the addresses of the files.
        failed: the error of each folder that cannot be listed and of each name that cannot be used.
        passed_over: why each other file or folder at the run's own place is passed over.
        missing: why the run's own partition has no logs; empty if it has some.
    """

    urls: list[str]
    failed: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)
    missing: str = ""


def files_of(key: str, settings: Settings, *, look_back: bool = False) -> RunFiles:
    """Return the addresses of a partition's files, and of files uploaded late into earlier partitions.

    The partition's own files are listed again after a run took them in, so that a run that died can be
    finished.

    Args:
        key: the partition's key.
        settings: the place of the logs, the hours to look back, and whether logs may be missing.
        look_back: whether to list files of earlier partitions.

    Raises:
        AirflowSkipException: there is no content at all, and LASTAISLE_MISSING_LOGS is skip.
        SourceError: there is no file that can be read, or the place cannot be reached.
    """
    from lastaisle.ingest.reading.files import NothingFoundError

    late = _late(key, settings) if look_back else []
    try:
        own = _settled(source_of(key, settings), settings.sources.settle_seconds)
    except NothingFoundError as nothing:
        if not nothing.is_missing:
            if not late:
                raise
            return RunFiles(late, {source_of(key, settings): str(nothing)}, nothing.passed_over)
        report_missing(key, str(nothing), settings)
        if late:
            return RunFiles(late, passed_over=nothing.passed_over, missing=str(nothing))
        if settings.sources.missing_logs == "skip":
            raise skipped(str(nothing)) from nothing
        raise MissingLogsError(key, str(nothing)) from nothing
    urls = [*late, *(file.url for file in own.files)]
    if not urls:
        raise SourceError("; ".join(f"{address}: {error}" for address, error in own.failed.items()))
    return RunFiles(urls, own.failed, own.passed_over)


def _settled(source: str, settle_seconds: float) -> FoundFiles:
    """Return the files at a place, after none of them has changed for `settle_seconds`."""
    from lastaisle.ingest.listing import find_files

    plain, options = source_options(source)
    for attempt in range(SETTLE_ATTEMPTS):
        found = find_files([plain], options)
        growing = any(file.changed_within(settle_seconds) for file in found.files)
        if attempt == SETTLE_ATTEMPTS - 1 or not growing:
            break
        log.info("Files at %s were changed just now; waiting until they are complete", plain)
        time.sleep(settle_seconds)
    return found


def _late(key: str, settings: Settings) -> list[str]:
    """Return the files in the places of earlier partitions that no run has taken in yet."""
    from data_contracts.contract import load_contract
    from lastaisle.ingest.listing import new_files, places
    from lastaisle.ingest.mapping.choice import chosen_adapter
    from lastaisle.ingest.reading.files import NothingFoundError
    from lastaisle.lake.tables import RAW_EVENTS

    start, lookback = interval(key)[0], timedelta(hours=settings.sources.lookback_hours)
    before = places(settings.source_at, start - HOUR, lookback - HOUR) if lookback >= HOUR else []
    sources = [source_options(place) for place in before if place != settings.source_at(start)]
    if not sources:
        return []
    try:
        late_files = new_files(
            [plain for plain, _ in sources],
            open_lake(settings),
            format_name=chosen_adapter(settings, load_contract(RAW_EVENTS)).identity,
            options=sources[0][1],
            settle=timedelta(seconds=settings.sources.settle_seconds),
        )
    except NothingFoundError as nothing:
        log.info("No file was uploaded late: %s", nothing)
        return []
    return [file.url for file in late_files]
