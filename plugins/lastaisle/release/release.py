"""Release a candidate: register it, ask the gate, and set the aliases to what the ledger says."""

from __future__ import annotations

import dataclasses
import getpass
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.evaluation.report import stored_report
from lastaisle.lake.errors import LakeConflictError
from lastaisle.lake.retries import ATTEMPTS, retry_overtaken
from lastaisle.registry.ledger import (
    PROMOTE,
    REFUSE,
    REGISTER,
    Ledger,
    LedgerConflictError,
    Move,
    decision_on,
    standing,
)
from lastaisle.registry.lineage import Lineage
from lastaisle.registry.losses import present_standing
from lastaisle.registry.tags import CONTRACT_VERSION, DIGEST
from lastaisle.release.anchor import later_differences, move_anchor
from lastaisle.release.by_hand import tell_hand_moves
from lastaisle.release.card.page import log_card
from lastaisle.release.decision_table import COLUMNS, TABLE, rows_of
from lastaisle.release.decisions import DECISION, stored_decision
from lastaisle.release.description import tell_states
from lastaisle.release.gate import Check, Decision, GateRules, decide
from lastaisle.release.online import online_alias
from lastaisle.release.opens import opens
from lastaisle.release.privacy import judge_privacy
from lastaisle.release.public.log import log_public_text
from lastaisle.release.steps.enter import first_move
from lastaisle.release.steps.follow import sync_traffic
from lastaisle.release.steps.rules import ReleaseRules

if TYPE_CHECKING:
    from lastaisle.evaluation.report import EvaluationReport
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.plan import Champion, TrainingPlan
    from lastaisle.registry.registry import Registry
    from lastaisle.release.approval import Approval

logger = logging.getLogger(__name__)


class RolledBackError(LastaisleError):
    """A candidate whose version, or the version that it started from, was rolled back."""

    exit_code = ExitCode.ROLLED_BACK


class OlderTrainingError(LastaisleError):
    """A candidate whose window ends before the window that the champion has learned."""

    exit_code = ExitCode.OLDER_TRAINING


class NotEvaluatedError(LastaisleError):
    """A candidate has no evaluation against the current champion by the lists that services get."""

    exit_code = ExitCode.NOT_EVALUATED


def current_champion(lake: Lake, registry: Registry) -> Champion | None:
    """Return the version that serves, after finishing any interrupted move."""
    version = sync_aliases(lake, registry).get("champion")
    return None if version is None else registry.champion(version)


def sync_aliases(lake: Lake, registry: Registry, *, artifacts_gone: bool = False) -> dict[str, str | None]:
    """Set the registry's aliases and the table `traffic` to what the ledger says, and return the aliases.

    This finishes a release that was killed after it wrote its row and before it set its aliases. An alias
    that somebody moved in MLflow is put back or adopted, and the ledger gets a row that says so. If a version
    is gone from MLflow, the ledger gets a row, too, and the newest former champion that is left serves. If
    the alias `online` names online updates of another champion, it moves to the champion.

    Args:
        lake: where the ledger is.
        registry: where the versions and their aliases are.
        artifacts_gone: count the versions as lost also if MLflow's whole folder of artifacts is missing.

    Raises:
        ArtifactsUnreachableError: that folder is missing or empty, and `artifacts_gone` is not set.
        LakeConflictError: other processes moved versions at every attempt.
    """
    ledger = Ledger(lake, registry.model_name)
    lost = f"{registry.model_name}: other processes moved versions in {ATTEMPTS} attempts; run again"
    attempts = retry_overtaken(lost, LakeConflictError, LedgerConflictError)
    return dict(attempts(lambda: _sync_once(ledger, registry, artifacts_gone)))


def _sync_once(ledger: Ledger, registry: Registry, artifacts_gone: bool) -> dict[str, str | None]:
    """Set the aliases once.

    Raises:
        LakeConflictError: another process wrote a move meanwhile, so that these aliases may be too old.
    """
    present_standing(ledger, registry, artifacts_gone=artifacts_gone)
    tell_hand_moves(ledger, registry)
    moves = ledger.moves()
    wanted = standing(moves).aliases
    if not moves:
        return wanted
    wanted |= online_alias(registry, wanted["champion"])
    for alias, version in registry.set_aliases(wanted).items():
        logger.info("%s@%s is now version %s", registry.model_name, alias, version)
    sync_traffic(ledger.lake, moves)
    registry.mark_aliases(moves[-1].move_id)
    if not registry.are_states_told(moves[-1].move_id) and tell_states(moves, registry):
        registry.mark_states_told(moves[-1].move_id)
    if ledger.moves()[-1] != moves[-1]:
        raise LakeConflictError(f"another process moved a version of {registry.model_name} meanwhile")
    return wanted


