"""Event time: late rows lie where they belong and are told of, clocks are bounded, zones do not matter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.watermark import watermark
from lastaisle.lake import Lake

NOW = datetime(2025, 10, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def at(shop, number: int, occurred: str, received: str | None = None, **changes) -> dict:
    return shop.event(number, occurred_at=occurred, received_at=received, **changes)


def test_late_rows_are_stored_and_reported_in_their_own_hour(shop):
    shop.ingest(shop.write([at(shop, n, f"2025-10-09T1{n}:30:00Z") for n in range(3)], "a.jsonl"))
    late = [
        at(shop, 10, "2025-10-07T23:59:59.999Z", "2025-10-09T13:00:00Z"),
        at(shop, 11, "2025-10-08T00:00:00Z", "2025-10-09T13:00:00Z"),
        at(shop, 12, "2025-10-09T12:59:59.999Z", "2025-10-09T13:00:00Z"),
        at(shop, 13, "2025-10-09T05:00:00Z", "2025-10-09T13:00:00Z", price=-1),
        at(shop, 1, "2025-10-09T11:30:00Z"),
    ]
    report = shop.ingest(shop.write(late, "b.jsonl"))
    assert report.hours == ["2025-10-07T23", "2025-10-08T00", "2025-10-09T12"]
    assert report.days == [date(2025, 10, 7), date(2025, 10, 8), date(2025, 10, 9)]
    assert (report.rows_clean, report.rows_late, report.rows_quarantined, report.rows_duplicate) == (
        *(3, 2, 1),
        1,
    )
    for table in ("raw_events", "events"):
        assert {row["event_date"] for row in shop.rows(table)} == set(report.days)
        for row in shop.rows(table):
            assert row["event_date"] == row["occurred_at"].astimezone(UTC).date()
    batches = sorted(shop.rows("batches"), key=lambda row: row["source_file"])
    assert batches[1]["hours"] == report.hours


def test_a_late_row_is_stored_in_the_folder_of_its_day(shop):
    shop.ingest(shop.write([at(shop, 1, "2025-10-07T23:59:59.999Z"), at(shop, 2, "2025-10-08T00:00:00Z")]))
    for day in ("2025-10-07", "2025-10-08"):
        (file,) = Path(shop.lake.table_url("events"), f"event_date={day}").glob("*.parquet")
        assert pq.ParquetFile(file).metadata.num_rows == 1


@pytest.mark.parametrize(
    ("received", "late"),
    [("13:00:00.000", 0), ("13:00:00.001", 1), ("11:59:00.000", 0)],
)
def test_a_row_is_late_only_after_the_allowed_time(shop, received, late):
    event = at(shop, 1, "2025-10-09T12:00:00Z", f"2025-10-09T{received}Z")
    assert shop.ingest(shop.write([event])).rows_late == late


def test_rows_without_a_time_of_receipt_are_late_if_they_are_before_the_watermark(shop):
    source = str(shop.folder / "*.jsonl")
    shop.write([at(shop, 1, "2025-10-09T12:00:00Z"), at(shop, 2, "2025-10-01T00:00:00Z")], "a.jsonl")
    assert shop.ingest(source).rows_late == 0  # nothing was there before, so nothing was waited for in vain
    rows = ["10:59:59.999", "11:00:00.000", "11:30:00.000"]
    shop.write([at(shop, 10 + n, f"2025-10-09T{time}Z") for n, time in enumerate(rows)], "b.jsonl")
    assert shop.ingest(source).rows_late == 1
    shop.write([at(shop, 20, "2025-10-09T01:00:00Z", "2025-10-09T01:00:01Z")], "c.jsonl")
    assert shop.ingest(source).rows_late == 0  # it was received in time, whenever we come to read it


def test_each_source_has_its_own_watermark_that_never_goes_back(shop):
    (shop.folder / "web").mkdir()
    (shop.folder / "app").mkdir()
    web, app = (str(shop.folder / name / "*.jsonl") for name in ("web", "app"))
    names = [f"canonical {source}" for source in (web, app)]
    assert watermark(shop.lake, names[0], HOUR) is None
    shop.write([at(shop, 1, "2025-10-09T12:00:00Z")], "web/a.jsonl")
    shop.ingest(web)
    noon = datetime(2025, 10, 9, 12, tzinfo=UTC)
    assert watermark(shop.lake, names[0], HOUR) == noon - HOUR
    assert watermark(shop.lake, names[1], HOUR) is None
    shop.write([at(shop, 2, "2025-10-09T03:00:00Z")], "web/b.jsonl")
    shop.write([at(shop, 3, "2025-10-09T03:00:00Z")], "app/a.jsonl")
    assert shop.ingest(web).rows_late == 1
    assert shop.ingest(app).rows_late == 0
    assert watermark(shop.lake, names[0], HOUR) == noon - HOUR
    shop.write([shop.event(4, price=-1, occurred_at="2025-10-09T20:00:00Z")], "web/c.jsonl")
    shop.ingest(web)
    assert watermark(shop.lake, names[0], HOUR) == noon - HOUR, "a broken row moves no watermark"


def test_a_clock_may_be_at_most_five_minutes_fast(shop):
    rows = [
        at(shop, 1, "2025-10-10T00:05:00Z"),
        at(shop, 2, "2025-10-10T00:05:00.001Z"),
        at(shop, 3, "2025-10-09T12:05:00Z", "2025-10-09T12:00:00Z"),
        at(shop, 4, "2025-10-09T12:05:00.001Z", "2025-10-09T12:00:00Z"),
        at(shop, 5, "2099-01-01T00:00:00Z", "2025-10-09T12:00:00Z"),
        at(shop, 6, "2025-10-09T12:00:00Z", "2025-10-10T00:05:00.001Z"),
    ]
    path = shop.write(rows)
    report = shop.ingest(path, now=NOW)
    assert shop.rules() == [
        ["occurred_at_not_in_future"],
        ["clock_skew"],
        ["occurred_at_not_in_future", "clock_skew"],
        ["received_at_not_in_future"],
    ]
    assert report.rows_clean == 2
    assert watermark(shop.lake, f"canonical {path}", HOUR) == NOW + timedelta(minutes=5) - HOUR


# When the clocks of Berlin and of New York are changed in 2025, and the hours that come twice.
CHANGES = (
    "2025-03-09T07",
    "2025-03-30T01",
    "2025-10-26T00",
    "2025-10-26T01",
    "2025-11-02T05",
    "2025-11-02T06",
)
# Imports once, then ingests in a forked process for each zone. Nothing asks for the zone before the fork.
CHILD = textwrap.dedent("""
    import os
    import sys
    import time
    from datetime import datetime

    import deltalake
    import duckdb
    import great_expectations
    import pyarrow.dataset

    from lastaisle.ingest.options import IngestOptions
    from lastaisle.ingest.run import ingest
    from lastaisle.lake import Lake
    from lastaisle.privacy.keys import PseudonymKeys

    source, folder, key_file, now, *zones = sys.argv[1:]

    def ingest_in(zone, name):
        os.environ["TZ"] = zone
        time.tzset()
        keys = PseudonymKeys.load_or_create(key_file, environ={})
        options = IngestOptions(gx_sample_rows=200)
        lake = Lake(f"{folder}/{name}")
        report = ingest(source, "canonical", lake, keys, now=datetime.fromisoformat(now), options=options)
        told = [report.hours, report.days, report.rows_late, report.quarantined_by_rule]
        ((of_duckdb,),) = duckdb.sql("SELECT current_setting('TimeZone')").fetchall()
        with open(f"{folder}/{name}.txt", "w") as file:
            print(*told, of_duckdb, time.tzname[0], sep="\\n", file=file)

    for zone in zones:
        child = os.fork()
        if not child:
            try:
                ingest_in(zone, zone.replace("/", "-"))
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            sys.exit(f"the ingestion in {zone} failed")
""")


def changing_times(shop) -> str:
    """Events every ten minutes around the changes, some written with an offset, some sessions to derive."""
    rows = []
    for place, hour in enumerate(CHANGES):
        for step in range(-9, 15):
            moment = datetime.fromisoformat(f"{hour}:00:00+00:00") + timedelta(minutes=10 * step)
            texts = [
                moment.strftime("%Y-%m-%dT%H:%M:%S.250Z"),
                (moment + 2 * HOUR).strftime("%Y-%m-%dT%H:%M:%S+02:00"),
                (moment - 5 * HOUR).strftime("%Y-%m-%d %H:%M:%S-05"),
                moment.strftime("%Y-%m-%d %H:%M:%S"),
            ]
            number = 1000 * place + step + 100
            session = None if step % 2 else f"s{place}"
            rows.append(at(shop, number, texts[step % 4], user_id=f"u{place}-{step % 3}", session_id=session))
    return shop.write(rows)


def ingest_in_zones(zones: Iterable[str], shop, source: str) -> None:
    """Ingest once for each zone, each time in a process whose local time is that of the zone."""
    arguments = [source, str(shop.folder), str(shop.keys.path), "2025-12-01T00:00:00+00:00"]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments, *zones],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def results_in(zone: str, shop) -> tuple[list[str], list[str], dict[str, list]]:
    """Return the zone as the process knew it, what the report said, and the tables."""
    name = zone.replace("/", "-")
    *told, of_duckdb, of_python = (shop.folder / f"{name}.txt").read_text().splitlines()
    lake, found = Lake(shop.folder / name), {}
    for name in ("raw_events", "quarantine", "batches", "events"):
        rows = lake.scan(name).to_pylist()
        kept = [{key: value for key, value in row.items() if key != "finished_at"} for row in rows]
        found[name] = sorted(kept, key=repr)
    return [of_duckdb, of_python], told, found


ZONES = {"UTC": "UTC", "Europe/Berlin": "CET", "America/New_York": "EST"}


def test_daylight_saving_changes_nothing(shop):
    ingest_in_zones(ZONES, shop, changing_times(shop))
    _, told, tables = results_in("UTC", shop)
    assert len(tables["events"]) == len(CHANGES) * 24
    occurred = {row["event_id"]: row["occurred_at"] for row in tables["raw_events"]}
    assert occurred["event-100"] == datetime(2025, 3, 9, 7, 0, 0, 250_000, tzinfo=UTC)
    assert occurred["event-101"] == datetime(2025, 3, 9, 7, 10, tzinfo=UTC)
    for zone, name in ZONES.items():
        assert results_in(zone, shop) == ([zone, name], told, tables), zone


def test_the_report_names_what_a_run_changed_and_nothing_else(shop):
    """Windows are made again from these hours: one too few and rows are missed, one too many is waste."""
    source = str(shop.folder / "*.jsonl")
    shop.write([at(shop, n, f"2025-10-0{n}T00:00:00Z") for n in range(1, 5)], "a.jsonl")
    shop.ingest(source)
    shop.write([at(shop, 1, "2025-10-01T00:00:00Z")], "b.jsonl")
    assert shop.ingest(source, options=IngestOptions(gx_sample_rows=0)).hours == []
    shop.write(["{", json.dumps(at(shop, 9, "2025-10-02T07:59:59.999999Z"))], "c.jsonl")
    assert shop.ingest(source).hours == ["2025-10-02T07"]
