"""Segment's browser and mobile clients: short paths, the browser's question first, the key in the body."""

from __future__ import annotations

import gzip
import json

import pytest

TRACK = {"type": "track", "event": "Cart Viewed", "userId": "u1", "messageId": "m1", "writeKey": "shop-web"}
PAGE = "https://shop.example"
ASKED = {
    "Access_Control_Request_Method": "POST",
    "Access_Control_Request_Headers": "authorization,content-type",
}


@pytest.mark.parametrize("path", ["/v1/t", "/v1/b/", "/v1/batch", "/v1/m", "/v1/projects/shop-web/settings"])
def test_a_page_may_send_and_read_the_answer(standing, path):
    asked = standing.send("OPTIONS", path, key=None, Origin=PAGE, **ASKED)
    assert asked.status == 200
    assert asked.headers["access-control-allow-origin"] == "*"
    assert {"authorization", "content-type"} <= set(asked.headers["access-control-allow-headers"].split(","))
    assert "access-control-allow-credentials" not in asked.headers
    refused = standing.send("GET", "/v1/projects/wrong/settings", key=None, Origin=PAGE)
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, "*")


def test_only_the_pages_that_the_setting_names_may_read_the_answer(make_collector):
    collector = make_collector(LASTAISLE_CORS_ORIGINS=f"{PAGE}, https://m.shop.example:8443")
    for origin, allowed in (
        (PAGE, True),
        ("https://m.shop.example:8443", True),
        ("https://evil.example", False),
    ):
        asked = collector.send("OPTIONS", "/v1/t", key=None, Origin=origin, **ASKED)
        assert (asked.status == 200) is allowed
        sent = collector.post("/v1/t", TRACK, key=None, Origin=origin)
        for answer in (asked, sent):
            assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)


@pytest.mark.parametrize("path", ["/segment/webhook", "/metrics", "/healthz"])
def test_what_is_for_servers_is_not_for_pages(standing, path):
    asked = standing.send("OPTIONS", path, key=None, Origin=PAGE, **ASKED)
    assert asked.status == 405
    assert "access-control-allow-origin" not in asked.headers


@pytest.mark.parametrize("kind", ["text/plain", "text/plain;charset=UTF-8", "application/json", "", "x"])
@pytest.mark.parametrize("packed", [False, True])
def test_any_content_type_is_read_as_json(standing, kind, packed):
    body = json.dumps(TRACK).encode()
    headers = {"Content_Type": kind} | ({"Content_Encoding": "gzip"} if packed else {})
    answer = standing.post("/v1/t", gzip.compress(body) if packed else body, key=None, **headers)
    assert answer.status == 200, answer.text


def test_a_batch_of_analytics_js_is_stored(collector):
    call = {name: value for name, value in TRACK.items() if name != "writeKey"}
    batch = {
        "writeKey": "shop-web",
        "batch": [{**call, "messageId": f"m{number}"} for number in range(3)],
        "sentAt": "2025-10-09T12:00:00.000Z",
    }
    assert collector.post("/v1/b", batch, key=None, Content_Type="text/plain").status == 200
    collector.stop()
    assert [call["messageId"] for call in collector.landed()] == ["m0", "m1", "m2"]
    assert "writeKey" not in json.dumps(collector.landed())


def test_measurements_of_the_client_are_counted_and_not_kept(collector):
    before = collector.post("/v1/m", {"series": [{"type": "Counter", "metric": "x", "value": 1}]}, key=None)
    assert (before.status, json.loads(before.text)) == (200, {"success": True})
    assert collector.post("/v1/m/", b"no json", key=None).status == 200
    assert "lastaisle_collect_dropped_total 2.0" in collector.send("GET", "/metrics").text
    collector.stop()
    assert collector.landed() == []


def test_the_clients_settings_name_no_other_receiver(standing):
    answer = standing.send("GET", "/v1/projects/shop-web/settings", key=None)
    assert json.loads(answer.text)["integrations"] == {"Segment.io": {"apiKey": "shop-web"}}
    assert standing.send("GET", "/v1/projects/wrong/settings", key=None).status == 401
