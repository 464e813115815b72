"""The first commit of a batch: its broken rows, at the time by which all of its rows are judged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from lastaisle.ingest.job import Batch, OvertakenError
from lastaisle.ingest.staging.staging import Staging
from lastaisle.lake import Lake
from lastaisle.lake.tables import QUARANTINE

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_stamp(now: datetime) -> int:
    """Return a time of ingestion as the stamp of commits: microseconds since the epoch."""
    return (now - _EPOCH) // timedelta(microseconds=1)


def first_now(lake: Lake, batch: Batch) -> datetime | None:
    """Return the time of the first run that began to commit this batch; None if no run did."""
    stamp = lake.stamp(QUARANTINE, batch.batch_id)
    return None if stamp is None else _EPOCH + timedelta(microseconds=stamp)


def begin(staging: Staging, batch: Batch, lake: Lake) -> None:
    """Write the broken rows to quarantine; the commit says from when on the batch has begun.

    Raises:
        OvertakenError: another run began this batch before, at another time or with another plan.
    """
    quarantined = partial(staging.quarantined_rows, batch.batch_id, batch.source_file)
    lake.append(QUARANTINE, quarantined, key=batch.batch_id, stamp=to_stamp(staging.now), also=batch.plan)
    first = first_now(lake, batch) or staging.now
    if first != staging.now or any(lake.stamp(QUARANTINE, name) != end for name, end in batch.plan.items()):
        raise OvertakenError(batch, first)


def quarantine_reused(staging: Staging, batch: Batch, lake: Lake) -> None:
    """Write the rows with other contents under a known id to quarantine.

    The rows are known for certain only after the commit of the sound rows.
    """
    if staging.count("repeated WHERE _rule IS NOT NULL"):
        reused = partial(staging.reused_rows, batch.batch_id, batch.source_file)
        lake.append(QUARANTINE, reused, key=f"{batch.batch_id}/repeated", stamp=to_stamp(staging.now))
