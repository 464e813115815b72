"""What the tests of exposures share: a lake, a key, and the rows of each format."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lastaisle.feedback.exposures.formats import exposure_adapter
from lastaisle.feedback.exposures.job import ExposureJob
from lastaisle.feedback.exposures.report import ExposureReport
from lastaisle.feedback.exposures.run import ingest_exposures
from lastaisle.ingest.options import IngestOptions
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys

NOW = datetime(2025, 10, 10, tzinfo=UTC)
SESSION, USER = "5" * 32, "a" * 32
CLOCK = ("finished_at",)


def feedback(number: int = 1, **changes: Any) -> dict[str, Any]:
    """Return a line as the service writes it; None takes a field away."""
    line = {
        "exposure_id": f"{number:032x}",
        "kind": "shown",
        "recommendation_id": f"3-m-{'0' * 24}",
        "occurred_at": "2025-10-09T12:00:00.120Z",
        "received_at": "2025-10-09T12:00:01.002Z",
        "user_id": USER,
        "session_id": SESSION,
        "item_id": f"item-{number}",
        "position": number,
        "placement": "checkout",
        "model_version": "3",
        "policy": "model",
        "propensity": 1.0,
    } | changes
    return {name: value for name, value in line.items() if value is not None}


def row(number: int = 1, **changes: Any) -> dict[str, Any]:
    """Return a row of the format exposures, with the shop's own ids."""
    own = {"exposure_id": f"e{number}", "user_id": "anna", "session_id": "visit 1"}
    return feedback(number, **(own | {"recommendation_id": "list-1"} | changes))


def track(event: str, message: str = "m1", **properties: Any) -> dict[str, Any]:
    """Return a call of Segment."""
    return {
        "type": "track",
        "event": event,
        "messageId": message,
        "userId": "anna",
        "timestamp": "2025-10-09T12:00:00.120Z",
        "receivedAt": "2025-10-09T12:00:01.002Z",
        "properties": {"session_id": "visit 1", **properties},
    }


def seen(*products: dict[str, Any], **properties: Any) -> dict[str, Any]:
    """Return the call of Segment that shows a list of products."""
    return track("Product List Viewed", products=list(products), **properties)


@dataclass
class Shown:
    """A folder with a lake and a key."""

    folder: Path
    lake: Lake
    keys: PseudonymKeys
    options: IngestOptions = field(default_factory=lambda: IngestOptions(gx_sample_rows=0))

    def write(self, lines: Iterable[str | dict[str, Any]] | bytes, name: str = "shown.jsonl") -> str:
        """Write a file and return its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(lines, bytes):
            path.write_bytes(lines)
        else:
            texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
            path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        return str(path)

    def job(self, form: str = "feedback", **given: Any) -> ExposureJob:
        """Return a job whose clock stands at NOW."""
        defaults = {"keys": self.keys, "options": self.options, "now": NOW}
        return ExposureJob(self.lake, exposure_adapter(form), **(defaults | given))

    def ingest(self, source: str, form: str = "feedback", **given: Any) -> ExposureReport:
        """Ingest, and check that every row is accounted for."""
        report = ingest_exposures(source, self.job(form, **given))
        kept = report.rows_clean + report.rows_quarantined
        assert report.rows_in == kept + report.rows_duplicate + report.rows_ignored
        return report

    def take(self, *lines: Any, form: str = "feedback", name: str = "shown.jsonl", **given: Any):
        """Write and ingest a file."""
        return self.ingest(self.write(lines, name), form, **given)

    def rows(self, table: str = "exposures") -> list[dict[str, Any]]:
        """Return the rows of a table in an order of their own, without what the clock says."""
        rows = self.lake.scan(table).to_pylist() if self.lake.table(table) else []
        kept = [{name: one[name] for name in one if name not in CLOCK} for one in rows]
        return sorted(kept, key=lambda one: (str(one.get("item_id")), repr(one)))

    def rules(self) -> list[list[str]]:
        """Return the rules that each row in quarantine broke, in the order of the file."""
        rows = sorted(self.rows("quarantine"), key=lambda one: (one["source_row"], one["sub_row"]))
        return [one["rules"] for one in rows]


@pytest.fixture
def make_shown(tmp_path):
    keys = PseudonymKeys.load_or_create(tmp_path / "keys" / "pseudonym.json", environ={})

    def make(name: str) -> Shown:
        folder = tmp_path / name
        folder.mkdir()
        return Shown(folder, Lake(folder / "lake"), keys)

    return make


@pytest.fixture
def shown(make_shown) -> Shown:
    return make_shown("shop")
