"""The simulated shop beside a real service: shoppers see its lists, and react. Tests can know the truth."""

from __future__ import annotations

from lastaisle.simulate.live.counts import LiveCounts
from lastaisle.simulate.live.reactions import Moment, Reactions, Taste
from lastaisle.simulate.live.service import LiveKeyError, LiveService, LiveServiceError, read_key
from lastaisle.simulate.live.shop import LiveDay, LiveShop
from lastaisle.simulate.live.truth import LiveTruth
from lastaisle.simulate.live.write import write_live_logs

__all__ = [
    "LiveCounts",
    "LiveDay",
    "LiveKeyError",
    "LiveService",
    "LiveServiceError",
    "LiveShop",
    "LiveTruth",
    "Moment",
    "Reactions",
    "Taste",
    "read_key",
    "write_live_logs",
]
