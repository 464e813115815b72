"""A made-up shop of the guardrails' tests: its figures by hour, written into a lake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from lastaisle.baseline.hours import ShopHours, hour_of, read_hours
from lastaisle.lake import Lake
from lastaisle.lake.tables import EVENTS, SHOP_METRICS, SHOP_METRICS_SCHEMA, TIMESTAMP

#: The shop opens at this hour, on a Monday.
OPENED = hour_of(datetime(2025, 1, 6, tzinfo=UTC))
WEEKS = 6
SESSIONS = 3000
CONVERSION = 0.05

Who = Mapping[str, Any]
CHAMPION: Who = {"policy": "model"}
POPULAR: Who = {"policy": "popular", "model_version": "1"}


def hours_of(
    rates: Callable[[int], float],
    who: Who,
    first: int,
    end: int,
    *,
    seed: int = 0,
    sessions: int = SESSIONS,
) -> list[dict[str, Any]]:
    """Return the rows of some hours.

    Args:
        rates: the factor of the conversion in an hour.
        who: the values of the columns that name who made the lists.
        first: the first hour, since the shop opened.
        end: the hour after the last.
        seed: of chance.
        sessions: an hour, on average.
    """
    chance = np.random.default_rng([seed, first])
    rows = []
    for hour in range(first, end):
        season = 1 + 0.5 * np.sin(2 * np.pi * (hour % 24) / 24)
        count = int(chance.poisson(sessions * season))
        orders = int(chance.binomial(count, CONVERSION * rates(hour) * (1 + 0.1 * (hour % 24 > 17))))
        at = datetime.fromtimestamp(3600 * (OPENED + hour), UTC)
        key = {"hour": at, "placement": "checkout", "segment": "mobile", "event_date": at.date(), **who}
        items, clicked = 10 * count, int(chance.binomial(10 * count, 0.02))
        checkout = orders + int(chance.binomial(count - orders, 0.05))
        rows += [
            {**key, "lists": count, "sessions": count, "sessions_ordered": orders}
            | {"sessions_checkout": checkout, "sessions_abandoned": (checkout - orders) // 2},
            {**key, "position": 1, "exposures": items, "clicked": clicked, "added": clicked // 3},
            {**key, "currency": "EUR", "revenue": float(chance.gamma(max(orders, 1), 50))},
        ]
    return rows


def steady(_: int) -> float:
    """Return the factor of a shop in which nothing changes."""
    return 1.0


def dropped(start: int, drop: float) -> Callable[[int], float]:
    """Return the factor of a shop whose conversion drops at an hour."""
    return lambda hour: 1 - drop * (hour >= start)


def write_figures(lake: Lake, rows: list[dict[str, Any]]) -> None:
    """Write the figures, and an event of the newest hour's end."""
    table = pa.Table.from_pylist(rows, SHOP_METRICS_SCHEMA)
    lake.append(SHOP_METRICS, table, key=f"figures {rows[0]} {rows[-1]}")
    at = max(row["hour"] for row in rows) + timedelta(minutes=59, seconds=59)
    event = {"event_id": "e", "occurred_at": at, "event_date": at.date()}
    schema = pa.schema([("event_id", pa.string()), ("occurred_at", TIMESTAMP), ("event_date", pa.date32())])
    if lake.table(EVENTS) is None:
        lake.append(EVENTS, pa.Table.from_pylist([event], schema), key=f"event {at}")


def figures(folder: Any, rows: list[dict[str, Any]]) -> ShopHours:
    """Write rows into a lake, and read them as guardrails do."""
    lake = Lake(str(folder))
    write_figures(lake, rows)
    return read_hours(lake, maturity_hours=0)
