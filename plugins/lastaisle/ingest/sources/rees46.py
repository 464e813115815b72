"""REES46 multi-category shop: one event a row, usually with a header.

A purchase is one row an item without an order id: those of a session at the same second are one order.
"""

from __future__ import annotations

from lastaisle.ingest.sources.adapter import Adapter, content_id
from lastaisle.ingest.sources.columns import Columns

_ORDER = (
    *("event_time", "event_type", "product_id", "category_id", "category_code", "brand", "price"),
    *("user_id", "user_session"),
)

ADAPTER = Adapter(
    "rees46",
    columns=Columns(
        names={name: [name] for name in _ORDER},
        orders=[_ORDER],
        needed=("event_time", "event_type", "product_id", "user_id", "user_session"),
        time="event_time",
        texts=frozenset({"category_code", "brand"}),
    ),
    fields={
        "event_id": content_id("'rees46'", "record"),
        "event_type": """CASE c.event_type
            WHEN 'view' THEN 'item_viewed' WHEN 'cart' THEN 'item_added'
            WHEN 'remove_from_cart' THEN 'item_removed' WHEN 'purchase' THEN 'order_completed'
            ELSE c.event_type END""",
        "occurred_at": "c.event_time",
        "user_id": "c.user_id",
        "session_id": "c.user_session",
        "item_id": "c.product_id",
        "price": "c.price",
        "category": "coalesce(c.category_code, c.category_id)",
        "brand": "c.brand",
        "order_id": """CASE WHEN c.event_type = 'purchase'
            THEN concat_ws('-', c.user_session, c.user_id, c.event_time) END""",
    },
)
