"""Bring the ledger and the registry together after people deleted versions or moved aliases in MLflow."""

from __future__ import annotations

import getpass
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lastaisle.registry.ledger import Ledger, standing
from lastaisle.registry.losses import find_losses
from lastaisle.release.by_hand import find_hand_moves
from lastaisle.release.release import sync_aliases

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry


@dataclass(frozen=True)
class SyncReport:
    """What is lost, and the aliases before and after.

    Attributes:
        model_name: name of the registered model.
        lost: one sentence about each version that is gone.
        moved_by_hand: one sentence about each alias that somebody moved in MLflow.
        before: alias to version, as MLflow had them.
        after: alias to version, as the ledger wants them; None = no version is left.
        dry_run: True = nothing was changed.
    """

    model_name: str
    lost: tuple[str, ...]
    moved_by_hand: tuple[str, ...]
    before: dict[str, str]
    after: dict[str, str | None]
    dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """Return as a JSON-serialisable dict."""
        return asdict(self)


def sync(lake: Lake, registry: Registry, *, dry_run: bool = True, artifacts_gone: bool = False) -> SyncReport:
    """Write a row for each version that is gone, and set the aliases; every training and release does so too.

    Args:
        lake: where the ledger is.
        registry: where the versions and their aliases are.
        dry_run: only report.
        artifacts_gone: count the versions as lost also if MLflow's whole folder of artifacts is missing.

    Raises:
        ArtifactsUnreachableError: that folder is missing or empty, and `artifacts_gone` is not set.
    """
    ledger, before = Ledger(lake, registry.model_name), registry.aliases()
    moves, by_hand = ledger.moves(), find_hand_moves(ledger, registry)
    losses = find_losses(moves, registry, getpass.getuser(), artifacts_gone)
    if dry_run:
        after = standing([*moves, *losses]).aliases
    else:
        after = sync_aliases(lake, registry, artifacts_gone=artifacts_gone)
    lost = tuple(loss.reason for loss in losses)
    told = tuple(move.told(registry.model_name) for move in by_hand)
    return SyncReport(registry.model_name, lost, told, before, after, dry_run)
