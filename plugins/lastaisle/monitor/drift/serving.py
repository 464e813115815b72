"""The versions that serve, with their models, so that their predictions can be compared."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastaisle.errors import RegistryError
from lastaisle.registry.ledger import Ledger
from lastaisle.registry.losses import present_standing
from models.stored import ModelError

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from models.recommender import Recommender
    from models.serving.served import ServedModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServingVersion:
    """A version, as services ask it and as it was trained.

    Attributes:
        number: the number of the version.
        served: the packed model. Its lists are those that services get.
        trained: the trained model. It has the items' vectors and counts, which the packed model lacks.
    """

    number: str
    served: ServedModel
    trained: Recommender


@dataclass(frozen=True)
class ServingVersions:
    """The champion and the version before it.

    Attributes:
        champion: the version that serves.
        previous: the version that served before the champion; None = there is none that opens.
        objective: the objective whose lists services get: next_item or new_item.
    """

    champion: ServingVersion
    previous: ServingVersion | None
    objective: str

    @property
    def pair(self) -> str | None:
        """The numbers of both versions, like 1→2; None without a previous version."""
        return None if self.previous is None else f"{self.previous.number}→{self.champion.number}"


def serving_versions(lake: Lake, registry: Registry) -> ServingVersions | None:
    """Open the champion and the previous version; return None if no version serves.

    A version that is gone from MLflow is passed over, as by a release. A previous version that does not open
    is left out, and a warning names it.

    Raises:
        DamagedModelError: the champion's files are not those that were registered, or do not open.
    """
    ledger = Ledger(lake, registry.model_name)
    standing = present_standing(ledger, registry)
    if standing.champion is None:
        return None
    champion, previous = _open(standing.champion, ledger, registry), None
    if standing.previous is not None:
        try:
            previous = _open(standing.previous, ledger, registry)
        except (RegistryError, ModelError) as error:
            logger.warning("The previous version, %s, is not compared: %s", standing.previous, error)
    return ServingVersions(champion, previous, registry.served)


def _open(version: str, ledger: Ledger, registry: Registry) -> ServingVersion:
    served = registry.load_version(version, ledger.digest_of(version))
    return ServingVersion(version, served, registry.load_recommender(registry.run_of(version)))
