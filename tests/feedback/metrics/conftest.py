"""What the tests of the figures share: a lake whose outcomes and events the test writes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from lastaisle.feedback.metrics.count import MetricsReport, count_metrics
from lastaisle.lake import Lake, Query
from lastaisle.lake.tables import EVENTS, OUTCOMES, OUTCOMES_SCHEMA, SHOP_METRICS, TIMESTAMP
from lastaisle.lake.workspace import open_workspace

Row = Mapping[str, Any]

EVENTS_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("event_id", "session_id", "user_id", "item_id")),
        pa.field("event_type", pa.string()),
        pa.field("occurred_at", TIMESTAMP),
        pa.field("order_id", pa.string()),
        pa.field("quantity", pa.int32()),
        pa.field("price", pa.float64()),
        pa.field("currency", pa.string()),
        pa.field("dwell_ms", pa.int64()),
        pa.field("event_date", pa.date32()),
    ]
)
_SHOWN: dict[str, Any] = {
    **dict.fromkeys(OUTCOMES_SCHEMA.names),
    **dict.fromkeys(("clicks", "views", "adds", "orders"), 0),
    "recommendation_id": "r1",
    "session_id": "s1",
    "item_id": "i1",
    "position": 1,
    "placement": "checkout",
    "model_version": "3",
    "policy": "model",
    "segment": "mobile",
}
_EVENT: dict[str, Any] = {**dict.fromkeys(EVENTS_SCHEMA.names), "session_id": "s1"}


def at(hour: float) -> datetime:
    """Return a moment so many hours after Monday, the sixth of October 2025."""
    return datetime(2025, 10, 6, tzinfo=UTC) + timedelta(hours=hour)


@dataclass
class Shop:
    """A lake whose rows of outcomes and events the test says."""

    lake: Lake
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    _numbers: Iterable[int] = field(default_factory=itertools.count)

    def shown(self, hour: float, **values: Any) -> str:
        """Add an exposure of an hour, or change it; return its id. It is in the lake after `write`."""
        number = next(iter(self._numbers))
        row = {**_SHOWN, "exposure_id": f"x{number:05}", **values, "shown_at": at(hour)}
        row["event_date"] = row["shown_at"].date()
        self.outcomes[row["exposure_id"]] = row
        return str(row["exposure_id"])

    def event(self, hour: float, kind: str, **values: Any) -> None:
        """Add an event; `write` appends it to the lake's table."""
        number = next(iter(self._numbers))
        row = {**_EVENT, "event_id": f"e{number:05}", "event_type": kind, **values}
        self.events.append({**row, "occurred_at": at(hour), "event_date": at(hour).date()})

    def write(self) -> None:
        """Append the new events to the lake, and replace the days of its outcomes that differ."""
        stored_events = (
            set(self.lake.scan(EVENTS, ["event_id"])["event_id"].to_pylist())
            if (self.lake.version(EVENTS) is not None)
            else set()
        )
        new = [event for event in self.events if event["event_id"] not in stored_events]
        if new:
            self.lake.append(EVENTS, pa.Table.from_pylist(new, EVENTS_SCHEMA), key=new[0]["event_id"])
        if self.lake.version(OUTCOMES) is None:
            self.lake.append(OUTCOMES, OUTCOMES_SCHEMA.empty_table(), key="made")
        rows = pa.Table.from_pylist(list(self.outcomes.values()), OUTCOMES_SCHEMA).to_pylist()
        stored = self.lake.scan(OUTCOMES).to_pylist()

        def of(rows: Iterable[Row], day: date) -> list[Row]:
            return sorted((row for row in rows if row["event_date"] == day), key=lambda r: r["exposure_id"])

        days = {row["event_date"] for row in [*rows, *stored]}
        changed = sorted(day for day in days if of(rows, day) != of(stored, day))
        if not changed:
            return
        with open_workspace(writes_to=self.lake.url) as connection:
            connection.register("given", pa.Table.from_pylist(rows, OUTCOMES_SCHEMA))
            query = Query(connection, "SELECT * FROM given", OUTCOMES_SCHEMA, changed)
            self.lake.replace_days(OUTCOMES, query, if_version=self.lake.version(OUTCOMES))

    def count(self, **given: Any) -> MetricsReport:
        """Write the outcomes, and count."""
        self.write()
        return count_metrics(self.lake, **given)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of shop_metrics in a fixed order."""
        return sorted(self.lake.scan(SHOP_METRICS).to_pylist(), key=str)

    def only(self, **where: Any) -> dict[str, Any]:
        """Return the only row of shop_metrics with these values."""
        (row,) = (row for row in self.rows() if all(row[name] == value for name, value in where.items()))
        return row


@pytest.fixture
def shop(tmp_path) -> Shop:
    return Shop(Lake(tmp_path / "lake"))
