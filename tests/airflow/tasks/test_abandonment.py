"""The tasks of `detect_abandonment`: message, reasons to skip, and a kill at each step."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.lake import Lake
from lastaisle.sessions.abandonments import NOTIFIED, REFRESHED, Burst, pending_burst
from lastaisle.settings import Settings
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


@pytest.mark.parametrize(("detected", "message"), [(None, "no checkout"), (burst(NOON), "3 days past")])
def test_a_run_without_news_and_a_backfill_send_nothing(monkeypatch, sent_messages, detected, message):
    set_detected(monkeypatch, detected)
    with pytest.raises(AirflowSkipException, match=message):
        abandonment.detect_abandoned.function()
    assert sent_messages == []


class Killed(BaseException):
    """The end of the process: no handler of errors catches it."""


class Boundaries:
    """Count the boundaries between steps, and end the process at one of them."""

    def __init__(self, last=None):
        self.last, self.passed = last, 0

    def cross(self):
        self.passed += 1
        if self.passed == self.last:
            raise Killed


def run_once(lake, boundaries, monkeypatch, started):
    """Run the tasks of the DAG without a control topic, with a boundary before and after each step."""
    append = Lake.append

    def watched(*arguments, **options):
        boundaries.cross()
        answer = append(*arguments, **options)
        boundaries.cross()
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "append", watched)
        try:
            detected = abandonment.detect_abandoned.function()
        except AirflowSkipException:
            return
        boundaries.cross()
        started.append(tuple(detected["bursts"]))
        boundaries.cross()
        abandonment.mark_notified.function(detected)


@pytest.fixture
def left(monkeypatch, tmp_path):
    """A lake with one abandoned checkout of this hour, and no control topic."""
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setenv("LASTAISLE_CONTROL_TOPIC", "")
    lake = Lake(Settings.from_env().lake.url)
    leave(lake, "s1")
    return lake


def leave(lake, session):
    now = datetime.now(UTC)
    row = {
        "session_id": session,
        "event_type": "checkout_abandoned",
        "occurred_at": now,
        "event_date": now.date(),
    }
    lake.append("events", pa.Table.from_pylist([row]), key=session)


STEPS = 6


@pytest.mark.parametrize("boundary", range(1, STEPS + 1))
def test_without_a_topic_a_kill_at_any_step_loses_no_refresh(boundary, left, monkeypatch):
    started = []
    with pytest.raises(Killed):
        run_once(left, Boundaries(boundary), monkeypatch, started)
    before = pending_burst(left, REFRESHED)
    run_once(left, Boundaries(), monkeypatch, started)
    burst = pending_burst(left, REFRESHED)
    assert set(burst.names) == {name for names in started for name in names}
    assert before is None or before.names == burst.names, "the checkout is recorded once"
    assert pending_burst(left, NOTIFIED) is None
    run_once(left, Boundaries(), monkeypatch, again := [])
    assert again == []


def test_all_steps_are_killed(left, monkeypatch):
    boundaries = Boundaries()
    run_once(left, boundaries, monkeypatch, [])
    assert boundaries.passed == STEPS


def test_a_burst_after_a_kill_starts_a_refresh_of_its_own(left, monkeypatch):
    """The refresh of a killed run may be over, so the next burst needs a run with another id."""
    started = []
    with pytest.raises(Killed):
        run_once(left, Boundaries(STEPS - 2), monkeypatch, started)
    leave(left, "s2")
    run_once(left, Boundaries(), monkeypatch, started)
    (first,), second = started
    assert second[0] == first and second[-1] != first, "the DAG names the run by the newest burst"


def test_a_run_without_a_burst_marks_nothing(left):
    with pytest.raises(AirflowSkipException):
        abandonment.mark_notified.function(None)


def test_without_a_topic_a_backfill_is_not_counted_again(left, monkeypatch):
    monkeypatch.setattr(abandonment, "is_long_past", lambda burst: True)
    for message in ("3 days past", "no checkout"):
        with pytest.raises(AirflowSkipException, match=message):
            abandonment.detect_abandoned.function()
