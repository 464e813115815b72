"""Which checkouts count as abandoned; each is recorded and sent once, after a kill at any moment."""

import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.lake import Lake
from lastaisle.lake.errors import LakeConflictError
from lastaisle.monitor.abandonment import ATTEMPTS, detect, detect_unnotified, record_new
from lastaisle.sessions.abandonments import NOTIFIED, mark_done, pending_burst
from lastaisle.settings import Settings

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("session_id", "user_id", "item_id", "event_type")),
        ("occurred_at", pa.timestamp("us", "UTC")),
        ("event_date", pa.date32()),
    ]
)
BEGUN, LEFT, ORDERED = "checkout_started", "checkout_abandoned", "order_completed"


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def write(lake, *events, key="batch"):
    rows = []
    for session, kind, minutes in events:
        at = NOON + timedelta(minutes=minutes)
        row = {"session_id": session, "user_id": f"user-of-{session}", "event_type": kind}
        rows.append({**row, "item_id": "i", "occurred_at": at, "event_date": at.date()})
    lake.append("events", pa.Table.from_pylist(rows, schema=SCHEMA), key=key)


def recorded(lake):
    return {row["session_id"]: row["reason"] for row in lake.scan("abandonments").to_pylist()}


def test_the_newest_checkout_event_of_a_session_decides(lake):
    write(
        lake,
        ("left", BEGUN, 0),
        ("left", LEFT, 59),
        ("silent", BEGUN, 10),
        ("buying", BEGUN, 45),
        ("bought", BEGUN, 0),
        ("bought", ORDERED, 3),
        ("came back", LEFT, 0),
        ("came back", ORDERED, 20),
        ("left the second", ORDERED, 1),
        ("left the second", LEFT, 2),
        ("looking", "item_viewed", 60),
    )
    assert record_new(lake, Settings.of()) == 3
    assert recorded(lake) == {"left": "abandoned", "silent": "no_order", "left the second": "abandoned"}


def test_the_time_is_that_of_the_newest_event_and_not_of_the_clock(lake):
    write(lake, ("slow", BEGUN, 0), ("other", "item_viewed", 29))
    assert record_new(lake, Settings.of()) == 0
    write(lake, ("other", "item_viewed", 31), key="later")
    assert record_new(lake, Settings.of(abandoned_after_minutes=40)) == 0
    assert record_new(lake, Settings.of()) == 1


def test_each_session_is_recorded_and_sent_once(lake):
    write(lake, ("a", LEFT, 0), ("b", LEFT, 70))
    sent = []
    burst = detect(lake, Settings.of(), send=sent.append)
    assert (burst.sessions, dict(burst.reasons)) == (2, {"abandoned": 2})
    assert detect(lake, Settings.of(), send=sent.append) is None
    write(lake, ("a", LEFT, 75), ("c", LEFT, 80), key="more")
    assert detect(lake, Settings.of(), send=sent.append).sessions == 1
    assert [each.sessions for each in sent] == [2, 1]
    assert lake.scan("abandonments").num_rows == 3


def test_a_burst_that_could_not_be_sent_is_sent_by_the_next_call(lake):
    write(lake, ("a", LEFT, 0))

    def refuse(burst):
        raise ConnectionError("no broker")

    with pytest.raises(ConnectionError):
        detect(lake, Settings.of(), send=refuse)
    write(lake, ("b", LEFT, 1), key="more")
    sent = []
    assert detect(lake, Settings.of(), send=sent.append).sessions == 2, "one message for both bursts"
    assert len(sent[0].names) == 2
    assert lake.scan("abandonments").num_rows == 2


def test_a_message_names_no_person_no_session_and_no_moment(lake):
    write(lake, ("session-7", LEFT, 3))
    text = json.dumps(detect(lake, Settings.of()).to_dict())
    assert "session-7" not in text and "user-of" not in text
    said = json.loads(text)
    assert (said["window_start"], said["window_end"]) == (
        "2025-10-09T12:00:00+00:00",
        "2025-10-09T13:00:00+00:00",
    )


def test_a_burst_is_refreshed_once(lake):
    write(lake, ("a", LEFT, 0), ("b", LEFT, 1))
    sent = detect(lake, Settings.of(), send=print)
    assert pending_burst(lake, NOTIFIED) is None
    burst = pending_burst(lake, "refreshed")
    assert burst.names == sent.names
    mark_done(lake, burst.names, "refreshed")
    mark_done(lake, burst.names, "refreshed")
    assert pending_burst(lake, "refreshed") is None


def test_an_empty_lake_has_no_abandonments(lake):
    assert detect(lake, Settings.of()) is None
    assert pending_burst(lake, "refreshed") is None


def test_the_command_reports_the_number_of_sessions(lake, tmp_path, monkeypatch):
    write(lake, ("a", LEFT, 0))
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    report = tmp_path / "report.json"
    for expected in (1, 0):
        done = CliRunner().invoke(cli.app, ["abandonment", "--lake", lake.url, "--report", str(report)])
        assert done.exit_code == 0, done.output
        assert json.loads(report.read_text())["sessions"] == expected
    waiting = detect_unnotified(lake, Settings.of())
    assert waiting.sessions == 1, "without a topic nobody was notified, so a refresh is still to be started"


def test_a_conflict_is_tried_again_and_the_fifth_is_raised(lake, monkeypatch):
    write(lake, ("a", LEFT, 0))
    append, calls = Lake.append, []

    def conflict(times):
        def refuse(*arguments, **options):
            calls.append(1)
            if len(calls) <= times:
                raise LakeConflictError("another writer came between")
            return append(*arguments, **options)

        calls.clear()
        monkeypatch.setattr(Lake, "append", refuse)

    conflict(ATTEMPTS)
    with pytest.raises(LakeConflictError):
        record_new(lake, Settings.of())
    assert len(calls) == ATTEMPTS
    conflict(ATTEMPTS - 1)
    assert record_new(lake, Settings.of()) == 1
