"""Choose the version from which the next training starts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lastaisle.registry.ledger import Ledger, standing
from lastaisle.registry.lineage import Lineage
from lastaisle.registry.losses import missing_part
from lastaisle.release.release import current_champion, sync_aliases
from lastaisle.training.refresh import NothingToRefreshError

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.plan import Champion
    from lastaisle.registry.registry import Registry

logger = logging.getLogger(__name__)


def training_start(lake: Lake, registry: Registry) -> Champion | None:
    """Return the version from which the next training starts; None = from scratch.

    It is the champion, unless the gate refused the champion, or the version that it learned on from, or
    people rolled that version back. Then it is the newest former champion without such a past.
    """
    sync_aliases(lake, registry)
    moves = Ledger(lake, registry.model_name).moves()
    lineage = Lineage(lake, moves)
    for version in reversed(standing(moves).champions):
        why = lineage.unfit(version) or missing_part(version, None, registry)
        if why is None:
            return registry.champion(version)
        logger.warning("The next training does not start from version %s: %s", version, why)
    return None


def champion_to_refresh(lake: Lake, registry: Registry) -> Champion | None:
    """Return the champion, from which a refresh starts; None = no version serves.

    Raises:
        NothingToRefreshError: no training may start from the champion.
    """
    champion, start = current_champion(lake, registry), training_start(lake, registry)
    if champion is not None and (start is None or start.version != champion.version):
        why = Lineage(lake, Ledger(lake, registry.model_name).moves()).unfit(champion.version)
        raise NothingToRefreshError(f"no refresh starts from the champion, version {champion.version}: {why}")
    return champion
