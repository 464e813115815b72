"""Let the shadow and the canary take their next step, by the rules.

The ledger gets the row first. The aliases and the table `traffic` follow from the ledger, so that a run that
was killed is finished by the next one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final

from lastaisle.baseline.hours import hour_of, trial_of
from lastaisle.evaluation.report import stored_report
from lastaisle.experiments.traffic import read_traffic
from lastaisle.registry.ledger import CANARY, PROMOTE, RETIRE, SHADOW, Ledger, Move, standing
from lastaisle.release.decision_table import COLUMNS, as_text, rows_of
from lastaisle.release.gate import BROKEN, Check, Decision, decide
from lastaisle.release.guardrails.canary import arms_of
from lastaisle.release.release import sync_aliases
from lastaisle.release.steps.follow import share_check
from lastaisle.release.steps.judge import StepJudgement, judge_canary, judge_shadow
from models.stored import DamagedModelError

if TYPE_CHECKING:
    from lastaisle.baseline.hours import ShopHours
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from lastaisle.release.gate import GateRules
    from lastaisle.release.steps.rules import ReleaseRules

TABLES: Final = "release/steps"
"""The folder of the decision tables among the artifacts of a run."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Advance:
    """Moves the canary and the shadow.

    Attributes:
        lake: where the ledger and the figures are.
        registry: where the versions are.
        rules: the rules of the steps.
        gate: the rules of the gate, by the settings.
        shop: the figures by hour; None = there are none yet.
        actor: the person or DAG run that watches.
        now: the present, by the clock of the services.
    """

    lake: Lake
    registry: Registry
    rules: ReleaseRules
    gate: GateRules
    shop: ShopHours | None
    actor: str
    now: datetime

    @cached_property
    def _ledger(self) -> Ledger:
        return Ledger(self.lake, self.registry.model_name)

    def run(self, steps: Sequence[str] = (CANARY, SHADOW)) -> list[StepJudgement]:
        """Judge the canary and then the shadow, and move each to its next step, or retire it.

        Args:
            steps: the steps that are judged.

        Returns:
            The judgements; none where there is neither a shadow nor a canary.
        """
        judged = []
        for step in steps:
            moves = self._ledger.moves()
            version = standing(moves).aliases[step]
            if version is None:
                continue
            began = next(
                move for move in reversed(moves) if (move.action, move.to_version) == (step, version)
            )
            judgement = self._before_the_next(self._judge(began), began)
            _tell(judgement, began, self.registry)
            if judgement.outcome != "wait":
                self._ledger.write(self._move_after(judgement, began))
                sync_aliases(self.lake, self.registry)
            judged.append(judgement)
        return judged

    def _judge(self, began: Move) -> StepJudgement:
        """Judge the shadow, or the canary."""
        if began.action == SHADOW:
            return judge_shadow(
                self.lake, began.to_version, self.rules.steps.shadow, began.moved_at, self.now
            )
        version, step = began.to_version, self.rules.steps.canary
        champion = self._ledger.standing().champion
        if champion is None or step is None:
            reason = "No version serves." if champion is None else "The rules no longer ask for a canary."
            return StepJudgement(version, CANARY, (), "go_on", reason)
        trial = read_traffic(self.lake).newest().get(trial_of(version))
        if self.shop is None or trial is None:
            return StepJudgement(version, CANARY, (), "wait", "The shop has no figures yet.")
        arms = arms_of(self.shop, version, champion, hour_of(trial.trial.starts_at))
        return judge_canary(self.lake, arms, step, self.rules.guardrails, began.moved_at)

    def _before_the_next(self, judgement: StepJudgement, began: Move) -> StepJudgement:
        """Ask before the next step begins: for a free place, whole files, and the evaluation."""
        if judgement.outcome != "go_on":
            return judgement
        following, canary = self._following(judgement.step), self._ledger.standing().canary
        if following == CANARY and canary is not None:
            return replace(judgement, outcome="wait", reason=f"Version {canary} is the canary still.")
        try:
            self.registry.require_digest(judgement.version, self._ledger.digest_of(judgement.version))
        except DamagedModelError as damaged:
            checks: tuple[Check, ...] = (Check("whole", passed=False, reason=str(damaged)),)
        else:
            checks = self._offline(began, following)
        faults = " ".join(check.reason for check in checks if check.says == BROKEN)
        judgement = replace(judgement, checks=(*judgement.checks, *checks))
        return replace(judgement, outcome="retire", reason=faults) if faults else judgement

    def _following(self, step: str) -> str:
        """Return the step after a step."""
        return CANARY if step == SHADOW and self.rules.steps.canary is not None else "champion"

    def _offline(self, began: Move, following: str) -> tuple[Check, ...]:
        """Return what the rules before the next step say of the evaluation; nothing if they ask nothing."""
        report = stored_report(began.run_id, self.registry) if self.rules.asks_offline(following) else None
        if report is None:
            return ()
        asked = self.rules.gate(self.gate, following).on(report, self.registry.plan_of(began.run_id))
        hours = (report.evaluated_to - report.evaluated_from).total_seconds() / 3600
        return decide(
            report.candidate,
            report.champion,
            asked,
            report.quarantined,
            refused_files=report.refused_files,
            anchor=report.anchor,
            hours=hours,
        ).checks

    def _move_after(self, judgement: StepJudgement, began: Move) -> Move:
        """Return the move that a judgement asks for."""
        present, version = self._ledger.standing(), judgement.version
        checks, action, alias, holder = judgement.checks, PROMOTE, "champion", present.champion
        canary = self.rules.steps.canary
        if judgement.outcome == "retire":
            action, alias, holder = RETIRE, judgement.step, version
        elif self._following(judgement.step) == CANARY and canary is not None:
            action, alias, holder = CANARY, CANARY, present.canary
            checks = (*checks, share_check(canary.share, "shoppers"))
        return Move(
            move_id=f"{began.move_id}/{action}",
            moved_at=datetime.now(UTC),
            actor=self.actor,
            action=action,
            model_name=began.model_name,
            alias=alias,
            from_version=holder,
            to_version=version,
            reason=judgement.reason,
            run_id=began.run_id,
            run_key=began.run_key,
            decision=Decision(action != RETIRE, checks).to_json(),
        )


def make_room(
    lake: Lake, registry: Registry, rules: ReleaseRules, gate: GateRules, *, actor: str
) -> list[StepJudgement]:
    """Let a shadow that has kept its rules become canary, before a newer candidate takes its place.

    Otherwise trainings that end before each look of `watch_releases` would replace one shadow after another.
    The champion does not move: without a canary among the steps, nothing is done.

    Returns:
        The judgement of the shadow; none where there is none.
    """
    if rules.steps.shadow is None or rules.steps.canary is None:
        return []
    now = datetime.now(UTC)
    advance = Advance(lake=lake, registry=registry, rules=rules, gate=gate, shop=None, actor=actor, now=now)
    return advance.run((SHADOW,))


def _tell(judgement: StepJudgement, began: Move, registry: Registry) -> None:
    """Write the decision table into the log, and into the run in MLflow."""
    version, step = judgement.version, judgement.step
    logger.info("%s, version %s: %s. %s", step, version, judgement.outcome, judgement.reason)
    if judgement.checks:
        logger.info("Decision table of %s, version %s:\n%s", step, version, as_text(judgement.checks))
        if judgement.outcome != "wait":
            registry.log_table(
                began.run_id, COLUMNS, rows_of(judgement.checks), f"{TABLES}/{step}-{version}.json"
            )
