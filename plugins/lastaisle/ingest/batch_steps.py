"""The steps of a batch on its way into the tables, from its lines to its commits, each exactly once.

The batches of events, of the catalogue and of exposures go the same way: their rows are staged and judged,
and committed. What differs stands in a class of each of them.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import pyarrow as pa

from lastaisle.ingest.batch_rows import ReportT, read_report
from lastaisle.ingest.checks.batch_quality import judge_batch
from lastaisle.ingest.checks.changes import refuse_changed_fields, unknown_fields
from lastaisle.ingest.checks.gx_check import check_sample
from lastaisle.ingest.checks.personal_data import take_out_personal_data
from lastaisle.ingest.checks.wrong_format import refuse_wrong_format
from lastaisle.ingest.first_commit import first_now
from lastaisle.ingest.job import Batch, Job, OvertakenError
from lastaisle.ingest.staging.staging import Staging
from lastaisle.lake.workspace import open_workspace
from lastaisle.telemetry.stages import stage

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

log = logging.getLogger(__name__)

ATTEMPTS = 20
"""How often a batch is compared anew with a table that another writer changed meanwhile."""
JobT = TypeVar("JobT", bound=Job)
BatchT = TypeVar("BatchT", bound=Batch)


class BatchSteps(ABC, Generic[JobT, BatchT, ReportT]):
    """Brings batches of one kind into their tables.

    Attributes:
        batches: the table of the batches of this kind. Its row is the last commit of a batch.
        may_end: fields that later batches of a source may lack, although the source did not change.

    Args:
        job: the settings of the ingestion.
    """

    batches: ClassVar[str]
    may_end: ClassVar[tuple[str, ...]] = ()

    def __init__(self, job: JobT) -> None:
        self.job = job

    def with_job(self, **changes: Any) -> Self:
        """Return the same steps under other settings."""
        return type(self)(replace(self.job, **changes))

    def take_in(
        self,
        lines: Iterable[pa.RecordBatch],
        batch: BatchT | Callable[[], BatchT],
        before_commit: Callable[[], object] | None = None,
    ) -> ReportT:
        """Bring one batch into the tables.

        The commits happen in an order, each once by the id of the batch. A run that was killed between two
        commits is run again. The second run uses the `now` of the first run, so its rules decide alike.

        Args:
            lines: record batches of `lastaisle.ingest.reading.lines.LINES`; read to their end.
            batch: the description of the batch. If it follows from the lines, a function that returns it once
                they are read.
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
            LakeConflictError: other writers kept changing the table meanwhile.
        """
        job = self.job
        known = None if callable(batch) else batch
        if known is not None and (recorded := self.recorded(known.batch_id)) is not None:
            for _ in lines:  # up to the beginning of the next batch
                pass
            return self.skip(recorded, known)
        started = datetime.now(UTC)
        now = (known and first_now(job.lake, known)) or (job.now or started).astimezone(UTC)
        with open_workspace(job.options.memory_limit, writes_to=job.lake.url) as connection:
            self.prepare(connection)
            staging = Staging(connection, job.contract, now)
            with stage("read, parse and judge"):
                staging.load(lines, job.form, job.lake)
            described = batch() if callable(batch) else batch
            if known is None and (recorded := self.recorded(described.batch_id)) is not None:
                return self.skip(recorded, described)
            if (first := first_now(job.lake, described)) not in (None, now):
                raise OvertakenError(described, first)
            judged = self.judge(staging, described)
            if before_commit is not None:
                before_commit()
            return self.commit(staging, described, judged, started)

    def finish(self, batch: BatchT) -> ReportT | None:
        """Report that a batch was ingested before, and finish its remaining commits, without its lines.

        Returns:
            The report; None if the table of the batches does not hold the batch.
        """
        recorded = self.recorded(batch.batch_id)
        return None if recorded is None else self.skip(recorded, batch)

    def recorded(self, batch_id: str) -> ReportT | None:
        """Return the report of a batch that the table of the batches holds; None for any other batch."""
        return read_report(self.job.lake, self.batches, batch_id, self.report_type)

    def skip(self, recorded: ReportT, batch: BatchT) -> ReportT:
        """Report that a batch was ingested before: none of its rows changes anything."""
        counts: dict[str, Any] = dict.fromkeys(
            (entry.name for entry in fields(recorded) if entry.name.startswith(("rows_", "items_"))), 0
        )
        return replace(
            recorded,
            source_file=batch.source_file,
            quarantined_by_rule={},
            ignored_by_reason={},
            personal_data={},
            skipped=True,
            **counts | {"rows_in": recorded.rows_in, "rows_duplicate": recorded.rows_in},
        )

    def judge(self, staging: Staging, batch: BatchT) -> ReportT:
        """Take out personal data, compare the fields with earlier batches, judge the rows, check a sample.

        Fields that the contract does not have are counted: their values are not kept.
        """
        job = self.job
        with stage("search personal data"):
            personal = take_out_personal_data(
                *(staging, batch.shown),
                known=None if job.form.keys is None else job.form.keys(job.contract),
                countries=job.options.phone_countries,
            )
        with stage("compare fields with the batches before"):
            counted = staging.count_fields()
            if not job.options.accept_schema_change:
                if self.compares_fields:
                    refuse_changed_fields(
                        *(job.lake, batch, job.contract, counted),
                        table=self.batches,
                        may_end=self.may_end,
                    )
                refuse_wrong_format(staging, batch, self.guess)
        warnings = judge_batch(staging, batch.shown)
        check = check_sample(staging, job.options.gx_sample_rows, batch.shown)
        return self.report_type(
            batch.batch_id,
            batch.source_file,
            batch.format,
            gx_success=check.success,
            gx_problem=check.problem,
            warnings_by_rule=warnings,
            part=batch.part,
            fields=counted,
            unknown_fields=self._unknown(staging, batch),
            personal_data=personal,
        )

    def _unknown(self, staging: Staging, batch: BatchT) -> dict[str, int]:
        job = self.job
        if job.form.keys is None:
            return {}
        unknown = unknown_fields(staging.first_lines.to_pylist(), job.form.keys(job.contract))
        if unknown:
            log.warning(
                "%s: the contract %s has no field for %s; their values are not kept",
                *(batch.shown, job.contract.path.name, unknown),
            )
        return unknown

    def count(self, staging: Staging, blank: ReportT, clean: str) -> ReportT:
        """Count each kind of row with a query of its own, so that a wrong sum is noticed.

        Args:
            staging: holds the rows.
            blank: the report to fill in.
            clean: the FROM clause of the clean rows.
        """
        return replace(
            blank,
            rows_in=staging.count("staged"),
            rows_clean=staging.count(clean),
            rows_quarantined=staging.count("staged WHERE _rules IS NOT NULL")
            + staging.count("repeated WHERE _rule IS NOT NULL"),
            rows_duplicate=staging.count("repeated WHERE _rule IS NULL"),
            rows_ignored=staging.count("staged WHERE _ignored IS NOT NULL"),
            quarantined_by_rule=staging.count_by_rule(),
            ignored_by_reason=staging.count_ignored(),
            warnings_by_rule=blank.warnings_by_rule | staging.count_warnings(),
        )

    def prepare(self, connection: DuckDBPyConnection) -> None:
        """Give the temporary database what the SQL of the adapter needs."""

    @property
    def compares_fields(self) -> bool:
        """Whether a batch is expected to have the fields of the batches before."""
        return True

    @property
    @abstractmethod
    def report_type(self) -> type[ReportT]:
        """The class of the reports."""

    @abstractmethod
    def guess(self, lines: Sequence[str], tried: str) -> tuple[str | None, str]:
        """Return another format that the first lines look like, and a sentence about it for the user."""

    @abstractmethod
    def commit(self, staging: Staging, batch: BatchT, judged: ReportT, started: datetime) -> ReportT:
        """Commit a judged batch; compare it again whenever another writer changed the table meanwhile."""
