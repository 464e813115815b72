"""YooChoose clicks (RecSys Challenge 2015): session, item, time, tab-separated; every row is a view.

The adapter also reads clicks.dat of the challenge: session, ISO time, item, category, comma-separated.
The logs have no users.
"""

from __future__ import annotations

from lastaisle.ingest.sources.adapter import Adapter, content_id, epoch_text

_PREPARE = r"""
SELECT *, 0 AS _sub_row, CASE WHEN contains(_line, chr(9)) THEN string_split(_line, chr(9))
  ELSE list_select(string_split(_line, ','), [1, 3, 2, 4]) END AS f
FROM lines"""

ADAPTER = Adapter(
    "yoochoose",
    prepare=_PREPARE,
    malformed="CASE WHEN len(f) > 4 OR len(list_filter(f[:3], lambda x: x IS NOT NULL)) < 3 "
    "THEN 'wrong_number_of_columns' END",
    fields={
        "event_id": content_id("'yoochoose'", "f[1]", "f[2]", "f[3]"),
        "event_type": "'item_viewed'",
        "occurred_at": epoch_text("f[3]", 1),
        "session_id": "f[1]",
        "item_id": "f[2]",
        "category": "nullif(f[4], '0')",
    },
    header=r"(?i)session_?id[\t,]",
)
