"""Ingest one batch of events: stage its rows, judge them, find duplicates, and commit exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from lastaisle.ingest.guess import guess_log_format
from lastaisle.ingest.job import Batch, Ingestion
from lastaisle.ingest.report import BatchReport
from lastaisle.ingest.row_steps import RowSteps
from lastaisle.ingest.staging.staging import Staging
from lastaisle.lake.tables import BATCHES, BATCHES_SCHEMA, RAW_EVENTS
from lastaisle.privacy.anonymize import anonymize_batch, anonymize_taken
from lastaisle.privacy.k_anonymity import Grouping
from lastaisle.telemetry.stages import stage


class EventSteps(RowSteps[Ingestion, BatchReport]):
    """Brings batches into quarantine, raw_events, batches and, if there are keys, events, in this order."""

    table = RAW_EVENTS
    batches = BATCHES
    batches_schema = BATCHES_SCHEMA

    @property
    def report_type(self) -> type[BatchReport]:
        """The class of the reports."""
        return BatchReport

    def guess(self, lines: Sequence[str], tried: str) -> tuple[str | None, str]:
        """Return the format of logs that the lines look like, and a sentence about it for the user."""
        return guess_log_format(lines, tried)

    def skip(self, recorded: BatchReport, batch: Batch) -> BatchReport:
        """Report that a batch was ingested before; finish it if its run was killed before the last commit."""
        self._anonymize_recorded(batch.batch_id)
        return super().skip(recorded, batch)

    def batch_values(self) -> Mapping[str, Any]:
        """Return in how many parts the batch is anonymized."""
        return {"shards": self.job.options.shards if self.job.keys is None else 1}

    def follow_up(self, staging: Staging, batch: Batch, report: BatchReport, taken: bool) -> BatchReport:
        """Bring the rows into events, if there are keys; report the values that are left out."""
        if not taken:  # a killed run wrote raw_events, perhaps with rows that Kafka has deleted since
            self._anonymize_recorded(batch.batch_id)
        elif self.job.keys is not None:
            staging.name_taken(batch.batch_id)
            with stage("derive sessions, treat and write events"):
                done = anonymize_taken(
                    *(staging.connection, batch.batch_id, self.job.lake, self.job.keys),
                    grouping=Grouping(self.job.options.k_anonymity),
                    **self._contracts(),
                )
            return replace(report, left_out=dict(done.left_out))
        return report

    def _anonymize_recorded(self, batch_id: str) -> None:
        """Bring the rows of a batch from raw_events into events, if there are keys."""
        if self.job.keys is not None:
            options = self.job.options
            anonymize_batch(
                *(batch_id, self.job.lake, self.job.keys),
                k=options.k_anonymity,
                memory_limit=options.memory_limit,
                **self._contracts(),
            )

    def _contracts(self) -> dict[str, Any]:
        return {"contract": self.job.contract, "events_contract": self.job.events_contract}


def take_in(
    lines: Iterable[pa.RecordBatch],
    batch: Batch | Callable[[], Batch],
    job: Ingestion,
    before_commit: Callable[[], object] | None = None,
) -> BatchReport:
    """Bring one batch into quarantine, raw_events, batches and, if there are keys, events.

    Arguments, result and errors are those of `BatchSteps.take_in`.
    """
    return EventSteps(job).take_in(lines, batch, before_commit)
