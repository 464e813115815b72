"""Ingest one batch: stage its rows, judge them by the rules, find duplicates, and commit exactly once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.ingest.batch_rows import batch_row, read_batch
from lastaisle.ingest.checks.batch_quality import judge_batch
from lastaisle.ingest.checks.changes import refuse_changed_fields, unknown_fields
from lastaisle.ingest.checks.gx_check import check_sample
from lastaisle.ingest.checks.wrong_format import refuse_wrong_format
from lastaisle.ingest.first_commit import begin, first_now, quarantine_reused, to_stamp
from lastaisle.ingest.job import Batch, Ingestion, OvertakenError
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.report import BatchReport
from lastaisle.ingest.staging.staging import CLEAN, Staging
from lastaisle.ingest.watermark import watermark
from lastaisle.lake import Lake, LakeConflictError
from lastaisle.lake.tables import BATCHES, QUARANTINE, RAW_EVENTS
from lastaisle.lake.workspace import open_workspace
from lastaisle.privacy.anonymize import anonymize_batch, anonymize_taken
from lastaisle.telemetry.stages import stage

log = logging.getLogger(__name__)
ATTEMPTS = 20


def take_in(
    lines: Iterable[pa.RecordBatch],
    batch: Batch | Callable[[], Batch],
    job: Ingestion,
    before_commit: Callable[[], object] | None = None,
) -> BatchReport:
    """Bring one batch into quarantine, raw_events, batches and, if there are keys, events.

    The commits happen in this order, each once by the id of the batch. A run that was killed between two
    commits is run again. The second run uses the `now` of the first run, so its rules decide alike.

    Args:
        lines: record batches of `lastaisle.ingest.reading.lines.LINES`; read to their end.
        batch: the description of the batch. If it follows from the lines, a function that returns it once
            they are read.
        job: the settings of the ingestion.
        before_commit: called when all lines were read and judged; if it fails, nothing is committed.

    Returns:
        The counts of the rows. All rows of a batch that was ingested before count as duplicates.

    Raises:
        SourceError: the lines cannot be read.
        WrongFormatError: hardly any row can be read; nothing was committed.
        SchemaChangeError: fields disappeared or changed their type; nothing was committed.
        BatchRefusedError: the batch breaks a rule about the batch as a whole; nothing was committed.
        DisagreementError: Great Expectations judges a sample differently; nothing was committed.
        ReconciliationError: the row counts do not add up; nothing was committed.
        OvertakenError: another run of this batch began before; read the lines again with its `now`.
        LakeConflictError: other writers kept changing raw_events meanwhile.
    """
    known = None if callable(batch) else batch
    if known is not None and (recorded := read_batch(job.lake, known.batch_id)) is not None:
        for _ in lines:  # up to the beginning of the next batch
            pass
        return _skip(recorded, known, job)
    started = datetime.now(UTC)
    now = (known and first_now(job.lake, known)) or (job.now or started).astimezone(UTC)
    with open_workspace(job.options.memory_limit, writes_to=job.lake.url) as connection:
        staging = Staging(connection, job.contract, now)
        with stage("read, parse and judge"):
            staging.load(lines, job.form, job.lake)
        described = batch() if callable(batch) else batch
        if known is None and (recorded := read_batch(job.lake, described.batch_id)) is not None:
            return _skip(recorded, described, job)
        if (first := first_now(job.lake, described)) not in (None, now):
            raise OvertakenError(described, first)
        judged = _judge(staging, described, job)
        if before_commit is not None:
            before_commit()
        report, taken = _commit(staging, described, job, judged, started)
        if not taken:  # a killed run wrote raw_events, perhaps with rows that Kafka has deleted since
            _anonymize_recorded(described.batch_id, job)
        elif job.keys is not None:
            staging.name_taken(described.batch_id)
            with stage("derive sessions, treat and write events"):
                contracts = {"contract": job.contract, "events_contract": job.events_contract}
                anonymize_taken(connection, described.batch_id, job.lake, job.keys, **contracts)
    return report


def finish_batch(batch: Batch, job: Ingestion) -> BatchReport | None:
    """Report that a batch was ingested before, and finish its remaining commits, without its lines.

    Returns:
        The report; None if the table batches does not hold the batch.
    """
    recorded = read_batch(job.lake, batch.batch_id)
    return None if recorded is None else _skip(recorded, batch, job)


def _judge(staging: Staging, batch: Batch, job: Ingestion) -> BatchReport:
    """Compare the rows with earlier batches, judge them as a whole, and check a sample independently."""
    with stage("compare fields with the batches before"):
        fields = staging.count_fields()
        if not job.options.accept_schema_change:
            refuse_changed_fields(job.lake, batch, job.contract, fields)
            refuse_wrong_format(staging, batch)
        unknown = _find_unknown(staging, batch, job)
    warnings = judge_batch(staging, batch.shown)
    check = check_sample(staging, job.options.gx_sample_rows, batch.shown)
    return BatchReport(
        batch.batch_id,
        batch.source_file,
        batch.format,
        gx_success=check.success,
        gx_problem=check.problem,
        warnings_by_rule=warnings,
        part=batch.part,
        fields=fields,
        unknown_fields=unknown,
    )


def _find_unknown(staging: Staging, batch: Batch, job: Ingestion) -> dict[str, int]:
    """Count fields that the contract does not have, and log a warning, since their values are not kept."""
    if job.form.keys is None:
        return {}
    unknown = unknown_fields(staging.first_lines.to_pylist(), job.form.keys(job.contract))
    if unknown:
        log.warning(
            "%s: the contract %s has no field for %s; their values are not kept",
            *(batch.shown, job.contract.path.name, unknown),
        )
    return unknown


def _skip(recorded: BatchReport, batch: Batch, job: Ingestion) -> BatchReport:
    """Report that a batch was ingested before, and finish it if its run was killed before the last commit."""
    _anonymize_recorded(batch.batch_id, job)
    return replace(
        recorded,
        source_file=batch.source_file,
        rows_clean=0,
        rows_quarantined=0,
        rows_duplicate=recorded.rows_in,
        rows_ignored=0,
        rows_late=0,
        quarantined_by_rule={},
        ignored_by_reason={},
        skipped=True,
    )


def _anonymize_recorded(batch_id: str, job: Ingestion) -> None:
    """Bring the rows of a batch from raw_events into events, if there are keys."""
    if job.keys is not None:
        contracts = {"contract": job.contract, "events_contract": job.events_contract}
        anonymize_batch(batch_id, job.lake, job.keys, memory_limit=job.options.memory_limit, **contracts)


def _commit(
    staging: Staging, batch: Batch, job: Ingestion, blank: BatchReport, started: datetime
) -> tuple[BatchReport, bool]:
    """Commit the batch; find its duplicates again whenever another writer changed raw_events meanwhile.

    Returns:
        The report, and whether this run wrote raw_events; else a run that was killed after that commit did.
    """
    lake, batch_id, stamp = job.lake, batch.batch_id, to_stamp(staging.now)
    before = watermark(lake, batch.source, job.options.allowed_lateness)
    for attempt in range(ATTEMPTS):
        version = lake.version(RAW_EVENTS)
        known = lake.dataset(RAW_EVENTS, version) if version is not None else None
        with stage("find duplicates"):
            staging.mark_repeated(known, batch_id, job.options.duplicate_reach)
        with stage("count"):
            report = _count(staging, blank, job.options, before).reconcile()
        with stage("write quarantine"):
            begin(staging, batch, lake)
        try:
            with stage("write raw_events"):
                taken = lake.append(
                    RAW_EVENTS,
                    staging.clean_rows(batch_id, batch.source_file),
                    key=batch_id,
                    stamp=stamp,
                    also=batch.offsets,
                    if_version=-1 if version is None else version,
                )
        except LakeConflictError:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        quarantine_reused(staging, batch, lake)
        if not taken:
            report = _recount(report, lake)
        row = batch_row(report, batch, job, staging.now, datetime.now(UTC) - started)
        lake.append(BATCHES, row, key=batch_id, stamp=stamp, also=batch.offsets)
        return report, taken
    raise AssertionError("unreachable: the last attempt returns or raises")


def _count(
    staging: Staging, blank: BatchReport, options: IngestOptions, before: datetime | None
) -> BatchReport:
    """Count each kind of row with a query of its own, so that a wrong sum is noticed."""
    return replace(
        blank,
        rows_in=staging.count("staged"),
        rows_clean=staging.count(CLEAN),
        rows_quarantined=staging.count("staged WHERE _rules IS NOT NULL")
        + staging.count("repeated WHERE _rule IS NOT NULL"),
        rows_duplicate=staging.count("repeated WHERE _rule IS NULL"),
        rows_ignored=staging.count("staged WHERE _ignored IS NOT NULL"),
        rows_late=staging.count_late(options.allowed_lateness, before),
        quarantined_by_rule=staging.count_by_rule(),
        ignored_by_reason=staging.count_ignored(),
        warnings_by_rule=blank.warnings_by_rule | staging.count_warnings(),
        hours=staging.hours(),
        newest=staging.newest(),
    )


def _recount(report: BatchReport, lake: Lake) -> BatchReport:
    """Count the rows that a killed run wrote: Kafka may have deleted some of its messages since."""
    of_batch = pc.field("batch_id") == report.batch_id
    clean, broken = (
        len(lake.scan(name, columns=["batch_id"], where=of_batch)) for name in (RAW_EVENTS, QUARANTINE)
    )
    rows_in = report.rows_in - report.rows_clean - report.rows_quarantined + clean + broken
    return replace(report, rows_in=rows_in, rows_clean=clean, rows_quarantined=broken)
