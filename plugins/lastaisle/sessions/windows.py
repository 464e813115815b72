"""Windows in event time: which sessions of the lake train a model, and which evaluate it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lastaisle.errors import NotEnoughDataError
from lastaisle.lake.tables import EVENTS
from lastaisle.lake.workspace import open_tables
from lastaisle.sessions.session_log import to_log

if TYPE_CHECKING:
    import pyarrow as pa

    from lastaisle.lake.lake import Lake
    from models.data.sequences import SessionLog

MAX_SESSION_EVENTS = 200  # longer ones are bots: the longest real sessions of public logs stay below
FAST_VIEWS, FAST_SECONDS = 10, 3.0  # views of a session; no shopper takes less for each, on the mean
SESSION_REACH = timedelta(hours=24)  # how far before a window its sessions may have begun
HISTORY = timedelta(days=30)  # how far back a shopper counts as returning
ALL = (1.0, 0)  # the share of the sessions that is read, and a seed: which they are, the names' hashes say

# The columns of a log's sessions, by their names there; `user_id` holds pseudonyms.
_SESSION_COLUMNS = {
    "user": "user_id",
    "device_type": "device_type",
    "country": "country",
    "region": "region",
    "started_at": "started_at",
    "returning": "returning",
}

# What a shop's contract may leave out: then it reads as unknown.
_OPTIONAL = {
    "device_type": "VARCHAR",
    "country": "VARCHAR",
    "region": "VARCHAR",
    "dwell_ms": "BIGINT",
    "category": "VARCHAR",
    "brand": "VARCHAR",
    "price": "DOUBLE",
}

# Whose latest event, or one of the same moment, refuses.
_REFUSED = """
SELECT coalesce(user_id, session_id) AS shopper
FROM events
GROUP BY shopper
HAVING max(occurred_at) = max(occurred_at) FILTER (WHERE NOT coalesce(consent_personalization, false))
"""

# What a session did to an item at one moment it did once, under however many event ids it was sent.
# A view counts each time. Adding or ordering an item that the session already has is no new choice: the
# shopper comes from its page, so as a target it would only flatter the metrics. What is left out so is told
# by the events of the item before it: the session adds, or orders, this item then or later.
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

# Of each item the latest that is known, told by sessions that are kept.
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


# Of sessions with so many views; none where all have one moment, since the log tells no finer time then.
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
            ITEM_COLUMNS. Beside them `added` and `purchased` tell of each event whether the session adds, or
            orders, its item then or later; they are what targets are weighed by, never input of a model.
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

    One that goes on after the window's end is left to a later run, so none is cut and none is both trained
    on and evaluated with. Of a `sample`, a share and a seed, no others are ever put together. `with_ids` adds
    their ids, as the column `session`.
    """
    until: dict[str, Any] = {"seen_until": seen_until, "version": version, "sample": sample}
    return _read(lake, window.start, window.end, moment="ended_at", with_ids=with_ids, **until)


def evaluation_sessions(
    lake: Lake, start: datetime, end: datetime, version: int | None, *, with_ids: bool = False
) -> SessionsRead:
    """Read the sessions that started inside [start, end), as far as they went before `end`.

    `with_ids` adds their ids, as the column `session`.
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
    version = (versions or {}).get(EVENTS)
    seen_until = end + SESSION_REACH
    return _read(lake, start, end, moment="ended_at", seen_until=seen_until, version=version).log


def refusing_shoppers(lake: Lake) -> set[str]:
    """Return the pseudonyms of those who refused last, or the sessions that did, of nobody known."""
    dataset = lake.dataset(EVENTS)
    if dataset is None:
        return set()
    with open_tables(events=dataset) as connection:
        return {shopper for (shopper,) in connection.execute(_REFUSED).fetchall()}


def newest_data_end(lake: Lake) -> datetime:
    """Return the moment after the newest event: where a training ends that is told no other moment.

    Raises:
        NotEnoughDataError: there are no events yet.
    """
    import pyarrow.compute as pc

    table = lake.table(EVENTS)
    days = [partition["event_date"] for partition in table.partitions()] if table else []
    if not days:
        raise NotEnoughDataError(f"the table 'events' of {lake.url} is empty: ingest some logs first")
    newest_day = pc.field("event_date") == datetime.fromisoformat(str(max(days))).date()
    newest = pc.max(lake.scan(EVENTS, ["occurred_at"], newest_day)["occurred_at"]).as_py()
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
    dataset = lake.require(EVENTS, version)
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
        asked = {name: parameters[name] for name in within}
        items = connection.sql(_ITEMS, params=asked).to_arrow_table()
    named = {"session": "session_id"} if with_ids else {}
    return SessionsRead(to_log(kept, items, _SESSION_COLUMNS | named), left_out)


def _without_bots_and_refusals(rows: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """Keep the sessions (one a row) that may be learned from; count the others by reason."""
    import pyarrow.compute as pc

    too_fast = pc.fill_null(pc.less(rows["seconds_a_view"], FAST_SECONDS), False)
    bots = pc.or_(pc.greater(rows["n_events"], MAX_SESSION_EVENTS), too_fast)
    refused = rows["refused"]
    left_out = {
        "bots": pc.sum(pc.and_not(bots, refused)).as_py() or 0,
        "without_consent": pc.sum(refused).as_py() or 0,
    }
    return rows.filter(pc.invert(pc.or_(bots, refused))).combine_chunks(), left_out
