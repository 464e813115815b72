"""A good record of each format of logs, and how a file of it is written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lastaisle.ingest.sources.snowplow_columns import COLUMNS

CANONICAL: dict[str, Any] = {
    "event_id": "e",
    "event_type": "order_completed",
    "occurred_at": "2025-10-08T12:00:00.120Z",
    "received_at": "2025-10-08T12:00:01.002Z",
    "user_id": "u",
    "session_id": "s",
    "item_id": "i1",
    "quantity": 1,
    "price": 9.9,
    "currency": "EUR",
    "category": "cups",
    "brand": "potter",
    "order_id": "o",
    "dwell_ms": 40,
    "device_type": "mobile",
    "country": "DE",
    "region": "DE-BE",
    "referrer": "https://search.example/?q=mug",
    "consent": {"analytics": True, "personalization": True},
    # Fields that no contract names.
    "customer": {"contact": {"mail": "x", "phones": ["x"]}, "address": "x"},
    "note": "x",
}
SEGMENT: dict[str, Any] = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "m",
    "userId": "u",
    "anonymousId": "a",
    "timestamp": "2025-10-08T12:00:00.000Z",
    "receivedAt": "2025-10-08T12:00:01.000Z",
    "properties": {
        "order_id": "o",
        "currency": "EUR",
        "products": [
            {"product_id": "i1", "price": 18, "quantity": 2, "brand": "b", "category": "c", "name": "x"}
        ],
        "email": "x",
    },
    "context": {
        "ip": "x",
        "locale": "de-AT",
        "os": {"name": "iOS"},
        "page": {"referrer": "https://search.example/?q=secret", "url": "x", "title": "x"},
        "traits": {"email": "x", "address": {"street": "x"}},
        "userAgent": "x",
    },
}
GA4: dict[str, Any] = {
    "event_date": "20251008",
    "event_timestamp": "1759924800123456",
    "event_name": "purchase",
    "event_params": [
        {"key": "ga_session_id", "value": {"int_value": "1759924000"}},
        {"key": "page_referrer", "value": {"string_value": "https://search.example/?q=mug"}},
        {"key": "currency", "value": {"string_value": "EUR"}},
        {"key": "page_title", "value": {"string_value": "x"}},
    ],
    "event_bundle_sequence_id": "77",
    "user_id": "u",
    "user_pseudo_id": "123.456",
    "user_properties": [{"key": "mail", "value": {"string_value": "x"}}],
    "device": {"category": "mobile", "web_info": {"hostname": "x"}},
    "geo": {"country": "Germany", "region": "Berlin", "city": "x"},
    "ecommerce": {"transaction_id": "T1"},
    "items": [
        {"item_id": "i1", "item_name": "Mug", "item_brand": "p", "item_category": "cups", "price": 9.5}
    ],
}
POSTHOG: dict[str, Any] = {
    "uuid": "id",
    "event": "Product Viewed",
    "distinct_id": "u",
    "timestamp": "2025-10-08T12:00:00.000Z",
    "created_at": "2025-10-08T12:00:01.000Z",
    "properties": {
        "$session_id": "s",
        "product_id": "i1",
        "price": 4.5,
        "currency": "EUR",
        "category": "c",
        "brand": "b",
        "$device_type": "Desktop",
        "$geoip_country_code": "DE",
        "$geoip_subdivision_1_code": "BE",
        "$referrer": "https://search.example/x",
        "$ip": "x",
        "$set": {"email": "x"},
    },
}
SNOWPLOW: dict[str, Any] = {
    "app_id": "shop",
    "platform": "web",
    "event": "page_view",
    "event_name": "page_view",
    "event_id": "e",
    "collector_tstamp": "2025-10-08 12:00:01.000",
    "derived_tstamp": "2025-10-08 12:00:00.120",
    "user_id": "u",
    "user_ipaddress": "x",
    "domain_userid": "d",
    "network_userid": "n",
    "domain_sessionid": "s",
    "geo_country": "DE",
    "geo_region": "BE",
    "geo_city": "x",
    "dvce_type": "Computer",
    "page_referrer": "https://search.example/?q=mug",
    "page_urlquery": "x",
    "useragent": "x",
}
REES46: dict[str, Any] = {
    "event_time": "2025-10-08 00:00:00 UTC",
    "event_type": "purchase",
    "product_id": "i1",
    "category_id": "2103",
    "category_code": "appliances.heater",
    "brand": "aqua",
    "price": "35.79",
    "user_id": "u",
    "user_session": "s",
}
RETAILROCKET: dict[str, Any] = {
    "timestamp": "1759924800117",
    "visitorid": "u",
    "event": "transaction",
    "itemid": "i1",
    "transactionid": "4000",
}
YOOCHOOSE: dict[str, Any] = {
    "session": "s",
    "time": "2025-10-08T10:51:09.277Z",
    "item": "i1",
    "category": "S",
}
TAOBAO: dict[str, Any] = {"user": "u", "item": "i1", "category": "7", "kind": "buy", "time": "1759924803"}
OTTO: dict[str, Any] = {"session": "s", "events": [{"aid": "i1", "ts": 1759924800025, "type": "orders"}]}
FEEDBACK: dict[str, Any] = {
    "exposure_id": "x",
    "kind": "shown",
    "recommendation_id": "list-1",
    "occurred_at": "2025-10-08T12:00:00.120Z",
    "received_at": "2025-10-08T12:00:01.002Z",
    "user_id": "anna",
    "session_id": "visit 1",
    "item_id": "i1",
    "position": 1,
    "placement": "checkout",
    "model_version": "3",
    "policy": "model",
    "experiment": "e",
    "arm": "a",
    "propensity": 1.0,
    "customer": {"mail": "x"},
}
SHOWN: dict[str, Any] = {
    "type": "track",
    "event": "Product List Viewed",
    "messageId": "m",
    "userId": "anna",
    "timestamp": "2025-10-08T12:00:00.120Z",
    "receivedAt": "2025-10-08T12:00:01.002Z",
    "properties": {
        "session_id": "visit 1",
        "list_id": "checkout",
        "recommendation_id": "list-2",
        "products": [{"product_id": "i1", "position": 1, "name": "x"}],
        "email": "x",
    },
    "context": {"ip": "x", "traits": {"email": "x"}},
}


def lines(records: Iterable[dict[str, Any]]) -> str:
    """Return records as JSON Lines."""
    return "".join(json.dumps(record) + "\n" for record in records)


def _columns(records: Iterable[dict[str, Any]], *, header: bool, delimiter: str = ",") -> str:
    listed, text = list(records), io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    if header:
        writer.writerow(listed[0])
    writer.writerows(record.values() for record in listed)
    return text.getvalue()


def _snowplow(records: Iterable[dict[str, Any]]) -> str:
    return "".join("\t".join(str(record.get(name, "")) for name in COLUMNS) + "\n" for record in records)


def _named(*steps: str) -> Callable[[Any, str], None]:
    """Return a function that gives a record an id of its own."""

    def name(record: Any, number: str) -> None:
        for step in steps[:-1]:
            record = record[step]
        record[steps[-1]] = f"{record[steps[-1]]}-{number}"

    return name


@dataclass(frozen=True)
class Form:
    """A format: a good record, the name of the file, and how the file is written."""

    record: dict[str, Any]
    file: str
    write: Callable[[Iterable[dict[str, Any]]], str]
    name: Callable[[Any, str], None]


FORMS: dict[str, Form] = {
    "canonical": Form(CANONICAL, "canonical.jsonl", lines, _named("event_id")),
    "segment": Form(SEGMENT, "segment.jsonl", lines, _named("messageId")),
    "ga4": Form(GA4, "ga4.jsonl", lines, _named("user_pseudo_id")),
    "posthog": Form(POSTHOG, "posthog.jsonl", lines, _named("uuid")),
    "snowplow": Form(SNOWPLOW, "snowplow.tsv", _snowplow, _named("event_id")),
    "rees46": Form(REES46, "rees46.csv", lambda all_: _columns(all_, header=True), _named("user_session")),
    "retailrocket": Form(
        RETAILROCKET, "retailrocket.csv", lambda all_: _columns(all_, header=True), _named("visitorid")
    ),
    "yoochoose": Form(
        YOOCHOOSE, "yoochoose.csv", lambda all_: _columns(all_, header=False), _named("session")
    ),
    "taobao": Form(TAOBAO, "taobao.csv", lambda all_: _columns(all_, header=False), _named("user")),
    "otto": Form(OTTO, "otto.jsonl", lines, _named("session")),
}
EXPOSURE_FORMS: dict[str, Form] = {
    "exposures": Form(FEEDBACK, "exposures.jsonl", lines, _named("exposure_id")),
    "feedback": Form(
        FEEDBACK | {"user_id": "a" * 32, "session_id": "5" * 32},
        "feedback.jsonl",
        lines,
        _named("exposure_id"),
    ),
    "segment": Form(SHOWN, "shown.jsonl", lines, _named("messageId")),
}
