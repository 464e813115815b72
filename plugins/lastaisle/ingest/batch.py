"""One file, one batch: staged, judged, told apart from duplicates, then committed exactly once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.contract import Contract, load_contract
from lastaisle.errors import SourceError
from lastaisle.ingest.files import SourceFile, list_files, read_lines
from lastaisle.ingest.options import IngestOptions, Progress
from lastaisle.ingest.report import BatchReport
from lastaisle.ingest.sources import Adapter, adapter
from lastaisle.ingest.staging import CLEAN, Staging
from lastaisle.ingest.witness import ask_great_expectations
from lastaisle.lake import Lake, LakeConflictError
from lastaisle.lake.tables import BATCHES, BATCHES_SCHEMA, QUARANTINE, RAW_EVENTS
from lastaisle.lake.workspace import open_workspace

ATTEMPTS = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COUNTS = ("rows_in", "rows_clean", "rows_quarantined", "rows_duplicate", "rows_late")


def ingest_file(
    file: str | SourceFile,
    format_name: str,
    lake: Lake,
    *,
    now: datetime | None = None,
    contract: Contract | None = None,
    options: IngestOptions | None = None,
    progress: Progress | None = None,
) -> BatchReport:
    """Bring one file into quarantine and raw_events.

    The three commits, quarantine, raw_events and batches, each happen once by the batch's id: a run that was
    killed between two of them is simply run again, and takes the first run's `now` for its own, so its rules
    decide alike.

    Args:
        file: a path or URL, or one of `list_files`.
        format_name: which adapter reads it.
        lake: where the tables are.
        now: the time of ingestion, aware; the clock's by default.
        contract: that of raw_events; the packaged one by default.
        options: see there.
        progress: told the share of the file that was read.

    Returns:
        What became of the rows. A file that was ingested before changes nothing: all its rows are duplicates.

    Raises:
        SourceError: the file cannot be read, or the format is unknown.
        DisagreementError: Great Expectations judges a sample differently; nothing was committed.
        ReconciliationError: rows that cannot be accounted for; nothing was committed.
        LakeConflictError: other writers kept changing raw_events meanwhile.
    """
    source = _one_file(file)
    contract = contract or load_contract(RAW_EVENTS)
    options = options or IngestOptions()
    form = adapter(format_name)
    batch_id = source.digest(format_name)
    recorded = read_batch(lake, batch_id)
    if recorded is not None:
        return _as_skipped(recorded, source)
    started, stamp = datetime.now(UTC), lake.stamp(QUARANTINE, batch_id)
    now = _from_stamp(stamp) if stamp is not None else (now or datetime.now(UTC)).astimezone(UTC)
    with open_workspace(options.memory_limit) as connection:
        staging = Staging(connection, contract, now)
        staging.load(_read(source, form, progress), form, lake, source.url)
        gx_success = ask_great_expectations(staging, options.gx_sample_rows, source.url)
        blank = BatchReport(batch_id, source.url, format_name, 0, 0, 0, 0, gx_success=gx_success)
        report = _commit(staging, lake, blank, options, started)
    if report is None:  # another run of this batch began at another time and got ahead: follow it
        return ingest_file(source, format_name, lake, contract=contract, options=options, progress=progress)
    return report


def read_batch(lake: Lake, batch_id: str) -> BatchReport | None:
    """Return the report of a batch that was committed wholly, else None."""
    if not lake.has(BATCHES, batch_id):
        return None
    rows = lake.scan(BATCHES, where=pc.field("batch_id") == batch_id).to_pylist()
    row = rows[0]
    return BatchReport(
        batch_id,
        row["source_file"],
        row["format"],
        **{name: row[name] for name in _COUNTS},
        quarantined_by_rule=json.loads(row["quarantined_by_rule"]),
        gx_success=row["gx_success"],
    )


def _commit(
    staging: Staging, lake: Lake, blank: BatchReport, options: IngestOptions, started: datetime
) -> BatchReport | None:
    """Commit the batch, deriving its duplicates again whenever another writer changed raw_events meanwhile.

    Returns:
        The report; None if the quarantine of this very batch was committed by a run of another time.
    """
    batch_id, url, stamp = blank.batch_id, blank.source_file, _to_stamp(staging.now)
    for attempt in range(ATTEMPTS):
        version = lake.version(RAW_EVENTS)
        staging.mark_repeated(lake.dataset(RAW_EVENTS, version) if version is not None else None, batch_id)
        report = _count(staging, blank, options).reconcile()
        lake.append(QUARANTINE, lambda: staging.quarantined_rows(batch_id, url), key=batch_id, stamp=stamp)
        if lake.stamp(QUARANTINE, batch_id) != stamp:
            return None
        try:
            lake.append(
                RAW_EVENTS,
                lambda: staging.clean_rows(batch_id, url),
                key=batch_id,
                stamp=stamp,
                if_version=-1 if version is None else version,
            )
        except LakeConflictError:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        lake.append(BATCHES, _batch_row(report, staging, started), key=batch_id, stamp=stamp)
        return report
    raise AssertionError("unreachable: the last attempt returns or raises")


def _count(staging: Staging, blank: BatchReport, options: IngestOptions) -> BatchReport:
    """Count each kind of row by a question of its own, so that the sum can fail."""
    return replace(
        blank,
        rows_in=staging.count("staged"),
        rows_clean=staging.count(CLEAN),
        rows_quarantined=staging.count("staged WHERE rules IS NOT NULL"),
        rows_duplicate=staging.count("repeated"),
        rows_late=staging.count_late(options.allowed_lateness),
        quarantined_by_rule=staging.count_by_rule(),
        warnings_by_rule=staging.count_warnings(),
    )


def _batch_row(report: BatchReport, staging: Staging, started: datetime) -> pa.Table:
    row = {name: getattr(report, name) for name in _COUNTS} | {
        "batch_id": report.batch_id,
        "source_file": report.source_file,
        "format": report.format,
        "quarantined_by_rule": json.dumps(report.quarantined_by_rule, sort_keys=True),
        "gx_success": report.gx_success,
        "contract_version": staging.contract.version,
        "started_at": staging.now,
        "finished_at": staging.now + (datetime.now(UTC) - started),
    }
    return pa.Table.from_pylist([row], schema=BATCHES_SCHEMA)


def _as_skipped(recorded: BatchReport, source: SourceFile) -> BatchReport:
    return replace(
        recorded,
        source_file=source.url,
        rows_clean=0,
        rows_quarantined=0,
        rows_duplicate=recorded.rows_in,
        rows_late=0,
        quarantined_by_rule={},
        skipped=True,
    )


def _one_file(file: str | SourceFile) -> SourceFile:
    if isinstance(file, SourceFile):
        return file
    found = list_files(file)
    if len(found) != 1:
        raise SourceError(f"{file!r} should be one file, it holds {len(found)}; use ingest() for a folder")
    return found[0]


def _read(source: SourceFile, form: Adapter, progress: Progress | None) -> Iterator[pa.RecordBatch]:
    done = 0
    for batch in read_lines(source, form.header):
        yield batch
        done += batch["payload"].nbytes
        if progress:
            progress(min(1.0, done / max(1, source.size)), source.url)


def _to_stamp(now: datetime) -> int:
    return (now - _EPOCH) // timedelta(microseconds=1)


def _from_stamp(stamp: int) -> datetime:
    return _EPOCH + timedelta(microseconds=stamp)
