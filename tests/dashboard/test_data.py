"""The page Data: whether yesterday's data came, and what was kept out, without a value of a shopper."""

import json
import uuid
from datetime import timedelta

import pyarrow as pa
import pytest

from lastaisle.dashboard.figures.data import short_names
from lastaisle.lake.tables import (
    BATCHES,
    BATCHES_SCHEMA,
    EVENTS,
    GAPS,
    GAPS_SCHEMA,
    QUARANTINE,
    QUARANTINE_SCHEMA,
    REFUSED_FILES,
    REFUSED_FILES_SCHEMA,
    TIMESTAMP,
)
from tests.dashboard.conftest import NOW
from tests.dashboard.reading import chart_of, lines_of, text_of

EVENTS_SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("occurred_at", TIMESTAMP),
        ("batch_id", pa.string()),
        ("event_date", pa.date32()),
    ]
)
SECRET = "anna@example.com"


@pytest.fixture
def now(app, monkeypatch):
    """The pages take NOW as the present moment."""
    pages = app.state.pages
    monkeypatch.setattr(
        app.state, "pages", type(pages)(pages.source, pages.access, pages.roll_back, False, now=lambda: NOW)
    )


def append(source, name, rows, schema):
    source.lake.append(name, pa.Table.from_pylist(rows, schema), key=uuid.uuid4().hex)


def add_batch(
    source, batch_id, days_ago=1, events=4, address="canonical s3://user:password@shop/logs/web/{day}"
):
    """Add a batch of some events of a day, one an hour."""
    moments = [
        (NOW - timedelta(days=days_ago)).replace(hour=0) + timedelta(hours=hour) for hour in range(events)
    ]
    row = {
        "batch_id": batch_id,
        "source": address,
        "source_file": f"s3://user:password@shop/logs/web/{batch_id}.jsonl",
        "rows_in": events + 3,
        "rows_clean": events,
        "rows_quarantined": 3,
        "rows_duplicate": 0,
        "rows_late": 1,
        "rows_ignored": 0,
        "quarantined_by_rule": json.dumps({"price_in_range": 3}),
        "newest": moments[-1],
        "finished_at": moments[-1] + timedelta(hours=2),
        "contract_version": "1.2.0",
        "hours": [moment.strftime("%Y-%m-%dT%H") for moment in moments],
    }
    append(source, BATCHES, [row], BATCHES_SCHEMA)
    rows = [
        {"event_id": f"{batch_id}-{number}", "occurred_at": at, "batch_id": batch_id, "event_date": at.date()}
        for number, at in enumerate(moments)
    ]
    append(source, EVENTS, rows, EVENTS_SCHEMA)


def test_the_page_says_that_the_data_of_yesterday_came(reader, source, now):
    add_batch(source, "before", days_ago=2, events=8)
    add_batch(source, "b1", events=6)
    told = text_of(reader.get("/data"))
    assert "Yesterday, 2026-11-23 (UTC) 6 events 25 % fewer than usual" in told
    assert "the median of the days before is 8" in told
    assert "1 batch brought them, the last 2026-11-23 07:00 UTC. 6 of 24 hours have events." in told
    assert "3 rows in quarantine, 1 late, 0 duplicate" in told
    assert "The newest day" not in told


def test_the_page_says_that_the_data_of_yesterday_did_not_come(reader, source, now):
    add_batch(source, "b1", days_ago=3)
    told = text_of(reader.get("/data"))
    assert "Yesterday, 2026-11-23 (UTC) Nothing came" in told
    assert "The last batch of any day arrived 2026-11-21 05:00 UTC, 3 days ago" in told
    assert "lastaisle ingest FILE" in told
    assert "The newest day, 2026-11-21 (UTC) 4 events" in told


@pytest.mark.parametrize("by", ["day", "hour"])
def test_the_events_are_drawn_by_source(reader, source, by):
    add_batch(source, "b1", days_ago=2)
    add_batch(source, "b2", address="feedback /a/landing/other")
    answer = reader.get("/data", params={"by": by})
    assert {name: sum(values) for name, values in lines_of(answer, "volume").items()} == {
        "canonical web/{day}": 4,
        "feedback landing/other": 4,
    }
    assert len(chart_of(answer, "volume")["x"]) == {"day": 2, "hour": 48}[by]


