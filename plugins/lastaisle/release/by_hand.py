"""Aliases that somebody moved in MLflow: told in the ledger, then put back or adopted, never silently.

After all aliases are set, the registered model gets a mark: the last move of the ledger. If the mark names
the ledger's last move and an alias differs from the ledger, then somebody else moved the alias. If the mark
names an earlier move, a release was killed or still goes on: then an alias may also have a version that the
ledger gave to it since the mark.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lastaisle.errors import LastaisleError
from lastaisle.registry.ledger import (
    ADOPT,
    MOVED_BY_HAND,
    UNKNOWN,
    Ledger,
    Move,
    promoted_versions,
    refusal_of,
    rolled_back_versions,
    standing,
)
from lastaisle.registry.tags import RUN_KEY
from lastaisle.release.servable import require_servable
from models.stored import ModelError

if TYPE_CHECKING:
    from lastaisle.registry.registry import Registry

#: The aliases that people can have adopted. The others follow from the champion, or from a step of a release.
ADOPTABLE = ("champion", "challenger", "anchor")
SETTLED_AFTER = 0.5  # seconds; a process that sets aliases sets the mark at once after them

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HandMove:
    """An alias that somebody moved in MLflow.

    Attributes:
        alias: the alias.
        expected: the version that had the alias after that last move; None = no version had it.
        found: the version in MLflow; None = the alias was removed.
        since: the last move of the ledger whose aliases were all set.
    """

    alias: str
    expected: str | None
    found: str | None
    since: Move

    def told(self, model_name: str) -> str:
        """Say what somebody did."""
        expected = "no version" if self.expected is None else f"version {self.expected}"
        moved = f"moved the alias {self.alias} of {model_name} from {expected} to version {self.found}"
        removed = f"removed the alias {self.alias} of {model_name} from {expected}"
        return (
            f"Somebody {removed if self.found is None else moved} by hand in MLflow, after "
            f"{self.since.moved_at:%Y-%m-%d %H:%M} UTC."
        )


def find_hand_moves(ledger: Ledger, registry: Registry) -> list[HandMove]:
    """Return the aliases that somebody moved in MLflow and that are not put back yet.

    Aliases that differ are looked at twice, because another process may be setting them just now.
    """
    found = _differing(ledger, registry)
    if found:
        time.sleep(SETTLED_AFTER)
        found = [move for move in _differing(ledger, registry) if move in found]
    return found


def _differing(ledger: Ledger, registry: Registry) -> list[HandMove]:
    """Return the aliases whose version the ledger did not give to them since the mark."""
    aliases, mark = registry.aliases_with_mark()  # before the ledger: an alias never precedes its row
    moves = ledger.moves()
    marked = next((number for number, move in enumerate(moves) if move.move_id == mark), None)
    if marked is None:  # a registry of an older release, or another ledger
        return []
    since = [standing(moves[:end]).aliases for end in range(marked + 1, len(moves) + 1)]
    return [
        HandMove(alias, since[0][alias], aliases.get(alias), moves[marked])
        for alias in (*ADOPTABLE, *(alias for alias in since[0] if alias not in ADOPTABLE))
        if not _explained(aliases.get(alias), {given.get(alias) for given in since}, registry)
    ]


def _explained(found: str | None, given: set[str | None], registry: Registry) -> bool:
    """Tell whether an alias has a version of the ledger, or vanished from MLflow with its version."""
    if found in given:
        return True
    return found is None and any(registry.find_run_of(version) is None for version in given if version)


def tell_hand_moves(ledger: Ledger, registry: Registry) -> None:
    """Write each alias that somebody moved into the ledger, and decide whether it is put back or adopted.

    The caller sets the aliases afterwards. A second call for the same alias writes nothing.

    Raises:
        LedgerConflictError: another process moved an alias meanwhile.
    """
    for found in find_hand_moves(ledger, registry):
        moves = ledger.moves()
        if standing(moves).aliases[found.alias] == found.found:
            continue  # the adoption before this one moved it as well
        move = _move(found, moves, ledger, registry)
        if ledger.write(move):
            logger.warning("%s", move.reason)


def _move(found: HandMove, moves: Sequence[Move], ledger: Ledger, registry: Registry) -> Move:
    """Return the row about an alias that somebody moved."""
    version = found.found or ""
    expected = standing(moves).aliases[found.alias]
    run_id = registry.find_run_of(version) or ""
    known = run_id and registry.has_run(run_id)
    hindrance = _hindrance(found, run_id, ledger, registry)
    ending = (
        f"It is adopted: {_verdict(version, moves)}."
        if hindrance is None
        else (
            f"It is put back to {'no version' if expected is None else f'version {expected}'}"
            + (f", because {hindrance}." if hindrance else ".")
        )
    )
    return Move(
        move_id=f"by_hand/{found.alias}/{version or 'removed'}/{found.since.move_id}",
        moved_at=datetime.now(UTC),
        actor=UNKNOWN,
        action=MOVED_BY_HAND if hindrance is not None else ADOPT,
        model_name=registry.model_name,
        alias=found.alias,
        from_version=expected,
        to_version=version,
        reason=f"{found.told(registry.model_name)} {ending}",
        run_id=run_id,
        run_key=registry.tags(run_id).get(RUN_KEY, "") if known else "",
    )


def _hindrance(found: HandMove, run_id: str, ledger: Ledger, registry: Registry) -> str | None:
    """Say why an alias is not adopted; None if it is, and empty if the setting says to put it back."""
    if registry.alias_moved_by_hand != "adopt":
        return ""
    if found.alias not in ADOPTABLE:
        return f"the alias {found.alias} follows from other moves"
    if found.found is None:
        return "an alias that was removed names no version to adopt"
    try:
        require_servable(found.found, run_id, registry)
        registry.require_digest(found.found, ledger.digest_of(found.found))
    except (LastaisleError, ModelError) as error:
        return str(error).rstrip(".")
    return None


def _verdict(version: str, moves: Sequence[Move]) -> str:
    """Say what the ledger knows of a version that is adopted."""
    back = rolled_back_versions(moves).get(version)
    if back is not None:
        return f"version {version} was rolled back on {back.moved_at:%Y-%m-%d %H:%M} UTC by {back.actor}"
    if version in promoted_versions(moves):
        return f"the gate promoted version {version} before"
    refusal = refusal_of(moves, version)
    if refusal is not None:
        return f"the gate refused version {version}: {refusal.reason.rstrip('.')}"
    return f"the gate has not judged version {version}"
