"""The lists that a bandit drew, with their rewards: the rows from which it learns."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

#: One row a list, the earliest first. `unit` is the pseudonym of the shopper, or of the visit without one.
#: `reward` is 1 if an item of the list got the reward within the horizon, and 0 if not.
LISTS_SCHEMA: Final = pa.schema(
    [
        pa.field("recommendation_id", pa.string()),
        pa.field("shown_at", pa.timestamp("us", tz="UTC")),
        pa.field("unit", pa.string()),
        pa.field("arm", pa.string()),
        pa.field("propensity", pa.float64()),
        pa.field("context", pa.string()),
        pa.field("choice", pa.string()),
        pa.field("reward", pa.int8()),
    ]
)
