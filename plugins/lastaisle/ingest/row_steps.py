"""The steps of batches that add one row to a table for each sound row that was never read before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from lastaisle.ingest.batch_rows import ReportT, batch_row
from lastaisle.ingest.batch_steps import ATTEMPTS, BatchSteps
from lastaisle.ingest.first_commit import begin, quarantine_reused, to_stamp
from lastaisle.ingest.job import Batch, RowJob
from lastaisle.ingest.staging.duplicates import ALL_CONTENTS, Contents
from lastaisle.ingest.staging.erased import ignore_erased
from lastaisle.ingest.staging.staging import CLEAN, Staging
from lastaisle.ingest.watermark import watermark
from lastaisle.lake import LakeConflictError, Query
from lastaisle.lake.tables import QUARANTINE
from lastaisle.privacy.erased import RAW, Form
from lastaisle.telemetry.stages import stage

RowJobT = TypeVar("RowJobT", bound=RowJob)


class RowSteps(BatchSteps[RowJobT, Batch, ReportT]):
    """Brings batches into quarantine, a table of rows, and the table of the batches, in this order.

    Attributes:
        table: the table of the rows.
        batches_schema: the columns of the table of the batches.
        id_form: whether the rows hold the shop's own ids of shoppers or pseudonyms.
    """

    table: ClassVar[str]
    id_form: ClassVar[Form] = RAW
    batches_schema: ClassVar[pa.Schema]

    def commit(self, staging: Staging, batch: Batch, judged: ReportT, started: datetime) -> ReportT:
        """Commit the batch; find its duplicates again whenever another writer changed the table meanwhile."""
        job, lake, stamp = self.job, self.job.lake, to_stamp(staging.now)
        before = watermark(lake, batch.source, job.options.allowed_lateness, table=self.batches)
        for attempt in range(ATTEMPTS):
            version = lake.version(self.table)
            known = lake.dataset(self.table, version) if version is not None else None
            with stage("find rows of erased shoppers"):
                ignore_erased(staging, lake, job.keys_of_erased, self.id_form)
            with stage("find duplicates"):
                reach, contents = job.options.duplicate_reach, self.contents(known)
                staging.mark_repeated(known, batch.batch_id, reach, contents)
            with stage("count"):
                report = self._counted(staging, judged, before)
                report.reconcile()
            with stage("write quarantine"):
                begin(staging, batch, lake)
            try:
                with stage(f"write {self.table}"):
                    taken = lake.append(
                        self.table,
                        self.rows(staging, batch),
                        key=batch.batch_id,
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
                report = self.recount(report)
            times = (staging.now, staging.now + (datetime.now(UTC) - started))
            row = batch_row(report, batch, job, self.batches_schema, times, **self.batch_values())
            lake.append(self.batches, row, key=batch.batch_id, stamp=stamp, also=batch.offsets)
            return self.follow_up(staging, batch, report, taken)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def rows(self, staging: Staging, batch: Batch) -> Query:
        """Return the clean rows as the table holds them."""
        return staging.clean_rows(batch.batch_id, batch.source_file)

    def contents(self, known: ds.Dataset | None) -> Contents:
        """Return what is compared of a row with a known id, given the table as it is now."""
        return ALL_CONTENTS

    def batch_values(self) -> Mapping[str, Any]:
        """Return the values of columns that only this kind of batch has in the table of the batches."""
        return {}

    def count_more(self, staging: Staging, report: ReportT) -> ReportT:
        """Add the counts that only this kind of batch has."""
        return report

    def recount(self, report: ReportT) -> ReportT:
        """Count the rows that a killed run wrote: Kafka may have deleted some of its messages since."""
        of_batch = pc.field("batch_id") == report.batch_id
        clean, broken = (
            len(self.job.lake.scan(name, columns=["batch_id"], where=of_batch))
            for name in (self.table, QUARANTINE)
        )
        rows_in = report.rows_in - report.rows_clean - report.rows_quarantined + clean + broken
        return replace(report, rows_in=rows_in, rows_clean=clean, rows_quarantined=broken)

    def follow_up(self, staging: Staging, batch: Batch, report: ReportT, taken: bool) -> ReportT:
        """Do what follows from the commits; return the report with what is known by then.

        Args:
            staging: holds the rows.
            batch: the batch.
            report: the counts, as the table of the batches holds them.
            taken: whether this run wrote the rows; else a run that was killed after that commit did.
        """
        return report

    def _counted(self, staging: Staging, judged: ReportT, before: datetime | None) -> ReportT:
        counted = replace(
            self.count(staging, judged, CLEAN),
            rows_late=staging.count_late(self.job.options.allowed_lateness, before),
            hours=staging.hours(),
            newest=staging.newest(),
        )
        return self.count_more(staging, counted)
