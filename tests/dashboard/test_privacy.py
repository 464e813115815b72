"""The page Privacy: keys, ages and consent as figures, without a key or a shopper."""

import uuid
from datetime import timedelta

import pyarrow as pa
import pytest

from lastaisle.lake.tables import EVENTS, QUARANTINE, QUARANTINE_SCHEMA
from tests.dashboard.conftest import NOW
from tests.dashboard.reading import lines_of, text_of

SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("consent_analytics", pa.bool_()),
        ("consent_personalization", pa.bool_()),
        ("key_version", pa.int32()),
        ("event_date", pa.date32()),
    ]
)


@pytest.fixture(autouse=True)
def now(app, monkeypatch):
    """The pages take NOW as the present moment."""
    pages = app.state.pages
    fixed = type(pages)(pages.source, pages.access, pages.roll_back, False, now=lambda: NOW)
    monkeypatch.setattr(app.state, "pages", fixed)


def add_events(source, days_ago, *consents, key_version=1):
    day = (NOW - timedelta(days=days_ago)).date()
    rows = [
        {
            "user_id": "pseudonym-of-anna",
            "consent_analytics": True,
            "consent_personalization": consent,
            "key_version": key_version,
            "event_date": day,
        }
        for consent in consents
    ]
    source.lake.append(EVENTS, pa.Table.from_pylist(rows, SCHEMA), key=uuid.uuid4().hex)


def test_the_versions_of_the_key_are_shown_with_their_ages(reader, source):
    add_events(source, 30, True, key_version=1)
    add_events(source, 2, True, False, key_version=2)
    answer = reader.get("/privacy")
    told = text_of(answer)
    assert "Version 2 made the newest pseudonyms. Its oldest rows are of 2026-11-22, 2 days ago" in told
    assert "1 - 2026-10-25 to 2026-10-25 1 0" in told
    assert "Rows of 2 versions of the key are in the lake" in told
    assert "pseudonym-of-anna" not in answer.text


def test_consent_is_drawn_for_each_day(reader, source):
    add_events(source, 2, True, True)
    add_events(source, 1, True, False, False, False)
    assert lines_of(reader.get("/privacy"), "consent") == {
        "analytics": [1.0, 1.0],
        "personalization": [1.0, 0.25],
    }


@pytest.mark.parametrize(
    ("ingested", "words"), [(300, "kept to"), (401, "kept to"), (402, "too old rows of 2025-10-18 09:00 UTC")]
)
def test_rows_that_are_kept_too_long_are_told(reader, source, ingested, words):
    """The age counts from the ingestion: old logs that came today are not too old."""
    row = {
        "payload": "{}",
        "rules": [],
        "event_date": (NOW - timedelta(days=ingested + 50)).date(),
        "ingested_at": NOW - timedelta(days=ingested),
    }
    source.lake.append(QUARANTINE, pa.Table.from_pylist([row], QUARANTINE_SCHEMA), key="row")
    told = text_of(reader.get("/privacy"))
    assert f"quarantine 400 days {row['event_date']}, {ingested + 50} days ago 1 {words}" in told


def test_what_no_release_records_yet_is_said_plainly(reader):
    told = text_of(reader.get("/privacy"))
    assert "records no requests for erasure, no audits and no privacy budget" in told
