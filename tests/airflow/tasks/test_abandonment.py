"""The task of `detect_abandonment`: its message, and the reasons to skip it."""

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
    monkeypatch.setattr(abandonment, "send_control", lambda *arguments: messages.append(arguments))
    return messages


def set_detected(monkeypatch, detected):
    """Make the detection return a burst, or None."""

    def detect(lake, settings, *, send):
        if detected is not None:
            send(detected)
        return detected

    monkeypatch.setattr("lastaisle.monitor.abandonment.detect", detect)


def test_a_burst_is_sent_to_the_control_topic(monkeypatch, sent_messages):
    detected = burst(datetime.now(UTC))
    set_detected(monkeypatch, detected)
    assert abandonment.detect_abandoned.function() == detected.to_dict()
    assert sent_messages == [("connection shop", "control", detected.to_dict())]


def test_without_a_topic_the_task_returns_the_burst(monkeypatch, sent_messages):
    monkeypatch.setenv("LASTAISLE_CONTROL_TOPIC", "")
    detected = burst(datetime.now(UTC))
    set_detected(monkeypatch, detected)
    assert abandonment.detect_abandoned.function()["bursts"] == ["b1"]
    assert sent_messages == []


@pytest.mark.parametrize(("detected", "message"), [(None, "no checkout"), (burst(NOON), "3 days past")])
def test_a_run_without_news_and_a_backfill_send_nothing(monkeypatch, sent_messages, detected, message):
    set_detected(monkeypatch, detected)
    with pytest.raises(AirflowSkipException, match=message):
        abandonment.detect_abandoned.function()
    assert sent_messages == []
