"""How far a source's event time has come, with everything before it that may still be waited for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.lake import Lake
from lastaisle.lake.tables import BATCHES


def watermark(
    lake: Lake, source: str, allowed_lateness: timedelta, *, without: Sequence[str] = ()
) -> datetime | None:
    """Return the time before which no more events of a source are waited for; None before its first batch.

    It is the newest occurred_at in the source's batches less the allowed lateness. The contract bounds how
    far ahead a clock may be, so one shopper's wrong clock cannot push it.

    Args:
        lake: holds the table batches.
        source: as in that table.
        allowed_lateness: how much later than the newest event an older one may come.
        without: ids of batches to leave out, such as a run's own, for the watermark before it.
    """
    table = (
        lake.scan(BATCHES, columns=["newest"], where=_of(source, without)) if lake.table(BATCHES) else None
    )
    if table is None or not table.num_columns:
        return None
    newest: datetime | None = pc.max(table["newest"]).as_py()
    return None if newest is None else newest - allowed_lateness


def _of(source: str, without: Sequence[str]) -> pc.Expression:
    ours = pc.field("source") == source
    return ours & ~pc.field("batch_id").isin(pa.array(list(without), pa.string())) if without else ours
