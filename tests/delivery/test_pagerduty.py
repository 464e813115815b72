"""PagerDuty opens one incident for an alert, and closes it when the alert is resolved."""

import pytest

from lastaisle.delivery.pagerduty import event_of, pagerduty
from tests.delivery.notices import RAISED, RESOLVED, notice

KEY = "0123456789abcdef0123456789abcdef"


def test_an_alert_is_triggered_and_resolved_under_one_key(receiver):
    service = receiver(202)
    send = pagerduty(KEY, f"{service.base_url}/")
    for one in (RAISED, notice(id="msg_changed", kind="changed", severity="warning"), RESOLVED):
        assert send(one).problem == ""
    assert {one["path"] for one in service.got} == {"/v2/enqueue"}
    triggered, changed, resolved = service.bodies()
    assert [one["event_action"] for one in (triggered, changed, resolved)] == [
        "trigger",
        "trigger",
        "resolve",
    ]
    assert {one["dedup_key"] for one in service.bodies()} == {"a1b2c3"}
    assert {one["routing_key"] for one in service.bodies()} == {KEY}
    payload = triggered["payload"]
    assert payload["summary"] == "[critical] No logs came for 2026-11-24"
    assert (payload["severity"], changed["payload"]["severity"]) == ("critical", "warning")
    assert payload["timestamp"] == "2026-11-24T12:00:00+00:00"
    assert (payload["class"], payload["group"], payload["component"]) == (
        "missing_data",
        "missing_data",
        "lastaisle",
    )
    assert payload["source"]
    assert payload["custom_details"]["scope"] == {"partition": "2026-11-24"}
    assert payload["custom_details"]["Runbook"] == "docs/alerts.md#missing_data"
    assert triggered["links"] == [{"href": "https://airflow.shop.example/log?run=1&try=2", "text": "Log"}]


def test_a_test_leaves_no_open_incident(receiver):
    service = receiver(202)
    assert not pagerduty(KEY, service.base_url)(notice(kind="test", severity="info")).problem
    assert [one["event_action"] for one in service.bodies()] == ["trigger", "resolve"]
    assert len({one["dedup_key"] for one in service.bodies()}) == 1


def test_a_test_that_fails_is_not_resolved(receiver):
    service = receiver(429, retry_after="60")
    sent = pagerduty(KEY, service.base_url)(notice(kind="test"))
    assert (sent.problem, sent.wait.total_seconds(), len(service.got)) == ("it answered 429", 60, 1)


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (400, "it answered 400; it does not take this event, or the routing key is wrong"),
        (403, "it answered 403; this routing key may send no events"),
        (500, "it answered 500"),
    ],
)
def test_a_refusal_is_told_without_the_key(receiver, status, problem):
    sent = pagerduty(KEY, receiver(status).base_url)(RAISED)
    assert sent.problem == problem and KEY not in sent.problem


def test_an_event_stays_within_the_limits():
    event = event_of(
        notice(title="x" * 5000, text="y" * 10**6, dedup_key="k" * 300, data={"rows": "z" * 10**6}), "trigger"
    )
    assert len(event["payload"]["summary"]) <= 1024 and len(event["dedup_key"]) <= 255
    assert len(str(event)) < 100_000
    assert event["payload"]["custom_details"]["left_out"] == "the details are too long"
    other = event_of(notice(dedup_key="k" * 299 + "l"), "trigger")
    assert other["dedup_key"] != event["dedup_key"], "two long keys stay two alerts"


def test_a_notice_without_a_key_is_an_incident_of_its_own():
    assert event_of(notice(dedup_key=""), "trigger")["dedup_key"] == RAISED.id
