"""Roll back: make an earlier version champion again. The ledger keeps the reason.

A version that the gate never promoted becomes champion only by force. Ledger and card then say so.
"""

from __future__ import annotations

import getpass
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lastaisle.errors import ExitCode, RegistryError
from lastaisle.evaluation.evaluate import stored_report
from lastaisle.registry.ledger import ROLLBACK, Ledger, Move, Standing, promoted_versions, refusal_of
from lastaisle.registry.losses import expected_standing
from lastaisle.release.card.page import log_card
from lastaisle.release.gate import Decision
from lastaisle.release.release import DECISION, sync_aliases
from lastaisle.release.servable import require_servable

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry


_FORCED = "Forced: "  # between the reason of people and the gate's decision, in the ledger


class NeverPromotedError(RegistryError):
    """A rollback, without force, to a version that the gate refused or has not judged."""

    exit_code = ExitCode.WRONG_REQUEST


@dataclass(frozen=True)
class RollbackReport:
    """The outcome of a rollback, or of its dry run.

    Attributes:
        model_name: name of the registered model.
        from_version: the champion before.
        to_version: the champion after.
        previous: the version that the next rollback would return to; None = there is none.
        reason: why people rolled back.
        actor: the person or the DAG run that asked for the rollback.
        dry_run: True = nothing was moved.
        forced: whether the version became champion although the gate never promoted it.
        moved: whether the champion changed; False also if the champion was this version already.
    """

    model_name: str
    from_version: str | None
    to_version: str
    previous: str | None
    reason: str
    actor: str
    dry_run: bool
    forced: bool
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
    force: bool = False,
    request_id: str | None = None,
) -> RollbackReport:
    """Make an earlier version champion again.

    Args:
        lake: the lake that holds the ledger.
        registry: the registry that holds the versions.
        to_version: the version to return to; default the version that served before the champion.
        reason: the reason, for the ledger; must not be empty.
        actor: the person or DAG run that asks; default the user of this process.
        dry_run: only report the move.
        force: also move to a version that the gate refused, or has not judged.
        request_id: name of this request, such as a DAG run; the same request moves the champion only once.

    Raises:
        RegistryError: the version does not exist or is a version of online updates, there is no earlier
            champion, or the reason is empty.
        NeverPromotedError: the gate never promoted the version, and `force` is not set.
        DamagedModelError: the files of the version are not those that were registered.
    """
    if not reason.strip():
        raise RegistryError("a rollback needs a reason for the ledger, received an empty text")
    ledger = Ledger(lake, registry.model_name)
    if not dry_run:
        done = _finish_interrupted(ledger, registry, to_version, reason.strip(), request_id)
        if done is not None:
            _say_forced(done, ledger, registry)
            return _report(ledger, done, ledger.standing(), dry_run=False, moved=True)
    before = expected_standing(ledger, registry)
    move = _plan_move(
        before, registry, to_version, request_id, reason=reason.strip(), actor=actor or getpass.getuser()
    )
    moves = move.to_version != move.from_version
    if moves:
        move = _require_promotion(move, ledger, force=force)
        registry.require_digest(move.to_version, ledger.digest_of(move.to_version))
    if moves and not dry_run:
        ledger.write(move)
        sync_aliases(lake, registry)
        _say_forced(move, ledger, registry)
    return _report(ledger, move, before.after(move), dry_run=dry_run, moved=moves and not dry_run)


def _plan_move(
    standing: Standing,
    registry: Registry,
    to_version: str | None,
    request_id: str | None,
    *,
    reason: str,
    actor: str,
) -> Move:
    """Return the move from the champion to the requested version, or to the version before the champion."""
    target = to_version or standing.previous
    if target is None:
        raise RegistryError(
            f"{registry.model_name} has no champion before version {standing.champion}: name a version"
        )
    run_id = registry.run_of(target)
    run_key = require_servable(target, run_id, registry)
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
        run_key=run_key,
    )


def _require_promotion(move: Move, ledger: Ledger, *, force: bool) -> Move:
    """Return the move; if only force allows it, its reason also holds the gate's decision.

    Raises:
        NeverPromotedError: the gate never promoted the version, and `force` is not set.
    """
    moves = ledger.moves()
    if move.to_version in promoted_versions(moves):
        return move
    refusal = refusal_of(moves, move.to_version)
    said = (
        f"the gate has not judged version {move.to_version}."
        if refusal is None
        else f"the gate refused version {move.to_version}: {refusal.reason}"
    )
    if not force:
        raise NeverPromotedError(
            f"{said} To make this version champion of {move.model_name} all the same, ask with --force "
            "(parameter force of the DAG rollback_model)"
        )
    return replace(move, reason=f"{move.reason} {_FORCED}{said}")


def _say_forced(move: Move, ledger: Ledger, registry: Registry) -> None:
    """Let the card of a version say that force made it champion, if the gate never promoted it."""
    if move.to_version in promoted_versions(ledger.moves()):
        return
    report = stored_report(move.run_id, registry)
    decision = registry.read_text(move.run_id, DECISION)
    if report is None or decision is None:
        registry.describe_version(move.to_version, forced_sentence(move))
        return
    plan = registry.plan_of(move.run_id)
    log_card(
        move.to_version, plan, report, Decision.from_json(decision), registry, forced=forced_sentence(move)
    )


def forced_sentence(move: Move) -> str:
    """Return who made the version champion by force, when and why."""
    moment = f"{move.moved_at:%Y-%m-%d %H:%M} UTC"
    return f"{move.actor} made this version champion by force on {moment}: {move.reason}"


def _finish_interrupted(
    ledger: Ledger, registry: Registry, to_version: str | None, reason: str, request_id: str | None
) -> Move | None:
    """Finish an interrupted move, and return it if it belongs to this request.

    With a request_id, the move of that id in the ledger belongs to this request. Without a request_id, the
    last row of the ledger does if it is a rollback with the same reason whose aliases were not all set.
    """
    moves = ledger.moves()
    before = registry.aliases()
    after = sync_aliases(ledger.lake, registry)
    if request_id:
        return ledger.find(f"rollback/{request_id}")
    interrupted = any(before.get(alias) != version for alias, version in after.items())
    last = moves[-1] if moves else None
    if interrupted and last and last.action == ROLLBACK and last.reason.partition(f" {_FORCED}")[0] == reason:
        return last if to_version in (None, last.to_version) else None
    return None


def _report(ledger: Ledger, move: Move, after: Standing, *, dry_run: bool, moved: bool) -> RollbackReport:
    return RollbackReport(
        model_name=move.model_name,
        from_version=move.from_version,
        to_version=move.to_version,
        previous=after.previous,
        reason=move.reason,
        actor=move.actor,
        dry_run=dry_run,
        forced=move.to_version not in promoted_versions(ledger.moves()),
        moved=moved,
    )
