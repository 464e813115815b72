"""What the tests of the catalogue share: a lake, and files whose times of change the test says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lastaisle.catalogue.formats import catalogue_adapter
from lastaisle.catalogue.history import read_catalogue
from lastaisle.catalogue.job import CatalogueJob
from lastaisle.catalogue.report import CatalogueReport
from lastaisle.catalogue.run import ingest_catalogue
from lastaisle.ingest.options import IngestOptions
from lastaisle.lake import Lake
from lastaisle.lake.tables import ITEMS

NOW = datetime(2025, 10, 20, tzinfo=UTC)


def at(hour: float) -> datetime:
    """Return a moment so many hours after the first of October."""
    return datetime(2025, 10, 1, tzinfo=UTC) + timedelta(hours=hour)


@dataclass
class Feed:
    """A folder with a lake and the files of a catalogue."""

    folder: Path
    lake: Lake
    options: IngestOptions = field(default_factory=lambda: IngestOptions(gx_sample_rows=0))

    def write(
        self, rows: Iterable[str | dict[str, Any]] | bytes, name: str = "items.jsonl", hour: float = 0
    ) -> str:
        """Write a file that was changed at an hour; return its path."""
        path = self.folder / name
        if isinstance(rows, bytes):
            path.write_bytes(rows)
        else:
            texts = (row if isinstance(row, str) else json.dumps(row) for row in rows)
            path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        os.utime(path, (at(hour).timestamp(),) * 2)
        return str(path)

    def ingest(self, source: str, form: str = "items", **given: Any) -> CatalogueReport:
        """Ingest at NOW, and check that every row is accounted for."""
        job = CatalogueJob(
            self.lake, catalogue_adapter(form), **{"options": self.options, "now": NOW, **given}
        )
        report = ingest_catalogue(source, job)
        kept = report.rows_clean + report.rows_quarantined
        assert report.rows_in == kept + report.rows_duplicate + report.rows_ignored
        return report

    def full(self, *rows: Any, hour: float = 0, name: str = "items.jsonl", **given: Any) -> CatalogueReport:
        """Write and ingest a full file of an hour."""
        return self.ingest(self.write(rows, name, hour), **given)

    def changes(
        self, *rows: Any, hour: float = 0, name: str = "changes.jsonl", **given: Any
    ) -> CatalogueReport:
        """Write and ingest changes of an hour."""
        return self.ingest(self.write(rows, name, hour), content="changes", **given)

    def now(self, moment: datetime | None = None) -> dict[str, dict[str, Any]]:
        """Return the listed items by id, without what is absent, and without times and batches."""
        table = read_catalogue(self.lake, moment)
        rows = [] if table is None else table.to_pylist()
        left_out = ("item_id", "valid_from", "batch_id", "removed")
        return {
            row["item_id"]: {
                name: value for name, value in row.items() if name not in left_out and value is not None
            }
            for row in rows
        }

    def history(self, item: str) -> list[dict[str, Any]]:
        """Return the rows of an item in the order of their times."""
        rows = [row for row in self.lake.scan(ITEMS).to_pylist() if row["item_id"] == item]
        return sorted(rows, key=lambda row: row["valid_from"])

    def broken(self) -> list[tuple[int, list[str]]]:
        """Return the numbers and the broken rules of the rows in quarantine."""
        rows = self.lake.scan("quarantine").to_pylist()
        return sorted((row["source_row"], row["rules"]) for row in rows)


@pytest.fixture
def feed(tmp_path) -> Feed:
    folder = tmp_path / "feed"
    folder.mkdir()
    return Feed(folder, Lake(tmp_path / "lake"))
