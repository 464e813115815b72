"""Faults of a whole day of logs in which each row is valid: crawlers, a broken feed, an hour sent twice.

Each injection turns the lines of a day into the lines of a bad day. The same seed gives the same lines.
Damaged lines stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from lastaisle.simulate.lines import timestamps

Row = dict[str, Any]
Injection = Callable[[list[str], date, np.random.Generator], list[str]]

FLOODED_ITEMS = 30  # items that the crawlers of a targeted flood look at
BUSY_HOUR = 17  # one of the hours on which a candidate is evaluated
_ITEM_FIELDS = ("item_id", "price", "currency", "category", "brand")
_VISIT_FIELDS = ("user_id", "session_id", "event_id", "referrer", "order_id", "quantity", "dwell_ms")


def bots_on_few_items(lines: list[str], day: date, rng: np.random.Generator) -> list[str]:
    """Add three crawler sessions to each real session.

    A session has 20 to 59 views of thirty items, 0.5 to 2 s apart.
    """
    return _flooded(lines, day, rng, few_items=True, views=(20, 60), gap=(0.5, 2.0))


def bots_on_all_items(lines: list[str], day: date, rng: np.random.Generator) -> list[str]:
    """Add three crawler sessions to each real session.

    A session has 20 to 59 views of any items, 0.5 to 2 s apart.
    """
    return _flooded(lines, day, rng, few_items=False, views=(20, 60), gap=(0.5, 2.0))


def patient_bots(lines: list[str], day: date, rng: np.random.Generator) -> list[str]:
    """Add three crawler sessions that look like shoppers' to each real session.

    A session has four to seven views of thirty items, 20 to 60 s apart.
    """
    return _flooded(lines, day, rng, few_items=True, views=(4, 8), gap=(20.0, 60.0))


def items_shuffled(lines: list[str], day: date, rng: np.random.Generator) -> list[str]:
    """Give each row the item of another row, as a join by the wrong key does."""
    rows = _read(lines)
    with_item = [at for at, row in enumerate(rows) if row and "item_id" in row]
    items = [{name: rows[at][name] for name in _ITEM_FIELDS if name in rows[at]} for at in with_item]
    for at, other in zip(with_item, rng.permutation(len(items)), strict=True):
        rows[at].update(items[other])
    return _written(rows, lines)


def ids_garbled(lines: list[str], day: date, rng: np.random.Generator) -> list[str]:
    """Give every item a new id, as a feed with a new numbering does."""
    rows = _read(lines)
    for row in rows:
        if row and "item_id" in row:
            row["item_id"] = f"new-{row['item_id']}"
    return _written(rows, lines)


def fields_missing(lines: list[str], day: date, rng: np.random.Generator) -> list[str]:
    """Remove the fields about the item from half of the rows."""
    rows = _read(lines)
    for row, loses_fields in zip(rows, rng.random(len(rows)) < 0.5, strict=True):
        if row and loses_fields:
            for name in _ITEM_FIELDS:
                row.pop(name, None)
    return _written(rows, lines)


def hour_twice(lines: list[str], day: date, rng: np.random.Generator) -> list[str]:
    """Send one busy hour again under new event ids."""
    return lines + [json.dumps(row) for row in _busy_hour_again(lines, day)]


def hour_twice_as_new_sessions(lines: list[str], day: date, rng: np.random.Generator) -> list[str]:
    """Send one busy hour again under new event ids and new session ids."""
    rows = _busy_hour_again(lines, day)
    for row in rows:
        if "session_id" in row:
            row["session_id"] += "-again"
    return lines + [json.dumps(row) for row in rows]


BAD_DAYS: dict[str, Injection] = {
    "bot flood on few items": bots_on_few_items,
    "bot flood on all items": bots_on_all_items,
    "bot flood, slow and short": patient_bots,
    "items shuffled": items_shuffled,
    "item ids garbled": ids_garbled,
    "half of the fields missing": fields_missing,
    "hour twice": hour_twice,
    "hour twice, as new sessions": hour_twice_as_new_sessions,
}


def _read(lines: Sequence[str]) -> list[Any]:
    """Read the lines; a damaged line gives None."""
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        rows.append(row if isinstance(row, dict) else None)
    return rows


def _written(rows: Sequence[Any], lines: Sequence[str]) -> list[str]:
    return [json.dumps(row) if row else line for row, line in zip(rows, lines, strict=True)]


def _busy_hour_again(lines: Sequence[str], day: date) -> list[Row]:
    rows = [row for row in _read(lines) if row and "event_id" in row]
    hour_prefix = f"{day.isoformat()}T{BUSY_HOUR}:"
    return [
        {**row, "event_id": f"{row['event_id']}-again"}
        for row in rows
        if str(row.get("occurred_at", "")).startswith(hour_prefix)
    ]


def _flooded(
    lines: list[str],
    day: date,
    rng: np.random.Generator,
    *,
    few_items: bool,
    views: tuple[int, int],
    gap: tuple[float, float],
) -> list[str]:
    """Add three anonymous sessions to each real one, at any time of the day.

    With `few_items`, the sessions look at thirty items only. `views` bounds the views of a session (the upper
    bound is left out), and `gap` bounds the seconds between two views.
    """
    real_views = [
        row for row in _read(lines) if row and row.get("event_type") == "item_viewed" and "item_id" in row
    ]
    items = list({row["item_id"]: row for row in real_views}.values())
    pool = (
        rng.choice(len(items), min(FLOODED_ITEMS, len(items)), replace=False)
        if few_items
        else np.arange(len(items))
    )
    sessions = 3 * len({row["session_id"] for row in real_views if "session_id" in row})
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
    latest = int(timedelta(hours=23.5).total_seconds() * 1000)
    added = []
    for session in range(sessions):
        count = int(rng.integers(*views))
        steps = np.cumsum(1000 * rng.uniform(*gap, size=count)).astype(np.int64)
        times = timestamps(midnight + int(rng.integers(latest)) + steps)
        for number, (at, chosen) in enumerate(zip(times, rng.choice(pool, count), strict=True)):
            row = {name: value for name, value in items[chosen].items() if name not in _VISIT_FIELDS}
            row["session_id"] = f"bot-{day:%Y%m%d}-{session}"
            row |= {"event_id": f"{row['session_id']}-{number}", "occurred_at": at, "received_at": at}
            added.append(json.dumps(row))
    return lines + added
