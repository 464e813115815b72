"""List the new files of a source; the table `files` holds every ingested file with its state at that time.

A listing may be limited by the names of folders (`places`), but never by the time of the last change that a
store reports. S3 dates an upload in parts from its beginning, and a moved or copied file keeps its date. So a
late upload is found under any name, as long as its folder is listed. A file that was moved or renamed is
opened once more. Its content gives the same batch, so all of its rows are known.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.ingest.reading.files import FoundFiles, NothingFoundError, SourceFile, list_files
from lastaisle.ingest.report import BatchReport
from lastaisle.lake import Lake
from lastaisle.lake.tables import EVENTS, FILES, FILES_SCHEMA

log = logging.getLogger(__name__)
_LOGGED = 10  # names in one line of the log


@dataclass(frozen=True)
class Listing:
    """The files of a source, in the order of their names.

    Attributes:
        new: the files to ingest.
        known: the reports of unchanged files that were ingested before, by address; they are not opened.
        waiting: files that were changed just now and may still be growing; they are left for the next run.
        passed_over, failed: see `FoundFiles`.
    """

    new: list[SourceFile]
    known: dict[str, BatchReport]
    waiting: list[SourceFile]
    passed_over: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def new_files(source: str | Sequence[str], lake: Lake, **given: Any) -> list[SourceFile]:
    """Return the files to ingest; with the arguments of `list_source`."""
    return list_source(source, lake, **given).new


def list_source(
    source: str | Sequence[str],
    lake: Lake,
    *,
    format_name: str = "canonical",
    options: Mapping[str, Any] | None = None,
    settle: timedelta = timedelta(0),
    anonymized: bool = False,
) -> Listing:
    """List the files of a source, and say which of them are new.

    Args:
        source: a file, folder or pattern; or several, of which some may not exist.
        lake: holds the tables.
        format_name: the `identity` of the adapter. For another adapter a file is new again.
        options: the options of fsspec for this source.
        settle: a file that was changed less than this ago may still be growing, if its store lets files grow.
        anonymized: whether a file counts as known only if `events` has its rows, too.

    Raises:
        NothingFoundError: no place has any file that can be read.
        SourceError: a place cannot be reached.
    """
    found = find_files([source] if isinstance(source, str) else source, options)
    waiting = [file for file in found.files if file.changed_within(settle.total_seconds())]
    for file in waiting:
        log.warning("left for the next run: %s was changed within the last %s", file.shown, settle)
    unsettled = {file.url for file in waiting}
    settled = [file for file in found.files if file.url not in unsettled]
    known = _known(lake, settled, format_name, anonymized)
    new = [file for file in settled if file.url not in known]
    return Listing(new, known, waiting, found.passed_over, found.failed)


def find_files(sources: Sequence[str], options: Mapping[str, Any] | None = None) -> FoundFiles:
    """List the files of places of which some may not exist, and log what is not read there.

    Raises:
        NothingFoundError: no place has any file that can be read.
        SourceError: a place cannot be reached.
    """
    files: dict[str, SourceFile] = {}
    found = FoundFiles([])
    missing: NothingFoundError | None = None
    for source in sources:
        try:
            at_source = list_files(source, options)
            at_source.refuse_nothing(source)
        except NothingFoundError as error:
            found.passed_over.update(error.passed_over)
            missing = error
            continue
        files |= {file.url: file for file in at_source.files}
        found.passed_over.update(at_source.passed_over)
        found.failed.update(at_source.failed)
    found.files.extend(files[url] for url in sorted(files))
    _log(found)
    if missing and not found.files and not found.failed:
        raise NothingFoundError(str(missing), found.passed_over)
    return found


def places(at: Callable[[datetime], str], until: datetime, lookback: timedelta) -> list[str]:
    """Return the places of the logs of a time span, each place once, the oldest first.

    Within the lookback, a run finds files that were uploaded late into older folders. It lists no folder
    before that.

    Args:
        at: returns the place of a moment, such as `Settings.source_at`.
        until: the last moment, with a time zone.
        lookback: the length of the time span.
    """
    hours = range(int(lookback / timedelta(hours=1)), -1, -1)
    return list(dict.fromkeys(at(until - timedelta(hours=hour)) for hour in hours))


def record_file(lake: Lake, file: SourceFile, format_name: str, batches: Sequence[BatchReport]) -> None:
    """Record that all batches of a file were ingested, so that the unchanged file is not opened again."""
    if not file.state:
        return
    row = {
        "url": file.url,
        "format": format_name,
        "state": file.state,
        "size": file.size,
        "rows_in": sum(batch.rows_in for batch in batches),
        "batch_ids": [batch.batch_id for batch in batches],
        "taken_in_at": datetime.now(UTC),
    }
    key = f"{format_name} {file.url} {file.state}"
    lake.append(FILES, pa.Table.from_pylist([row], schema=FILES_SCHEMA), key=key)


def recorded_batches(lake: Lake, file: SourceFile, format_name: str) -> list[str]:
    """Return the batch ids of a file that was ingested in its present state; none for any other file."""
    same = (pc.field("url") == file.url) & (pc.field("format") == format_name)
    if not file.state or not lake.table(FILES):
        return []
    rows = lake.scan(FILES, columns=["batch_ids"], where=same & (pc.field("state") == file.state)).to_pylist()
    return list(rows[0]["batch_ids"]) if rows else []


def _log(found: FoundFiles) -> None:
    """Log what is not read: for each reason the number of places, and some of their names."""
    by_reason: dict[str, list[str]] = {}
    for address, reason in found.passed_over.items():
        by_reason.setdefault(reason, []).append(address)
    for reason, addresses in by_reason.items():
        some = ", ".join(addresses[:_LOGGED]) + (", ..." if len(addresses) > _LOGGED else "")
        log.warning("passed over %d, because %s: %s", len(addresses), reason, some)
    for address, error in found.failed.items():
        log.error("left out: %s: %s", address, error)


def _known(
    lake: Lake, files: Sequence[SourceFile], format_name: str, anonymized: bool
) -> dict[str, BatchReport]:
    """Return the reports of the files that are unchanged since they were ingested, by address."""
    states = {file.url: file.state for file in files}
    urls = pa.array(list(states), pa.string())
    same = pc.field("url").isin(urls) & (pc.field("format") == format_name)
    rows = lake.scan(FILES, columns=list(_READ), where=same).to_pylist() if lake.table(FILES) else []
    events = lake.table(EVENTS) if anonymized else None
    return {
        row["url"]: BatchReport(
            row["batch_ids"][0],
            row["url"],
            format_name,
            rows_in=row["rows_in"],
            rows_duplicate=row["rows_in"],
            skipped=True,
        )
        for row in rows
        if states[row["url"]] == row["state"]
        and (
            not anonymized
            or (events and all(events.transaction_version(batch) is not None for batch in row["batch_ids"]))
        )
    }


_READ = ("url", "state", "rows_in", "batch_ids")
