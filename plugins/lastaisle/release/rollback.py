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
from lastaisle.evaluation.report import stored_report
from lastaisle.lake.retries import ATTEMPTS, retry_overtaken
from lastaisle.registry.ledger import (
    ROLLBACK,
    Ledger,
    LedgerConflictError,
    Move,
    Standing,
    promoted_versions,
    refusal_of,
)
from lastaisle.registry.losses import expected_standing
from lastaisle.release.card.page import log_card
from lastaisle.release.decisions import DECISION
from lastaisle.release.description import shortened, with_decision
from lastaisle.release.gate import Decision
from lastaisle.release.release import sync_aliases
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
    leaving: str | None = None,
) -> RollbackReport:
    """Make an earlier version champion again.

    If another version becomes champion meanwhile, a rollback to a named version is decided again. A rollback
    to the version before the champion is not: its champion does not serve any more.

    Args:
        lake: the lake that holds the ledger.
        registry: the registry that holds the versions.
        to_version: the version to return to; default the version that served before the champion.
        reason: the reason, for the ledger; must not be empty.
        actor: the person or DAG run that asks; default the user of this process.
        dry_run: only report the move.
        force: also move to a version that the gate refused, or has not judged. The version that served before
            the champion needs no force: people gave it when they made that version champion.
        request_id: name of this request, such as a DAG run; the same request moves the champion only once.
        leaving: move only while this version is champion, so that two requests about it move once; default
            any champion.

    Raises:
        RegistryError: the version does not exist or is a version of online updates, there is no earlier
            champion, or the reason is empty.
        NeverPromotedError: the gate never promoted the version, and `force` is not set.
        DamagedModelError: the files of the version are not those that were registered.
        LedgerConflictError: `leaving` is not champion, or the champion moved meanwhile.
    """
    if not reason.strip():
        raise RegistryError("a rollback needs a reason for the ledger, received an empty text")
    request = _Request(
        to_version, reason.strip(), actor or getpass.getuser(), dry_run, force, request_id, leaving
    )
    ledger = Ledger(lake, registry.model_name)
    if not dry_run:
        done = _finish_interrupted(ledger, registry, request)
        if done is not None:
            _say_forced(done, ledger, registry)
            return _report(ledger, done, ledger.standing(), dry_run=False, moved=True)
    lost = f"other processes moved the champion in {ATTEMPTS} attempts to roll back; run again"
    overtaken = (LedgerConflictError,) if to_version and not leaving else ()
    return retry_overtaken(lost, *overtaken)(lambda: _move(request, ledger, registry))


@dataclass(frozen=True)
class _Request:
    """The arguments of `rollback`."""

    to_version: str | None
    reason: str
    actor: str
    dry_run: bool
    force: bool
    request_id: str | None
    leaving: str | None


def _move(request: _Request, ledger: Ledger, registry: Registry) -> RollbackReport:
    """Decide on the move by the present champion, and make it.

    Raises:
        LedgerConflictError: the champion moved meanwhile, or is not the version that is to be left.
    """
    before = expected_standing(ledger, registry)
    if request.leaving not in (None, before.champion):
        raise LedgerConflictError(
            f"version {request.leaving} of {registry.model_name} was to be rolled back, but version "
            f"{before.champion} serves now: nothing was moved"
        )
    move = _plan_move(before, registry, request)
    moves = move.to_version != move.from_version
    if moves:
        move = _require_promotion(move, ledger, force=request.force or request.to_version is None)
        registry.require_digest(move.to_version, ledger.digest_of(move.to_version))
    if moves and not request.dry_run:
        ledger.write(move)
        sync_aliases(ledger.lake, registry)
        _say_forced(move, ledger, registry)
    return _report(
        ledger, move, before.after(move), dry_run=request.dry_run, moved=moves and not request.dry_run
    )


def _plan_move(standing: Standing, registry: Registry, request: _Request) -> Move:
    """Return the move from the champion to the requested version, or to the version before the champion."""
    target = request.to_version or standing.previous
    if target is None:
        raise RegistryError(
            f"{registry.model_name} has no champion before version {standing.champion}: name a version"
        )
    run_id = registry.run_of(target)
    run_key = require_servable(target, run_id, registry)
    return Move(
        move_id=f"rollback/{request.request_id or uuid.uuid4()}",
        moved_at=datetime.now(UTC),
        actor=request.actor,
        action=ROLLBACK,
        model_name=registry.model_name,
        alias="champion",
        from_version=standing.champion,
        to_version=target,
        reason=request.reason,
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
        described = registry.description_of(move.to_version)
        registry.describe_version(move.to_version, with_decision(described, shortened(forced_sentence(move))))
        return
    plan = registry.plan_of(move.run_id)
    log_card(
        move.to_version, plan, report, Decision.from_json(decision), registry, forced=forced_sentence(move)
    )


def forced_sentence(move: Move) -> str:
    """Return who made the version champion by force, when and why."""
    moment = f"{move.moved_at:%Y-%m-%d %H:%M} UTC"
    return f"{move.actor} made this version champion by force on {moment}: {move.reason}"


def _finish_interrupted(ledger: Ledger, registry: Registry, request: _Request) -> Move | None:
    """Finish an interrupted move, and return it if it belongs to this request.

    With a request_id, the move of that id in the ledger belongs to this request. Without a request_id, the
    last row of the ledger does if it is a rollback with the same reason whose aliases were not all set.
    """
    moves = ledger.moves()
    before = registry.aliases()
    after = sync_aliases(ledger.lake, registry)
    if request.request_id:
        return ledger.find(f"rollback/{request.request_id}")
    interrupted = any(before.get(alias) != version for alias, version in after.items())
    last = moves[-1] if moves else None
    if not interrupted or last is None or last.action != ROLLBACK:
        return None
    same = last.reason.partition(f" {_FORCED}")[0] == request.reason
    return last if same and request.to_version in (None, last.to_version) else None


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
