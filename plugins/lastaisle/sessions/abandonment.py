"""Notice checkouts that were left without an order, each session once, and remember who heard of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lastaisle.errors import NotEnoughDataError
from lastaisle.lake.errors import LakeConflictError
from lastaisle.lake.tables import ABANDONMENTS, ABANDONMENTS_SCHEMA, EVENTS
from lastaisle.lake.workspace import open_tables
from lastaisle.sessions.windows import SESSION_REACH, newest_data_end

if TYPE_CHECKING:
    import pyarrow as pa

    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings

REACH = timedelta(hours=48)  # an older checkout says nothing of what the shop is like now
ATTEMPTS = 5
TOLD = "told"  # a step that is done for each burst once; there may be others

# The last word of a session counts: an order takes back what was begun or given up before it.
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


@dataclass(frozen=True)
class Burst:
    """Abandonments that nobody has heard of yet, as others may be told: no person, no session.

    Attributes:
        names: of the bursts in the table `abandonments`.
        sessions: how many sessions they are.
        reasons: reason (abandoned, no_order) to their number.
        start: the hour in which the first was abandoned; whole hours, lest a moment name a person.
        end: the end of the hour of the last.
        noticed_at: when the first of them was noticed.
    """

    names: tuple[str, ...]
    sessions: int
    reasons: Mapping[str, int]
    start: datetime
    end: datetime
    noticed_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return what a message or a report says."""
        return {
            "event": "checkouts_abandoned",
            "bursts": list(self.names),
            "sessions": self.sessions,
            "reasons": dict(self.reasons),
            "window_start": self.start.isoformat(),
            "window_end": self.end.isoformat(),
            "noticed_at": self.noticed_at.isoformat(),
        }


def detect(lake: Lake, settings: Settings, *, send: Callable[[Burst], None] | None = None) -> Burst | None:
    """Keep the abandonments that are new, and tell of all that nobody was told of.

    Kept first, told then, and only then remembered as told: killed between, the next call tells (at worst
    once more, which starts no second training). Run twice, it keeps and tells nothing more.

    Args:
        lake: where `events` is.
        settings: say how long a checkout may take.
        send: tells of a burst; raises if it could not.

    Returns:
        What was told of; None if nothing was new.
    """
    keep_new(lake, settings)
    burst = waiting(lake, TOLD)
    if burst is not None:
        if send is not None:
            send(burst)
        mark(lake, burst.names, TOLD)
    return burst


def keep_new(lake: Lake, settings: Settings, now: datetime | None = None) -> int:
    """Append the sessions that abandoned a checkout and are not in the table yet; return their number.

    A session is judged by its own events: an order in another visit of the shopper takes nothing back. One
    that was reported stays so, even if an order arrives late.

    Raises:
        LakeConflictError: other writers won every attempt.
    """
    for attempt in range(ATTEMPTS):
        version = lake.version(ABANDONMENTS)
        try:
            found = _new(lake, settings, version)
        except NotEnoughDataError:
            return 0
        if not found.num_rows:
            return 0
        name = uuid.uuid4().hex  # derived from nothing, so it tells nothing
        rows = _rows(found, name, now or datetime.now(UTC))
        try:
            lake.append(ABANDONMENTS, rows, key=name, if_version=-1 if version is None else version)
            return found.num_rows
        except LakeConflictError:
            if attempt == ATTEMPTS - 1:
                raise
    return 0


def waiting(lake: Lake, step: str) -> Burst | None:
    """Add up the bursts of the last days for which a step, such as TOLD, was not done."""
    import pyarrow.compute as pc

    rows = _recent(lake)
    names = list(dict.fromkeys(row["burst"] for row in rows))
    lacking = {key.partition("/")[2] for key in lake.lacking(ABANDONMENTS, _keys(names, step))}
    rows = [row for row in rows if row["burst"] in lacking]
    if not rows:
        return None
    moments, reasons = [row["abandoned_at"] for row in rows], [row["reason"] for row in rows]
    counted = pc.value_counts(reasons).to_pylist()
    return Burst(
        names=tuple(name for name in names if name in lacking),
        sessions=len(rows),
        reasons={each["values"]: each["counts"] for each in counted},
        start=_hour(min(moments)),
        end=_hour(max(moments)) + timedelta(hours=1),
        noticed_at=min(row["noticed_at"] for row in rows),
    )


def mark(lake: Lake, names: Sequence[str], step: str) -> None:
    """Remember that a step was done for some bursts, once each."""
    for key in lake.lacking(ABANDONMENTS, _keys(names, step)):
        lake.append(ABANDONMENTS, ABANDONMENTS_SCHEMA.empty_table(), key=key)


def sessions_of(lake: Lake, names: Sequence[str]) -> frozenset[str]:
    """Return the sessions of some bursts."""
    import pyarrow.compute as pc

    if lake.version(ABANDONMENTS) is None:
        return frozenset()
    rows = lake.scan(ABANDONMENTS, ["session_id"], where=pc.field("burst").isin(list(names)))
    return frozenset(rows["session_id"].to_pylist())


def _keys(names: Iterable[str], step: str) -> list[str]:
    return [f"{step}/{name}" for name in names]


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _recent(lake: Lake) -> list[dict[str, Any]]:
    import pyarrow.compute as pc

    if lake.version(ABANDONMENTS) is None:
        return []
    since = newest_data_end(lake) - REACH - SESSION_REACH
    rows: list[dict[str, Any]] = lake.scan(ABANDONMENTS, where=pc.field("abandoned_at") >= since).to_pylist()
    return sorted(rows, key=lambda row: (row["noticed_at"], row["session_id"]))


def _new(lake: Lake, settings: Settings, version: int | None) -> pa.Table:
    """Find the abandoned sessions that the table lacks at a version."""
    until = newest_data_end(lake)
    asked = {
        "since": until - REACH,
        "until": until,
        "overdue": until - timedelta(minutes=settings.abandonment.after_minutes),
        "first_day": (until - REACH).date(),
        "last_day": until.date(),
    }
    known = None if version is None else lake.scan(ABANDONMENTS, ["session_id"], version=version)
    if known is None:
        known = ABANDONMENTS_SCHEMA.empty_table().select(["session_id"])
    with open_tables(events=lake.dataset(EVENTS), known=known) as connection:
        return connection.sql(_CHECKOUTS, params=asked).to_arrow_table()


def _rows(found: pa.Table, name: str, now: datetime) -> pa.Table:
    import pyarrow as pa

    rows = [{**row, "burst": name, "noticed_at": now} for row in found.to_pylist()]
    return pa.Table.from_pylist(rows, schema=ABANDONMENTS_SCHEMA)
