"""The clock of what the lake holds: its newest exposure or event.

A shop that is simulated, or filled from old logs, lives in the past. What is decided from its data is dated
by the data, so that it stands among the exposures that follow.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.lake.tables import EVENTS, EXPOSURES

if TYPE_CHECKING:
    from lastaisle.lake.reader import LakeReader


def data_clock(lake: LakeReader) -> datetime | None:
    """Return the newest moment of exposures and events (UTC); None in a lake without them."""
    moments = [moment for name in (EXPOSURES, EVENTS) if (moment := _newest(lake, name)) is not None]
    return max(moments, default=None)


def _newest(lake: LakeReader, name: str) -> datetime | None:
    table = lake.table(name)
    if table is None:
        return None
    days = pa.table(table.get_add_actions(flatten=True))["partition.event_date"].to_pylist()
    for day in sorted({date.fromisoformat(str(day)) for day in days}, reverse=True):
        rows = lake.scan(name, ["occurred_at"], pc.field("event_date") == day, int(table.version()))
        newest = pc.max(rows["occurred_at"]).as_py() if rows.num_rows else None
        if newest is not None:  # a day may have lost its rows
            moment: datetime = newest.astimezone(UTC)
            return moment
    return None
