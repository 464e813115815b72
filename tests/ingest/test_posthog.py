"""PostHog's events."""

from __future__ import annotations

import json
from typing import Any


def posthog(number: int, event: str | None, **properties: Any) -> dict[str, Any]:
    return {
        "uuid": f"id-{number}",
        "event": event,
        "distinct_id": "u1",
        "timestamp": "2025-01-01T00:00:00.000Z",
        "created_at": "2025-01-01T00:00:01.000Z",
        "properties": {"$session_id": "s1"} | properties,
    }


def test_events_by_segments_names_and_page_views(shop):
    place = {"$device_type": "Desktop", "$geoip_country_code": "DE", "$geoip_subdivision_1_code": "BE"}
    products = [{"product_id": "p1", "price": 5, "quantity": 2}, {"sku": "p2"}]
    lines: list[Any] = [
        posthog(1, "$pageview", **{"$referrer": "https://search.example/x"}, **place),
        posthog(2, "Product Viewed", product_id="p3", price=4.5, currency="EUR"),
        posthog(3, "Order Completed", order_id="o1", products=products),
        posthog(4, "product_added", product_id="p4", consent={"analytics": True, "personalization": False}),
    ]
    as_text = posthog(5, "$screen", **{"$referrer": "$direct"})
    lines.append(as_text | {"properties": json.dumps(as_text["properties"])})
    shop.ingest(shop.write(lines), "posthog")
    rows = {row["event_id"]: row for row in shop.rows("raw_events")}
    assert {name: (row["event_type"], row["item_id"], row["price"]) for name, row in rows.items()} == {
        "id-1": ("page_viewed", None, None),
        "id-2": ("item_viewed", "p3", 4.5),
        "id-3:0": ("order_completed", "p1", 5.0),
        "id-3:1": ("order_completed", "p2", None),
        "id-4": ("item_added", "p4", None),
        "id-5": ("page_viewed", None, None),
    }
    first = rows["id-1"]
    assert (first["device_type"], first["country"], first["region"]) == ("desktop", "DE", "DE-BE")
    assert (first["referrer"], rows["id-5"]["referrer"]) == ("https://search.example/x", None)
    assert {(row["user_id"], row["session_id"]) for row in rows.values()} == {("u1", "s1")}
    assert [row["consent_personalization"] for row in rows.values()].count(False) == 1
    assert rows["id-4"]["consent_personalization"] is False


def test_what_is_no_event_of_a_shop_is_ignored_and_what_cannot_be_read_is_named(shop):
    lines = [
        posthog(1, "$autocapture"),
        posthog(2, "$identify", consent={"C1": True}),
        posthog(3, "Product Viewed", product_id="p", consent={"C1": True}),
        posthog(4, "Product Viewed") | {"properties": "none"},
        posthog(5, None, product_id="p"),
        posthog(6, "Order Completed", order_id="o", products=7),
    ]
    report = shop.ingest(shop.write(lines), "posthog")
    assert report.ignored_by_reason == {"$autocapture": 1, "$identify": 1}
    assert [rules[0] for rules in shop.rules()] == [
        "consent_unreadable",
        "properties_unreadable",
        "event_type_is_required",
        "products_unreadable",
    ]
