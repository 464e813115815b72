"""Roll back: make an earlier version champion again, by a reason that the ledger keeps."""

from __future__ import annotations

import getpass
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lastaisle.errors import RegistryError
from lastaisle.registry.ledger import ROLLBACK, Ledger, Move
from lastaisle.registry.tags import RUN_KEY
from lastaisle.release.release import settle
from lastaisle.training.online import BASE

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry


@dataclass(frozen=True)
class RollbackReport:
    """What a rollback did, or would do.

    Attributes:
        model_name: name of the registered model.
        from_version: the champion before.
        to_version: the champion after.
        previous: the version that a further rollback would return to; None = there is none.
        reason: why.
        actor: who asked for it.
        dry_run: nothing was moved.
        moved: whether the champion changed; False also where it was this version already.
    """

    model_name: str
    from_version: str | None
    to_version: str
    previous: str | None
    reason: str
    actor: str
    dry_run: bool
    moved: bool

    def to_dict(self) -> dict[str, Any]:
        """Return as a JSON-serialisable dict."""
        return asdict(self)


def rollback(
    lake: Lake,
    registry: Registry,
    *,
    to_version: str | None = None,
    reason: str,
    actor: str | None = None,
    dry_run: bool = True,
    request_id: str | None = None,
) -> RollbackReport:
    """Make an earlier version champion again.

    Args:
        lake: where the ledger is.
        registry: where the versions are.
        to_version: the version to return to; default the one that served before the champion.
        reason: why, for the ledger; must not be empty.
        actor: who asks; default the user of this process.
        dry_run: only report what would move.
        request_id: names this request, such as a DAG run: tried again, the same request moves nothing more.

    Raises:
        RegistryError: no such version, nothing to return to, a version of online updates, or no reason.
    """
    if not reason.strip():
        raise RegistryError("a rollback needs a reason, received an empty one: say why, for the ledger")
    ledger = Ledger(lake, registry.model_name)
    if not dry_run:
        done = _finished(ledger, registry, to_version, reason.strip(), request_id)
        if done is not None:
            return _report(ledger, done, dry_run=False, moved=True)
    told = {"reason": reason.strip(), "actor": actor or getpass.getuser()}
    move = _planned(ledger, registry, to_version, request_id, **told)
    moves = move.to_version != move.from_version
    if moves and not dry_run:
        ledger.write(move)
        settle(lake, registry)
    return _report(ledger, move, dry_run=dry_run, moved=moves and not dry_run)


def _planned(
    ledger: Ledger,
    registry: Registry,
    to_version: str | None,
    request_id: str | None,
    *,
    reason: str,
    actor: str,
) -> Move:
    """Return the move that would be made, from the champion to the version asked for or the one before."""
    standing = ledger.standing()
    target = to_version or standing.previous
    if target is None:
        raise RegistryError(
            f"{registry.model_name} has no earlier champion than version {standing.champion}: name a version"
        )
    run_id = registry.run_of(target)
    tags = registry.tags(run_id)
    if BASE in tags:
        raise RegistryError(
            f"version {target} of {registry.model_name} is version {tags[BASE]} with online updates, "
            f"which are dropped when the champion moves: name version {tags[BASE]}"
        )
    return Move(
        move_id=f"rollback/{request_id or uuid.uuid4()}",
        moved_at=datetime.now(UTC),
        actor=actor,
        action=ROLLBACK,
        model_name=registry.model_name,
        alias="champion",
        from_version=standing.champion,
        to_version=target,
        reason=reason,
        run_id=run_id,
        run_key=tags[RUN_KEY],
    )


def _finished(
    ledger: Ledger, registry: Registry, to_version: str | None, reason: str, request_id: str | None
) -> Move | None:
    """Finish what was cut short, and return the move if it was this very request.

    It is when the ledger has its request_id; or, without one, when the ledger's last row is a rollback of the
    same reason whose aliases were not all set.
    """
    moves = ledger.moves()
    held = registry.aliases()
    settled = settle(ledger.lake, registry)
    if request_id:
        return ledger.find(f"rollback/{request_id}")
    cut_short = {alias: version for alias, version in settled.items() if held.get(alias) != version}
    last = moves[-1] if moves else None
    if cut_short and last and last.action == ROLLBACK and last.reason == reason:
        return last if to_version in (None, last.to_version) else None
    return None


def _report(ledger: Ledger, move: Move, *, dry_run: bool, moved: bool) -> RollbackReport:
    standing = ledger.standing()
    after = standing if moved else standing.after(move)
    return RollbackReport(
        model_name=move.model_name,
        from_version=move.from_version,
        to_version=move.to_version,
        previous=after.previous,
        reason=move.reason,
        actor=move.actor,
        dry_run=dry_run,
        moved=moved,
    )
