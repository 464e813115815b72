"""Windows in event time: which sessions of the lake train a model, and which evaluate it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.errors import NotEnoughDataError
from lastaisle.lake.workspace import open_tables
from lastaisle.sessions.session_log import to_log

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from models.data.sequences import SessionLog

MAX_SESSION_EVENTS = 200  # longer sessions are bots: the longest real sessions of public logs are shorter
FAST_VIEWS, FAST_SECONDS = 10, 3.0  # a session of so many views with less time a view, on the mean, is a bot
SESSION_REACH = timedelta(hours=24)  # how far before a window its sessions may have begun
HISTORY = timedelta(days=30)  # how far back a shopper counts as returning
ALL = (1.0, 0)  # share of the sessions that is read, and the seed of the hash of names that chooses them

# The columns of a log's sessions, by their names there; `user_id` holds pseudonyms.
_SESSION_COLUMNS = {
    "user": "user_id",
    "device_type": "device_type",
    "country": "country",
    "region": "region",
    "started_at": "started_at",
    "returning": "returning",
}

# Columns that a shop's contract may leave out; their values then read as unknown.
_OPTIONAL = {
    "device_type": "VARCHAR",
    "country": "VARCHAR",
    "region": "VARCHAR",
    "dwell_ms": "BIGINT",
    "category": "VARCHAR",
    "brand": "VARCHAR",
    "price": "DOUBLE",
}

# Shoppers whose most recent event refuses consent are left out; ties refuse.
_REFUSED = """
SELECT coalesce(user_id, session_id) AS shopper
FROM events
GROUP BY shopper
HAVING max(occurred_at) = max(occurred_at) FILTER (WHERE NOT coalesce(consent_personalization, false))
"""

# An event of a session, item, type and moment counts once, however many event ids it was sent under.
# Each view counts. Adding or ordering an item that the session has already seen is no new choice: the shopper
# comes from the item's page, so as a target the event would only raise the metrics. The earlier events of the
# item carry this information instead: `added` and `purchased` say whether the session adds, or orders, the
# item then or later.
_SESSIONS = """
WITH refused AS ({refused}),
once AS (
    SELECT * FROM events
    WHERE event_date BETWEEN $first_day AND $last_day
        AND occurred_at >= $read_from AND occurred_at < $seen_until
        AND hash(session_id, $seed) / 18446744073709551616 <= $share  -- of 2 ** 64 hashes
        AND item_id IS NOT NULL AND event_type IN ('item_viewed', 'item_added', 'order_completed')
    QUALIFY 1 = row_number() OVER (
        PARTITION BY session_id, item_id, event_type, occurred_at ORDER BY sequence)
),
chosen AS (
    SELECT session_id, user_id, item_id, event_type, occurred_at, sequence, dwell_ms, price,
        device_type, country, region,
        event_type = 'item_viewed' OR 1 = row_number() OVER so_far AS counts,
        bool_or(event_type = 'item_added') OVER from_here AS added,
        bool_or(event_type = 'order_completed') OVER from_here AS purchased
    FROM once
    WINDOW so_far AS (PARTITION BY session_id, item_id ORDER BY occurred_at, sequence),
        from_here AS (
            PARTITION BY session_id, item_id ORDER BY occurred_at, sequence
            ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
        )
),
sessions AS (
    SELECT session_id,
        min(occurred_at) AS started_at,
        max(occurred_at) AS ended_at,
        count(*) AS n_events,
        {pace} AS seconds_a_view,
        list(
            {{
                item_id: item_id, event_type: event_type, occurred_at: occurred_at, dwell_ms: dwell_ms,
                price: price, added: added, purchased: purchased
            }}
            ORDER BY occurred_at, sequence
        ) FILTER (WHERE counts) AS events,
        max(user_id) AS user_id,
        arg_min(device_type, (occurred_at, sequence)) AS device_type,
        arg_min(country, (occurred_at, sequence)) AS country,
        arg_min(region, (occurred_at, sequence)) AS region,
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

# The newest known features of each item, from sessions that are kept.
_ITEMS = """
SELECT item_id,
    arg_max(category, (occurred_at, sequence)) AS category,
    arg_max(brand, (occurred_at, sequence)) AS brand,
    arg_max(price, (occurred_at, sequence)) AS price
FROM events SEMI JOIN kept USING (session_id)
WHERE event_date BETWEEN $first_day AND $last_day
    AND occurred_at >= $read_from AND occurred_at < $end
    AND item_id IS NOT NULL
GROUP BY item_id
"""


# The pace of sessions with enough views; NULL where all views have one moment: the log's time is coarse.
_PACE = f"""
CASE WHEN count(*) FILTER (WHERE event_type = 'item_viewed') >= {FAST_VIEWS} THEN nullif(
    epoch(max(occurred_at) FILTER (WHERE event_type = 'item_viewed')
        - min(occurred_at) FILTER (WHERE event_type = 'item_viewed')), 0)
    / (count(*) FILTER (WHERE event_type = 'item_viewed') - 1) END
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
        log: the sessions, by their end, with the columns of _SESSION_COLUMNS, EVENT_COLUMNS and
            ITEM_COLUMNS. The event columns `added` and `purchased` say whether the session adds, or orders,
            the event's item then or later. They weigh targets and are never input of a model.
        left_out: reason (bots, without_consent) to the number of sessions.
    """

    log: SessionLog
    left_out: Mapping[str, int] = field(default_factory=dict)


def training_sessions(
    lake: Lake,
    window: Window,
    seen_until: datetime,
    version: int | None,
    sample: tuple[float, int] = ALL,
    *,
    with_ids: bool = False,
) -> SessionsRead:
    """Read the sessions that ended inside the window, judged by the events before `seen_until`.

    A session that goes on after the window's end is left to a later run. So no session is cut, and no session
    both trains and evaluates.

    Args:
        lake: where `events` is.
        window: the hours.
        seen_until: the moment before which events count.
        version: version of `events`; None = the newest.
        sample: share of the sessions to read, and a seed; the other sessions are never put together.
        with_ids: adds the ids of the sessions, as the column `session`.
    """
    until: dict[str, Any] = {"seen_until": seen_until, "version": version, "sample": sample}
    return _read(lake, window.start, window.end, moment="ended_at", with_ids=with_ids, **until)


def evaluation_sessions(
    lake: Lake, start: datetime, end: datetime, version: int | None, *, with_ids: bool = False
) -> SessionsRead:
    """Read the sessions that started inside [start, end), with their events before `end`.

    `with_ids` adds the ids of the sessions, as the column `session`.
    """
    return _read(lake, start, end, moment="started_at", seen_until=end, version=version, with_ids=with_ids)


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


def refusing_shoppers(lake: Lake) -> set[str]:
    """Return the shoppers whose most recent event refuses: pseudonyms, or session ids of unknown shoppers."""
    dataset = lake.dataset("events")
    if dataset is None:
        return set()
    with open_tables(events=dataset) as connection:
        return {shopper for (shopper,) in connection.execute(_REFUSED).fetchall()}


def newest_data_end(lake: Lake) -> datetime:
    """Return the moment after the newest event, at which a training ends by default.

    Raises:
        NotEnoughDataError: there are no events yet.
    """
    table = lake.table("events")
    days = [partition["event_date"] for partition in table.partitions()] if table else []
    if not days:
        raise NotEnoughDataError(f"the table 'events' of {lake.url} is empty: ingest some logs first")
    newest_day = pc.field("event_date") == datetime.fromisoformat(str(max(days))).date()
    newest = pc.max(lake.scan("events", ["occurred_at"], newest_day)["occurred_at"]).as_py()
    return newest.replace(tzinfo=UTC) + timedelta(seconds=1)


def _read(
    lake: Lake,
    start: datetime,
    end: datetime,
    *,
    moment: str,
    seen_until: datetime,
    version: int | None,
    sample: tuple[float, int] = ALL,
    with_ids: bool = False,
) -> SessionsRead:
    read_from = start - SESSION_REACH
    parameters = {
        "start": start,
        "end": end,
        "read_from": read_from,
        "seen_until": seen_until,
        "first_day": read_from.astimezone(UTC).date(),
        "last_day": seen_until.astimezone(UTC).date(),
        "history_day": (start - HISTORY).astimezone(UTC).date(),
        "share": sample[0],
        "seed": sample[1],
    }
    dataset = lake.dataset("events", version)
    if dataset is None:
        raise NotEnoughDataError(f"the lake {lake.url} has no table 'events': ingest some logs first")
    with open_tables(stored=dataset) as connection:
        missing = (
            f", NULL::{kind} AS {name}"
            for name, kind in _OPTIONAL.items()
            if name not in dataset.schema.names
        )
        connection.execute(f"CREATE TEMP VIEW events AS SELECT *{''.join(missing)} FROM stored")
        sql = _SESSIONS.format(moment=moment, pace=_PACE, refused=_REFUSED)
        rows = connection.sql(sql, params=parameters).to_arrow_table()
        kept, left_out = _without_bots_and_refusals(rows)
        connection.register("kept", kept.select(["session_id"]))
        within = ("first_day", "last_day", "read_from", "end")
        item_parameters = {name: parameters[name] for name in within}
        items = connection.sql(_ITEMS, params=item_parameters).to_arrow_table()
    ids = {"session": "session_id"} if with_ids else {}
    return SessionsRead(to_log(kept, items, _SESSION_COLUMNS | ids), left_out)


def _without_bots_and_refusals(rows: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """Keep the sessions (one a row) that may be learned from; count the others by reason."""
    too_fast = pc.fill_null(pc.less(rows["seconds_a_view"], FAST_SECONDS), False)
    bots = pc.or_(pc.greater(rows["n_events"], MAX_SESSION_EVENTS), too_fast)
    refused = rows["refused"]
    left_out = {
        "bots": pc.sum(pc.and_not(bots, refused)).as_py() or 0,
        "without_consent": pc.sum(refused).as_py() or 0,
    }
    return rows.filter(pc.invert(pc.or_(bots, refused))).combine_chunks(), left_out
