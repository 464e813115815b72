"""Ingest one batch of the catalogue: stage its rows, judge them, find the changes, commit exactly once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.catalogue.formats import guess_catalogue_format
from lastaisle.catalogue.job import CatalogueJob
from lastaisle.catalogue.report import CatalogueBatchReport
from lastaisle.catalogue.timeline import Removals, Timeline
from lastaisle.ingest.batch_rows import batch_row
from lastaisle.ingest.batch_steps import ATTEMPTS, BatchSteps
from lastaisle.ingest.checks.batch_quality import BatchRefusedError
from lastaisle.ingest.first_commit import begin, quarantine_reused, to_stamp
from lastaisle.ingest.job import Batch
from lastaisle.ingest.staging.staging import Staging
from lastaisle.lake import Lake, LakeConflictError
from lastaisle.lake.tables import CATALOGUE_BATCHES, CATALOGUE_BATCHES_SCHEMA, ITEMS
from lastaisle.telemetry.stages import stage

log = logging.getLogger(__name__)


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


class ItemSteps(BatchSteps[CatalogueJob, CatalogueBatch, CatalogueBatchReport]):
    """Brings batches into quarantine, items and catalogue_batches, in this order."""

    batches = CATALOGUE_BATCHES

    @property
    def report_type(self) -> type[CatalogueBatchReport]:
        """The class of the reports."""
        return CatalogueBatchReport

    @property
    def compares_fields(self) -> bool:
        """Whether each file has the same fields: a change holds any of them."""
        return self.job.content == "full"

    def guess(self, lines: Sequence[str], tried: str) -> tuple[str | None, str]:
        """Return another format of catalogues that the lines look like, and a sentence about it."""
        return guess_catalogue_format(lines, tried)

    def commit(
        self, staging: Staging, batch: CatalogueBatch, judged: CatalogueBatchReport, started: datetime
    ) -> CatalogueBatchReport:
        """Commit the batch; derive its changes again whenever another writer changed the items meanwhile."""
        job, lake, batch_id, stamp = self.job, self.job.lake, batch.batch_id, to_stamp(staging.now)
        base = min(batch.dated or staging.now, staging.now)
        timeline = Timeline(staging.connection, job.contract, job.content, base)
        for attempt in range(ATTEMPTS):
            version = lake.version(ITEMS)
            with stage("compare with the history of the items"):
                timeline.derive(lake.dataset(ITEMS, version) if version is not None else None, batch_id)
            removals = timeline.removals()
            _refuse_shrunk(removals, batch, job)
            report = self._counted(staging, judged, removals)
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
            more = {"content": job.content, "digest": batch.digest, "listed_at": listed_at}
            row = batch_row(report, batch, job, CATALOGUE_BATCHES_SCHEMA, times, **more)
            lake.append(CATALOGUE_BATCHES, row, key=batch_id, stamp=stamp, also=batch.offsets)
            if job.content == "full":
                _warn(report, removals, batch, listed_at, confirmed)
            return report
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _counted(
        self, staging: Staging, judged: CatalogueBatchReport, removals: Removals
    ) -> CatalogueBatchReport:
        counted = replace(
            self.count(staging, judged, "written"),
            items_removed=0 if removals.is_doubtful else removals.missing,
            items_doubtful=removals.missing if removals.is_doubtful else 0,
        )
        counted.reconcile()
        return counted


def take_in_items(
    lines: Iterable[pa.RecordBatch],
    batch: CatalogueBatch | Callable[[], CatalogueBatch],
    job: CatalogueJob,
    before_commit: Callable[[], object] | None = None,
) -> CatalogueBatchReport:
    """Bring one batch into quarantine, items and catalogue_batches.

    Arguments, result and errors are those of `BatchSteps.take_in`; besides:

    Raises:
        CatalogueShrunkError: the file would remove too many items; nothing was committed.
    """
    return ItemSteps(job).take_in(lines, batch, before_commit)


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
