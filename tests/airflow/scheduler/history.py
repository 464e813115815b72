"""Days of logs that are hard to ingest at the same time, and a comparison of the resulting tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from lastaisle.lake import Lake

FIRST = datetime(2025, 10, 1, tzinfo=UTC)
SHOPPERS = 24
#: Columns that depend on the order of two equal rows, on the clock, or on a batch's number.
INCIDENTAL = {
    "raw_events": {"batch_id", "source_file", "source_row", "ingested_at"},
    "quarantine": {"source_file", "batch_id", "ingested_at", "event_date"},
    "events": {"event_id", "batch_id", "sequence"},
}


def days_of(count: int) -> list[str]:
    """Return the keys of the first days."""
    return [f"{FIRST + timedelta(days=number):%Y-%m-%d}" for number in range(count)]


def write_history(landing: Path, days: int) -> None:
    """Write one file of about 200 lines for each day.

    Half of the shoppers send no session id, and their visits cross midnight. A few rows come a day late, some
    of them in the middle of such a visit. The next day's file repeats ten rows. One row a day is broken.
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
    """Return a table's rows, sorted, without the columns that differ between runs."""
    rows = lake.scan(table).to_pylist()
    return sorted(
        tuple(sorted((name, repr(value)) for name, value in row.items() if name not in INCIDENTAL[table]))
        for row in rows
    )


def assert_same_tables(actual_lake: Lake, expected_lake: Lake) -> None:
    """Compare the tables of two lakes."""
    for table in INCIDENTAL:
        actual, expected_rows = rows_of(actual_lake, table), rows_of(expected_lake, table)
        assert len(actual) == len(expected_rows), (
            f"{table}: {len(actual)} rows, {len(expected_rows)} expected"
        )
        differences = [
            (row, expected) for row, expected in zip(actual, expected_rows, strict=True) if row != expected
        ]
        assert not differences, (
            f"{table}: {len(differences)} rows differ, the first is {differences[0][0]}, "
            f"expected {differences[0][1]}"
        )
    ids = actual_lake.scan("events", ["event_id"])["event_id"]
    assert pc.count_distinct(ids).as_py() == len(ids)


def _rows(number: int) -> list[dict[str, Any]]:
    """Return the rows that occurred on a day and were logged in time."""
    midnight = FIRST + timedelta(days=number)
    rows = []
    for shopper in range(SHOPPERS):
        # The visit of the day before ends from 00:05 to 00:20; another visit begins at 23:35.
        minutes = [5, 20, *(600 + 7 * shopper + 10 * step for step in range(4)), 1415, 1430]
        for place, minute in enumerate(minutes):
            moment = midnight + timedelta(minutes=minute, seconds=shopper)
            rows.append(_event(f"{number}-{shopper}-{place}", shopper, moment, place))
    return rows


def _late(number: int) -> list[dict[str, Any]]:
    """Return late rows of the day before, which lie between two visits and join them into one visit."""
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
