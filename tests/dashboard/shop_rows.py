"""Rows of the table shop_metrics for tests: hours of lists of one version at one placement."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa

from lastaisle.lake.lake import Lake
from lastaisle.lake.tables import SHOP_METRICS, SHOP_METRICS_SCHEMA


def hour_rows(hour: datetime, **values: Any) -> list[dict[str, Any]]:
    """Return the rows of an hour: two positions, the sessions, and their revenue.

    Args:
        hour: the hour (UTC).
        **values: version, placement, experiment, arm, segment, sessions, orders, clicked; all have defaults.
    """
    given = {"version": "1", "placement": "checkout", "sessions": 100, "orders": 3, "clicked": 20} | values
    sessions, orders = given["sessions"], given["orders"]
    key = {
        "hour": hour,
        "event_date": hour.date(),
        "placement": given["placement"],
        "model_version": given["version"],
        "policy": "model",
        "experiment": given.get("experiment"),
        "arm": given.get("arm"),
        "segment": given.get("segment"),
    }
    items = [
        {**key, "position": position, "exposures": sessions, "clicks": clicked, "clicked": clicked}
        | {"viewed": clicked, "added": clicked // 2, "ordered": 0, "dwell_ms": 2000 * clicked}
        for position, clicked in ((1, given["clicked"]), (2, given["clicked"] // 2))
    ]
    counts = {"lists": sessions, "sessions": sessions, "sessions_clicked": given["clicked"]}
    counts |= {"sessions_added": orders, "sessions_checkout": 2 * orders, "sessions_ordered": orders}
    counts |= {"sessions_abandoned": orders, "items_viewed": 2 * sessions, "dwell_ms": 3000 * sessions}
    sums = {"items_viewed_squares": 5.0 * sessions, "session_seconds": 60.0 * sessions}
    sums |= {"session_seconds_squares": 4000.0 * sessions}
    money = {"currency": "EUR", "revenue": 50.0 * orders, "revenue_squares": 3000.0 * orders}
    return [*items, {**key, **counts, **sums}, {**key, **money, "attributed_revenue": 10.0 * orders}]


def write_rows(lake: Lake, rows: list[dict[str, Any]], name: str) -> None:
    """Append rows to the table."""
    lake.append(SHOP_METRICS, pa.Table.from_pylist(rows, SHOP_METRICS_SCHEMA), key=name)
