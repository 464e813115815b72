"""List the new files of a source; the table `files` holds every ingested file with its state at that time.

A listing may be limited by the names of folders (`places`), but never by the time of the last change that a
store reports. S3 dates an upload in parts from its beginning, and a moved or copied file keeps its date. So a
late upload is found under any name, as long as its folder is listed. A file that was moved or renamed is
opened once more. Its content gives the same batch, so all of its rows are known.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.errors import SourceError
from lastaisle.ingest.files import SourceFile, list_files
from lastaisle.ingest.report import BatchReport
from lastaisle.lake import Lake
from lastaisle.lake.tables import EVENTS, FILES, FILES_SCHEMA

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """The files of a source, in the order of their names.

    Attributes:
        new: the files to ingest.
        known: the reports of unchanged files that were ingested before, by address; they are not opened.
        waiting: files that were changed just now and may still be growing; they are left for the next run.
    """

    new: list[SourceFile]
    known: dict[str, BatchReport]
    waiting: list[SourceFile]


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
        format_name: the adapter that reads the files. For another adapter a file is new again.
        options: the options of fsspec for this source.
        settle: a file that was changed less than this ago may still be growing, if its store lets files grow.
        anonymized: whether a file counts as known only if `events` has its rows, too.

    Raises:
        SourceError: no place has any file, or a place cannot be reached.
    """
    files = _list([source] if isinstance(source, str) else source, options)
    waiting = [file for file in files if file.changed_within(settle.total_seconds())]
    for file in waiting:
        log.warning("left for the next run: %s was changed within the last %s", file.url, settle)
    unsettled = {file.url for file in waiting}
    settled = [file for file in files if file.url not in unsettled]
    known = _known(lake, settled, format_name, anonymized)
    return Listing([file for file in settled if file.url not in known], known, waiting)


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


def _list(sources: Sequence[str], options: Mapping[str, Any] | None) -> list[SourceFile]:
    files: dict[str, SourceFile] = {}
    missing: list[SourceError] = []
    for source in sources:
        try:
            files |= {file.url: file for file in list_files(source, options)}
        except SourceError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            missing.append(error)
    if missing and len(missing) == len(sources):
        raise missing[-1]
    return [files[url] for url in sorted(files)]


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
