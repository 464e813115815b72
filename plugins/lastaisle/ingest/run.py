"""Ingest all files of a source, from logs to events."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.contract import Contract, load_contract
from lastaisle.errors import LastaisleError, SourceError
from lastaisle.ingest.batch import EventSteps
from lastaisle.ingest.batch_rows import ReportT
from lastaisle.ingest.checks.batch_quality import BatchRefusedError
from lastaisle.ingest.checks.gx_check import DisagreementError
from lastaisle.ingest.job import Batch, Ingestion, OvertakenError
from lastaisle.ingest.listing import Listing, list_source, record_file, recorded_batches
from lastaisle.ingest.options import IngestOptions, Progress
from lastaisle.ingest.reading.files import FileChangedError, SourceFile
from lastaisle.ingest.records import read_records
from lastaisle.ingest.refused import recording_refusal
from lastaisle.ingest.report import BatchReport, IngestReport
from lastaisle.ingest.row_steps import RowJobT, RowSteps
from lastaisle.ingest.slices import Slice, Slices
from lastaisle.ingest.sources import Adapter, adapter
from lastaisle.lake import Lake
from lastaisle.lake.tables import EVENTS, RAW_EVENTS
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.telemetry.memory import peak_rss_mib

log = logging.getLogger(__name__)
ATTEMPTS = 5
LEFT_OUT: Final = (SourceError, DisagreementError, BatchRefusedError)
NO_ROWS = "it holds no row, only blank lines or a header"


def ingest(
    source: str,
    form: str | Adapter,
    lake: Lake,
    keys: PseudonymKeys,
    *,
    now: datetime | None = None,
    contract: Contract | None = None,
    events_contract: Contract | None = None,
    options: IngestOptions | None = None,
    source_options: Mapping[str, Any] | None = None,
    settle: timedelta = timedelta(0),
    progress: Progress | None = None,
) -> IngestReport:
    """Bring every file of a source into raw_events, quarantine and events.

    A file that cannot be read, or on which Great Expectations and the compiled rules disagree, is named in
    the report, and the other files are ingested. A file that was ingested before and is unchanged is not
    opened. A file that changes meanwhile is left for the next run.

    Args:
        source: a file, a folder or a glob pattern; a path or any fsspec URL.
        form: the adapter that reads the files, or its name.
        lake: holds the tables.
        keys: the pseudonym keys.
        now: the time of ingestion, with a time zone; the current time by default.
        contract: the contract of raw_events; the packaged contract by default.
        events_contract: the contract of events; the packaged contract by default.
        options: see `IngestOptions`.
        source_options: the options of fsspec for this source.
        settle: a file that was changed less than this ago is left for the next run.
        progress: called with the share of each file that was read.

    Raises:
        NothingFoundError: the source has no file that can be read.
        SourceError: the source cannot be reached, or the format is unknown.
        ReconciliationError: the row counts of a file do not add up.
    """
    started = time.perf_counter()
    form = adapter(form) if isinstance(form, str) else form
    job = Ingestion(
        lake,
        form,
        contract or load_contract(RAW_EVENTS),
        options or IngestOptions(),
        keys,
        events_contract or load_contract(EVENTS),
        now,
    )
    report = IngestReport()
    listing = list_source(
        *(source, lake), format_name=form.identity, options=source_options, settle=settle, anonymized=True
    )
    _take_in_listing(listing, job, f"{form.name} {source}", report, progress)
    note_pace(report, started)
    return report


def _take_in_listing(
    listing: Listing, job: Ingestion, source: str, report: IngestReport, progress: Progress | None
) -> None:
    """Ingest the new files of a listing; add the counts of each file to the report."""
    note_listing(report, listing)
    for file in listing.new:
        take = partial(ingest_file, file, job, source=source, progress=progress)
        take_in_file(file, take, report)


def note_listing(report: IngestReport, listing: Listing) -> None:
    """Add to a report what a listing says of the files that are not read."""
    report.files_waiting += [file.shown for file in listing.waiting]
    report.files_passed_over |= listing.passed_over
    for address, error in listing.failed.items():
        report.fail(address, SourceError(error))
    for known in listing.known.values():
        report.files += 1
        report.files_skipped += 1
        report.add(known)


def take_in_file(
    file: SourceFile,
    take: Callable[[], Sequence[BatchReport]],
    report: IngestReport,
    left_out: tuple[type[LastaisleError], ...] = LEFT_OUT,
) -> None:
    """Ingest one file, and add its counts, or the reason why it was left out, to a report.

    Args:
        file: the file.
        take: ingests the file, and returns the reports of its batches.
        report: the report.
        left_out: the errors that leave out this file alone; any other error is raised.
    """
    try:
        batches = take()
    except FileChangedError as error:
        log.warning("left for the next run: %s", error)
        report.files_waiting.append(file.shown)
        return
    except left_out as error:
        log.error("left out: %s", error)
        report.fail(file.shown, error)
        return
    report.files += 1
    report.files_skipped += all(batch.skipped for batch in batches)
    for batch in batches:
        report.add(batch)
    if not any(batch.rows_in for batch in batches):
        report.files_passed_over[file.shown] = NO_ROWS
        log.warning("%s gave no row: %s", file.shown, NO_ROWS)


def note_pace(report: IngestReport, started: float) -> None:
    """Add to a report how long an ingestion took since `started` (of time.perf_counter), and its memory."""
    report.seconds = time.perf_counter() - started
    report.events_per_second = report.rows_in / max(report.seconds, 1e-9)
    report.peak_rss_mib = peak_rss_mib()


def ingest_file(
    file: SourceFile, job: Ingestion, *, source: str, progress: Progress | None = None
) -> list[BatchReport]:
    """Ingest one file of logs; see `ingest_slices`. A file that is refused has a row in `refused_files`."""
    with recording_refusal(file, job, source):
        return ingest_slices(file, EventSteps(job), source=source, progress=progress)


def ingest_slices(
    file: SourceFile,
    steps: RowSteps[RowJobT, ReportT],
    *,
    source: str,
    progress: Progress | None = None,
) -> list[ReportT]:
    """Ingest one file, batch by batch.

    A file that was ingested before changes nothing and is not opened: all its rows are duplicates. A file
    that has grown since has other batch ids; its earlier rows count as duplicates.

    Args:
        file: a file of `list_files`.
        steps: bring a batch into the tables.
        source: the name of the source. The batches of the file are compared with earlier batches of it.
        progress: called with the share of the file that was read.

    Raises:
        FileChangedError: the file was changed or removed since it was listed.
        SourceError: the file cannot be read.
        LakeConflictError: other writers kept changing the tables meanwhile.
        LastaisleError: see `BatchSteps.take_in`.
    """
    if finished := _finish_known(file, steps, source):
        return finished
    for _ in range(ATTEMPTS - 1):
        try:
            return _take_in_slices(file, steps, source, progress)
        except OvertakenError as other:
            steps = steps.with_job(now=other.now)
    return _take_in_slices(file, steps, source, progress)


def _finish_known(file: SourceFile, steps: RowSteps[RowJobT, ReportT], source: str) -> list[ReportT]:
    """Return the reports of a file that was ingested in its present state, without opening it; else none."""
    job = steps.job
    reports = [
        steps.finish(Batch(batch_id, source, file.url, job.form.name, part))
        for part, batch_id in enumerate(recorded_batches(job.lake, file, job.identity))
    ]
    finished = [report for report in reports if report is not None]
    return finished if len(finished) == len(reports) else []


def _take_in_slices(
    file: SourceFile, steps: RowSteps[RowJobT, ReportT], source: str, progress: Progress | None
) -> list[ReportT]:
    known = _ids_of_begun_file(file, steps)
    reports = []
    form, slices = _slices(file, steps, progress)
    fitting = steps.with_job(form=form)
    for part, lines in enumerate(slices):

        def describe(name: str | None = None, lines: Slice = lines, part: int = part) -> Batch:
            return Batch(name or lines.name(), source, file.url, form.name, part)

        batch = describe(known[part]) if part < len(known) else describe
        reports.append(fitting.take_in(lines, batch, before_commit=file.refuse_changed))
    record_file(steps.job.lake, file, steps.job.identity, reports)
    return reports


def _ids_of_begun_file(file: SourceFile, steps: RowSteps[RowJobT, ReportT]) -> list[str]:
    """Return the batch ids of a file that was begun before, so that finished batches are not staged again."""
    of_file = pc.field("source_file") == file.url
    begun = steps.job.lake.scan(steps.batches, columns=["batch_id"], where=of_file)
    if not begun.num_rows:
        return []
    names = []
    _, slices = _slices(file, steps)
    for lines in slices:
        for _ in lines:
            pass
        names.append(lines.name())
    return names


def _slices(
    file: SourceFile, steps: RowSteps[RowJobT, ReportT], progress: Progress | None = None
) -> tuple[Adapter, Slices]:
    """Return the adapter for the layout of a file, and the slices of its records."""
    job = steps.job
    form, records = read_records(file, job.form, steps.guess)
    salt = f"{job.identity} {form.layout.salt}" if form.layout and form.layout.salt else job.identity
    return form, Slices(_noted(records, file, progress), job.options.batch_rows, salt)


def _noted(
    records: Iterator[pa.RecordBatch], file: SourceFile, progress: Progress | None
) -> Iterator[pa.RecordBatch]:
    bytes_read = 0
    for batch in records:
        yield batch
        bytes_read += batch["payload"].nbytes
        if progress:
            progress(min(1.0, bytes_read / max(1, file.size)), file.shown)
