"""End a step by hand: people retire the shadow or the canary."""

from __future__ import annotations

import getpass
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lastaisle.errors import RegistryError
from lastaisle.registry.ledger import CANARY, RETIRE, SHADOW, Ledger, Move
from lastaisle.release.release import sync_aliases

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry


def retire(lake: Lake, registry: Registry, version: str, *, reason: str, actor: str | None = None) -> Move:
    """Retire a version that is shadow or canary; services end its trial with their next look.

    Args:
        lake: where the ledger is.
        registry: where the versions are.
        version: the version.
        reason: the reason, for the ledger; must not be empty.
        actor: the person who asks; default the user of this process.

    Raises:
        RegistryError: the version is neither shadow nor canary, or the reason is empty.
        LedgerConflictError: the version moved meanwhile.
    """
    if not reason.strip():
        raise RegistryError("to retire a version needs a reason for the ledger, received an empty text")
    ledger = Ledger(lake, registry.model_name)
    sync_aliases(lake, registry)
    moves, aliases = ledger.moves(), ledger.standing().aliases
    alias = next((step for step in (CANARY, SHADOW) if aliases[step] == version), None)
    if alias is None:
        present = ", ".join(
            f"{step} is version {aliases[step]}" for step in (CANARY, SHADOW) if aliases[step]
        )
        raise RegistryError(
            f"version {version} of {registry.model_name} is neither shadow nor canary; "
            f"{present or 'there is no shadow and no canary'}"
        )
    began = next(move for move in reversed(moves) if (move.action, move.to_version) == (alias, version))
    move = Move(
        move_id=f"{began.move_id}/retire/{uuid.uuid4()}",
        moved_at=datetime.now(UTC),
        actor=actor or getpass.getuser(),
        action=RETIRE,
        model_name=registry.model_name,
        alias=alias,
        from_version=version,
        to_version=version,
        reason=reason.strip(),
        run_id=began.run_id,
        run_key=began.run_key,
    )
    ledger.write(move)
    sync_aliases(lake, registry)
    return move
