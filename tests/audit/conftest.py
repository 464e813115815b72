"""An installation whose tables the test fills, and its audit."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lastaisle.audit import Audit, Finding, audit
from lastaisle.lake import Lake
from lastaisle.lake.tables import (
    ACCESSES_SCHEMA,
    BATCHES_SCHEMA,
    CONSENTS_SCHEMA,
    SUBJECT_REQUESTS_SCHEMA,
    TIMESTAMP,
)
from lastaisle.privacy.consents import PURPOSES
from lastaisle.settings import Settings

NOW = datetime(2026, 11, 1, 5, tzinfo=UTC)
FIRST, LAST = date(2026, 10, 1), date(2026, 10, 31)
EVENTS_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("event_id", "user_id", "session_id", "batch_id")),
        *((name, pa.string()) for name in ("device_type", "country", "region")),
        *(("occurred_at", TIMESTAMP), ("event_date", pa.date32()), ("key_version", pa.int32())),
        *((f"consent_{purpose}", pa.bool_()) for purpose in PURPOSES),
    ]
)
SCHEMAS = {
    "events": EVENTS_SCHEMA,
    "batches": BATCHES_SCHEMA.append(pa.field("personal_data", pa.string()))
    if "personal_data" not in BATCHES_SCHEMA.names
    else BATCHES_SCHEMA,
    "accesses": ACCESSES_SCHEMA,
    "consents": CONSENTS_SCHEMA,
    "subject_requests": SUBJECT_REQUESTS_SCHEMA,
}


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@dataclass
class Shop:
    """An installation without services."""

    settings: Settings
    lake: Lake

    def add(self, table: str, *rows: dict[str, Any]) -> None:
        self.lake.append(table, pa.Table.from_pylist(list(rows), SCHEMAS[table]), key=uuid.uuid4().hex)

    def events(self, count: int, days_ago: float = 10, *, batch: str = "batch", **values: Any) -> None:
        """Add events of as many shoppers within one hour."""
        at = ago(days_ago).replace(minute=0)
        base = {"device_type": "mobile", "country": "DE", "region": None, "key_version": 1}
        base |= {f"consent_{purpose}": True for purpose in PURPOSES}
        rows = [
            base
            | {
                "event_id": f"{batch}-{number}",
                "user_id": f"shopper-{number}",
                "session_id": f"visit-{number}",
            }
            | {"batch_id": batch, "occurred_at": at, "event_date": at.date()}
            | values
            for number in range(count)
        ]
        self.add("events", *rows)

    def batch(self, name: str = "batch", days_ago: float = 10, **values: Any) -> None:
        at = ago(days_ago)
        self.add("batches", {"batch_id": name, "started_at": at, "finished_at": at, **values})

    def audit(self) -> Audit:
        return audit(self.lake, self.settings, FIRST, LAST, now=NOW)

    def finding(self, section: str, name: str) -> Finding:
        """Return the only finding of a section with a name."""
        (found,) = [one for one in self.audit().findings if (one.section, one.name) == (section, name)]
        return found


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    settings = Settings.of(home=tmp_path / "home")
    return Shop(settings, Lake(settings.lake.url))
