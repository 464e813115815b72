"""What the service keeps in its folder has the pseudonyms of the events of the same shopper."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from lastaisle.collect.folder import FolderSink
from lastaisle.feedback.exposures.run import ingest_exposures
from lastaisle.feedback.rotate import rotate_all
from lastaisle.ingest.run import ingest
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.serve.feedback import CONTENT, FeedbackStore
from lastaisle.serve.feedback_body import Feedback
from lastaisle.serve.pseudonyms import Pseudonyms
from lastaisle.settings import Settings

from .conftest import NOW

OURS = f"7-m-{'a' * 24}"
AT = datetime(2025, 10, 9, 12, tzinfo=UTC)


def settings_of(shown):
    return Settings.of(home=shown.folder, lake=str(shown.lake.url), key_file=str(shown.keys.path))


def store(shown, feedback, look_at=lambda: None):
    """Keep feedback as the service does; look at the folder while its file is open."""

    async def keep():
        sink = FolderSink(str(shown.folder / "kept" / "{day}"), content=CONTENT)
        sink.open()
        try:
            pseudonyms = Pseudonyms(settings_of(shown))
            pseudonyms.look()
            metrics = SimpleNamespace(feedback=lambda *_, **__: None)
            stored = await FeedbackStore(sink, pseudonyms, metrics).store(feedback)
            look_at()
            return stored
        finally:
            sink.close()

    return asyncio.run(keep())


def feedback(kind="shown", **given):
    return Feedback(
        **(
            {
                "recommendation_id": OURS,
                "kind": kind,
                "items": ["i1", "i2"],
                "session_id": "visit 1",
                "user_id": "anna",
                "at": AT,
            }
            | given
        )
    )


def test_feedback_of_the_service_joins_the_events_of_the_same_shopper(shown):
    event = {
        "event_id": "1",
        "event_type": "item_viewed",
        "occurred_at": "2025-10-09T12:00:00Z",
        "user_id": "anna",
        "session_id": "visit 1",
        "item_id": "i1",
    }
    ingest(shown.write([event], "log.jsonl"), "canonical", shown.lake, shown.keys, now=NOW)
    (known,) = shown.rows("events")
    given = [feedback(), feedback("clicked", items=["i2"]), feedback(consent=False, items=["i3"])]
    seen_while_open = []
    source = str(shown.folder / "kept" / "{day}")
    job = shown.job(now=None)
    stored = store(
        shown,
        given,
        lambda: seen_while_open.append(ingest_exposures(source, job, may_be_missing=True).rows_in),
    )
    assert (stored, seen_while_open) == (3, [0])
    assert store(shown, given) == 3  # the same feedback, sent again
    report = ingest_exposures(source, job)
    assert (report.rows_in, report.rows_clean, report.rows_shown, report.rows_duplicate) == (6, 3, 2, 3)
    assert {(one["user_id"], one["session_id"]) for one in shown.rows()} == {
        (known["user_id"], known["session_id"])
    }
    assert sorted((one["item_id"], one["kind"], one["model_version"]) for one in shown.rows()) == [
        ("i1", "shown", "7"),
        ("i2", "clicked", "7"),
        ("i2", "shown", "7"),
    ]


def test_feedback_of_before_a_rotation_that_is_ingested_after_it_joins_the_events_again(shown):
    """The service holds the old key until it reads the key again, and its files wait for ingestion."""
    event = {
        "event_id": "1",
        "event_type": "item_viewed",
        "occurred_at": "2025-10-09T12:00:00Z",
        "user_id": "anna",
        "session_id": "visit 1",
        "item_id": "i1",
    }
    ingest(shown.write([event], "log.jsonl"), "canonical", shown.lake, shown.keys, now=NOW)
    assert store(shown, [feedback()]) == 2
    rotate_all(shown.lake, shown.keys, dry_run=False)
    assert store(shown, [feedback("clicked")]) == 2
    shown.keys = PseudonymKeys.load(shown.keys.path, environ={})
    ingest_exposures(str(shown.folder / "kept" / "{day}"), shown.job(now=None))
    assert sorted((one["kind"], one["key_version"]) for one in shown.rows()) == [
        *[("clicked", 2)] * 2,
        *[("shown", 1)] * 2,
    ]
    rotate_all(shown.lake, shown.keys, dry_run=False)
    (known,) = shown.rows("events")
    assert {(one["user_id"], one["session_id"], one["key_version"]) for one in shown.rows()} == {
        (known["user_id"], known["session_id"], 2)
    }


@pytest.mark.parametrize("at", [AT, None])
def test_feedback_of_the_service_in_another_format_never_gets_pseudonyms_of_pseudonyms(shown, at):
    items = [f"\u00e9 {number}" for number in range(3)]
    given = [
        feedback(items=items, at=at),
        feedback("clicked", items=items, at=at),
        feedback("clicked", items=items, positions=[1, 2, 3], at=at),
    ]
    store(shown, given)
    job = shown.job("exposures", now=datetime.now(UTC))
    report = ingest_exposures(str(shown.folder / "kept" / "{day}"), job)
    (error,) = report.files_failed.values()
    assert "feedback_of_the_service 9" in error
    assert "use --format feedback" in error
    assert shown.rows() == []
