"""The reports of the ingestion of exposures."""

from __future__ import annotations

from dataclasses import dataclass

from lastaisle.ingest.report import BatchReport, IngestReport


@dataclass(frozen=True)
class ExposureBatchReport(BatchReport):
    """The counts of one file, of a part of a long file, or of one range of a topic.

    Attributes:
        rows_shown: clean rows of kind shown.
    """

    rows_shown: int = 0


@dataclass
class ExposureReport(IngestReport):
    """The counts of all files, or ranges, of a source.

    Attributes:
        rows_shown: the sum over the batches.
    """

    rows_shown: int = 0

    def add(self, batch: BatchReport) -> None:
        """Add the counts of one batch."""
        super().add(batch)
        if isinstance(batch, ExposureBatchReport):
            self.rows_shown += batch.rows_shown
