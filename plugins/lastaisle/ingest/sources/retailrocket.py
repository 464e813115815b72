"""RetailRocket events.csv: time in milliseconds, visitor, event, item, transaction.

Sessions are derived by a gap.
"""

from __future__ import annotations

from lastaisle.ingest.sources.adapter import Adapter, content_id, epoch_text
from lastaisle.ingest.sources.columns import Columns

_ORDER = ("timestamp", "visitorid", "event", "itemid", "transactionid")

ADAPTER = Adapter(
    "retailrocket",
    columns=Columns(
        names={name: [name] for name in _ORDER},
        orders=[_ORDER],
        needed=("timestamp", "visitorid", "event", "itemid"),
        time="timestamp",
        per_second=1000,
    ),
    fields={
        "event_id": content_id("'retailrocket'", "record"),
        "event_type": """CASE c.event WHEN 'view' THEN 'item_viewed' WHEN 'addtocart' THEN 'item_added'
            WHEN 'transaction' THEN 'order_completed' ELSE c.event END""",
        "occurred_at": epoch_text("c.timestamp", 1000),
        "user_id": "c.visitorid",
        "item_id": "c.itemid",
        "order_id": "c.transactionid",
    },
)
