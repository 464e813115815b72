"""REES46 multi-category shop, comma-separated, with a header.

Columns: event_time, event_type, product_id, category_id, category_code, brand, price, user_id, user_session.
A purchase is one row an item without an order id: those of a session at the same second are one order.
"""

from __future__ import annotations

from lastaisle.ingest.sources.adapter import Adapter, columns_expected, content_id, separated

ADAPTER = Adapter(
    "rees46",
    prepare=separated(","),
    malformed=columns_expected(9),
    fields={
        "event_id": content_id("'rees46'", "_line"),
        "event_type": """CASE f[2]
            WHEN 'view' THEN 'item_viewed' WHEN 'cart' THEN 'item_added'
            WHEN 'remove_from_cart' THEN 'item_removed' WHEN 'purchase' THEN 'order_completed'
            ELSE f[2] END""",
        "occurred_at": "f[1]",
        "user_id": "f[8]",
        "session_id": "f[9]",
        "item_id": "f[3]",
        "price": "f[7]",
        "category": "coalesce(nullif(f[5], ''), f[4])",
        "brand": "f[6]",
        "order_id": "CASE WHEN f[2] = 'purchase' THEN concat_ws('-', nullif(f[9], ''), f[8], f[1]) END",
    },
    header=r"event_time,event_type,product_id,",
)
