"""Any service that verifies Standard Webhooks gets alerts."""

from lastaisle.delivery.webhook import body_of, webhook
from tests.delivery.notices import RAISED, notice
from tests.delivery.receivers import KEY, is_signed


def test_a_notice_is_signed_and_has_the_same_body_at_each_try(receiver):
    service = receiver(500, 200)
    send = webhook(service.address, [KEY, bytes(24)])
    assert [send(RAISED).problem for _ in range(2)] == ["it answered 500", ""]
    assert all(is_signed(one["headers"], one["body"], [KEY, bytes(24)]) for one in service.got)
    assert service.ids() == ["msg_raised"] * 2 and service.types() == ["alert.raised"] * 2
    assert service.got[0]["body"] == service.got[1]["body"] == body_of(RAISED)
    assert service.bodies()[0] == {
        "id": "msg_raised",
        "type": "alert.raised",
        "timestamp": "2026-11-24T12:00:00Z",
        "data": {
            "scope": {"partition": "2026-11-24"},
            "severity": "critical",
            "rule": "missing_data",
            "title": "No logs came for 2026-11-24",
            "text": "The folder is empty.\nThe limit is 26 hours.",
            "links": [
                {"name": "Log", "address": "https://airflow.shop.example/log?run=1&try=2"},
                {"name": "Runbook", "address": "docs/alerts.md#missing_data"},
            ],
            "group": "missing_data",
            "dedup_key": "a1b2c3",
        },
    }


def test_the_data_of_a_notice_replaces_no_field_of_ours():
    assert b'"severity": "critical"' in body_of(notice(data={"severity": "none"}))
