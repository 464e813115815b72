"""RetailRocket events.csv: timestamp (milliseconds), visitorid, event, itemid, transactionid.

Sessions are derived by a gap.
"""

from __future__ import annotations

from lastaisle.ingest.sources.adapter import Adapter, columns_expected, content_id, epoch_text, separated

ADAPTER = Adapter(
    "retailrocket",
    prepare=separated(","),
    malformed=columns_expected(5),
    fields={
        "event_id": content_id("'retailrocket'", "_line"),
        "event_type": """CASE f[3] WHEN 'view' THEN 'item_viewed' WHEN 'addtocart' THEN 'item_added'
            WHEN 'transaction' THEN 'order_completed' ELSE f[3] END""",
        "occurred_at": epoch_text("f[1]", 1000),
        "user_id": "f[2]",
        "item_id": "f[4]",
        "order_id": "f[5]",
    },
    header=r"timestamp,visitorid,",
)
