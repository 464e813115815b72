"""YooChoose clicks and buys (RecSys Challenge 2015). The logs have no users.

A file of clicks holds session, time, item and category, or session, item and time; every row is a view. A
file of buys holds session, time, item, price and quantity; every row is one item of an order. The rows of a
session at the same second are one order. A price or a quantity of 0 means that it is not known.
"""

from __future__ import annotations

from lastaisle.ingest.sources.adapter import Adapter, content_id, epoch_text
from lastaisle.ingest.sources.columns import Columns

_BOUGHT = "(list_contains(has, 'price') OR list_contains(has, 'quantity'))"

ADAPTER = Adapter(
    "yoochoose",
    columns=Columns(
        names={
            "session_id": ["session_id", "session"],
            "time": ["time", "timestamp"],
            "item_id": ["item_id", "item"],
            "category": ["category"],
            "price": ["price"],
            "quantity": ["quantity"],
        },
        orders=[
            ("session_id", "item_id", "time"),
            ("session_id", "time", "item_id"),
            ("session_id", "time", "item_id", "category"),
            ("session_id", "item_id", "time", "category"),
            ("session_id", "time", "item_id", "price", "quantity"),
        ],
        needed=("session_id", "time", "item_id"),
        time="time",
    ),
    fields={
        "event_id": f"""CASE WHEN {_BOUGHT}
            THEN {
            content_id("'yoochoose'", "'buy'", "c.session_id", "c.item_id", "c.time", "c.price", "c.quantity")
        }
            ELSE {content_id("'yoochoose'", "c.session_id", "c.item_id", "c.time")} END""",
        "event_type": f"CASE WHEN {_BOUGHT} THEN 'order_completed' ELSE 'item_viewed' END",
        "occurred_at": epoch_text("c.time", 1),
        "session_id": "c.session_id",
        "item_id": "c.item_id",
        "category": "nullif(c.category, '0')",
        "price": "CASE WHEN TRY_CAST(c.price AS DOUBLE) IS DISTINCT FROM 0 THEN c.price END",
        "quantity": "CASE WHEN TRY_CAST(c.quantity AS DOUBLE) IS DISTINCT FROM 0 THEN c.quantity END",
        "order_id": f"CASE WHEN {_BOUGHT} THEN c.session_id || '-' || split_part(c.time, '.', 1) END",
    },
)
