"""Rows of exposures and events, and a lake to put them into."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from lastaisle.lake import Lake
from lastaisle.lake.tables import EVENTS, EXPOSURES, OUTCOMES, UNATTRIBUTED

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)
TEXTS = ("recommendation_id", "session_id", "user_id", "item_id", "placement", "model_version", "policy")
_TIME = pa.timestamp("us", "UTC")
EXPOSURES_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("exposure_id", "kind", *TEXTS, "experiment", "arm")),
        *(("occurred_at", _TIME), ("received_at", _TIME), ("position", pa.int32())),
        *(("propensity", pa.float64()), ("batch_id", pa.string()), ("event_date", pa.date32())),
    ]
)
EVENTS_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("event_id", "event_type", "session_id", "user_id", "item_id")),
        *((name, pa.string()) for name in ("order_id", "currency", "device_type", "country")),
        *(("occurred_at", _TIME), ("sequence", pa.int64()), ("quantity", pa.int32())),
        *(("price", pa.float64()), ("dwell_ms", pa.int64()), ("event_date", pa.date32())),
    ]
)


def feedback(kind: str, item: str, at: datetime | float = 0, **fields: Any) -> dict[str, Any]:
    """Return a row of exposures; `at` is a moment, or the minutes since noon."""
    moment = at if isinstance(at, datetime) else NOON + timedelta(minutes=at)
    row = dict.fromkeys(EXPOSURES_SCHEMA.names) | {"kind": kind, "item_id": item, "occurred_at": moment}
    row |= {"recommendation_id": "list", "session_id": "visit", "user_id": "shopper", "placement": "cart"}
    row |= {"exposure_id": uuid.uuid4().hex, "position": 1, "event_date": moment.date()}
    return row | ({"model_version": "7", "policy": "model"} if kind == "shown" else {}) | fields


def event(kind: str, item: str | None, at: datetime | float = 0, **fields: Any) -> dict[str, Any]:
    """Return a row of events; `at` is a moment, or the minutes since noon."""
    moment = at if isinstance(at, datetime) else NOON + timedelta(minutes=at)
    row = dict.fromkeys(EVENTS_SCHEMA.names) | {"event_type": kind, "item_id": item, "occurred_at": moment}
    row |= {"event_id": uuid.uuid4().hex, "session_id": "visit", "user_id": "shopper", "sequence": 0}
    row |= {"event_date": moment.date(), "order_id": "order" if kind == "order_completed" else None}
    return row | fields


def put(lake: Lake, *rows: dict[str, Any]) -> None:
    """Append rows to the tables to which they belong, as a batch of its own."""
    for name, schema, column in (
        (EXPOSURES, EXPOSURES_SCHEMA, "kind"),
        (EVENTS, EVENTS_SCHEMA, "event_type"),
    ):
        if own := [row for row in rows if column in row]:
            lake.append(name, pa.Table.from_pylist(own, schema=schema), key=uuid.uuid4().hex)


def outcomes(lake: Lake) -> dict[str, dict[str, Any]]:
    """Return the outcomes by the id of the exposure."""
    return {row["exposure_id"]: row for row in lake.scan(OUTCOMES).to_pylist()}


def reasons(lake: Lake) -> dict[str, str]:
    """Return the reasons of unattributed feedback by the id of the row."""
    return {row["exposure_id"]: row["reason"] for row in lake.scan(UNATTRIBUTED).to_pylist()}


def versions(lake: Lake) -> dict[str, int]:
    """Return the versions of the tables that attribution makes."""
    return lake.versions([OUTCOMES, UNATTRIBUTED])


def counts(lake: Lake, row: dict[str, Any]) -> tuple[int, ...]:
    """Return the clicks, views, additions and orders that followed from the exposure of a row."""
    found = outcomes(lake)[row["exposure_id"]]
    return tuple(found[name] for name in ("clicks", "views", "adds", "orders"))
