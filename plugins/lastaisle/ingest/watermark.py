"""The watermark of a source: the time before which no more events are expected."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.lake import Lake
from lastaisle.lake.tables import BATCHES


def watermark(
    lake: Lake,
    source: str,
    allowed_lateness: timedelta,
    *,
    without: Sequence[str] = (),
    table: str = BATCHES,
) -> datetime | None:
    """Return the time before which no more events of a source are expected; None before its first batch.

    It is the newest occurred_at of the source's batches minus the allowed lateness. The contract limits times
    in the future, so the wrong clock of one shopper cannot move the watermark far.

    Args:
        lake: holds the table of the batches.
        source: the source, as that table names it.
        allowed_lateness: how long after the newest event an older event may still arrive.
        without: batch ids to leave out; without the batches of a run it is the watermark before that run.
        table: the table of the batches.
    """
    rows = lake.scan(table, columns=["newest"], where=_of(source, without)) if lake.table(table) else None
    if rows is None or not rows.num_columns:
        return None
    newest: datetime | None = pc.max(rows["newest"]).as_py()
    return None if newest is None else newest - allowed_lateness


def _of(source: str, without: Sequence[str]) -> pc.Expression:
    of_source = pc.field("source") == source
    if not without:
        return of_source
    return of_source & ~pc.field("batch_id").isin(pa.array(list(without), pa.string()))
