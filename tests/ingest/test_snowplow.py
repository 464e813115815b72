"""Snowplow's enriched events, as tab-separated text and as the JSON of the analytics SDKs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lastaisle.ingest.sources.snowplow_columns import COLUMNS

ACTION = {"event": "unstruct", "event_name": "snowplow_ecommerce_action"}
MUG = {
    "id": "mug",
    "name": "Mug",
    "category": "cups",
    "price": 9.5,
    "currency": "EUR",
    "quantity": 2,
    "brand": "P",
}
ORDER = {"transaction_id": "T1", "revenue": 19, "currency": "EUR"}
NAMES = ("event_id", "event_type", "item_id", "quantity", "price", "currency", "category", "order_id")
ZERO_ID = "00000000-0000-0000-0000-000000000000"


def values(**changes: Any) -> dict[str, Any]:
    """Return the columns of a page view that are not empty."""
    return {
        "app_id": "shop",
        "platform": "web",
        "event": "page_view",
        "event_name": "page_view",
        "event_id": "e1",
        "collector_tstamp": "2025-10-09 12:00:01.000",
        "derived_tstamp": "2025-10-09 12:00:00.120",
        "domain_userid": "d1",
        "network_userid": ZERO_ID,
        "domain_sessionid": "s1",
        "geo_country": "DE",
        "geo_region": "BE",
        "dvce_type": "Computer",
        "page_referrer": "https://search.example/?q=mug",
    } | changes


def line(**changes: Any) -> str:
    """Return a line of tab-separated text."""
    given = values(**changes)
    assert given.keys() <= set(COLUMNS)
    return "\t".join(str(given.get(name, "")) for name in COLUMNS)


def contexts(**entities: Any) -> str:
    """Return the column contexts with e-commerce entities by the names of their schemas."""
    vendor = "iglu:com.snowplowanalytics.snowplow"
    data = [
        {"schema": f"{vendor}.ecommerce/{name}/jsonschema/1-0-0", "data": entity}
        for name, given in entities.items()
        for entity in given
    ]
    return json.dumps({"schema": f"{vendor}/contexts/jsonschema/1-0-1", "data": data})


def action(kind: str) -> dict[str, str]:
    """Return the columns of an e-commerce action."""
    schema = "iglu:com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2"
    return ACTION | {
        "unstruct_event": json.dumps({"schema": "x", "data": {"schema": schema, "data": {"type": kind}}})
    }


def sdk(kind: str, **entities: Any) -> dict[str, Any]:
    """Return an e-commerce action as the JSON of an SDK."""
    prefix = "com_snowplowanalytics_snowplow_ecommerce"
    return (
        values(**ACTION)
        | {f"unstruct_event_{prefix}_snowplow_ecommerce_action_1": {"type": kind}}
        | {f"contexts_{prefix}_{name}_1": given for name, given in entities.items()}
    )


def found(shop, *names: str) -> list[tuple]:
    rows = sorted(shop.rows("raw_events"), key=lambda row: (row["source_row"], row["sub_row"]))
    return [tuple(row[name] for name in names) for row in rows]


def test_there_are_131_columns():
    assert len(set(COLUMNS)) == len(COLUMNS) == 131


def test_a_page_view(shop):
    shop.ingest(shop.write([line()]), "snowplow")
    (row,) = shop.rows("raw_events")
    assert (row["event_type"], row["user_id"], row["session_id"]) == ("page_viewed", "d1", "s1")
    assert row["occurred_at"].isoformat() == "2025-10-09T12:00:00.120000+00:00"
    assert row["received_at"].isoformat() == "2025-10-09T12:00:01+00:00"
    assert (row["device_type"], row["country"], row["region"]) == ("desktop", "DE", "DE-BE")


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_order_is_a_row_a_product(shop, form):
    products = [MUG, {"id": "cup", "price": 3}]
    text = line(**action("transaction"), contexts=contexts(product=products, transaction=[ORDER]))
    lines = {"text": text, "json": sdk("transaction", product=products, transaction=[ORDER])}
    shop.ingest(shop.write([lines[form]]), "snowplow")
    assert found(shop, *NAMES) == [
        ("e1:0", "order_completed", "mug", 2, 9.5, "EUR", "cups", "T1"),
        ("e1:1", "order_completed", "cup", None, 3.0, "EUR", None, "T1"),
    ]


@pytest.mark.parametrize(
    ("kind", "event_type", "item"),
    [
        ("product_view", "item_viewed", "mug"),
        ("list_click", "item_viewed", "mug"),
        ("add_to_cart", "item_added", "mug"),
        ("remove_from_cart", "item_removed", "mug"),
        ("list_view", "page_viewed", None),
        ("checkout_step", "checkout_started", "mug"),
    ],
)
def test_e_commerce_actions(shop, kind, event_type, item):
    shop.ingest(shop.write([line(**action(kind), contexts=contexts(product=[MUG]))]), "snowplow")
    assert found(shop, "event_type", "item_id") == [(event_type, item)]


def test_older_events(shop):
    bought = {
        "ti_orderid": "T2",
        "ti_sku": "mug",
        "ti_price": "9.5",
        "ti_quantity": "2",
        "ti_currency": "EUR",
    }
    schema = "iglu:com.snowplowanalytics.snowplow/add_to_cart/jsonschema/1-0-0"
    data = {
        "data": {"schema": schema, "data": {"sku": "mug", "unitPrice": 9.5, "quantity": 1, "currency": "GBP"}}
    }
    structured = {"se_action": "Add-to-Basket", "se_label": "mug", "se_property": "cups", "se_value": "9.5"}
    lines = [
        line(event_id="a", event="transaction_item", ti_category="cups", **bought),
        line(event_id="b", event="transaction", tr_orderid="T2", tr_total="19", tr_currency="EUR"),
        line(event_id="c", event="unstruct", event_name="add_to_cart", unstruct_event=json.dumps(data)),
        line(event_id="d", event="struct", event_name="event", **structured),
    ]
    shop.ingest(shop.write(lines), "snowplow")
    assert found(shop, *NAMES) == [
        ("a", "order_completed", "mug", 2, 9.5, "EUR", "cups", "T2"),
        ("b", "order_completed", None, None, None, "EUR", None, "T2"),
        ("c", "item_added", "mug", 1, 9.5, "GBP", None, None),
        ("d", "item_added", "mug", None, 9.5, None, "cups", None),
    ]


def test_other_events_are_ignored_by_name(shop):
    later_step = contexts(checkout_step=[{"step": 2}])
    lines = [
        line(event="page_ping", event_name="page_ping"),
        line(event="struct", se_action="play"),
        line(**action("promo_view")),
        line(**action("checkout_step"), contexts=later_step),
        line(event="unstruct", event_name="link_click", unstruct_event='{"data":{"data":{}}}'),
    ]
    report = shop.ingest(shop.write(lines), "snowplow")
    assert report.ignored_by_reason == dict.fromkeys(
        ("page_ping", "struct", "promo_view", "checkout_step", "link_click"), 1
    )


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ("a\tb", "wrong_number_of_columns"),
        (line() + "\t", "wrong_number_of_columns"),
        ("{bad", "not_json"),
        (line(contexts="x"), "contexts_unreadable"),
        (line(contexts='{"data": "x"}'), "contexts_unreadable"),
        (line(**ACTION, unstruct_event="{"), "unstruct_event_unreadable"),
        (line(**action("transaction"), contexts=contexts(product=[{"name": "Mug"}])), "product_without_id"),
        (json.dumps(sdk("transaction", product="mug", transaction=[ORDER])), "contexts_unreadable"),
        (json.dumps(sdk("transaction", product=[7], transaction=[ORDER])), "product_without_id"),
    ],
)
def test_a_part_that_cannot_be_read_does_not_count_as_absent(shop, given, rule):
    shop.ingest(shop.write([given]), "snowplow")
    assert shop.rules() == [[rule]]


def test_the_session_of_an_app_is_its_own_context(shop):
    key = "contexts_com_snowplowanalytics_snowplow_client_session_1"
    changes = {"domain_userid": None, "domain_sessionid": None, "dvce_type": None, "platform": "mob"}
    shop.ingest(shop.write([values(**changes) | {key: [{"userId": "u9", "sessionId": "s9"}]}]), "snowplow")
    assert found(shop, "user_id", "session_id", "device_type") == [("u9", "s9", "mobile")]
