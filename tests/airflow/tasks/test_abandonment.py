"""The task of `detect_abandonment`: which message it sends, and when it is skipped."""

from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.sessions.abandonments import Burst
from lastaisle_airflow.tasks import abandonment

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)


def burst(end):
    return Burst(("b1",), 30, {"abandoned": 30}, end - timedelta(hours=1), end, end)


@pytest.fixture
def sent_messages(monkeypatch, tmp_path):
    """The messages that reached the control topic."""
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setenv("LASTAISLE_CONTROL_TOPIC", "kafka://shop/control")
    messages = []
    monkeypatch.setattr(abandonment, "kafka_connection", lambda name: f"connection {name}")
    monkeypatch.setattr(abandonment, "send_control", lambda *given: messages.append(given))
    return messages


def set_detected(monkeypatch, found):
    """Let the detection find this burst, or None."""

    def look(lake, settings, *, send):
        if found is not None:
            send(found)
        return found

    monkeypatch.setattr("lastaisle.monitor.abandonment.detect", look)


def test_a_burst_is_sent_to_the_control_topic(monkeypatch, sent_messages):
    found = burst(datetime.now(UTC))
    set_detected(monkeypatch, found)
    assert abandonment.detect_abandoned.function() == found.to_dict()
    assert sent_messages == [("connection shop", "control", found.to_dict())]


def test_without_a_topic_the_task_returns_the_burst(monkeypatch, sent_messages):
    monkeypatch.setenv("LASTAISLE_CONTROL_TOPIC", "")
    found = burst(datetime.now(UTC))
    set_detected(monkeypatch, found)
    assert abandonment.detect_abandoned.function()["bursts"] == ["b1"]
    assert sent_messages == []


@pytest.mark.parametrize(("found", "words"), [(None, "no checkout"), (burst(NOON), "3 days past")])
def test_a_run_without_news_and_a_backfill_send_nothing(monkeypatch, sent_messages, found, words):
    set_detected(monkeypatch, found)
    with pytest.raises(AirflowSkipException, match=words):
        abandonment.detect_abandoned.function()
    assert sent_messages == []
