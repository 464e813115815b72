"""The hourly figures of a year, and the counts of events by day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

import pyarrow as pa

from lastaisle.lake import Lake
from lastaisle.lake.query import Query
from lastaisle.lake.tables import BATCHES, BATCHES_SCHEMA, EVENTS, SHOP_METRICS, SHOP_METRICS_SCHEMA
from lastaisle.lake.workspace import open_workspace

END: Final = date(2026, 11, 24)
DAYS: Final = 365
START: Final = END - timedelta(days=DAYS - 1)
PLACEMENTS: Final = ("checkout", "cart", "product")
SEGMENTS: Final = ("new", "returning", "loyal", "unknown")
POSITIONS: Final = 10
_BLOCK: Final = 30

# One list of each hour, placement, segment and kind: the champion's, and both arms of the week's experiment.
_CELLS: Final = """
CREATE OR REPLACE TEMP TABLE cells AS
SELECT hour, hour::DATE AS event_date, placement, segment, kind,
    (1 + day * $versions // $days)::VARCHAR AS model_version,
    'model' AS policy,
    CASE WHEN kind > 0 THEN 'experiment-' || (1 + day * $experiments // $days) END AS experiment,
    CASE kind WHEN 1 THEN 'control' WHEN 2 THEN 'candidate' END AS arm,
    (20 + 60 * random() * (1 + sin(epoch(hour) / 13751)))::BIGINT AS sessions,
    0.02 + 0.01 * random() AS bought
FROM (
    SELECT $first::TIMESTAMPTZ + to_hours(number) AS hour, $day + number // 24 AS day
    FROM range($hours) AS hours(number)
) CROSS JOIN (SELECT unnest($placements) AS placement) CROSS JOIN (SELECT unnest($segments) AS segment)
CROSS JOIN (SELECT unnest([0, 1, 2]) AS kind)
"""
_KEY: Final = "hour, event_date, placement, model_version, policy, experiment, arm, segment"
_ROWS: Final = f"""
CREATE OR REPLACE TEMP TABLE made AS
SELECT {_KEY}, position::INTEGER AS position, sessions AS exposures, clicked AS clicks, clicked,
    clicked // 2 AS viewed, clicked // 4 AS added, clicked // 8 AS ordered, 9000 * clicked AS dwell_ms
FROM (
    SELECT *, (sessions * 0.1 * random() / position)::BIGINT AS clicked
    FROM cells CROSS JOIN (SELECT unnest(range(1, {POSITIONS} + 1)) AS position)
)
UNION ALL BY NAME
SELECT {_KEY}, sessions AS lists, sessions, (sessions * 0.08)::BIGINT AS sessions_clicked,
    (sessions * 0.1)::BIGINT AS sessions_added, (sessions * 0.08)::BIGINT AS sessions_checkout,
    (sessions * bought)::BIGINT AS sessions_ordered, (sessions * 0.04)::BIGINT AS sessions_abandoned,
    3 * sessions AS items_viewed, 12.0 * sessions AS items_viewed_squares,
    200.0 * sessions AS session_seconds,
    90000.0 * sessions AS session_seconds_squares, 20000 * sessions AS dwell_ms
FROM cells
UNION ALL BY NAME
SELECT {_KEY}, 'EUR' AS currency, 60.0 * sessions * bought AS revenue,
    5000.0 * sessions * bought AS revenue_squares, 9.0 * sessions * bought AS attributed_revenue
FROM cells
"""


def write_figures(lake: Lake, versions: int, experiments: int) -> int:
    """Write the table `shop_metrics`; return the number of its rows.

    Args:
        lake: where to write.
        versions: the number of versions, one after another.
        experiments: the number of experiments, one after another.
    """
    lake.append(SHOP_METRICS, SHOP_METRICS_SCHEMA.empty_table(), key="made")
    rows = 0
    columns = ", ".join(SHOP_METRICS_SCHEMA.names)
    with open_workspace("4GB", writes_to=lake.url) as connection:
        connection.execute("SELECT setseed(0.5)")
        for first in range(0, DAYS, _BLOCK):
            days = [START + timedelta(days=day) for day in range(first, min(first + _BLOCK, DAYS))]
            parameters = {
                "first": datetime.combine(days[0], datetime.min.time(), UTC),
                "day": first,
                "hours": 24 * len(days),
                "days": DAYS,
                "versions": versions,
                "experiments": experiments,
                "placements": list(PLACEMENTS),
                "segments": list(SEGMENTS),
            }
            connection.execute(_CELLS, parameters)
            connection.execute(_ROWS)
            rows += connection.execute("SELECT count(*) FROM made").fetchall()[0][0]
            missing = [name for name in SHOP_METRICS_SCHEMA.names if name not in _columns(connection)]
            assert not missing, missing
            query = Query(connection, f"SELECT {columns} FROM made", SHOP_METRICS_SCHEMA, days)
            lake.replace_days(SHOP_METRICS, query, if_version=lake.version(SHOP_METRICS) or 0)
    return rows


def _columns(connection: object) -> list[str]:
    found = connection.execute("SELECT * FROM made LIMIT 0").description  # type: ignore[attr-defined]
    return [name for name, *_ in found]


def write_events(lake: Lake) -> None:
    """Write a year of days with a few events each, and a batch an hour."""
    days = [START + timedelta(days=day) for day in range(DAYS)]
    events = [
        {
            "event_date": day,
            "occurred_at": datetime.combine(day, datetime.min.time(), UTC),
            "event_id": f"{day}-{n}",
        }
        for day in days
        for n in range(20)
    ]
    schema = pa.schema(
        [
            ("event_date", pa.date32()),
            ("occurred_at", pa.timestamp("us", "UTC")),
            ("event_id", pa.string()),
        ]
    )
    lake.append(EVENTS, pa.Table.from_pylist(events, schema), key="events")
    batches = [
        {
            "batch_id": f"{day}T{hour:02d}",
            "source": "clicks",
            "format": "canonical",
            "rows_in": 1000,
            "rows_clean": 990,
            "rows_quarantined": 10,
            "quarantined_by_rule": '{"price_in_range": 10}',
            "newest": datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=hour, minutes=59),
            "finished_at": datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=hour + 1),
        }
        for day in days
        for hour in range(24)
    ]
    lake.append(BATCHES, pa.Table.from_pylist(batches, BATCHES_SCHEMA), key="batches")
