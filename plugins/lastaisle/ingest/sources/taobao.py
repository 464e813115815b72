"""Taobao UserBehavior: user, item, category, behaviour, unix time, comma-separated.

pv and fav are views (the canonical events have no type for a favourite). cart is an addition. buy is an order
of one item. The order id is made from user and second, so items bought together share it. The log has no
sessions; they are derived by a gap.
"""

from __future__ import annotations

from lastaisle.ingest.sources.adapter import Adapter, columns_expected, content_id, epoch_text, separated

ADAPTER = Adapter(
    "taobao",
    prepare=separated(","),
    malformed=columns_expected(5),
    fields={
        "event_id": content_id("'taobao'", "_line"),
        "event_type": """CASE f[4] WHEN 'pv' THEN 'item_viewed' WHEN 'fav' THEN 'item_viewed'
            WHEN 'cart' THEN 'item_added' WHEN 'buy' THEN 'order_completed' ELSE f[4] END""",
        "occurred_at": epoch_text("f[5]", 1),
        "user_id": "f[1]",
        "item_id": "f[2]",
        "category": "f[3]",
        "order_id": "CASE WHEN f[4] = 'buy' THEN f[1] || '-' || f[5] END",
    },
    header=r"(?i)user_?id,",
)
