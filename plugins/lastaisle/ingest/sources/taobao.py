"""Taobao UserBehavior: user, item, category, behaviour, unix time.

pv and fav are views (the canonical events have no type for a favourite). cart is an addition. buy is an order
of one item. The order id is made from user and second, so items bought together share it. The log has no
sessions; they are derived by a gap.
"""

from __future__ import annotations

from lastaisle.ingest.sources.adapter import Adapter, content_id, epoch_text
from lastaisle.ingest.sources.columns import Columns

ADAPTER = Adapter(
    "taobao",
    columns=Columns(
        names={
            "user_id": ["user_id", "user"],
            "item_id": ["item_id", "item"],
            "category_id": ["category_id", "item_category", "category"],
            "behavior_type": ["behavior_type", "behavior", "behaviour_type", "behaviour"],
            "timestamp": ["timestamp", "time", "ts"],
        },
        orders=[("user_id", "item_id", "category_id", "behavior_type", "timestamp")],
        needed=("user_id", "item_id", "behavior_type", "timestamp"),
        time="timestamp",
    ),
    fields={
        "event_id": content_id("'taobao'", "record"),
        "event_type": """CASE c.behavior_type WHEN 'pv' THEN 'item_viewed' WHEN 'fav' THEN 'item_viewed'
            WHEN 'cart' THEN 'item_added' WHEN 'buy' THEN 'order_completed' ELSE c.behavior_type END""",
        "occurred_at": epoch_text("c.timestamp", 1),
        "user_id": "c.user_id",
        "item_id": "c.item_id",
        "category": "c.category_id",
        "order_id": "CASE WHEN c.behavior_type = 'buy' THEN c.user_id || '-' || c.timestamp END",
    },
)
