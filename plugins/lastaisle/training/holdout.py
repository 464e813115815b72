"""How many hours judge a candidate: a shop with few sessions needs more of them to get a champion."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from lastaisle.lake.tables import EVENTS
from lastaisle.lake.workspace import open_tables
from lastaisle.sessions.windows import evaluation_sessions

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings

PLENTY = 10  # with so many times the events that are needed, bots and refused consent leave enough targets


def holdout_start(lake: Lake, settings: Settings, data_end: datetime) -> datetime:
    """Return the moment at which the hours begin that judge a candidate.

    By default the hold-out is HOLDOUT_HOURS long. With fewer targets than MIN_TARGETS it grows backwards by
    whole hours until there are enough, up to MAX_HOLDOUT_HOURS. At most half of the hours since the first
    event judge, so that the rest can train. The same events give the same hours.

    Args:
        lake: where `events` is.
        settings: the hours and the number of targets.
        data_end: the moment after the hold-out, UTC.
    """
    shortest = timedelta(hours=settings.learning.holdout_hours)
    longest = timedelta(hours=settings.learning.max_holdout_hours)
    needed = settings.gate.min_targets
    if longest <= shortest or _count_events(lake, data_end - shortest, data_end) >= PLENTY * needed:
        return data_end - shortest
    longest = min(longest, (data_end - _first_event(lake, data_end)) / 2)
    if longest <= shortest:
        return data_end - shortest
    log = evaluation_sessions(lake, data_end - longest, data_end, None).log
    if not len(log):
        return data_end - shortest
    ages = data_end.timestamp() - log.context["started_at"]
    order = np.argsort(ages, kind="stable")
    targets = np.cumsum(np.maximum(log.lengths[order] - 1, 0))
    reached = int(np.searchsorted(targets, needed))
    if reached == len(targets):
        return data_end - timedelta(hours=math.floor(longest / timedelta(hours=1)))
    hours = math.floor(ages[order][reached] / 3600) + 1
    return data_end - min(longest, max(shortest, timedelta(hours=hours)))


def _count_events(lake: Lake, start: datetime, end: datetime) -> int:
    """Count the events of known items; each is at most one target."""
    query = (
        "SELECT count(*) FROM events WHERE event_date BETWEEN $first_day AND $last_day "
        "AND occurred_at >= $start AND occurred_at < $end"
    )
    days = {"first_day": start.date(), "last_day": end.date()}
    return int(_scalar(lake, query, {**days, "start": start, "end": end}) or 0)


def _first_event(lake: Lake, before: datetime) -> datetime:
    """Return the moment of the oldest event before a moment; that moment without events."""
    query = "SELECT epoch(min(occurred_at)) FROM events WHERE event_date <= $day AND occurred_at < $before"
    seconds = _scalar(lake, query, {"day": before.date(), "before": before})
    return before if seconds is None else datetime.fromtimestamp(float(seconds), before.tzinfo)


def _scalar(lake: Lake, query: str, parameters: dict[str, Any]) -> Any:
    with open_tables(events=lake.require(EVENTS)) as connection:
        row = connection.execute(query, parameters).fetchone()
    return None if row is None else row[0]
