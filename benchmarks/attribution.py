"""How fast are actions attributed to exposures, and what does one more hour cost?

    python benchmarks/attribution.py [--lists 100000] [--days 3]

Makes days of lists of ten items (one million exposures a day), with clicks as feedback, and two events for
each exposure: views, cart additions, orders and checkouts of the same sessions. Then attributes all days at
once, and once more after one further hour of events. Each step runs in a process of its own, so that its peak
memory is known (of Linux: VmHWM). Prints a table; the last line is JSON. Takes about two minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from lastaisle.lake import Lake
from lastaisle.lake.tables import EVENTS, EXPOSURES
from lastaisle.lake.workspace import open_workspace

FIRST = date(2025, 10, 1)
ITEMS = 20_000
# A session sees three lists of ten items. A quarter of its events concerns an item that it saw.
_EXPOSURES = """
SELECT md5('{day}' || kind || i::VARCHAR) AS exposure_id, kind,
    md5('{day} list' || (i // 10)::VARCHAR) AS recommendation_id,
    TIMESTAMPTZ '{day} 00:00:00Z' + to_seconds(i // 10 * 86000 // {lists} + moment) AS occurred_at,
    NULL::TIMESTAMPTZ AS received_at, md5('{day} user' || (i // 60)::VARCHAR) AS user_id,
    md5('{day} session' || (i // 30)::VARCHAR) AS session_id, (hash(i) % {items})::VARCHAR AS item_id,
    (i % 10 + 1)::INTEGER AS position, 'checkout' AS placement, '7' AS model_version, 'model' AS policy,
    NULL::VARCHAR AS experiment, NULL::VARCHAR AS arm, 0.1::DOUBLE AS propensity, DATE '{day}' AS event_date
FROM (
    SELECT range AS i, 'shown' AS kind, 0 AS moment FROM range({lists} * 10)
    UNION ALL SELECT range, 'clicked', 20 FROM range({lists} * 10) WHERE hash(range, 'clicked') % 20 = 0
)
"""
_EVENTS = """
SELECT md5('{day} event' || i::VARCHAR) AS event_id,
    CASE hash(i, 'kind') % 50 WHEN 0 THEN 'order_completed' WHEN 1 THEN 'checkout_started'
        WHEN 2 THEN 'item_added' WHEN 3 THEN 'item_added' ELSE 'item_viewed' END AS event_type,
    TIMESTAMPTZ '{day} 00:00:00Z' + to_seconds(i // 20 * 86000 // {lists} + 30 + i % 100) AS occurred_at,
    md5('{day} user' || (i // 120)::VARCHAR) AS user_id,
    md5('{day} session' || (i // 60)::VARCHAR) AS session_id,
    (hash(CASE WHEN hash(i, 'seen') % 4 = 0 THEN i // 60 * 30 + (hash(i, 'which') % 30)::BIGINT ELSE -i END)
        % {items})::VARCHAR AS item_id,
    1::INTEGER AS quantity, 9.9::DOUBLE AS price, 'EUR' AS currency, md5(i::VARCHAR) AS order_id,
    4000::BIGINT AS dwell_ms, 'mobile' AS device_type, 'DE' AS country, i AS sequence,
    DATE '{day}' AS event_date
FROM (SELECT range AS i FROM range({since}, {until}))
"""
_ATTRIBUTE = """
import json, sys, time
from pathlib import Path
from lastaisle.feedback.outcomes.attribute import attribute
from lastaisle.lake import Lake
from lastaisle.settings import Settings

started = time.perf_counter()
report = attribute(Lake(sys.argv[1]), Settings.of())
seconds = time.perf_counter() - started
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
found = {"seconds": seconds, "days": len(report.days), "clicks": report.clicks,
    "views": report.views, "orders": report.orders, "exposures": report.exposures,
    "peak_mb": int(peak.split()[1]) / 1024}
print(json.dumps(found))
"""


def add(lake: Lake, name: str, query: str, **values: Any) -> None:
    """Append the rows of a query to a table."""
    with open_workspace() as connection:
        rows = connection.sql(query.format(items=ITEMS, **values)).to_arrow_table()
    lake.append(name, rows, key=f"{name} {values}")


def attribute(lake: Lake) -> dict[str, Any]:
    """Attribute in a process of its own; return its report, its seconds and its peak memory."""
    command = [sys.executable, "-c", _ATTRIBUTE, lake.url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measured(folder: str, days: int, lists: int) -> dict[str, dict[str, Any]]:
    """Fill a lake, and measure a first run and the runs after it."""
    lake, found = Lake(folder), {}
    for number in range(days):
        values: dict[str, Any] = {"day": FIRST + timedelta(days=number), "lists": lists}
        add(lake, EXPOSURES, _EXPOSURES, **values)
        events, before = 20 * lists, 20 * lists * 23 // 24
        add(lake, EVENTS, _EVENTS, since=0, until=before if number == days - 1 else events, **values)
    found[f"{days} days at once"] = attribute(lake)
    found["no news"] = attribute(lake)
    add(lake, EVENTS, _EVENTS, since=before, until=events, **values)
    found["one more hour of events"] = attribute(lake)
    return found


def main() -> None:
    """Measure, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lists", type=int, default=100_000, help="lists of ten items a day")
    parser.add_argument("--days", type=int, default=3)
    given = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="lastaisle-attribution-") as folder:
        found = measured(folder, given.days, given.lists)
    table = Table("run", "days", "seconds", "exposures a second", "peak MB", "clicks", "views", "orders")
    for name, run in found.items():
        run["exposures_per_second"] = round(10 * given.lists * run["days"] / run["seconds"])
        numbers = (run["exposures_per_second"], run["peak_mb"], run["clicks"], run["views"], run["orders"])
        row = (f"{number:,.0f}" for number in numbers)
        table.add_row(name, str(run["days"]), f"{run['seconds']:.1f}", *row)
    Console().print(table)
    took = round(time.perf_counter() - started)
    print(
        json.dumps({"benchmark": "attribution", "exposures_a_day": 10 * given.lists, "took": took, **found})
    )


if __name__ == "__main__":
    main()
