"""The versions that serve, with their models, so that their predictions can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastaisle.registry.ledger import Ledger
from lastaisle.registry.losses import present_standing

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from models.recommender import Recommender


@dataclass(frozen=True)
class ServingVersions:
    """The champion and the version before it.

    Attributes:
        champion: the version that serves.
        champion_model: the champion's model.
        previous: the version that served before the champion; None = there is none.
        previous_model: the model of the previous version.
    """

    champion: str
    champion_model: Recommender
    previous: str | None = None
    previous_model: Recommender | None = None

    @property
    def pair(self) -> str | None:
        """The names of both versions, like 1→2; None without a previous version."""
        return None if self.previous is None else f"{self.previous}→{self.champion}"


def serving_versions(lake: Lake, registry: Registry) -> ServingVersions | None:
    """Load the champion and the previous version; return None before the first promotion."""
    standing = present_standing(Ledger(lake, registry.model_name), registry)
    if standing.champion is None:
        return None
    champion = registry.load_recommender(registry.run_of(standing.champion))
    if standing.previous is None:
        return ServingVersions(standing.champion, champion)
    previous = registry.load_recommender(registry.run_of(standing.previous))
    return ServingVersions(standing.champion, champion, standing.previous, previous)
