"""The reports of the catalogue's ingestion: rows, and the items that a full file no longer lists."""

from __future__ import annotations

from dataclasses import dataclass

from lastaisle.ingest.report import BatchReport, IngestReport


@dataclass(frozen=True)
class CatalogueBatchReport(BatchReport):
    """The counts of one file, or of one range of a topic.

    `rows_clean` are the rows that changed an item, `rows_duplicate` the rows that changed nothing.

    Attributes:
        items_removed: items that a full file no longer lists.
        items_doubtful: items that a full file does not list, but that rows without a readable id may have
            meant. They stay in the catalogue.
    """

    items_removed: int = 0
    items_doubtful: int = 0


@dataclass
class CatalogueReport(IngestReport):
    """The counts of all files of a catalogue.

    Attributes:
        items_removed, items_doubtful: sums over the files; see `CatalogueBatchReport`.
    """

    items_removed: int = 0
    items_doubtful: int = 0

    def add(self, batch: BatchReport) -> None:
        """Add the counts of one batch."""
        super().add(batch)
        if isinstance(batch, CatalogueBatchReport):
            self.items_removed += batch.items_removed
            self.items_doubtful += batch.items_doubtful
