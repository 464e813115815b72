"""The simulated shop beside a real service: shoppers see its lists, and react. Tests can know the truth."""

from __future__ import annotations

from lastaisle.simulate.live.fatigue import Fatigue
from lastaisle.simulate.live.reactions import Moment, Reactions, Taste
from lastaisle.simulate.live.service import LiveKeyError, LiveService, LiveServiceError
from lastaisle.simulate.live.shop import LiveDay, LiveShop
from lastaisle.simulate.live.truth import LiveTruth

__all__ = [
    "Fatigue",
    "LiveDay",
    "LiveKeyError",
    "LiveService",
    "LiveServiceError",
    "LiveShop",
    "LiveTruth",
    "Moment",
    "Reactions",
    "Taste",
]
