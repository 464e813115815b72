"""Ingest one batch of the catalogue: stage its rows, judge them, find the changes, commit exactly once."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.catalogue.formats import guess_catalogue_format
from lastaisle.catalogue.job import CatalogueJob
from lastaisle.catalogue.report import CatalogueBatchReport
from lastaisle.catalogue.timeline import Removals, Timeline
from lastaisle.ingest.checks.batch_quality import BatchRefusedError, judge_batch
from lastaisle.ingest.checks.changes import refuse_changed_fields
from lastaisle.ingest.checks.gx_check import check_sample
from lastaisle.ingest.checks.wrong_format import refuse_wrong_format
from lastaisle.ingest.first_commit import begin, first_now, quarantine_reused, to_stamp
from lastaisle.ingest.job import Batch, OvertakenError
from lastaisle.ingest.staging.staging import Staging
from lastaisle.lake import Lake, LakeConflictError
from lastaisle.lake.tables import CATALOGUE_BATCHES, CATALOGUE_BATCHES_SCHEMA, ITEMS
from lastaisle.lake.workspace import open_workspace
from lastaisle.telemetry.stages import stage

log = logging.getLogger(__name__)
ATTEMPTS = 20
_COUNTS = ("rows_in", "rows_clean", "rows_quarantined", "rows_duplicate", "rows_ignored")
_REMOVALS = ("items_removed", "items_doubtful")


class CatalogueShrunkError(BatchRefusedError):
    """A full file no longer lists so many items that it is probably cut; nothing of it was committed."""


@dataclass(frozen=True)
class CatalogueBatch(Batch):
    """One file of the catalogue, or one range of a topic.

    Attributes:
        digest: made from the lines, so that the same lines always give the same digest.
        dated: the time of the last change of the file, in UTC, from which rows without valid_from count; None
            if the store does not tell it, then the time of ingestion counts.
    """

    digest: str = ""
    dated: datetime | None = None


def take_in_items(
    lines: Iterable[pa.RecordBatch],
    batch: CatalogueBatch | Callable[[], CatalogueBatch],
    job: CatalogueJob,
    before_commit: Callable[[], object] | None = None,
) -> CatalogueBatchReport:
    """Bring one batch into quarantine, items and catalogue_batches.

    The commits happen in this order, each once by the id of the batch. A run that was killed between two
    commits is run again. The second run uses the `now` of the first run, so its rules decide alike.

    Args:
        lines: record batches of `lastaisle.ingest.reading.lines.LINES`; read to their end.
        batch: the description of the batch. If it follows from the lines, a function that returns it once
            they are read.
        job: the settings of the ingestion.
        before_commit: called when all lines were read and judged; if it fails, nothing is committed.

    Raises:
        SourceError: the lines cannot be read.
        WrongFormatError: hardly any row can be read; nothing was committed.
        SchemaChangeError: fields disappeared or changed their type; nothing was committed.
        CatalogueShrunkError: the file would remove too many items; nothing was committed.
        BatchRefusedError: the batch breaks a rule about the batch as a whole; nothing was committed.
        DisagreementError: Great Expectations judges a sample differently; nothing was committed.
        ReconciliationError: the row counts do not add up; nothing was committed.
        OvertakenError: another run of this batch began before; read the lines again with its `now`.
        LakeConflictError: other writers kept changing the table items meanwhile.
    """
    known = None if callable(batch) else batch
    if known is not None and (recorded := read_catalogue_batch(job.lake, known.batch_id)) is not None:
        for _ in lines:
            pass
        return _skipped(recorded, known)
    started = datetime.now(UTC)
    now = (known and first_now(job.lake, known)) or (job.now or started).astimezone(UTC)
    with open_workspace(job.options.memory_limit, writes_to=job.lake.url) as connection:
        staging = Staging(connection, job.contract, now)
        with stage("read, parse and judge"):
            staging.load(lines, job.form, job.lake)
        described = batch() if callable(batch) else batch
        if known is None and (recorded := read_catalogue_batch(job.lake, described.batch_id)) is not None:
            return _skipped(recorded, described)
        if (first := first_now(job.lake, described)) not in (None, now):
            raise OvertakenError(described, first)
        judged = _judge(staging, described, job)
        if before_commit is not None:
            before_commit()
        return _commit(staging, described, job, judged, started)


def read_catalogue_batch(lake: Lake, batch_id: str) -> CatalogueBatchReport | None:
    """Return the report of a batch that the table catalogue_batches holds; None for any other batch."""
    if not lake.has(CATALOGUE_BATCHES, batch_id):
        return None
    row = lake.scan(CATALOGUE_BATCHES, where=pc.field("batch_id") == batch_id).to_pylist()[0]
    counts: dict[str, Any] = {name: row.get(name) or 0 for name in (*_COUNTS, *_REMOVALS)}
    return CatalogueBatchReport(row["batch_id"], row["source_file"], row["format"], **counts)


def _skipped(recorded: CatalogueBatchReport, batch: CatalogueBatch) -> CatalogueBatchReport:
    """Report that a batch was ingested before: none of its rows changes anything."""
    return CatalogueBatchReport(
        recorded.batch_id,
        batch.source_file,
        recorded.format,
        rows_in=recorded.rows_in,
        rows_duplicate=recorded.rows_in,
        skipped=True,
    )


def _judge(staging: Staging, batch: CatalogueBatch, job: CatalogueJob) -> CatalogueBatchReport:
    """Compare the fields with earlier batches, judge the rows as a whole, and check a sample."""
    with stage("compare fields with the batches before"):
        fields = staging.count_fields()
        if not job.options.accept_schema_change:
            if job.content == "full":  # a change holds any of the fields
                refuse_changed_fields(job.lake, batch, job.contract, fields, table=CATALOGUE_BATCHES)
            refuse_wrong_format(staging, batch, guess_catalogue_format)
    warnings = judge_batch(staging, batch.shown)
    check = check_sample(staging, job.options.gx_sample_rows, batch.shown)
    return CatalogueBatchReport(
        batch.batch_id,
        batch.source_file,
        batch.format,
        gx_success=check.success,
        gx_problem=check.problem,
        warnings_by_rule=warnings,
        fields=fields,
    )


def _commit(
    staging: Staging, batch: CatalogueBatch, job: CatalogueJob, blank: CatalogueBatchReport, started: datetime
) -> CatalogueBatchReport:
    """Commit the batch; derive its changes again whenever another writer changed the items meanwhile."""
    lake, batch_id, stamp = job.lake, batch.batch_id, to_stamp(staging.now)
    base = min(batch.dated or staging.now, staging.now)
    timeline = Timeline(staging.connection, job.contract, job.content, base)
    for attempt in range(ATTEMPTS):
        version = lake.version(ITEMS)
        with stage("compare with the history of the items"):
            timeline.derive(lake.dataset(ITEMS, version) if version is not None else None, batch_id)
        removals = timeline.removals()
        _refuse_shrunk(removals, batch, job)
        report = _count(staging, blank, removals)
        begin(staging, batch, lake)
        confirmed = _listed(lake, batch_id)
        rows = timeline.rows(batch_id, removing=not removals.is_doubtful, confirmed=confirmed)
        try:
            if rows.num_rows:
                at = -1 if version is None else version
                lake.append(ITEMS, rows, key=batch_id, stamp=stamp, also=batch.offsets, if_version=at)
        except LakeConflictError:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        quarantine_reused(staging, batch, lake)
        listed_at = base if job.content == "full" and not timeline.has_dates() else None
        times = (staging.now, staging.now + (datetime.now(UTC) - started))
        row = _batch_row(report, batch, job, listed_at, times)
        lake.append(CATALOGUE_BATCHES, row, key=batch_id, stamp=stamp, also=batch.offsets)
        if job.content == "full":
            _warn(report, removals, batch, listed_at, confirmed)
        return report
    raise AssertionError("unreachable: the last attempt returns or raises")


def _refuse_shrunk(removals: Removals, batch: CatalogueBatch, job: CatalogueJob) -> None:
    """Refuse a full file that would remove more than the allowed share of the catalogue."""
    if removals.is_doubtful or removals.missing <= job.max_removed * removals.listed:
        return
    raise CatalogueShrunkError(
        f"{batch.shown} does not list {removals.missing:,} of the {removals.listed:,} items for sale, "
        f"but LASTAISLE_CATALOGUE_MAX_REMOVED allows a share of {job.max_removed:g}: a cut feed would empty "
        "the shop. Nothing was committed. If the items are really gone, ingest the file once with "
        "--accept-removals. If the file lists changes only, ingest it with --content changes"
    )


def _warn(
    report: CatalogueBatchReport,
    removals: Removals,
    batch: CatalogueBatch,
    listed_at: datetime | None,
    confirmed: list[datetime],
) -> None:
    """Log rows without an id, a file that says nothing of the stock, and one that is older than another."""
    if removals.is_doubtful:
        rows = f"the ids of {removals.unreadable:,} rows cannot be read"
        why = "its end is missing" if removals.is_cut else rows
        log.warning(
            "%s: %s items that it does not list stay in the catalogue, because %s: mend the file",
            *(batch.shown, f"{removals.missing:,}", why),
        )
    if report.fields.get("rows") and not report.fields.get("available"):
        log.warning(
            "%s: no row says whether its item is available, so all of them count as available: if the file "
            "has such a column, name it availability",
            batch.shown,
        )
    if listed_at and confirmed and confirmed[-1] > listed_at:
        log.warning(
            "%s: the file was last changed at %s, and a full file of %s was ingested before: its rows count "
            "only until then. If it is the newest file, set its time of change (touch) and ingest it again",
            *(batch.shown, f"{listed_at:%Y-%m-%d %H:%M:%S} UTC", f"{confirmed[-1]:%Y-%m-%d %H:%M:%S} UTC"),
        )


def _listed(lake: Lake, batch_id: str) -> list[datetime]:
    """Return the moments whose whole catalogue other batches listed."""
    if not lake.table(CATALOGUE_BATCHES):
        return []
    other = pc.field("listed_at").is_valid() & (pc.field("batch_id") != batch_id)
    moments = lake.scan(CATALOGUE_BATCHES, columns=["listed_at"], where=other)["listed_at"].to_pylist()
    return sorted(set(moments))


def _count(staging: Staging, blank: CatalogueBatchReport, removals: Removals) -> CatalogueBatchReport:
    """Count each kind of row with a query of its own, so that a wrong sum is noticed."""
    counted = replace(
        blank,
        rows_in=staging.count("staged"),
        rows_clean=staging.count("written"),
        rows_quarantined=staging.count("staged WHERE _rules IS NOT NULL")
        + staging.count("repeated WHERE _rule IS NOT NULL"),
        rows_duplicate=staging.count("repeated WHERE _rule IS NULL"),
        rows_ignored=staging.count("staged WHERE _ignored IS NOT NULL"),
        quarantined_by_rule=staging.count_by_rule(),
        ignored_by_reason=staging.count_ignored(),
        warnings_by_rule=blank.warnings_by_rule | staging.count_warnings(),
        items_removed=0 if removals.is_doubtful else removals.missing,
        items_doubtful=removals.missing if removals.is_doubtful else 0,
    )
    counted.reconcile()
    return counted


def _batch_row(
    report: CatalogueBatchReport,
    batch: CatalogueBatch,
    job: CatalogueJob,
    listed_at: datetime | None,
    times: tuple[datetime, datetime],
) -> pa.Table:
    """Return the row of the table catalogue_batches for a batch with a beginning and an end."""
    row: dict[str, Any] = {name: getattr(report, name) for name in (*_COUNTS, *_REMOVALS)} | {
        "batch_id": report.batch_id,
        "source": batch.source,
        "source_file": report.source_file,
        "format": report.format,
        "content": job.content,
        "digest": batch.digest,
        "listed_at": listed_at,
        "quarantined_by_rule": json.dumps(report.quarantined_by_rule, sort_keys=True),
        "ignored_by_reason": json.dumps(report.ignored_by_reason),
        "fields": json.dumps(report.fields, sort_keys=True),
        "change_accepted": job.options.accept_schema_change,
        "gx_success": report.gx_success,
        "gx_problem": report.gx_problem or None,
        "contract_version": job.contract.version,
        "started_at": times[0],
        "finished_at": times[1],
    }
    return pa.Table.from_pylist([row], schema=CATALOGUE_BATCHES_SCHEMA)
