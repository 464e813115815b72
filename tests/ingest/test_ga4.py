"""The BigQuery export of Google Analytics 4, on events written by hand."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ITEM = {"item_id": "a", "item_name": "Mug", "item_brand": "(not set)", "item_category": "cups", "price": 9.5}


def event(name: str | None, *items: Any, **changes: Any) -> dict[str, Any]:
    """Return an event as BigQuery exports it to JSON: numbers of 64 bits are texts."""
    return {
        "event_date": "20251009",
        "event_timestamp": "1760011200123456",
        "event_name": name,
        "event_params": [
            {"key": "ga_session_id", "value": {"string_value": None, "int_value": "1760011000"}},
            {"key": "page_referrer", "value": {"string_value": "https://search.example/?q=mug"}},
            {"key": "currency", "value": {"string_value": "EUR"}},
            {"key": "engagement_time_msec", "value": {"int_value": "1200"}},
        ],
        "event_bundle_sequence_id": "77",
        "user_id": None,
        "user_pseudo_id": "123.456",
        "privacy_info": {"analytics_storage": "Yes", "ads_storage": "No", "uses_transient_token": "No"},
        "device": {"category": "smart tv"},
        "geo": {"country": "(not set)", "region": ""},
        "ecommerce": {"transaction_id": "(not set)"},
        "items": list(items),
    } | changes


def found(shop, *names: str) -> list[tuple]:
    rows = sorted(shop.rows("raw_events"), key=lambda row: (row["source_row"], row["sub_row"]))
    return [tuple(row[name] for name in names) for row in rows]


def test_an_order_is_a_row_an_item(shop):
    items = [ITEM | {"quantity": "2"}, ITEM | {"item_id": "b", "item_brand": "Potter"}]
    order = event("purchase", *items, ecommerce={"transaction_id": "T1"})
    shop.ingest(shop.write([order]), "ga4")
    columns = ("event_type", "item_id", "quantity", "price", "currency", "brand", "category", "order_id")
    assert found(shop, *columns) == [
        ("order_completed", "a", 2, 9.5, "EUR", None, "cups", "T1"),
        ("order_completed", "b", None, 9.5, "EUR", "Potter", "cups", "T1"),
    ]
    row = shop.rows("raw_events")[0]
    assert row["occurred_at"].isoformat() == "2025-10-09T12:00:00.123456+00:00"
    assert (row["user_id"], row["session_id"], row["dwell_ms"]) == ("123.456", "123.456-1760011000", 1200)
    assert (row["device_type"], row["country"]) == ("tv", None)
    assert (row["consent_analytics"], row["consent_personalization"]) == (True, False)


@pytest.mark.parametrize(
    ("name", "event_type", "item"),
    [
        ("view_item", "item_viewed", "a"),
        ("select_item", "item_viewed", "a"),
        ("add_to_cart", "item_added", "a"),
        ("remove_from_cart", "item_removed", "a"),
        ("begin_checkout", "checkout_started", "a"),
        ("page_view", "page_viewed", None),
        ("view_item_list", "page_viewed", None),
        ("view_cart", "page_viewed", None),
    ],
)
def test_events(shop, name, event_type, item):
    shop.ingest(shop.write([event(name, ITEM)]), "ga4")
    assert found(shop, "event_type", "item_id", "order_id") == [(event_type, item, None)]


def test_other_events_are_ignored_by_name(shop):
    unidentified = event("page_view", user_pseudo_id=None, privacy_info={"analytics_storage": "No"})
    lines = [event("scroll"), event("scroll"), event("user_engagement"), unidentified]
    report = shop.ingest(shop.write(lines), "ga4")
    assert report.rows_ignored == 4
    assert report.ignored_by_reason == {"scroll": 2, "user_engagement": 1, "no_consent_and_no_id": 1}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"items": "[]"}, "items_is_no_array"),
        ({"items": {"item_id": "a"}}, "items_is_no_array"),
        ({"items": [5]}, "item_without_id"),
        ({"items": [ITEM | {"item_id": "(not set)"}]}, "item_without_id"),
        ({"event_params": {"ga_session_id": 5}}, "event_params_is_no_array"),
        ({"privacy_info": "Yes"}, "privacy_info_is_no_object"),
        ({"privacy_info": ["No"]}, "privacy_info_is_no_object"),
        ({"event_name": None}, "event_type_is_required"),
    ],
)
def test_a_part_that_cannot_be_read_does_not_count_as_absent(shop, changes, rule):
    shop.ingest(shop.write([event("view_item", ITEM, **changes)]), "ga4")
    assert shop.rules() == [[rule]]


@pytest.mark.parametrize(("word", "consent"), [("Yes", True), ("No", False), ("Unset", True), (None, True)])
def test_unset_consent_is_the_default_of_the_contract(shop, word, consent):
    shop.ingest(shop.write([event("page_view", privacy_info={"analytics_storage": word})]), "ga4")
    assert found(shop, "consent_analytics") == [(consent,)]


def test_an_event_that_is_exported_again_is_a_duplicate(shop):
    """The files of a day are exported anew as late events come; ids must not depend on the line."""
    first, second = event("view_item", ITEM), event("view_item", ITEM, batch_event_index="2")
    shop.ingest(shop.write([first], "intraday.json"), "ga4")
    report = shop.ingest(shop.write([second, first], "day.json"), "ga4")
    assert (report.rows_clean, report.rows_duplicate) == (1, 1)


def test_parquet_gives_the_same_rows(make_shop):
    lines = [
        event("purchase", ITEM | {"quantity": 2}, ecommerce={"transaction_id": "T1"}),
        event("page_view"),
    ]
    from_json, from_parquet = make_shop("json"), make_shop("parquet")
    from_json.ingest(from_json.write(lines), "ga4")
    rows = [
        json.loads(json.dumps(line)) | {"event_timestamp": int(line["event_timestamp"])} for line in lines
    ]
    pq.write_table(pa.Table.from_pylist(rows), from_parquet.folder / "events.parquet")
    from_parquet.ingest(str(from_parquet.folder / "events.parquet"), "ga4")
    names = (
        "event_id",
        "event_type",
        "occurred_at",
        "item_id",
        "quantity",
        "price",
        "session_id",
        "order_id",
    )
    assert found(from_parquet, *names) == found(from_json, *names)
