"""OTTO JSON Lines: one session a line, each of its events a row.

A line is {"session", "events": [{"aid", "ts" (milliseconds), "type": clicks | carts | orders}]}. An order has
no id: the orders of a session at the same millisecond are one order.
"""

from __future__ import annotations

from lastaisle.ingest.sources.adapter import Adapter, content_id, epoch_text
from lastaisle.ingest.sources.json_lines import json_object, not_json

_SPEC = {"session": "VARCHAR", "events": [{"aid": "VARCHAR", "ts": "VARCHAR", "type": "VARCHAR"}]}

_PREPARE = f"""
SELECT * EXCLUDE (events), unnest(events) AS e, unnest(range(len(events))) AS _sub_row
FROM (SELECT * EXCLUDE (_sub_row), CASE WHEN len(doc.events) > 0 THEN doc.events ELSE [NULL] END AS events
      FROM ({json_object(_SPEC)}))"""

ADAPTER = Adapter(
    "otto",
    prepare=_PREPARE,
    malformed=f"coalesce({not_json()}, CASE WHEN e IS NULL THEN 'no_events' END)",
    fields={
        "event_id": content_id("'otto'", "doc.session", "e.ts", "e.aid", "e.type"),
        "event_type": """CASE e.type WHEN 'clicks' THEN 'item_viewed' WHEN 'carts' THEN 'item_added'
            WHEN 'orders' THEN 'order_completed' ELSE e.type END""",
        "occurred_at": epoch_text("e.ts", 1000),
        "session_id": "doc.session",
        "item_id": "e.aid",
        "order_id": "CASE WHEN e.type = 'orders' THEN doc.session || '-' || e.ts END",
    },
)
