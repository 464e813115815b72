"""The versions that serve, loaded for a look at what they predict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastaisle.monitor.drift.detect import Versions
from lastaisle.registry.ledger import Ledger

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry


def serving_versions(lake: Lake, registry: Registry) -> Versions | None:
    """Return champion and previous version with their models; None before the first promotion."""
    standing = Ledger(lake, registry.model_name).standing()
    if standing.champion is None:
        return None
    champion = registry.load_recommender(registry.run_of(standing.champion))
    if standing.previous is None:
        return Versions(standing.champion, champion)
    previous = registry.load_recommender(registry.run_of(standing.previous))
    return Versions(standing.champion, champion, standing.previous, previous)
