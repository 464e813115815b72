"""Ten days of hourly batches, maintained every day, beside a day of the same batches left alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa

from lastaisle.lake import Lake
from lastaisle.lake.maintenance import MaintenancePolicy, maintain

START, HOURS = datetime(2025, 1, 1, tzinfo=UTC), 240
HOURS_LEFT = 24  # batches of the lake that is not maintained
POLICY = MaintenancePolicy()
SCHEMA = pa.schema(
    [("event_id", pa.int64()), ("event_date", pa.date32()), ("ingested_at", pa.timestamp("us", "UTC"))]
)


def batch(hour: int) -> pa.Table:
    """Twenty events of this hour, and two late ones: of yesterday and of a week ago."""
    moment = START + timedelta(hours=hour)
    days: list[date] = [moment.date()] * 20 + [(moment - timedelta(days=ago)).date() for ago in (1, 7)]
    ids = range(hour * 22, hour * 22 + 22)
    return pa.Table.from_arrays(
        [pa.array(ids), pa.array(days), pa.array([moment] * 22, SCHEMA[2].type)], schema=SCHEMA
    )


def rows(table: pa.Table) -> list[tuple]:
    found = table.sort_by("event_id")
    return list(zip(*(found[name].to_pylist() for name in SCHEMA.names), strict=True))


def test_small_files_stay_few_and_rows_the_same(tmp_path):
    kept, left = Lake(tmp_path / "kept"), Lake(tmp_path / "left")
    most = 0
    for hour in range(HOURS):
        for lake in (kept, left) if hour < HOURS_LEFT else (kept,):
            lake.append("raw_events", lambda hour=hour: batch(hour), key=f"hour-{hour}")
        if hour % 24 == 23:
            files = maintain(kept, "raw_events", POLICY, now=START + timedelta(hours=hour)).files_after
            partitions = len(kept.table("raw_events").partitions())
            most = max(most, files / partitions)
            assert files <= partitions * POLICY.small_files, "none is large here, so each file is small"
    written = pa.concat_tables([batch(hour) for hour in range(HOURS)])
    assert rows(kept.scan("raw_events")) == rows(written)
    assert rows(left.scan("raw_events")) == rows(written)[: 22 * HOURS_LEFT]
    assert len(left.table("raw_events").file_uris()) == 3 * HOURS_LEFT
    assert most < 2, "as each day's late rows are more than the small files that it may keep"
    assert all(kept.has("raw_events", f"hour-{hour}") for hour in range(HOURS))
    assert not kept.append("raw_events", batch(0), key="hour-0")
