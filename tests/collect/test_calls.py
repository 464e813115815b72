"""A request's calls become what Segment itself would have stored."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orjson import Fragment

from lastaisle.collect.calls import LINE_BYTES, calls_of_request, calls_of_webhook
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.reading.lines import MAX_LINE_BYTES
from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.web.json_text import parse
from lastaisle.web.refusal import RefusedError

RECEIVED = datetime(2025, 10, 9, 12, 0, 10, tzinfo=UTC)
LIMIT = 512 << 10
TRACK = {"type": "track", "event": "Product Viewed", "userId": "u1", "messageId": "m1"}


def lines(body, endpoint="batch"):
    return [call.line for call in calls_of_request(endpoint, body, RECEIVED, LIMIT)]


def read(body, endpoint="batch", limit=LIMIT):
    return [json.loads(call.line) for call in calls_of_request(endpoint, body, RECEIVED, limit)]


def test_a_batch_says_for_each_call_what_the_call_does_not_say_itself():
    own = {**TRACK, "context": {"locale": "de-DE"}, "integrations": {"All": False}}
    body = {
        "batch": [TRACK, own],
        "context": {"locale": "en-GB", "os": {"name": "iOS"}},
        "integrations": {"All": True, "Mixpanel": True},
        "writeKey": "k",
    }
    first, second = read(body)
    assert first["context"] == {"locale": "en-GB", "os": {"name": "iOS"}}
    assert second["context"] == {"locale": "de-DE", "os": {"name": "iOS"}}
    assert second["integrations"] == {"All": False, "Mixpanel": True}
    assert "writeKey" not in first
    assert first["receivedAt"] == "2025-10-09T12:00:10.000Z"


def test_a_wrong_clock_is_corrected_by_when_the_request_was_sent():
    told = {**TRACK, "timestamp": "2025-10-09T14:00:03.250+02:00"}
    (call,) = read({"batch": [told], "sentAt": "2025-10-09T11:00:10Z"})
    assert call["timestamp"] == "2025-10-09T13:00:03.250Z"
    assert call["originalTimestamp"] == "2025-10-09T14:00:03.250+02:00"


@pytest.mark.parametrize("sent", [None, "yesterday", 7, {}, "2025-10-09T11:00:10"])
def test_without_a_usable_sent_at_the_time_stands(sent):
    (call,) = read({"batch": [{**TRACK, "timestamp": "2025-10-09T12:00:00Z"}], "sentAt": sent})
    assert call["timestamp"] == "2025-10-09T12:00:00.000Z"


@pytest.mark.parametrize("told", ["soon", 12, "9999-12-31T23:59:59Z"])
def test_a_time_that_cannot_be_corrected_is_left_to_the_contract(told):
    (call,) = read({"batch": [{**TRACK, "timestamp": told}], "sentAt": "2025-10-09T11:00:10Z"})
    assert call["timestamp"] == call["originalTimestamp"] == told


def test_a_call_without_a_time_happened_when_it_came():
    (call,) = read({"event": "Cart Viewed"}, "track")
    assert call["timestamp"] == call["receivedAt"] == "2025-10-09T12:00:10.000Z"


def test_an_address_is_not_kept():
    body = {
        "batch": [{**TRACK, "context": {"ip": "203.0.113.7", "locale": "de"}}, TRACK],
        "context": {"ip": "203.0.113.8"},
    }
    (forwarded,) = calls_of_webhook({**TRACK, "context": {"ip": "203.0.113.7"}}, RECEIVED, LIMIT)
    assert "203.0" not in json.dumps([call.get("context") for call in read(body)]) + forwarded.line.decode()


@pytest.mark.parametrize("endpoint", ["track", "page", "identify", "screen", "group", "alias"])
def test_the_endpoint_says_the_type(endpoint):
    (call,) = read({"userId": "u", "type": "other"}, endpoint)
    assert call["type"] == endpoint


def test_the_same_call_again_gets_the_same_made_id():
    call = {"type": "track", "event": "Cart Viewed", "timestamp": "2025-10-09T12:00:00Z"}
    first = read({"batch": [call], "sentAt": "2025-10-09T12:00:01Z"})[0]["messageId"]
    again = read({"batch": [dict(call)], "sentAt": "2025-10-09T12:00:07Z"})[0]["messageId"]
    other = read({"batch": [{**call, "event": "Cart Seen"}]})[0]["messageId"]
    undated = [read({"event": "Cart Viewed"}, "track")[0]["messageId"] for _ in range(2)]
    assert first == again
    assert len({first, other, *undated}) == 4


def test_calls_of_one_user_have_one_key():
    body = {
        "batch": [TRACK, {**TRACK, "messageId": "m2"}, {"anonymousId": "a", "messageId": "m3"}, {"userId": 7}]
    }
    assert [call.user for call in calls_of_request("batch", body, RECEIVED, LIMIT)] == [
        b"u1",
        b"u1",
        b"a",
        b"7",
    ]


def test_what_segment_forwards_stays_as_it_is():
    call = {**TRACK, "receivedAt": "2025-10-09T11:59:00.000Z", "timestamp": "2025-10-09T11:58:00.000Z"}
    (line,) = calls_of_webhook(call, RECEIVED, LIMIT)
    assert json.loads(line.line) == call


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "not_an_object"),
        ({}, "no_calls"),
        ({"batch": {}}, "no_calls"),
        ({"batch": [TRACK, "text"]}, "no_calls"),
    ],
)
def test_what_holds_no_calls_is_refused(body, code):
    with pytest.raises(RefusedError) as refused:
        read(body)
    assert (refused.value.status, refused.value.code) == (400, code)


def test_a_shared_context_cannot_swell_a_small_batch():
    body = {"batch": [{} for _ in range(1000)], "context": {"text": "x" * 1000}}
    with pytest.raises(RefusedError) as refused:
        read(body, limit=20_000)
    assert refused.value.status == 413


def test_half_an_emoji_does_not_cost_the_batch_and_stays_for_ingestion_to_judge():
    body = parse(
        b'{"batch": [{"event": "Good \\ud83d", "n": 1e15, "\\ud83d": "\xc3\xa9"}, '
        b'{"event": "Fine \\ud83d\\ude00"}]}'
    )
    first, second = lines(body)
    assert first.startswith(b'{"event":"Good \\ud83d","n":1e15,"\\ud83d":"\xc3\xa9",')
    assert json.loads(second)["event"] == "Fine 😀"


NUMBERS = [
    *("0", "-0", "1", "1e15", "1E+2", "1.50", "0.1", "12345678901234567890123", "-18446744073709551617"),
    *("1e400", "1.7976931348623157e309", "0.1000000000000000055511151231257827", "9007199254740993", "1e-7"),
]


def test_numbers_keep_the_digits_that_were_sent():
    told = (
        f'{{"userId": {NUMBERS[7]}, "context": {{"n": {NUMBERS[3]}}}, "properties": [{",".join(NUMBERS)}]}}'
    )
    (line,) = lines({"batch": [parse(told.encode())], "context": {"os": {"name": "iOS"}}})
    assert f'"properties":[{",".join(NUMBERS)}]'.encode() in line
    assert b'"userId":12345678901234567890123,' in line
    assert b'"n":1e15' in line
    (call,) = calls_of_request("track", parse(told.encode()), RECEIVED, LIMIT)
    assert call.user == b"12345678901234567890123"


def test_the_digits_of_ids_reach_the_tables(tmp_path):
    calls = [
        {**TRACK, "messageId": f"m{position}", "timestamp": "2025-10-09T12:00:00Z", **ids}
        for position, ids in enumerate(
            [
                {"userId": Fragment(NUMBERS[7])},
                {"properties": {"product_id": Fragment("18446744073709551617")}},
            ]
        )
    ]
    calls[0]["properties"] = {"product_id": "p", "price": Fragment("1.50")}
    (tmp_path / "calls.jsonl").write_bytes(b"".join(lines({"batch": calls})))
    lake = Lake(tmp_path / "lake")
    keys = PseudonymKeys.load_or_create(tmp_path / "keys.json", lake_url=lake.url)
    ingest(str(tmp_path / "calls.jsonl"), "segment", lake, keys, options=IngestOptions(gx_sample_rows=0))
    rows = {row["event_id"]: row for row in lake.scan("raw_events").to_pylist()}
    assert (rows["m0"]["user_id"], rows["m0"]["price"]) == ("12345678901234567890123", 1.5)
    assert rows["m1"]["item_id"] == "18446744073709551617"


def test_a_body_of_numbers_does_not_grow_past_what_ingestion_reads():
    body = b'{"properties":[%s]}' % b",".join([b"1e15"] * 100_000)
    (line,) = lines(parse(body), "track")
    assert len(line) < len(body) + 500


def test_a_call_that_ingestion_could_not_read_is_refused():
    assert LINE_BYTES <= MAX_LINE_BYTES
    with pytest.raises(RefusedError) as refused:
        read({"batch": [TRACK], "context": {"text": "x" * LINE_BYTES}}, limit=LINE_BYTES)
    assert (refused.value.status, refused.value.code) == (413, "too_large")


def test_a_key_that_stands_twice_is_passed_on_with_both_values():
    text = (
        b'{"event":"A","event":"B","properties":{"product_id":"x","product_id":"y"},"context":{"a":1,"a":2}}'
    )
    (line,) = lines({"batch": [parse(text)], "context": {"locale": "de-DE"}})
    assert line.startswith(
        b'{"event":"A","event":"B","properties":{"product_id":"x","product_id":"y"},'
        b'"context":{"a":1,"a":2,"locale":"de-DE"}'
    )


def test_a_secret_that_stands_twice_is_not_kept():
    text = (
        b'{"writeKey":"k1","context":{"ip":"203.0.113.1","ip":"203.0.113.2"},'
        b'"context":{"ip":"203.0.113.3"},"event":"A","writeKey":"k2"}'
    )
    (line,) = lines(parse(text), "track")
    assert b"203.0" not in line
    assert b"writeKey" not in line


@pytest.mark.parametrize("inner", [b'"a"', b'"\\ud83d"', b'{"a":1,"a":2}'])
def test_a_body_nested_too_deep_is_refused(inner):
    for levels, fits in ((200, True), (300, False), (900, False), (100_000, False)):
        text = b'{"properties":%s%s%s}' % (b"[" * levels, inner, b"]" * levels)
        if fits:
            assert len(lines(parse(text), "track")) == 1
            continue
        with pytest.raises(RefusedError) as refused:
            lines(parse(text), "track")
        assert (refused.value.status, refused.value.code) == (400, "not_json")


@pytest.mark.parametrize(
    "body", [b"NaN", b"[Infinity]", b"-Infinity", b'"\n"', b"\xef\xbb\xbf{}", b"1 2", b"01"]
)
def test_what_is_no_json_is_refused(body):
    with pytest.raises(RefusedError, match="not JSON"):
        parse(body)


TEXT = st.text('aZ9é😀\n\u2028\0"\\', max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
NAMES = ("type", "userId", "timestamp", "sentAt", "context", "integrations", "messageId", "originalTimestamp")


@given(
    st.lists(st.dictionaries(st.sampled_from(NAMES), JSON), max_size=4),
    st.fixed_dictionaries({}, optional={"context": JSON, "sentAt": JSON, "integrations": JSON}),
)
def test_any_object_is_a_call_on_one_line(calls, shared):
    count = len(calls)
    done = calls_of_request("batch", {"batch": calls, **shared}, RECEIVED, LIMIT)
    assert len(done) == count
    assert all(call.line.count(b"\n") == 1 and json.loads(call.line)["messageId"] for call in done)


def test_global_privacy_control_stands_in_each_call_beside_a_context_of_any_type():
    body = {"batch": [TRACK, {**TRACK, "messageId": "m2", "context": '{"locale": "de-DE"}'}]}
    calls = calls_of_request("batch", body, RECEIVED, LIMIT, opts_out=True)
    assert [json.loads(call.line)["globalPrivacyControl"] for call in calls] == [True, True]
    assert all("globalPrivacyControl" not in line for line in read(body))
