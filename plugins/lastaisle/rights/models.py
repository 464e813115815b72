"""What becomes of model versions that learned from a shopper who was erased."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from lastaisle.registry.ledger import Ledger, promoted_versions
from lastaisle.release.rollback import rollback
from lastaisle.rights.requests import DONE, read_requests

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry

TOUCHED: Final = "retrain_or_retire"
"""What the engine says of a version that learned from a shopper, and that stays as it is."""


@dataclass(frozen=True)
class Retired:
    """What was decided about the versions that learned from erased shoppers.

    Attributes:
        touched: the versions, the oldest first.
        champion: the champion before; None = there is none.
        moved_to: the version that serves now instead of the champion; None = nothing moved.
        still_serves: whether a touched version serves now, because no other version can.
        words: all this in a sentence.
    """

    touched: tuple[str, ...]
    champion: str | None
    moved_to: str | None
    still_serves: bool
    words: str

    def to_dict(self) -> dict[str, Any]:
        """Return as JSON takes it."""
        return asdict(self)


def touched_versions(lake: Lake) -> tuple[str, ...]:
    """Return the versions that learned from erased shoppers, as the requests that are done tell."""
    found = {
        version["version"]
        for request in read_requests(lake)
        if request.last.state == DONE
        for version in request.last.counts.get("versions", ())
        if version["decided"] == TOUCHED and version["version"]
    }
    return tuple(sorted(found, key=int))


def retire_touched(
    lake: Lake, registry: Registry, *, policy: str, actor: str, dry_run: bool = True
) -> Retired:
    """Move the champion away from a touched version, if the policy says so and a clean version exists.

    With the policy retrain, a touched champion serves until a training without the shopper replaces it. A
    second call moves nothing.

    Args:
        lake: holds the requests and the ledger.
        registry: holds the versions.
        policy: retrain or retire.
        actor: who asks, for the ledger.
        dry_run: only report the move.

    Raises:
        LedgerConflictError: the champion moved meanwhile.
    """
    touched = touched_versions(lake)
    ledger = Ledger(lake, registry.model_name)
    champion = ledger.standing().champion
    named = ", ".join(f"v{version}" for version in touched)
    if champion not in touched:
        words = f"{named} learned from erased shoppers, and none of them serves" if touched else ""
        return Retired(touched, champion, None, False, words)
    clean = [version for version in promoted_versions(ledger.moves()) if version not in touched]
    if policy == "retrain" or not clean:
        why = (
            "until a training without them is promoted" if policy == "retrain" else "as no other version can"
        )
        words = f"champion v{champion} learned from erased shoppers, and serves on {why}"
        return Retired(touched, champion, None, True, words)
    target = max(clean, key=int)
    reason = f"Version {champion} learned from shoppers who were erased"
    report = rollback(
        *(lake, registry),
        to_version=target,
        reason=reason,
        actor=actor,
        dry_run=dry_run,
        request_id=f"erased-{champion}",
        leaving=champion,
    )
    verb = "serves now" if report.moved else "would serve"
    words = f"champion v{champion} learned from erased shoppers, so v{target} {verb}"
    return Retired(touched, champion, target, not report.moved, words)
