"""How long does it take to erase shoppers from a large lake, with the proof that nothing is left?

    python benchmarks/erasure.py
    python benchmarks/erasure.py --events 50000 --subjects 10000 --erase 1 100

The script makes a lake of five million events (--events) of one million shoppers (--subjects) on ten days:
raw events, anonymized events, exposures and quarantined rows, through the commits of the pipeline. Then it
erases one shopper, and then a thousand others (--erase). Every byte under the lake is searched for their ids
and pseudonyms afterwards. Takes about four minutes and 1 GB of disk. Prints a table, and last a JSON line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_contracts.contract import load_contract
from lastaisle.lake import Lake, Query
from lastaisle.lake.tables import (
    EVENTS,
    EXPOSURES,
    INGESTION_ADDED,
    QUARANTINE,
    QUARANTINE_SCHEMA,
    RAW_EVENTS,
)
from lastaisle.lake.workspace import open_workspace, read_tables
from lastaisle.privacy.anonymize import anonymize_batch
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.rights.erasure import Erased, Places, Subjects, erase

FIRST = date(2025, 10, 1)
DAYS = 10
_RAW = """
SELECT $batch || '-' || i AS event_id,
  ['item_viewed', 'item_added', 'checkout_started', 'order_placed'][1 + (hash(i) % 4)::INTEGER] AS event_type,
  TIMESTAMPTZ '{day} 00:00:00+00' + to_milliseconds(i * 86400000 // $rows) AS occurred_at,
  occurred_at + INTERVAL 2 SECOND AS received_at,
  CASE WHEN hash(i, 'known') % 10 > 0
    THEN 'shopper-' || lpad((hash(visit, $batch) % $subjects)::VARCHAR, 8, '0') END AS user_id,
  'visit-{day}-' || visit AS session_id,
  'item-' || hash(i, 'item') % 40000 AS item_id,
  CASE WHEN event_type = 'order_placed' THEN 'order-{day}-' || visit END AS order_id,
  (1 + hash(i, 'quantity') % 3)::INTEGER AS quantity, (hash(i, 'price') % 10000) / 100.0 AS price,
  'EUR' AS currency,
  ['mobile', 'desktop', 'tablet'][1 + (hash(visit, 'device') % 3)::INTEGER] AS device_type, 'DE' AS country,
  'DE-BE' AS region, 'https://example.org/?q=' || hash(i, 'query') AS referrer, true AS consent_analytics,
  true AS consent_personalization, $batch AS batch_id, 'made.jsonl' AS source_file, i AS source_row,
  0 AS sub_row, TIMESTAMPTZ '{day} 23:59:00+00' AS ingested_at, '1.0.0' AS contract_version,
  DATE '{day}' AS event_date
FROM (SELECT i, i // 5 AS visit FROM range($rows) AS made(i))
"""
_EXPOSURES = """
SELECT md5(event_id) AS exposure_id, 'shown' AS kind, md5(session_id) AS recommendation_id, occurred_at,
  received_at, user_id, session_id, item_id, 1 AS position, 'checkout' AS placement, '1' AS model_version,
  'champion' AS policy, key_version, event_date
FROM events WHERE event_date = DATE '{day}' AND hash(event_id) % 5 = 0
"""
_QUARANTINE = """
SELECT batch_id, source_file, source_row, sub_row, ['price_is_number'] AS rules, ingested_at,
  contract_version, event_date,
  to_json({{'user_id': user_id, 'session_id': session_id, 'price': 'x'}})::VARCHAR AS payload
FROM raw WHERE event_date = DATE '{day}' AND hash(event_id) % 1000 = 0
"""


def make_lake(folder: Path, events: int, subjects: int) -> tuple[Lake, PseudonymKeys]:
    """Make a lake of some events of some shoppers on ten days."""
    lake, keys = Lake(folder / "lake"), PseudonymKeys.load_or_create(folder / "keys.json", environ={})
    for number in range(DAYS):
        day, batch = FIRST + timedelta(days=number), f"{number:016x}batch"
        parameters = {"batch": batch, "rows": events // DAYS, "subjects": subjects}
        _append(lake, RAW_EVENTS, _RAW.format(day=day), parameters)
        anonymize_batch(batch, lake, keys)
        _append(lake, QUARANTINE, _QUARANTINE.format(day=day), raw=RAW_EVENTS)
        _append(lake, EXPOSURES, _EXPOSURES.format(day=day), events=EVENTS)
    return lake, keys


def _schema(name: str) -> pa.Schema:
    if name == QUARANTINE:
        return QUARANTINE_SCHEMA
    return pa.schema([*load_contract(name).arrow_schema(), *INGESTION_ADDED])


def _append(
    lake: Lake, name: str, made: str, parameters: dict[str, Any] | None = None, **tables: str
) -> None:
    """Append the rows of a day; columns that the query does not make are NULL."""
    with open_workspace(writes_to=lake.url) as connection:
        for alias, table in tables.items():
            connection.register(alias, lake.dataset(table))
        found = connection.execute(f"SELECT * FROM ({made}) LIMIT 0", parameters).description or ()
        names = {column[0] for column in found}
        schema = _schema(name)
        columns = ", ".join(
            f'"{field.name}"' if field.name in names else f'NULL AS "{field.name}"' for field in schema
        )
        days = connection.execute(f"SELECT DISTINCT event_date FROM ({made})", parameters).fetchall()
        sql = f"SELECT {columns} FROM ({made})"
        query = Query(connection, sql, schema, [day for (day,) in days], parameters or {})
        lake.append(name, query, key=(parameters or {}).get("batch", str(days)))


def measure(lake: Lake, keys: PseudonymKeys, folder: Path, count: int) -> Erased:
    """Erase some shoppers who have events."""
    with read_tables(lake.url, raw=lake.require(RAW_EVENTS)) as connection:
        asked = (
            "SELECT DISTINCT user_id FROM raw WHERE user_id IS NOT NULL ORDER BY hash(user_id) LIMIT $count"
        )
        ids = [row[0] for row in connection.execute(asked, {"count": count}).fetchall()]
    return erase(Subjects.of(ids, keys), Places(lake, folder / "work"), dry_run=False)


def main() -> None:
    """Make the lake, erase, and print what it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--subjects", type=int, default=1_000_000)
    parser.add_argument("--erase", type=int, nargs="+", default=[1, 1000])
    arguments = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory(prefix="lastaisle-erasure-") as name:
        folder = Path(name)
        began = time.perf_counter()
        lake, keys = make_lake(folder, arguments.events, arguments.subjects)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{arguments.events:,} events of {arguments.subjects:,} shoppers, {size >> 20} MiB, made in "
              f"{time.perf_counter() - began:.0f} s at {datetime.now(UTC):%H:%M} UTC")  # fmt: skip
        print(
            f"{'erased':>8} {'seconds':>8} {'rows':>8} {'rewritten':>10} {'files':>6} {'MiB':>7} {'found':>6}"
        )
        for count in arguments.erase:
            erased = measure(lake, keys, folder, count)
            print(
                f"{count:>8} {erased.seconds:>8.1f} {erased.rows:>8} {erased.files_rewritten:>10} "
                f"{erased.files_scanned:>6} {erased.bytes_scanned >> 20:>7} {erased.found:>6}"
            )
            line = {
                "subjects": count,
                "events": arguments.events,
                "seconds": round(erased.seconds, 2),
                "files_scanned": erased.files_scanned,
                "bytes_scanned": erased.bytes_scanned,
                "rows": erased.rows,
                "found": erased.found,
            }
            print(json.dumps(line))
            runs.append(line)
    print(json.dumps({"benchmark": "erasure", "runs": runs}))


if __name__ == "__main__":
    main()
