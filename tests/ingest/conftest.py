"""What the tests of ingestion share: a lake, keys, a clock that stands, and events to write."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from data_contracts.contract import Contract, load_contract
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.report import IngestReport
from lastaisle.ingest.run import ingest
from lastaisle.ingest.sources import Adapter
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys

NOW = datetime(2025, 10, 10, tzinfo=UTC)
COLUMNS_OF_THE_CLOCK = ("finished_at",)


@dataclass
class Shop:
    """A folder with a lake, keys and log files."""

    folder: Path
    lake: Lake
    keys: PseudonymKeys
    contracts: dict[str, Contract]
    options: IngestOptions = field(default_factory=lambda: IngestOptions(gx_sample_rows=0))

    def event(self, number: int = 1, **changes: Any) -> dict[str, Any]:
        """Return a good event; None takes a field away."""
        event = {
            "event_id": f"event-{number}",
            "event_type": "item_viewed",
            "occurred_at": "2025-10-09T12:00:00.120Z",
            "received_at": "2025-10-09T12:00:01.002Z",
            "user_id": f"user-{number}",
            "session_id": f"session-{number}",
            "item_id": f"item-{number}",
            "price": 9.9,
            "currency": "EUR",
        } | changes
        return {name: value for name, value in event.items() if value is not None}

    def write(self, lines: Iterable[str | dict[str, Any]] | bytes, name: str = "log.jsonl") -> str:
        """Write a log file and return its path."""
        path = self.folder / name
        if isinstance(lines, bytes):
            path.write_bytes(lines)
        else:
            texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
            path.write_text("".join(f"{text}\n" for text in texts))
        return str(path)

    def ingest(self, source: str, form: str | Adapter = "canonical", **options: Any) -> IngestReport:
        """Ingest at NOW, and check that every row is accounted for in the tables too."""
        given = {"now": NOW, "options": self.options} | self.contracts | options
        report = ingest(source, form, self.lake, self.keys, **given)
        kept = report.rows_clean + report.rows_quarantined
        assert report.rows_in == kept + report.rows_duplicate + report.rows_ignored
        return report

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return all rows of a table in an order of its own, without what the clock says."""
        rows = self.lake.scan(table).to_pylist()
        kept = [{name: row[name] for name in row if name not in COLUMNS_OF_THE_CLOCK} for row in rows]
        return sorted(kept, key=repr)

    def rules(self) -> list[list[str]]:
        """Return the rules broken by each quarantined row, in the order of the file."""
        rows = sorted(self.rows("quarantine"), key=lambda row: (row["source_row"], row["sub_row"]))
        return [row["rules"] for row in rows]


@pytest.fixture(scope="session")
def contracts() -> dict[str, Contract]:
    return {"contract": load_contract("raw_events"), "events_contract": load_contract("events")}


@pytest.fixture
def make_shop(tmp_path, contracts) -> Callable[[str], Shop]:
    keys = PseudonymKeys.load_or_create(tmp_path / "keys" / "pseudonym.json", environ={})

    def make(name: str) -> Shop:
        folder = tmp_path / name
        folder.mkdir()
        return Shop(folder, Lake(folder / "lake"), keys, dict(contracts))

    return make


@pytest.fixture
def shop(make_shop) -> Shop:
    return make_shop("shop")


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = Path(os.environ.get("LASTAISLE_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real logs in {folder}")
    return folder