def test_events_of_a_batch_that_is_not_known_are_drawn_as_well(reader, source):
    add_batch(source, "b1", days_ago=2)
    append(
        source,
        EVENTS,
        [{"event_id": "x", "occurred_at": NOW, "batch_id": "gone", "event_date": NOW.date()}],
        EVENTS_SCHEMA,
    )
    assert "other sources" in reader.get("/data").text


def test_the_quarantine_is_shown_by_rule_with_shapes_and_no_value(reader, source):
    add_batch(source, "b1")
    rows = [
        {
            "batch_id": "b1",
            "payload": json.dumps({"user_id": SECRET, "price": -1, SECRET: number}),
            "rules": ["price_in_range"],
            "ingested_at": NOW,
            "event_date": NOW.date(),
        }
        for number in range(3)
    ]
    append(source, QUARANTINE, rows, QUARANTINE_SCHEMA)
    answer = reader.get("/data")
    assert "price_in_range 3 42.857 % 1" in text_of(answer)
    assert "{another field: number, price: negative number, user_id: text}" in text_of(answer)
    assert SECRET not in answer.text


def test_the_page_shows_no_password_of_a_source(reader, source):
    add_batch(source, "b1")
    append(
        source,
        REFUSED_FILES,
        [
            {
                "url": "s3://user:password@shop/broken.jsonl",
                "source": "canonical s3://user:password@shop",
                "reason": "SchemaChangeError",
                "refused_at": NOW,
            }
        ],
        REFUSED_FILES_SCHEMA,
    )
    answer = reader.get("/data")
    assert "broken.jsonl SchemaChangeError" in text_of(answer)
    assert "user:password" not in answer.text


def test_gaps_of_topics_are_counted(reader, source):
    gap = {"topic": "events", "partition": 2, "start_offset": 5, "end_offset": 1205, "noticed_at": NOW}
    append(source, GAPS, [gap], GAPS_SCHEMA)
    assert "events 2 1,200" in text_of(reader.get("/data"))


def test_a_lake_of_an_older_release_is_shown(reader, source):
    """Its batches lack the columns that came later."""
    old = [*BATCHES_SCHEMA.names[:6], "rows_clean", "rows_quarantined", "started_at", "finished_at"]
    schema = pa.schema([BATCHES_SCHEMA.field(name) for name in old])
    row = {"batch_id": "b1", "source": "csv", "source_file": "a.csv", "rows_clean": 7, "finished_at": NOW}
    append(source, BATCHES, [row], schema)
    answer = reader.get("/data")
    assert answer.status_code == 200
    assert "a.csv 0 7" in text_of(answer)


@pytest.mark.parametrize("table", [BATCHES, EVENTS, QUARANTINE, GAPS, REFUSED_FILES])
def test_a_table_that_cannot_be_read_hides_no_other(reader, source, table):
    add_batch(source, "b1")
    append(
        source,
        GAPS,
        [{"topic": "events", "start_offset": 1, "end_offset": 2, "noticed_at": NOW}],
        GAPS_SCHEMA,
    )
    folder = source.settings.home / "lake" / table
    log = folder / "_delta_log"
    if log.exists():
        for file in log.iterdir():
            file.unlink()
        log.rmdir()
    folder.mkdir(exist_ok=True)
    (folder / "rows.parquet").write_bytes(b"")
    answer = reader.get("/data")
    assert answer.status_code == 200
    assert "This part cannot be read" in answer.text
    assert f"table {table}" in answer.text
    assert ("b1.jsonl" in answer.text) == (table != BATCHES)


def test_a_table_without_a_column_is_named_and_hides_no_other_part(reader, source):
    rows = [{"event_id": "x", "event_date": NOW.date()}]
    append(source, EVENTS, rows, pa.schema([("event_id", pa.string()), ("event_date", pa.date32())]))
    told = text_of(reader.get("/data"))
    assert "cannot read table events" in told
    assert "occurred_at" in told
    assert "1 events" in told


@pytest.mark.parametrize("by", ["week", "", "hour;", "Day"])
def test_a_wrong_choice_is_refused(reader, by):
    answer = reader.get("/data", params={"by": by})
    assert answer.status_code == 422
    assert "by is one of hour, day" in answer.text


def test_sources_whose_short_names_are_equal_keep_their_addresses():
    names = ["jsonl /a/web/{day}", "jsonl /b/web/{day}", "jsonl /c/app/{day}", "stdin"]
    assert list(short_names(names).values()) == [*names[:2], "jsonl app/{day}", "stdin"]
