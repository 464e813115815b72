"""Segment's e-commerce spec: track and page calls, one JSON object a line, as Segment stores them.

Product Viewed and Product Clicked are views; Product Added and Product Removed change the cart; Cart Viewed,
Product List Viewed, Products Searched and page or screen calls are page views; Checkout Started and Order
Completed give one row for each of their products, with the event id <messageId>:<position>. Other calls
(identify) and other events (Signed Up) are ignored and counted by name. A call without a type, or a track
call without an event, goes to quarantine. The user is userId, else anonymousId. Sessions are derived by a
gap, unless the call names a session. The country is the country of the locale, unless the call names a
country.
"""

from __future__ import annotations

import json

from lastaisle.ingest.sources.adapter import NOT_JSON, Adapter, json_object

_TEXT = "VARCHAR"
_PRODUCT = dict.fromkeys(("product_id", "sku", "price", "quantity", "category", "brand"), _TEXT)
_PREFERENCES = dict.fromkeys(("Analytics", "Personalization"), _TEXT)
_SPEC = json.dumps(
    {
        **dict.fromkeys(("type", "event", "messageId", "userId", "anonymousId"), _TEXT),
        **dict.fromkeys(("timestamp", "originalTimestamp", "receivedAt"), _TEXT),
        "properties": {
            **_PRODUCT,
            **dict.fromkeys(("currency", "order_id", "session_id", "dwell_ms"), _TEXT),
            "products": [_PRODUCT],
        },
        "context": {
            "locale": _TEXT,
            "userAgent": _TEXT,
            "sessionId": _TEXT,
            "device": {"type": _TEXT, "model": _TEXT},
            "os": {"name": _TEXT},
            "location": {"country": _TEXT, "region": _TEXT},
            "page": {"referrer": _TEXT},
            "consent": {"categoryPreferences": _PREFERENCES},
        },
    }
)

_PREPARE = f"""
SELECT * EXCLUDE (products), doc.properties AS p, doc.context AS c, len(products) > 1 OR products[1] IS NOT
NULL
    AS expanded, unnest(products) AS product, unnest(range(len(products))) AS _sub_row
FROM (SELECT * EXCLUDE (_sub_row),
        CASE WHEN doc.event IN ('Checkout Started', 'Order Completed') AND len(doc.properties.products) > 0
             THEN doc.properties.products ELSE [NULL] END AS products
      FROM ({json_object(_SPEC)}))"""

_EVENT_TYPES = {
    "Product Viewed": "item_viewed",
    "Product Clicked": "item_viewed",
    "Product Added": "item_added",
    "Product Removed": "item_removed",
    "Cart Viewed": "page_viewed",
    "Product List Viewed": "page_viewed",
    "Products Searched": "page_viewed",
    "Checkout Started": "checkout_started",
    "Order Completed": "order_completed",
}
_CASES = " ".join(f"WHEN '{name}' THEN '{event_type}'" for name, event_type in _EVENT_TYPES.items())
_EVENT_TYPE = f"""CASE WHEN doc.type IN ('page', 'screen') THEN 'page_viewed'
    WHEN doc.type IS DISTINCT FROM 'track' THEN coalesce(doc.type, 'call_without_type')
    ELSE CASE doc.event {_CASES} ELSE doc.event END END"""

_IGNORED = f"""CASE WHEN doc.type IN ('identify', 'group', 'alias') THEN doc.type
    WHEN doc.type = 'track' AND trim(doc.event) <> '' AND doc.event NOT IN {tuple(_EVENT_TYPES)}
    THEN 'track: ' || doc.event END"""

_DEVICE_TYPE = """CASE
    WHEN c.os.name ILIKE 'ipad%' OR c.device.model ILIKE '%ipad%' OR c.userAgent ILIKE '%ipad%'
      OR c.device.type ILIKE 'tablet' THEN 'tablet'
    WHEN c.os.name IN ('iOS', 'iPhone OS', 'Android') OR c.device.type IN ('ios', 'android', 'mobile')
      OR c.userAgent ILIKE '%mobi%' THEN 'mobile'
    WHEN c.os.name ILIKE 'windows%' OR c.os.name ILIKE 'mac%' OR c.os.name ILIKE 'linux%' OR c.os.name ILIKE
    'chrome%'
      OR c.device.type ILIKE 'desktop' OR c.userAgent IS NOT NULL THEN 'desktop' END"""


_LOCALE_COUNTRY = "regexp_extract(c.locale, '[-_]([A-Za-z]{2})$', 1)"

ADAPTER = Adapter(
    "segment",
    prepare=_PREPARE,
    malformed=NOT_JSON,
    ignored=_IGNORED,
    fields={
        "event_id": "CASE WHEN expanded THEN doc.messageId || ':' || _sub_row ELSE doc.messageId END",
        "event_type": _EVENT_TYPE,
        "occurred_at": "coalesce(doc.timestamp, doc.originalTimestamp)",
        "received_at": "doc.receivedAt",
        "user_id": "coalesce(nullif(doc.userId, ''), doc.anonymousId)",
        "session_id": "coalesce(p.session_id, c.sessionId)",
        "item_id": "coalesce(product.product_id, product.sku, p.product_id, p.sku)",
        "quantity": "coalesce(product.quantity, p.quantity)",
        "price": "coalesce(product.price, p.price)",
        "currency": "p.currency",
        "category": "coalesce(product.category, p.category)",
        "brand": "coalesce(product.brand, p.brand)",
        "order_id": "p.order_id",
        "dwell_ms": "p.dwell_ms",
        "device_type": _DEVICE_TYPE,
        "country": f"upper(coalesce(c.location.country, nullif({_LOCALE_COUNTRY}, '')))",
        "region": "c.location.region",
        "referrer": "c.page.referrer",
        "consent_analytics": "c.consent.categoryPreferences.Analytics",
        "consent_personalization": "c.consent.categoryPreferences.Personalization",
    },
)
