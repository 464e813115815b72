"""A table to maintain, writers to disturb, and a maintenance that dies where it is told to."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.table import TableOptimizer

from lastaisle.lake import Lake, LakeConflictError
from lastaisle.lake.maintenance import MaintenancePolicy, maintain

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
POLICY = MaintenancePolicy(keep_raw_days=30)
TABLE = "raw_events"
_TIME = pa.timestamp("us", "UTC")


def rows(*values: int, day: date = date(2025, 2, 1), ingested: datetime = NOW) -> pa.Table:
    columns = {
        "value": pa.array(values, pa.int64()),
        "event_date": pa.array([day] * len(values), pa.date32()),
        "ingested_at": pa.array([ingested] * len(values), _TIME),
    }
    return pa.table(columns)


def values(lake: Lake, version: int | None = None) -> list[int]:
    return sorted(lake.scan(TABLE, ["value"], version=version)["value"].to_pylist())


def fill(lake: Lake) -> None:
    """Ten small files on each of four days, the first of which has expired."""
    for number in range(40):
        ingested = NOW - timedelta(days=60 if number < 10 else 1)
        day = date(2025, 1, 1) + timedelta(days=number // 10)
        lake.append(TABLE, rows(number, day=day, ingested=ingested), key=f"key-{number}")


def age(lake: Lake, days: int = 20) -> None:
    """Make all files, log entries and deletions so far that much older, as far as the log is still JSON."""
    moment = time.time() - days * 86400
    for path in Path(lake.table_url(TABLE)).rglob("*"):
        if path.suffix == ".json":
            path.write_text("".join(_older(line, days) for line in path.read_text().splitlines()))
        if path.is_file():
            os.utime(path, (moment, moment))


def _older(line: str, days: int) -> str:
    action = json.loads(line)
    if "remove" in action:
        action["remove"]["deletionTimestamp"] -= days * 86_400_000
    return json.dumps(action) + "\n"


def write(folder: str, writer: int) -> None:
    """Append thirty keys, each of which another writer appends too, half of them derived from a version."""
    lake = Lake(folder)
    for number in range(30):
        key, table = f"writer-{writer // 2}-{number}", rows(1000 * (writer // 2 + 1) + number)
        while number % 2:
            try:
                lake.append(TABLE, table, key=key, if_version=lake.version(TABLE))
                break
            except LakeConflictError:
                continue
        else:
            lake.append(TABLE, table, key=key)


def die(owner: type, method: str, when: str) -> None:
    """Kill this process before or after the first call of a method."""
    real = getattr(owner, method)

    def deadly(*arguments, **options):
        if when == "after":
            real(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, method, deadly)


if __name__ == "__main__":
    what, folder, *rest = sys.argv[1:]
    if what == "write":
        write(folder, int(rest[0]))
    else:
        if rest:
            die({"compact": TableOptimizer, "replace_days": Lake}.get(rest[0], DeltaTable), *rest)
        maintain(Lake(folder), TABLE, POLICY, now=NOW)
