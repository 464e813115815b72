"""The table `abandonments`: checkouts without an order, in bursts, and the steps done for each burst."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from lastaisle.lake.tables import ABANDONMENTS, ABANDONMENTS_SCHEMA
from lastaisle.sessions.windows import SESSION_REACH, newest_data_end

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

LOOKBACK = timedelta(hours=48)  # an older checkout says nothing about the present shop
# The steps that are done once for each burst, by their names in the table.
NOTIFIED, REFRESHED, REPORTED = "told", "refreshed", "reported"


@dataclass(frozen=True)
class Burst:
    """Abandoned checkouts for which a step was not done yet. It names no person and no session.

    Attributes:
        names: names of the bursts in the table `abandonments`.
        sessions: number of sessions.
        reasons: reason (abandoned, no_order) to the number of sessions.
        start: the hour in which the first checkout was abandoned. It is a whole hour, since a moment could
            identify a person.
        end: the end of the hour in which the last checkout was abandoned.
        noticed_at: the moment when the first abandoned checkout was noticed.
    """

    names: tuple[str, ...]
    sessions: int
    reasons: Mapping[str, int]
    start: datetime
    end: datetime
    noticed_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return the content of a message or a report."""
        return {
            "event": "checkouts_abandoned",
            "bursts": list(self.names),
            "sessions": self.sessions,
            "reasons": dict(self.reasons),
            "window_start": self.start.isoformat(),
            "window_end": self.end.isoformat(),
            "noticed_at": self.noticed_at.isoformat(),
        }


def pending_burst(lake: Lake, step: str) -> Burst | None:
    """Add up the bursts of the last days for which a step, such as NOTIFIED, was not done."""
    rows = _recent_rows(lake)
    names = list(dict.fromkeys(row["burst"] for row in rows))
    pending = {key.partition("/")[2] for key in lake.lacking(ABANDONMENTS, _step_keys(names, step))}
    rows = [row for row in rows if row["burst"] in pending]
    if not rows:
        return None
    moments, reasons = [row["abandoned_at"] for row in rows], [row["reason"] for row in rows]
    counted = pc.value_counts(reasons).to_pylist()
    return Burst(
        names=tuple(name for name in names if name in pending),
        sessions=len(rows),
        reasons={entry["values"]: entry["counts"] for entry in counted},
        start=_whole_hour(min(moments)),
        end=_whole_hour(max(moments)) + timedelta(hours=1),
        noticed_at=min(row["noticed_at"] for row in rows),
    )


def mark_done(lake: Lake, names: Sequence[str], step: str) -> None:
    """Record that a step was done for some bursts, once for each burst."""
    for key in lake.lacking(ABANDONMENTS, _step_keys(names, step)):
        lake.append(ABANDONMENTS, ABANDONMENTS_SCHEMA.empty_table(), key=key)


def sessions_of_bursts(lake: Lake, names: Sequence[str]) -> frozenset[str]:
    """Return the sessions of some bursts."""
    if lake.version(ABANDONMENTS) is None:
        return frozenset()
    rows = lake.scan(ABANDONMENTS, ["session_id"], where=pc.field("burst").isin(list(names)))
    return frozenset(rows["session_id"].to_pylist())


def _step_keys(names: Iterable[str], step: str) -> list[str]:
    return [f"{step}/{name}" for name in names]


def _whole_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _recent_rows(lake: Lake) -> list[dict[str, Any]]:
    """Return the rows of the last days, in the order in which they were noticed."""
    if lake.version(ABANDONMENTS) is None:
        return []
    since = newest_data_end(lake) - LOOKBACK - SESSION_REACH
    rows: list[dict[str, Any]] = lake.scan(ABANDONMENTS, where=pc.field("abandoned_at") >= since).to_pylist()
    return sorted(rows, key=lambda row: (row["noticed_at"], row["session_id"]))
