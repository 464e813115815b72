"""The catalogue of the simulated shop."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

from lastaisle.catalogue.formats import catalogue_adapter
from lastaisle.catalogue.history import read_catalogue
from lastaisle.catalogue.job import CatalogueJob
from lastaisle.catalogue.run import ingest_catalogue
from lastaisle.ingest.options import IngestOptions
from lastaisle.lake import Lake
from lastaisle.simulate import ShopOptions, simulate, write_logs

SMALL = ShopOptions(days=4, sessions_per_day=60, items=300, new_items_per_day=10)
#: The events of SMALL as they were before the shop had a feed.
EVENTS = "9ebb97c6db1b5f3e5f008e96257bb7fcb8715b8eec254efaa2f5bd6de5c8eb4b"


def test_the_events_do_not_depend_on_the_feed():
    lines = [line for logs in simulate(SMALL) for line in logs.lines]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == EVENTS


def test_the_first_day_lists_all_items_and_later_days_what_changed():
    first, *later = ([json.loads(row) for row in logs.items] for logs in simulate(SMALL))
    assert len(first) == 300
    assert all(row["available"] for row in first)
    for rows in later:
        assert 10 <= len(rows) < 60
        assert {row["item_id"] for row in rows} - {row["item_id"] for row in first}
    assert any(not row["available"] for rows in later for row in rows)


def test_the_feed_names_the_items_as_the_events_do():
    events = [json.loads(line) for logs in simulate(SMALL) for line in logs.lines if line.endswith("}")]
    days = list(simulate(SMALL))
    rows = {row["item_id"]: row for row in map(json.loads, days[0].items)}
    seen = [event for event in events if event.get("item_id") in rows and "brand" in event]
    assert seen
    assert all(event["brand"] == rows[event["item_id"]]["brand"] for event in seen)
    assert all(event["category"] == rows[event["item_id"]]["category"] for event in seen)


def test_the_written_feed_becomes_a_catalogue_without_a_broken_row(tmp_path):
    file = tmp_path / "shop" / "items.jsonl"
    write_logs(tmp_path / "logs", SMALL, catalogue=file)
    assert not list((tmp_path / "logs").glob("*.jsonl")), "a run over the logs must not read the catalogue"
    lake = Lake(tmp_path / "lake")
    job = CatalogueJob(lake, catalogue_adapter("items"), options=IngestOptions(gx_sample_rows=0))
    report = ingest_catalogue(str(file), job)
    assert report.rows_clean == report.rows_in == len(file.read_text().splitlines())
    assert read_catalogue(lake, datetime(2025, 10, 1, tzinfo=UTC)).num_rows == 300
    assert read_catalogue(lake).num_rows == 330
