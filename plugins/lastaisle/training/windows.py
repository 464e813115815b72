"""Windows in event time: which sessions of the lake train a model, and which evaluate it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lastaisle.errors import NotEnoughDataError

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from models.sequences import SessionLog

MAX_SESSION_EVENTS = 200  # longer ones are bots: the longest real sessions of public logs stay below
SESSION_REACH = timedelta(hours=24)  # how far before a window its sessions may have begun
HISTORY = timedelta(days=30)  # how far back a shopper counts as returning

# A view counts each time. Adding or ordering an item that the session already has is no new choice: the
# shopper comes from its page, so as a target it would only flatter the metrics.
_SESSIONS = """
WITH refused AS (  -- whose latest event, or one of the same moment, refuses
    SELECT coalesce(user_id, session_id) AS shopper
    FROM events
    GROUP BY shopper
    HAVING max(occurred_at) = max(occurred_at) FILTER (WHERE NOT coalesce(consent_personalization, false))
),
chosen AS (
    SELECT session_id, user_id, item_id, occurred_at, sequence, device_type,
        event_type = 'item_viewed'
            OR 1 = row_number() OVER (PARTITION BY session_id, item_id ORDER BY occurred_at, sequence)
            AS counts
    FROM events
    WHERE event_date BETWEEN $first_day AND $last_day
        AND occurred_at >= $read_from AND occurred_at < $seen_until
        AND item_id IS NOT NULL AND event_type IN ('item_viewed', 'item_added', 'order_completed')
),
sessions AS (
    SELECT session_id,
        min(occurred_at) AS started_at,
        max(occurred_at) AS ended_at,
        count(*) AS n_events,
        list(item_id ORDER BY occurred_at, sequence) FILTER (WHERE counts) AS items,
        max(user_id) AS user_id,
        coalesce(arg_min(device_type, (occurred_at, sequence)), 'unknown') AS device_type,
        bool_or(coalesce(user_id, session_id) IN (SELECT shopper FROM refused)) AS refused
    FROM chosen
    GROUP BY session_id
),
first_seen AS (
    SELECT user_id, min(occurred_at) AS seen_at
    FROM events
    WHERE user_id IS NOT NULL AND event_date BETWEEN $history_day AND $last_day
    GROUP BY user_id
),
asked AS (SELECT * FROM sessions WHERE {moment} >= $start AND {moment} < $end)
SELECT asked.*, coalesce(first_seen.seen_at < asked.started_at, false) AS returning
FROM asked LEFT JOIN first_seen USING (user_id)
ORDER BY ended_at, session_id
"""


@dataclass(frozen=True)
class Window:
    """A stretch of event time [start, end) that trains a model.

    Attributes:
        start: the first moment.
        end: the moment after the last.
        half_life_hours: age, counted from the end, at which a session weighs one half.
    """

    start: datetime
    end: datetime
    half_life_hours: float


@dataclass(frozen=True)
class SessionsRead:
    """Sessions of a stretch of time, and how many were left out.

    Attributes:
        log: the sessions, by their end.
        left_out: reason (bots, without_consent) to the number of sessions.
    """

    log: SessionLog
    left_out: Mapping[str, int] = field(default_factory=dict)


def training_sessions(lake: Lake, window: Window, seen_until: datetime, version: int | None) -> SessionsRead:
    """Read the sessions that ended inside the window, judged by the events before `seen_until`.

    One that goes on after the window's end is left to a later run, so none is cut and none is both trained
    on and evaluated with.
    """
    return _read(lake, window.start, window.end, moment="ended_at", seen_until=seen_until, version=version)


def evaluation_sessions(lake: Lake, start: datetime, end: datetime, version: int | None) -> SessionsRead:
    """Read the sessions that started inside [start, end), as far as they went before `end`."""
    return _read(lake, start, end, moment="started_at", seen_until=end, version=version)


def sessions_between(
    lake: Lake, start: datetime, end: datetime, *, versions: Mapping[str, int] | None = None
) -> SessionLog:
    """Return the sessions that ended inside [start, end), oldest first, of consenting shoppers only.

    Args:
        lake: where `events` is.
        start: the first moment, UTC.
        end: the moment after the last, UTC.
        versions: table versions to read, for a repeatable result; default the newest.
    """
    version = (versions or {}).get("events")
    seen_until = end + SESSION_REACH
    return _read(lake, start, end, moment="ended_at", seen_until=seen_until, version=version).log


def newest_data_end(lake: Lake) -> datetime:
    """Return the moment after the newest event: where a training ends that is told no other moment.

    Raises:
        NotEnoughDataError: there are no events yet.
    """
    import pyarrow.compute as pc

    table = lake.table("events")
    days = [partition["event_date"] for partition in table.partitions()] if table else []
    if not days:
        raise NotEnoughDataError(f"the table 'events' of {lake.url} is empty: ingest some logs first")
    newest_day = pc.field("event_date") == datetime.fromisoformat(str(max(days))).date()
    newest = pc.max(lake.scan("events", ["occurred_at"], newest_day)["occurred_at"]).as_py()
    return newest.replace(tzinfo=UTC) + timedelta(seconds=1)


def _read(
    lake: Lake, start: datetime, end: datetime, *, moment: str, seen_until: datetime, version: int | None
) -> SessionsRead:
    import duckdb

    read_from = start - SESSION_REACH
    parameters = {
        "start": start,
        "end": end,
        "read_from": read_from,
        "seen_until": seen_until,
        "first_day": read_from.astimezone(UTC).date(),
        "last_day": seen_until.astimezone(UTC).date(),
        "history_day": (start - HISTORY).astimezone(UTC).date(),
    }
    dataset = lake.dataset("events", version)
    if dataset is None:
        raise NotEnoughDataError(f"the lake {lake.url} has no table 'events': ingest some logs first")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("events", dataset)
        rows = connection.sql(_SESSIONS.format(moment=moment), params=parameters).to_arrow_table()
    return _to_log(rows)


def _to_log(rows: Any) -> SessionsRead:
    """Turn one row a session (an Arrow table) into a session log, without bots and refusals."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from models.sequences import SessionLog

    bots = pc.greater(rows["n_events"], MAX_SESSION_EVENTS)
    refused = rows["refused"]
    kept = rows.filter(pc.invert(pc.or_(bots, refused))).combine_chunks()
    left_out = {
        "bots": pc.sum(pc.and_not(bots, refused)).as_py() or 0,
        "without_consent": pc.sum(refused).as_py() or 0,
    }
    if kept.num_rows == 0:
        return SessionsRead(SessionLog.from_lists([]), left_out)
    lists = pa.concat_arrays(kept["items"].chunks)
    encoded = pc.dictionary_encode(lists.flatten())
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    log = SessionLog(
        items=encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        catalogue=np.array(encoded.dictionary.to_pylist(), dtype=object),
        ended_at=_seconds(kept["ended_at"]),
        context={
            "returning": kept["returning"].to_numpy().astype(bool),
            "device_type": np.array(kept["device_type"].to_pylist(), dtype=object),
            "started_at": _seconds(kept["started_at"]),
        },
    )
    return SessionsRead(log, left_out)


def _seconds(column: Any) -> Any:
    """Return timestamps as float64 seconds since the epoch."""
    import pyarrow as pa

    return column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy() / 1e6