def release_candidate(
    run_id: str,
    lake: Lake,
    registry: Registry,
    *,
    actor: str | None = None,
    rules: GateRules | None = None,
    steps: ReleaseRules | None = None,
    allow_older: bool = False,
    approval: Approval | None = None,
) -> Decision:
    """Register the candidate of a run as challenger, and let it take its first step if it passes the gate.

    The ledger holds every move before the registry makes it. A second call for the same run moves nothing,
    and returns the same decision. If the run's version was lost since, the call registers the run again.

    Args:
        run_id: the run of the candidate.
        lake: where the ledger is.
        registry: where the models are.
        actor: the person or DAG run that releases; default the user of this process.
        rules: the rules of the gate; default `GateRules()`.
        steps: the steps of the release; by default a candidate that passes becomes champion at once.
        allow_older: also release a candidate whose window ends before the champion's.
        approval: what people answered who were asked about the release; None = nobody was asked.

    Raises:
        RolledBackError: the candidate's version, or the version that it started from, was rolled back.
        OlderTrainingError: the champion has learned newer hours, and `allow_older` is not set.
        NotEvaluatedError: the candidate has no evaluation, was compared with a former champion, or was
            judged by other lists than services now get (LASTAISLE_EXCLUDE_SEEN).
        ApprovalOutdatedError: people were asked about the comparison with a former champion.
    """
    ledger = Ledger(lake, registry.model_name)
    champion = current_champion(lake, registry)
    plan = registry.plan_of(run_id)
    steps = steps or ReleaseRules()
    actor, rules = actor or getpass.getuser(), steps.gate(rules or GateRules())
    made = decision_on(ledger.moves(), run_id)
    if made is not None:
        _refuse_rolled_back(made.to_version, f"version {made.to_version}, which is of run {run_id},", ledger)
        _finish(run_id, ledger, registry, rules, actor)
        return _stored_decision(made, registry)
    if plan.warm_start_version is not None:
        start = f"version {plan.warm_start_version}, from which run {run_id} started,"
        _refuse_rolled_back(plan.warm_start_version, start, ledger)
    if champion is not None and not allow_older:
        _refuse_older(run_id, plan, champion)
    try:
        return _decide(
            run_id, plan, ledger, registry, actor=actor, rules=rules, steps=steps, approval=approval
        )
    except (NotEvaluatedError, LedgerConflictError, LakeConflictError):
        made = decision_on(ledger.moves(), run_id)
        if made is None:
            raise
        return _stored_decision(made, registry)  # another process released the same run meanwhile


def _refuse_rolled_back(version: str, named: str, ledger: Ledger) -> None:
    """Refuse a version that a rollback took out of service, or that learned on from such a version."""
    found = Lineage(ledger.lake, ledger.moves()).rolled_back(version)
    if found is not None:
        ancestor, back = found
        learned = "" if ancestor == version else f" learned on from version {ancestor}, which"
        raise RolledBackError(
            f"{named}{learned} was rolled back on {back.moved_at:%Y-%m-%d %H:%M} UTC by {back.actor} to "
            f"version {back.to_version} ({back.reason}): nothing was moved. Train newer hours from the "
            f"version that serves now. To make version {version} champion again on purpose: "
            f"lastaisle rollback --to-version {version} --reason REASON --no-dry-run"
        )


def _refuse_older(run_id: str, plan: TrainingPlan, champion: Champion) -> None:
    """Refuse a candidate that has learned up to an earlier moment than the champion."""
    if plan.window.end < champion.window_end:
        raise OlderTrainingError(
            f"run {run_id} has learned up to {plan.window.end.isoformat()}, but champion version "
            f"{champion.version} up to {champion.window_end.isoformat()}: nothing was moved. Train again up "
            "to a newer moment, or allow the older training: --allow-older (parameter allow_older of the DAG "
            "retrain_full)"
        )


def _stored_decision(made: Move, registry: Registry) -> Decision:
    """Return the decision that the gate made once; without its file, the reasons in the ledger."""
    promoted = made.action != REFUSE
    return stored_decision(made, registry) or Decision(promoted, (Check("ledger", promoted, made.reason),))


