"""A running collector: who may send what, and what an answer promises."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import http.client
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.services.waiting import wait_until

SECRET = "only segment knows"
TRACK = {"type": "track", "event": "Cart Viewed", "userId": "u1", "messageId": "m1"}
KINDS = ["track", "page", "identify", "screen", "group", "alias"]
SHORT = {"t": "track", "p": "page", "i": "identify", "s": "screen", "g": "group", "a": "alias"}
PATHS = [f"/v1/{path}{slash}" for path in (*KINDS, *SHORT, "batch", "import", "b") for slash in ("", "/")]
ENDPOINTS = [*PATHS, "/segment/webhook"]


def signed(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()


def counted(collector, name):
    text = collector.send("GET", "/metrics").text
    return {
        line.rpartition(" ")[0].removeprefix(f"{name}_total"): float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith(f"{name}_total")
    }


def test_the_header_of_global_privacy_control_is_kept_with_the_calls_and_counted(collector):
    for number, header in enumerate(("1", "0", "true", "")):
        collector.post("/v1/track", {**TRACK, "messageId": f"m{number}"}, Sec_GPC=header)
    collector.stop()
    assert {line["messageId"]: line.get("globalPrivacyControl") for line in collector.landed()} == {
        "m0": True,
        "m1": None,
        "m2": None,
        "m3": None,
    }


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_endpoint_asks_who_is_calling(standing, endpoint):
    body = {"batch": [TRACK], **TRACK}
    for key in (None, "", "wrong", "shop-we", SECRET, "another, shop-web"):
        answer = standing.post(endpoint, body, key=key)
        assert (answer.status, answer.code) == (401, "unauthorized")
    for authorization in ("Bearer shop-web", "Basic ???", "Basic", "Basic \xe9\xff", "Basic w6k6", "\xff"):
        assert standing.post(endpoint, body, key=None, Authorization=authorization).status == 401
    assert standing.post(endpoint, body, key=None, X_Signature="\xe9" * 40).status == 401
    for key in ("wrong", "\ud83d", 7, None, {}):
        assert standing.post(endpoint, {**body, "writeKey": key}, key=None).status == 401
    assert "Traceback" not in standing.log.read_text()
    assert counted(standing, "lastaisle_collect_accepted") == {}


def test_every_endpoint_takes_what_it_is_for(collector):
    for kind in KINDS:
        assert collector.post(f"/v1/{kind}", {"userId": "u", "messageId": kind}).status == 200
    for path in SHORT:
        assert collector.post(f"/v1/{path}/", {"userId": "u", "messageId": path}).status == 200
    for batch in ("batch", "import", "b"):
        body = {"batch": [{**TRACK, "messageId": f"{batch}-{number}"} for number in range(2)]}
        assert json.loads(collector.post(f"/v1/{batch}", body).text) == {"success": True}
    body = json.dumps({**TRACK, "messageId": "forwarded"}).encode()
    assert collector.post("/segment/webhook", body, key=None, X_Signature=signed(body)).status == 200
    collector.stop()
    calls = {call["messageId"]: call["type"] for call in collector.landed()}
    batched = {f"{batch}-{number}": "track" for batch in ("batch", "import", "b") for number in range(2)}
    assert calls == {kind: kind for kind in KINDS} | SHORT | batched | {"forwarded": "track"}


def test_the_key_may_stand_in_the_body_and_is_not_kept(collector):
    assert collector.post("/v1/track", {**TRACK, "writeKey": "shop-web"}, key=None).status == 200
    assert collector.post("/v1/track", {**TRACK, "writeKey": "wrong"}, key=None).status == 401
    assert collector.post("/v1/track", {**TRACK, "writeKey": ["shop-web"]}, key=None).status == 401
    assert collector.post("/v1/track", {**TRACK, "writeKey": "shop-web"}, key="wrong").status == 401
    collector.stop()
    (kept,) = collector.landed()
    assert "writeKey" not in kept


def test_metrics_are_for_those_who_may_send(standing):
    assert standing.send("GET", "/metrics", key=None).status == 401
    assert standing.send("GET", "/metrics", key=SECRET).status == 200
    assert standing.send("GET", "/healthz", key=None).text == "ok"
    for path in ("/docs", "/openapi.json", "/v1/other", "/"):
        assert standing.send("GET", path).status == 404


def test_metrics_count_what_happened(collector):
    collector.post("/v1/batch", {"batch": [TRACK] * 3})
    collector.post("/v1/track", b"{")
    collector.post("/v1/track", TRACK, key="wrong")
    assert counted(collector, "lastaisle_collect_accepted") == {'{endpoint="batch"}': 3}
    refused = counted(collector, "lastaisle_collect_refused")
    assert refused == {'{reason="not_json"}': 1, '{reason="unauthorized"}': 1}
    size = counted(collector, "lastaisle_collect_bytes")[""]
    collector.stop()
    assert size == sum(path.stat().st_size for path in (collector.folder / "landing").rglob("*.jsonl"))


@pytest.mark.parametrize("changed", ["body", "secret", "none", "half"])
def test_a_webhook_without_a_good_signature_is_refused(standing, changed):
    body = json.dumps(TRACK).encode()
    signature = {
        "body": signed(body.replace(b"u1", b"u2")),
        "secret": signed(body, "guessed"),
        "none": "",
        "half": signed(body)[:20],
    }[changed]
    assert standing.post("/segment/webhook", body, key="shop-web", X_Signature=signature).status == 401


def test_a_webhook_batch_of_which_only_the_first_call_is_signed_is_refused(standing):
    batch = json.dumps([TRACK, {**TRACK, "messageId": "forged"}]).encode()
    answer = standing.post("/segment/webhook", batch, X_Signature=signed(json.dumps(TRACK).encode()))
    assert answer.status == 401
    assert "turn batching off" in answer.text
    assert standing.post("/segment/webhook", batch, X_Signature=signed(batch)).status == 200


@pytest.mark.parametrize(
    ("environ", "open_path", "closed_path"),
    [
        ({"LASTAISLE_SEGMENT_WRITE_KEYS": ""}, "/segment/webhook", "/v1/track"),
        ({"LASTAISLE_SEGMENT_SECRET": ""}, "/v1/track", "/segment/webhook"),
    ],
)
def test_what_has_no_credentials_is_closed(make_collector, environ, open_path, closed_path):
    collector = make_collector(**environ)
    body = json.dumps(TRACK).encode()
    assert collector.post("/segment/webhook", body, key=None, X_Signature=signed(body, "")).status == 401
    assert collector.post(closed_path, body, key="", X_Signature=signed(body, "")).status == 401
    assert collector.post(open_path, body, X_Signature=signed(body)).status == 200


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"x" * (513 << 10), {}, 413, "too_large"),
        (gzip.compress(b" " * (100 << 20), mtime=0), {"Content_Encoding": "gzip"}, 413, "too_large"),
        (gzip.compress(b"{}", mtime=0)[:-3], {"Content_Encoding": "gzip"}, 400, "not_gzip"),
        (gzip.compress(b"{}", mtime=0) + b"more", {"Content_Encoding": "gzip"}, 400, "not_gzip"),
        (b"plain", {"Content_Encoding": "gzip"}, 400, "not_gzip"),
        (b"{}", {"Content_Encoding": "br"}, 415, "encoding"),
        (b"{", {}, 400, "not_json"),
        (b"", {}, 400, "not_json"),
        (b"\xff\xfe", {}, 400, "not_json"),
        (b'{"a": NaN}', {}, 400, "not_json"),
        (b"[" * 200_000, {}, 400, "not_json"),
        (b"\\u" + b"[" * 200_000, {}, 400, "not_json"),
        (b"[]", {}, 400, "not_an_object"),
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", {}, 400, "not_json"),
    ],
)
def test_what_cannot_be_taken_is_refused_and_the_next_request_is_not(standing, body, headers, status, code):
    answer = standing.post("/v1/track", body, **headers)
    assert (answer.status, answer.code) == (status, code)
    assert standing.post("/v1/track", TRACK).status == 200
    assert "Traceback" not in standing.log.read_text()


def test_a_body_of_unknown_length_is_bounded_too(standing):
    connection = http.client.HTTPConnection("127.0.0.1", standing.port, timeout=30)
    connection.putrequest("POST", "/v1/track")
    connection.putheader("Authorization", "Basic c2hvcC13ZWI6")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(9):
        connection.send(chunk)
    assert connection.getresponse().status == 413
    connection.close()


def test_a_full_disk_is_said_with_a_time_to_come_again(make_collector):
    collector = make_collector()
    landing = collector.folder / "landing"
    assert collector.post("/v1/track", TRACK).status == 200
    # A file where a day's folder should be: no permission can be taken from root, this can.
    collector.stop()
    for path in sorted(landing.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    today = time.strftime("%Y-%m-%d", time.gmtime())
    collector.start()
    (landing / today).write_text("in the way")
    answer = collector.post("/v1/track", TRACK)
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "storage", "2")
    assert str(landing) not in answer.text
    (landing / today).unlink()
    assert collector.post("/v1/track", TRACK).status == 200


def test_sigterm_answers_who_is_waiting_and_publishes_the_file(collector):
    with ThreadPoolExecutor(8) as pool:

        def send(number):
            try:
                return collector.post("/v1/track", {**TRACK, "messageId": str(number)}).status
            except OSError:
                return None

        answers = pool.map(send, range(400))
        wait_until("the first event is written", collector.unfinished)
        collector.stop(signal.SIGTERM)
        statuses = list(answers)
    accepted = {str(number) for number, status in enumerate(statuses) if status == 200}
    assert accepted
    assert accepted <= {call["messageId"] for call in collector.landed()}
    assert collector.unfinished() == []


def test_nothing_of_the_caller_is_logged(collector):
    collector.post("/v1/track", {**TRACK, "context": {"ip": "203.0.113.7"}})
    collector.post("/v1/track", TRACK, key="a-secret-key", X_Forwarded_For="203.0.113.7")
    collector.stop()
    said = collector.log.read_text() + json.dumps(collector.landed())
    for private in ("203.0.113.7", "127.0.0.1:", "shop-web", "a-secret-key", SECRET):
        assert private not in said.replace(f"127.0.0.1:{collector.port}", "")


def test_it_does_not_start_where_it_cannot_write(make_collector, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AssertionError, match="cannot write to the landing folder"):
        make_collector(to=f"{os.fspath(tmp_path)}/file/{{day}}")
