"""Calls of Segment's spec: products, names of events, and values of another type."""

from __future__ import annotations

import json
from typing import Any

import pytest

ONE = {"product_id": "p1", "price": 18, "quantity": 2}
TWO = {"sku": "p2", "price": "9.50", "quantity": "1"}
BROKEN = "quarantine"

#: The products of an order, and the items of its rows; or the rule that the order broke.
PRODUCTS: dict[str, tuple[Any, Any]] = {
    "list": ([ONE, TWO], ["p1", "p2"]),
    "text of a list": (json.dumps([ONE, TWO]), ["p1", "p2"]),
    "list of texts": ([json.dumps(ONE), json.dumps(TWO)], ["p1", "p2"]),
    "map of positions": ({"0": ONE, "1": TWO}, ["p1", "p2"]),
    "text of a map": (json.dumps({"0": ONE}), ["p1"]),
    "one product": (ONE, ["p1"]),
    "text of one product": (json.dumps(TWO), ["p2"]),
    "other names of the id": ([{"id": "p1"}, {"productId": 7}, {"item_id": 7.0}], ["p1", "7", "7"]),
    "empty ids": ([{"product_id": "", "sku": "s7"}, {"product_id": None, "sku": "s8"}], ["s7", "s8"]),
    "spellings of nothing": ([{"product_id": "undefined", "sku": "null", "id": "p1"}], ["p1"]),
    "no products": ([], [None]),
    "null": (None, [None]),
    "empty text": ("", [None]),
    "empty object": ({}, [None]),
    "a product without an id": ([ONE, {"price": 3}], ["p1", "product_without_id"]),
    "a product that is null": ([ONE, None], ["p1", "products_unreadable"]),
    "a product that is a number": ([ONE, 5], ["p1", "products_unreadable"]),
    "a product that is a list": ([[ONE]], ["products_unreadable"]),
    "a nested id": ([{"product_id": {"id": 5}}], ["item_id_is_string"]),
    "a number": (5, ["products_unreadable"]),
    "a word": ("undefined", ["products_unreadable"]),
    "text that is cut off": ('[{"product_id": "p1"', ["products_unreadable"]),
}


def call(message: str, event: str | None, properties: Any, **changes: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": event,
        "messageId": message,
        "userId": "u1",
        "anonymousId": "a1",
        "timestamp": "2025-01-01T00:00:00.000Z",
        "properties": properties,
    } | changes


def by_message(shop) -> dict[str, list[Any]]:
    """Return the items of each message, in the order of its rows; the first rule of a broken row instead."""
    found: dict[str, list[Any]] = {}
    rows = [(row["source_row"], row["sub_row"], row["item_id"]) for row in shop.rows("raw_events")]
    rows += [(row["source_row"], row["sub_row"], row["rules"][0]) for row in shop.rows("quarantine")]
    for source_row, _, item in sorted(rows, key=lambda row: row[:2]):
        found.setdefault(source_row, []).append(item)
    return found


def test_every_product_is_a_row_or_in_quarantine(shop):
    lines = [
        call(f"m{number}", "Order Completed", {"order_id": f"o{number}", "products": products})
        for number, (products, _) in enumerate(PRODUCTS.values())
    ]
    shop.ingest(shop.write(lines), "segment")
    found = by_message(shop)
    assert dict(zip(PRODUCTS, (found[row + 1] for row in range(len(PRODUCTS))), strict=True)) == {
        name: items for name, (_, items) in PRODUCTS.items()
    }


def test_values_of_a_product_are_its_own(shop):
    properties = {"order_id": "o", "currency": "USD", "price": 99, "total": 99, "value": 99, "quantity": 3}
    products = [{"product_id": "p1", "price": 5}, {"product_id": "p2", "quantity": 2, "currency": "EUR"}]
    lines = [
        call("m1", "Order Completed", properties | {"products": products}),
        call("m2", "Product Added", {"product_id": "p3", "price": 4, "value": 99, "currency": "usd"}),
    ]
    shop.ingest(shop.write(lines), "segment")
    rows = {
        row["item_id"]: (row["event_id"], row["price"], row["quantity"], row["currency"])
        for row in shop.rows("raw_events")
    }
    assert rows == {
        "p1": ("m1:0", 5.0, None, "USD"),
        "p2": ("m1:1", None, 2, "EUR"),
        "p3": ("m2", 4.0, None, "USD"),
    }


@pytest.mark.parametrize(
    ("names", "event_type"),
    [
        (("Viewed Product", "product_viewed", "PRODUCT VIEWED", "Product-Clicked"), "item_viewed"),
        (("Added Product", "Wishlist Product Added to Cart"), "item_added"),
        (("Removed Product",), "item_removed"),
        (("Viewed Product Category", "Viewed Cart", "Searched Products"), "page_viewed"),
        (("Started Checkout",), "checkout_started"),
        (("Completed Order", " Order  Completed "), "order_completed"),
    ],
)
def test_older_names_and_other_spellings_of_events(shop, names, event_type):
    lines = [call(name, name, {"product_id": "p", "order_id": "o"}) for name in names]
    shop.ingest(shop.write(lines), "segment")
    assert [row["event_type"] for row in shop.rows("raw_events")] == [event_type] * len(names)


def test_events_that_the_tables_have_no_type_for_are_ignored_by_name(shop):
    names = ["Order Refunded", "Order Updated", "Order Cancelled", "Checkout Step Viewed", "Coupon Applied"]
    names += ["Product Added to Wishlist", "Product Shared", "Promotion Clicked", "Payment Info Entered"]
    report = shop.ingest(shop.write(call(name, name, {"product_id": "p"}) for name in names), "segment")
    assert report.ignored_by_reason == {f"track: {name}": 1 for name in names}


def test_properties_of_another_type_are_read_or_named(shop):
    given = ['{"product_id":"p1"}', "p1", 5, ["p1"], [], None, '{"product_id":"p1","product_id":"p2"}']
    lines = [call(f"m{i}", "Product Viewed", properties) for i, properties in enumerate(given)]
    lines.append(
        {"batch": [call("m9", "Product Viewed", {"product_id": "p1"})], "sentAt": "2025-01-01T00:00:00Z"}
    )
    shop.ingest(shop.write(lines), "segment")
    assert [row["item_id"] for row in shop.rows("raw_events")] == ["p1"]
    assert shop.rules() == [
        *[["properties_unreadable"]] * 3,
        *[["item_event_needs_item_id"]] * 2,
        ["duplicate_key"],
        ["batch_of_calls"],
    ]


def test_ids_that_are_none_give_way_to_the_next(shop):
    users = ["undefined", "null", "NaN", " ", "", None, "(null)", "\\N"]
    lines = [
        call(f"m{i}", "Product Viewed", {"product_id": "p"}, userId=user) for i, user in enumerate(users)
    ]
    lines.append(
        call("m9", "Product Viewed", {"product_id": "p"}, userId=7, context={"sessionId": 1700000000000})
    )
    shop.ingest(shop.write(lines), "segment")
    assert {row["user_id"] for row in shop.rows("raw_events")} == {"a1", "7"}
    assert {row["session_id"] for row in shop.rows("raw_events") if row["user_id"] == "7"} == {
        "1700000000000"
    }
