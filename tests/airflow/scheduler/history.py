"""Days of logs that are hard to take in at once, and the tables without what may differ from run to run."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from lastaisle.lake import Lake

FIRST = datetime(2025, 10, 1, tzinfo=UTC)
SHOPPERS = 24
#: What depends on which of two equal rows came first, on the clock, or on a batch's number.
INCIDENTAL = {
    "raw_events": {"batch_id", "source_file", "source_row", "ingested_at"},
    "quarantine": {"source_file", "batch_id", "ingested_at", "event_date"},
    "events": {"event_id", "batch_id", "sequence"},
}


def days_of(count: int) -> list[str]:
    """Return the keys of the first days."""
    return [f"{FIRST + timedelta(days=number):%Y-%m-%d}" for number in range(count)]


def write_history(landing: Path, days: int) -> None:
    """Write one file a day, of about 200 lines.

    Half of the shoppers send no session, and visit across midnight. A few rows come a day late, some of them
    in the middle of such a visit. Ten rows are in the next day's file once more. One row a day is broken.
    """
    for number, day in enumerate(days_of(days)):
        rows = [*_rows(number), *_late(number)]
        if number:
            rows += _rows(number - 1)[:10]
        rows.append({**rows[0], "event_id": f"broken-{number}", "price": -1.0})
        folder = landing / day
        folder.mkdir(parents=True)
        lines = [json.dumps(row) for row in rows]
        (folder / "events.jsonl").write_text("\n".join(lines) + "\n")


def rows_of(lake: Lake, table: str) -> list[tuple[Any, ...]]:
    """Return a table's rows, sorted, as far as they are the same however they came."""
    found = lake.scan(table)
    return sorted(
        tuple(sorted((name, repr(value)) for name, value in row.items() if name not in INCIDENTAL[table]))
        for row in found.to_pylist()
    )


def assert_same_tables(one: Lake, other: Lake) -> None:
    """Compare what two lakes hold."""
    for table in INCIDENTAL:
        ours, theirs = rows_of(one, table), rows_of(other, table)
        assert len(ours) == len(theirs), f"{table}: {len(ours)} rows, {len(theirs)} expected"
        odd = [(row, expected) for row, expected in zip(ours, theirs, strict=True) if row != expected]
        assert not odd, f"{table}: {len(odd)} rows differ, the first is {odd[0][0]}, expected {odd[0][1]}"
    ids = one.scan("events", ["event_id"])["event_id"]
    assert pc.count_distinct(ids).as_py() == len(ids)


def _rows(number: int) -> list[dict[str, Any]]:
    """Return what occurred on a day and was logged in time."""
    midnight = FIRST + timedelta(days=number)
    rows = []
    for shopper in range(SHOPPERS):
        # From 00:05 to 00:20 the visit that began the day before ends; from 23:35 on another one begins.
        minutes = [5, 20, *(600 + 7 * shopper + 10 * step for step in range(4)), 1415, 1430]
        for place, minute in enumerate(minutes):
            moment = midnight + timedelta(minutes=minute, seconds=shopper)
            rows.append(_event(f"{number}-{shopper}-{place}", shopper, moment, place))
    return rows


def _late(number: int) -> list[dict[str, Any]]:
    """Return what occurred on the day before: between two visits, which thereby become one."""
    if not number:
        return []
    midnight = FIRST + timedelta(days=number)
    return [
        _event(f"late-{number}-{shopper}", shopper, midnight - timedelta(minutes=minutes), 3)
        for shopper in range(0, SHOPPERS, 4)
        for minutes in (50, 75)
        if minutes == 50 or shopper % 8
    ]


def _event(name: str, shopper: int, moment: datetime, place: int) -> dict[str, Any]:
    row = {
        "event_id": f"event-{name}-{moment:%H%M}",
        "event_type": "item_viewed",
        "occurred_at": moment.isoformat(),
        "user_id": f"user-{shopper}",
        "item_id": f"item-{(shopper * 7 + place * 3) % 40}",
        "price": 1.5 + place,
        "currency": "EUR",
    }
    if shopper % 2 == 0:
        row["session_id"] = f"s-{shopper}-{moment:%d}" if shopper % 4 else None
    return row
