"""Made-up events of about 210 bytes, the same in every run, and the expected counts of their rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

EVENTS_A_DAY = 5_000_000

# Every 1000th event is broken, in one of four ways. Every 200th event repeats the event 10,001 events before,
# or the previous event. {visits} shoppers at a time are in the shop, each for ten minutes and eight events.
_LINES = """
SELECT shopper, CASE WHEN n % 1000 <> 7 THEN line
  WHEN n % 4000 = 7 THEN replace(line, '"price":', '"price":-')
  WHEN n % 4000 = 1007 THEN replace(line, '"item_id"', '"item"')
  WHEN n % 4000 = 2007 THEN replace(line, '"occurred_at":"', '"occurred_at":"about ')
  ELSE left(line, 100) END AS line
FROM (
  SELECT n, visit % {users} AS shopper, printf(
    '{{"event_id":"%s","event_type":"%s","occurred_at":"%s","received_at":"%s","user_id":"u%d",%s'
      '"item_id":"i%d","price":%d.9,"currency":"EUR"}}',
    left(md5(n::VARCHAR), 16), ['item_viewed', 'item_viewed', 'item_added', 'item_viewed'][1 + h % 4],
    strftime(moment, '{iso}'), strftime(moment + INTERVAL 900 milliseconds, '{iso}'),
    visit % {users}, CASE WHEN visit % 2 = 0 THEN printf('"session_id":"s%d",', visit) ELSE '' END,
    h % 20000, h % 97) AS line
  FROM (
    SELECT n, (hash(n) % 1000003)::BIGINT AS h, n % {visits} + {visits} * (n // (8 * {visits})) AS visit,
      make_timestamp(1759968000000000 + n * {step}) AS moment
    FROM (
      SELECT CASE WHEN i % 200 <> 50 THEN i WHEN i > 10001 THEN i - 10001 ELSE i - 1 END AS n
      FROM range({first}, {first} + {events}) AS t(i))))"""


def lines_sql(events: int, first: int = 0) -> str:
    """Return a SELECT of the shopper and the line of each event, in order of time, from event `first` on."""
    return _LINES.format(
        events=events,
        first=first,
        step=86_400_000_000 // EVENTS_A_DAY,
        visits=EVENTS_A_DAY // (24 * 6 * 8),
        users=EVENTS_A_DAY // 20,
        iso="%Y-%m-%dT%H:%M:%S.%gZ",
    )


def expected(events: int) -> dict[str, int]:
    """Return the counts of rows that ingestion has to report for the first events."""
    broken = (events + 992) // 1000
    twice = (events + 149) // 200
    return {
        "rows_in": events,
        "rows_clean": events - broken - twice,
        "rows_quarantined": broken,
        "rows_duplicate": twice,
    }


def check(report: dict[str, Any], events: int) -> None:
    """Stop the benchmark if the report of ingestion has other counts than expected."""
    wanted = expected(events)
    found = {name: report[name] for name in wanted}
    if found != wanted:
        raise SystemExit(f"the rows do not add up: expected {wanted}, found {found}")


def write_file(path: Path, events: int) -> float:
    """Write events as JSON Lines; return the mean bytes of an event."""
    import duckdb

    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            f"COPY (SELECT line FROM ({lines_sql(events)})) TO '{path}' "
            "(FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\t')"
        )
    return path.stat().st_size / events
