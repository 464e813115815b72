"""What becomes of model versions that learned from a shopper who was erased."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from lastaisle.lake.tables import TRAINING_RUNS
from lastaisle.registry.ledger import (
    CANARY,
    REGISTER,
    SHADOW,
    WITHDRAW,
    Ledger,
    Move,
    origin_of,
    promoted_versions,
    standing,
)
from lastaisle.release.release import sync_aliases
from lastaisle.release.rollback import rollback
from lastaisle.release.steps.retire import retire
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
        withdrawn: the touched versions that lost all their aliases; after a dry run, those that would.
        words: all this in a sentence.
    """

    touched: tuple[str, ...]
    champion: str | None
    moved_to: str | None
    still_serves: bool
    words: str
    withdrawn: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return as JSON takes it."""
        return asdict(self)


def touched_versions(lake: Lake, moves: Sequence[Move] = ()) -> tuple[str, ...]:
    """Return the versions that learned from erased shoppers, as the requests that are done tell.

    Args:
        lake: holds the requests and the trainings.
        moves: the ledger; versions of it that learned on from one of these versions later count, too.
    """
    found = {
        version["version"]
        for request in read_requests(lake)
        if request.last.state == DONE
        for version in request.last.counts.get("versions", ())
        if version["decided"] == TOUCHED and version["version"]
    }
    starts = _starts(lake, moves) if found else {}
    while later := {version for version, start in starts.items() if start in found} - found:
        found |= later
    return tuple(sorted(found, key=int))


def _starts(lake: Lake, moves: Sequence[Move]) -> dict[str, str]:
    """Return from which version each version started that learned on from another."""
    if not moves or lake.version(TRAINING_RUNS) is None:
        return {}
    trainings = lake.scan(TRAINING_RUNS, ["run_id", "warm_start_version"]).to_pylist()
    start_of = {row["run_id"]: row["warm_start_version"] for row in trainings if row["warm_start_version"]}
    return {
        move.to_version: start_of[move.run_id]
        for move in moves
        if move.action == REGISTER and move.run_id in start_of
    }


def retire_touched(
    lake: Lake, registry: Registry, *, policy: str, actor: str, dry_run: bool = True
) -> Retired:
    """Take the aliases from versions that learned from erased shoppers, as far as a clean version can serve.

    With the policy retire, the newest clean version that was promoted becomes champion at once. With the
    policy retrain, a touched champion serves until a training without the shoppers replaces it, and the
    touched versions keep their aliases until then. A second call moves nothing.

    Args:
        lake: holds the requests and the ledger.
        registry: holds the versions.
        policy: retrain or retire.
        actor: who asks, for the ledger.
        dry_run: only report the moves.

    Raises:
        LedgerConflictError: an alias moved meanwhile.
    """
    ledger = Ledger(lake, registry.model_name)
    moves = ledger.moves()
    touched = touched_versions(lake, moves)
    champion = standing(moves).champion
    named = ", ".join(f"v{version}" for version in touched)
    moved_to, still_serves = None, False
    words = f"{named} learned from erased shoppers, and none of them serves" if touched else ""
    if champion in touched:
        clean = [version for version in promoted_versions(moves) if version not in touched]
        if policy == "retrain" or not clean:
            training = "until a training without them is promoted"
            why = training if policy == "retrain" else "as no other version can"
            words = f"champion v{champion} learned from erased shoppers, and serves on {why}"
            still_serves = True
        else:
            moved_to = max(clean, key=int)
            moved = _roll_back(lake, registry, str(champion), moved_to, actor=actor, dry_run=dry_run)
            verb, still_serves = ("serves now", False) if moved else ("would serve", True)
            words = f"champion v{champion} learned from erased shoppers, so v{moved_to} {verb}"
    withdrawn: tuple[str, ...] = ()
    if policy == "retire" or champion not in touched:
        withdrawn = _withdraw(ledger, registry, touched, actor, dry_run)
    if withdrawn:
        lost = "would lose their aliases" if dry_run else "lost their aliases"
        words += f"; {', '.join(f'v{version}' for version in withdrawn)} {lost}"
    return Retired(touched, champion, moved_to, still_serves, words, withdrawn)


def _roll_back(
    lake: Lake, registry: Registry, champion: str, target: str, *, actor: str, dry_run: bool
) -> bool:
    report = rollback(
        *(lake, registry),
        to_version=target,
        reason=f"Version {champion} learned from shoppers who were erased",
        actor=actor,
        dry_run=dry_run,
        request_id=f"erased-{champion}",
        leaving=champion,
    )
    return report.moved


def _withdraw(
    ledger: Ledger, registry: Registry, touched: Sequence[str], actor: str, dry_run: bool
) -> tuple[str, ...]:
    """Take all aliases but champion from the touched versions, with a row in the ledger for each version."""
    withdrawn = []
    for version in touched:
        moves = ledger.moves()
        present = standing(moves)
        holds = [alias for alias, holder in present.aliases.items() if holder == version]
        origin = origin_of(moves, version)
        if origin is None or version == present.champion or not (holds or version in present.champions):
            continue
        withdrawn.append(version)
        if dry_run:
            continue
        if {SHADOW, CANARY} & {*holds}:  # services hear of the end of a step
            retire(
                *(ledger.lake, registry, version),
                reason=f"Version {version} learned from shoppers who were erased",
                actor=actor,
            )
            moves = ledger.moves()
            present = standing(moves)
        alias = next((each for each in ("previous", "challenger", "anchor") if each in holds), "champion")
        lost = f"It had the aliases {', '.join(holds)}." if holds else "It was champion once."
        times = sum((move.action, move.to_version) == (WITHDRAW, version) for move in moves)
        ledger.write(
            Move(
                move_id=f"withdraw/{origin.run_id}/{version}/{times + 1}",
                moved_at=datetime.now(UTC),
                actor=actor,
                action=WITHDRAW,
                model_name=registry.model_name,
                alias=alias,
                from_version=present.aliases[alias],
                to_version=version,
                reason=f"Version {version} learned from shoppers who were erased. {lost}",
                run_id=origin.run_id,
                run_key=origin.run_key,
            )
        )
    if not dry_run and touched:  # also after a kill between the rows and the aliases
        sync_aliases(ledger.lake, registry)
    return tuple(withdrawn)