def _decide(
    run_id: str,
    plan: TrainingPlan,
    ledger: Ledger,
    registry: Registry,
    *,
    actor: str,
    rules: GateRules,
    steps: ReleaseRules,
    approval: Approval | None,
) -> Decision:
    """Register the candidate, ask the gate, and write its decision into the ledger."""
    report = report_of(run_id, ledger, registry)
    if approval is not None:
        approval.refuse_outdated(report.champion_version)
    version = _register(run_id, report, actor, ledger, registry)
    rules = rules.on(report, plan)
    opened = opens(version, plan, report, ledger, registry)
    decision = offline_decision(report, rules, ledger, registry)
    for check in (opened, None if approval is None else approval.check()):
        decision = _with(decision, check)
    entry = first_move(decision, steps, ledger.standing())
    decision = entry.decision
    registry.log_text(run_id, decision.to_json(), DECISION)
    registry.log_table(run_id, COLUMNS, rows_of(decision.checks), TABLE)
    registry.set_version_tags(version, {"lastaisle.decision": PROMOTE if decision.promote else REFUSE})
    log_card(version, plan, report, decision, registry)
    log_public_text(version, registry)
    ledger.write(
        Move(
            move_id=f"{plan.run_key}/{run_id}/{version}/decide",
            moved_at=datetime.now(UTC),
            actor=actor,
            action=entry.action,
            model_name=registry.model_name,
            alias=entry.alias,
            from_version=entry.from_version,
            to_version=version,
            reason=" ".join([entry.reason, *decision.reasons]).strip(),
            run_id=run_id,
            run_key=plan.run_key,
            decision=decision.to_json(),
        )
    )
    _finish(run_id, ledger, registry, rules, actor)
    return decision


def offline_decision(
    report: EvaluationReport, rules: GateRules, ledger: Ledger, registry: Registry
) -> Decision:
    """Return what the gate says of an evaluation, before the version is registered and opened."""
    decision = decide(
        report.candidate,
        report.champion,
        rules,
        report.quarantined,
        refused_files=report.refused_files,
        anchor=report.anchor,
        later=later_differences(report, ledger.moves(), registry, rules),
        hours=(report.evaluated_to - report.evaluated_from).total_seconds() / 3600,
    )
    return _with(decision, judge_privacy(report.run_id, ledger.lake, registry))


def _with(decision: Decision, check: Check | None) -> Decision:
    """Return a decision with a further check: last if it passed, first if it refuses."""
    if check is None:
        return decision
    if check.passed:
        return dataclasses.replace(decision, checks=(*decision.checks, check))
    return Decision(False, (check, *decision.checks))


def _finish(run_id: str, ledger: Ledger, registry: Registry, rules: GateRules, actor: str) -> None:
    """Move the anchor, if it has to move after the decision on this run, and set the aliases."""
    report = stored_report(run_id, registry)
    if report is not None:
        move_anchor(report, ledger, registry, rules, actor=actor)
    sync_aliases(ledger.lake, registry)


def report_of(run_id: str, ledger: Ledger, registry: Registry) -> EvaluationReport:
    """Return the stored report, if it is about the present champion and the lists that services get.

    Raises:
        NotEvaluatedError: there is no such report.
    """
    report = stored_report(run_id, registry)
    champion = ledger.standing().champion
    if report is None:
        raise NotEvaluatedError(f"run {run_id} has no evaluation: evaluate it before its release")
    if report.champion_version != champion:
        raise NotEvaluatedError(
            f"run {run_id} was evaluated against champion version {report.champion_version}, but now version "
            f"{champion} is champion: evaluate the run again"
        )
    if report.served != registry.served:
        raise NotEvaluatedError(
            f"run {run_id} was judged by the lists of the objective {report.served}, but by "
            f"LASTAISLE_EXCLUDE_SEEN services now get those of {registry.served}: evaluate the run again"
        )
    return report


def _register(run_id: str, report: EvaluationReport, actor: str, ledger: Ledger, registry: Registry) -> str:
    """Register the run's model once, and write it into the ledger as challenger."""
    run_key = report.run_key
    tags = registry.tags(run_id)
    digest = tags.get(DIGEST)
    version = registry.register(
        run_id,
        {
            "run_key": run_key,
            "lastaisle.kind": tags["lastaisle.kind"],
            "lastaisle.window_end": tags["lastaisle.window_end"],
            CONTRACT_VERSION: tags[CONTRACT_VERSION],
            **({DIGEST: digest} if digest else {}),
        },
    )
    ledger.write(
        Move(
            move_id=f"{run_key}/{run_id}/{version}/register",
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
            digest=digest,
        )
    )
    sync_aliases(ledger.lake, registry)
    return version
