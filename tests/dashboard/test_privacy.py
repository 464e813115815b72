"""The page Privacy: keys, ages and consent as figures, without a key or a shopper."""

import uuid
from datetime import timedelta

import pyarrow as pa
import pytest

from lastaisle.audit import audit
from lastaisle.audit.page import verdict
from lastaisle.audit.store import folder_of, keep
from lastaisle.lake.tables import (
    ACCESSES_SCHEMA,
    CONSENTS_SCHEMA,
    EVENTS,
    QUARANTINE,
    QUARANTINE_SCHEMA,
    SUBJECT_REQUESTS_SCHEMA,
)
from lastaisle.privacy.budget.spent import Spending, record
from models.private.mechanism import Mechanism
from tests.dashboard.conftest import NOW
from tests.dashboard.reading import lines_of, text_of

SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("consent_analytics", pa.bool_()),
        ("consent_personalization", pa.bool_()),
        ("consent_sale", pa.bool_()),
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
            "consent_sale": None if days_ago > 1 else not consent,
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
        "sale": [None, 0.75],
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


def test_what_was_never_recorded_is_not_known(reader):
    told = text_of(reader.get("/privacy"))
    for table in ("subject_requests", "consents", "accesses"):
        assert f"not known Not known: the table {table} was never written." in told
    assert "There was no audit yet" in told


def test_the_newest_audit_is_shown_with_its_files(reader, source):
    add_events(source, 30, True)
    days = (NOW - timedelta(days=40)).date(), (NOW - timedelta(days=10)).date()
    found = audit(source.lake, source.settings, *days, now=NOW)
    keep(source.lake, folder_of(source.settings), found)
    answer = reader.get("/privacy")
    told = text_of(answer)
    assert f"Of {days[0]} to {days[1]}, made 2026-11-24 09:00 UTC: {verdict(found)} HTML PDF" in told
    for one in found.findings:
        assert one.told in told
    for form, begin in (("html", b"<!DOCTYPE html>"), ("pdf", b"%PDF-")):
        path = f"/privacy/audits/{found.audit_id}.{form}"
        assert f'href="{path}"' in answer.text
        file = reader.get(path)
        assert file.content.startswith(begin)
        assert file.headers["content-disposition"].startswith("attachment")
    assert reader.get("/privacy/audits/2026-10-01--2026-10-31-000000000000.pdf").status_code == 404
    assert reader.get("/privacy/audits/..%2F..%2Fkeys%2Fpseudonym.json").status_code == 404


def test_requests_decisions_and_accesses_are_told_without_names(reader, source):
    at = NOW - timedelta(days=2)
    request = {"entry": 1, "request_id": "r", "kind": "erase", "state": "asked", "at": at, "actor": "anna"}
    decision = {"user_id": "pseudonym-of-anna", "purpose": "sale", "granted": False, "source": "gpc"}
    access = {"at": at, "actor": "anna", "what": "quarantine", "reason": "ticket", "outcome": "refused"}
    for table, schema, row in (
        ("subject_requests", SUBJECT_REQUESTS_SCHEMA, request | {"due_at": at + timedelta(days=1)}),
        ("consents", CONSENTS_SCHEMA, decision | {"at": at, "recorded_at": at}),
        ("accesses", ACCESSES_SCHEMA, access),
    ):
        source.lake.append(table, pa.Table.from_pylist([row], schema), key="row")
    answer = reader.get("/privacy")
    told = text_of(answer)
    assert "failed Open requests past their day: 1 of 1." in told
    assert "ok 0 shoppers agreed to sale and 1 refused it, by gpc." in told
    assert "ok Requests to see data of shoppers in these days: 0 shown, 1 refused." in told
    assert "anna" not in answer.text


def test_the_budget_is_drawn(reader, source):
    for days in (3, 1, 2):
        mechanism = Mechanism("shopper", 0.01, 1.0, 100, 1.0, 1000)
        at = NOW - timedelta(days=days)
        names = (f"key-{days}", f"run-{days}", "model", "factorization", "shopper")
        record(source.lake, Spending(*names, at, at, 1000, mechanism, float(days), 1e-6, at))
    answer = reader.get("/privacy")
    assert lines_of(answer, "budget") == {"epsilon": [3.0, 2.0, 1.0]}
    assert "The shopper who spends most spent epsilon" in text_of(answer)
