"""A lake with its keys, and events of its shoppers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from data_contracts.contract import load_contract
from lastaisle.ingest.job import Ingestion
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.reading.files import list_files
from lastaisle.ingest.report import IngestReport
from lastaisle.ingest.run import ingest, ingest_file
from lastaisle.ingest.sources import adapter
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys

START = datetime(2025, 10, 9, 12, tzinfo=UTC)
NOW = START + timedelta(days=2)


class World:
    def __init__(self, folder: Path, k: int = 0) -> None:
        self.folder = folder
        self.k = k
        folder.mkdir(exist_ok=True)
        self.lake = Lake(folder / "lake")
        self.keys = PseudonymKeys.load_or_create(folder / "keys.json", environ={})
        self.contract = load_contract("raw_events")
        self.files = 0

    def ingest(self, *events: dict) -> list[str]:
        return self.ingest_report(*events).batches

    def ingest_report(self, *events: dict) -> IngestReport:
        options, source = IngestOptions(gx_sample_rows=0, k_anonymity=self.k), self._write(*events)
        lake, keys, contract = self.lake, self.keys, self.contract
        return ingest(source, "canonical", lake, keys, now=NOW, options=options, contract=contract)

    def stage(self, events: list[dict], shards: int) -> None:
        """Bring events into raw_events only, to be anonymized by so many tasks."""
        options = IngestOptions(gx_sample_rows=0, shards=shards)
        job = Ingestion(self.lake, adapter("canonical"), load_contract("raw_events"), options, now=NOW)
        ingest_file(list_files(self._write(*events)).files[0], job, source="test")

    def _write(self, *events: dict) -> str:
        self.files += 1
        path = self.folder / f"{self.files}.jsonl"
        path.write_text("".join(f"{json.dumps(event)}\n" for event in events))
        return str(path)

    def events(self) -> list[dict]:
        return sorted(self.lake.scan("events").to_pylist(), key=lambda row: row["item_id"])

    def sessions(self) -> dict[str, list[str]]:
        """Items by session, sessions in the order of their first item."""
        sessions: dict[str, list[str]] = {}
        for row in self.events():
            sessions.setdefault(row["session_id"], []).append(row["item_id"])
        return sessions


def event(item: str, minutes: float = 0, **changes) -> dict:
    given = {
        "event_id": f"event-{item}",
        "event_type": "item_viewed",
        "occurred_at": (START + timedelta(minutes=minutes)).isoformat(),
        "user_id": "anna@example.org",
        "item_id": item,
    } | changes
    return {name: value for name, value in given.items() if value is not None}
