"""Release a candidate: register it, ask the gate, and set the aliases to what the ledger says."""

from __future__ import annotations

import dataclasses
import getpass
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.evaluation.evaluate import plan_of, stored_report
from lastaisle.registry.ledger import PROMOTE, REFUSE, REGISTER, Ledger, Move
from lastaisle.release.card.page import log_card
from lastaisle.release.gate import Decision, GateRules, decide
from lastaisle.release.online import online_alias

if TYPE_CHECKING:
    from lastaisle.evaluation.report import EvaluationReport
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.plan import Champion
    from lastaisle.registry.registry import Registry

DECISION = "release/decision.json"

logger = logging.getLogger(__name__)


class NotEvaluatedError(LastaisleError):
    """A candidate has no evaluation against the current champion."""

    exit_code = ExitCode.NOT_EVALUATED


def current_champion(lake: Lake, registry: Registry) -> Champion | None:
    """Return the version that serves, after finishing any interrupted move."""
    version = sync_aliases(lake, registry).get("champion")
    return None if version is None else registry.champion(version)


def sync_aliases(lake: Lake, registry: Registry) -> dict[str, str | None]:
    """Set the registry's aliases to what the ledger says, and return them.

    This finishes a release that was killed after it wrote its row and before it set its aliases. It also puts
    back an alias that was moved by hand: the ledger alone says which version serves. If the alias `online`
    names online updates of another champion, it moves to the champion.
    """
    wanted = Ledger(lake, registry.model_name).standing().aliases
    if not any(wanted.values()):
        return wanted
    wanted |= online_alias(registry, wanted["champion"])
    for alias, version in registry.set_aliases(wanted).items():
        logger.info("%s@%s is now version %s", registry.model_name, alias, version)
    return wanted


def release_candidate(
    run_id: str,
    lake: Lake,
    registry: Registry,
    *,
    actor: str | None = None,
    rules: GateRules | None = None,
) -> Decision:
    """Register the candidate of a run as challenger, and make it champion if the gate promotes it.

    The ledger holds every move before the registry makes it. A second call for the same training moves
    nothing, and returns the same decision.

    Raises:
        NotEvaluatedError: the candidate has no evaluation, or was compared with a former champion.
    """
    ledger = Ledger(lake, registry.model_name)
    sync_aliases(lake, registry)
    plan = plan_of(run_id, registry)
    made = registry.read_text(run_id, DECISION)
    if ledger.find(f"{plan.run_key}/decide") and made:
        return Decision.from_json(made)
    report = _report(run_id, ledger, registry)
    actor = actor or getpass.getuser()
    version = _register(run_id, report, actor, ledger, registry)
    rules = rules or GateRules()
    if plan.warm_start_version is None:
        rules = dataclasses.replace(rules, max_churn=None)
    decision = decide(report.candidate, report.champion, rules, report.quarantined)
    registry.log_text(run_id, decision.to_json(), DECISION)
    registry.set_version_tags(version, {"lastaisle.decision": PROMOTE if decision.promote else REFUSE})
    log_card(version, plan, report, decision, registry)
    ledger.write(
        Move(
            move_id=f"{plan.run_key}/decide",
            moved_at=datetime.now(UTC),
            actor=actor,
            action=PROMOTE if decision.promote else REFUSE,
            model_name=registry.model_name,
            alias="champion",
            from_version=ledger.standing().champion,
            to_version=version,
            reason=" ".join(decision.reasons),
            run_id=run_id,
            run_key=plan.run_key,
        )
    )
    sync_aliases(lake, registry)
    return decision


def _report(run_id: str, ledger: Ledger, registry: Registry) -> EvaluationReport:
    report = stored_report(run_id, registry)
    champion = ledger.standing().champion
    if report is None:
        raise NotEvaluatedError(f"run {run_id} has no evaluation: evaluate it before its release")
    if report.champion_version != champion:
        raise NotEvaluatedError(
            f"run {run_id} was evaluated against champion version {report.champion_version}, but now version "
            f"{champion} is champion: evaluate the run again"
        )
    return report


def _register(run_id: str, report: EvaluationReport, actor: str, ledger: Ledger, registry: Registry) -> str:
    """Register the run's model once, and write it into the ledger as challenger."""
    run_key = report.run_key
    tags = registry.tags(run_id)
    version = registry.register(
        run_id,
        {
            "run_key": run_key,
            "lastaisle.kind": tags["lastaisle.kind"],
            "lastaisle.window_end": tags["lastaisle.window_end"],
            "lastaisle.contract_version": tags["lastaisle.contract_version"],
        },
    )
    ledger.write(
        Move(
            move_id=f"{run_key}/register",
            moved_at=datetime.now(UTC),
            actor=actor,
            action=REGISTER,
            model_name=registry.model_name,
            alias="challenger",
            from_version=ledger.standing().challenger,
            to_version=version,
            reason=f"Trained by {run_key} and evaluated on {report.targets:,} targets.",
            run_id=run_id,
            run_key=run_key,
        )
    )
    sync_aliases(ledger.lake, registry)
    return version
