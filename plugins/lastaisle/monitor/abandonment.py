"""Detect checkouts without an order, record each session once, and notify others once."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from lastaisle.errors import NotEnoughDataError
from lastaisle.lake.errors import LakeConflictError
from lastaisle.lake.tables import ABANDONMENTS, ABANDONMENTS_SCHEMA, EVENTS
from lastaisle.lake.workspace import open_tables
from lastaisle.sessions.abandonments import LOOKBACK, NOTIFIED, REPORTED, Burst, mark_done, pending_burst
from lastaisle.sessions.windows import newest_data_end

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings

ATTEMPTS = 5

# The newest event of a session decides: an order cancels each earlier start and abandonment of a checkout.
_CHECKOUTS = """
WITH checkouts AS (
    SELECT session_id,
        max(occurred_at) FILTER (WHERE event_type = 'checkout_abandoned') AS given_up,
        max(occurred_at) FILTER (WHERE event_type = 'checkout_started') AS begun,
        max(occurred_at) FILTER (WHERE event_type = 'order_completed') AS ordered
    FROM events
    WHERE event_date BETWEEN $first_day AND $last_day
        AND occurred_at >= $since AND occurred_at < $until
        AND event_type IN ('checkout_abandoned', 'checkout_started', 'order_completed')
    GROUP BY session_id
),
judged AS (
    SELECT session_id,
        CASE WHEN given_up >= coalesce(ordered, '-infinity') THEN 'abandoned'
            WHEN begun > coalesce(ordered, '-infinity') AND begun <= $overdue THEN 'no_order'
        END AS reason,
        CASE reason WHEN 'abandoned' THEN given_up ELSE begun END AS abandoned_at
    FROM checkouts
)
SELECT session_id, abandoned_at, reason FROM judged ANTI JOIN known USING (session_id)
WHERE reason IS NOT NULL AND session_id IS NOT NULL
ORDER BY abandoned_at, session_id
"""


def detect(lake: Lake, settings: Settings, *, send: Callable[[Burst], None] | None = None) -> Burst | None:
    """Record the new abandoned checkouts, and notify others of all that nobody was notified of.

    The order is: record, notify, remember that others were notified. After a kill in between, the next call
    notifies; at worst a second time, which starts no second training. A second call records and sends
    nothing more.

    Args:
        lake: where `events` is.
        settings: say how long a checkout may take.
        send: sends the message about a burst, and raises if it could not be sent. None: the burst is only
            reported to the caller, once, and goes on waiting for a call that notifies others.

    Returns:
        The burst that others were notified of; None if nothing was new.
    """
    step = REPORTED if send is None else NOTIFIED
    burst = detect_unnotified(lake, settings, step)
    if burst is not None:
        if send is not None:
            send(burst)
        mark_done(lake, burst.names, step)
    return burst


def detect_unnotified(lake: Lake, settings: Settings, step: str = NOTIFIED) -> Burst | None:
    """Record the new abandoned checkouts, and return all of which nobody was notified; None without any.

    The caller notifies others, and then calls `mark_done` with the names of the burst. Before that, each call
    returns the burst again.
    """
    record_new(lake, settings)
    return pending_burst(lake, step)


def record_new(lake: Lake, settings: Settings, now: datetime | None = None) -> int:
    """Append the sessions that abandoned a checkout and are not in the table yet; return their number.

    A session is judged by its own events: an order in another visit of the shopper cancels nothing. A session
    that was recorded stays in the table, even if an order arrives late.

    Raises:
        LakeConflictError: other writers won every attempt.
    """
    attempts = Retrying(
        stop=stop_after_attempt(ATTEMPTS), retry=retry_if_exception_type(LakeConflictError), reraise=True
    )
    return attempts(_record, lake, settings, now)


def _record(lake: Lake, settings: Settings, now: datetime | None) -> int:
    """Append the new sessions, unless another writer came between."""
    version = lake.version(ABANDONMENTS)
    try:
        sessions = _unrecorded(lake, settings, version)
    except NotEnoughDataError:
        return 0
    if sessions.num_rows:
        burst = uuid.uuid4().hex  # random, so that the name says nothing of the sessions
        rows = _rows(sessions, burst, now or datetime.now(UTC))
        lake.append(ABANDONMENTS, rows, key=burst, if_version=-1 if version is None else version)
    return int(sessions.num_rows)


def _unrecorded(lake: Lake, settings: Settings, version: int | None) -> pa.Table:
    """Return the abandoned sessions that the table lacks at a version."""
    until = newest_data_end(lake)
    parameters = {
        "since": until - LOOKBACK,
        "until": until,
        "overdue": until - timedelta(minutes=settings.abandonment.after_minutes),
        "first_day": (until - LOOKBACK).date(),
        "last_day": until.date(),
    }
    known = None if version is None else lake.scan(ABANDONMENTS, ["session_id"], version=version)
    if known is None:
        known = ABANDONMENTS_SCHEMA.empty_table().select(["session_id"])
    with open_tables(events=lake.dataset(EVENTS), known=known) as connection:
        return connection.sql(_CHECKOUTS, params=parameters).to_arrow_table()


def _rows(sessions: pa.Table, burst: str, now: datetime) -> pa.Table:
    """Return the rows of a burst."""
    rows = [{**row, "burst": burst, "noticed_at": now} for row in sessions.to_pylist()]
    return pa.Table.from_pylist(rows, schema=ABANDONMENTS_SCHEMA)
