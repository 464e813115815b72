"""Watch the releases: the champion by its guardrails, the canary and the shadow by the rules of steps."""

from __future__ import annotations

import getpass
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from lastaisle.baseline.hours import ShopHours, read_hours
from lastaisle.errors import NotEnoughDataError
from lastaisle.registry.ledger import (
    PROMOTE,
    RETIRE,
    Ledger,
    LedgerConflictError,
    Move,
    returns,
    rolled_back_versions,
    standing,
)
from lastaisle.release.decision_table import COLUMNS, as_text, rows_of
from lastaisle.release.gate import REPORTED, GateRules
from lastaisle.release.guardrails.champion import ChampionJudgement, held_back, judge_champion
from lastaisle.release.guardrails.reason import ROLLED_BACK
from lastaisle.release.guardrails.service import judge_service
from lastaisle.release.release import sync_aliases
from lastaisle.release.rollback import rollback
from lastaisle.release.steps.advance import Advance
from lastaisle.release.steps.rules import release_rules

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from lastaisle.release.guardrails.limits import GuardrailLimits
    from lastaisle.release.steps.judge import StepJudgement
    from lastaisle.release.steps.rules import ReleaseRules
    from lastaisle.settings import Settings

TABLE: Final = "release/guardrails.json"
"""The artifact of the champion's run with the last decision table of its guardrails."""
STEP_TAG: Final = "lastaisle.step"
REASON_TAG: Final = "lastaisle.step_reason"
_LONGEST_TAG: Final = 5000
#: The newest moves whose tags a run looks after.
_TAGGED_MOVES: Final = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WatchReport:
    """What one look at the releases found, and what it moved.

    Attributes:
        champion: what the guardrails say of the champion.
        steps: what the rules say of the canary and the shadow.
        rolled_back: the version that was rolled back; None = none.
        version: the version that serves afterwards.
        champion_moved: whether another version serves than before.
    """

    champion: ChampionJudgement
    steps: tuple[StepJudgement, ...]
    rolled_back: str | None
    version: str | None
    champion_moved: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it."""
        judged = self.champion
        return {
            "version": self.version,
            "champion_moved": self.champion_moved,
            "rolled_back": self.rolled_back,
            "guardrails": _rows(judged.checks),
            "unjudged": judged.why_unjudged,
            "held_back": judged.held_back,
            "reported": [check.reason for check in judged.checks if check.says == REPORTED],
            "steps": [
                {"version": one.version, "step": one.step, "outcome": one.outcome, "reason": one.reason}
                | {"rules": _rows(one.checks)}
                for one in self.steps
            ],
        }


def _rows(checks: Sequence[Any]) -> list[dict[str, Any]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows_of(checks)]


def watch_releases(
    lake: Lake,
    registry: Registry,
    settings: Settings,
    *,
    actor: str | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
) -> WatchReport:
    """Roll the champion back if its guardrails say so, and let the canary and the shadow take their steps.

    A second call on the same figures moves nothing more. A killed call is called again.

    Args:
        lake: where the ledger and the figures are.
        registry: where the versions are.
        settings: the settings, which name the file of release rules.
        actor: the person or DAG run that watches; default the user of this process.
        dry_run: judge the champion only, and move nothing.
        now: by the clock of the services; default the present.

    Raises:
        ReleaseRulesError: the file of release rules cannot be used. Nothing was moved.
    """
    rules, actor, now = release_rules(settings), actor or getpass.getuser(), now or datetime.now(UTC)
    ledger = Ledger(lake, registry.model_name)
    if not dry_run:
        sync_aliases(lake, registry)
        _tag(ledger.moves(), registry)
    before = ledger.standing().champion
    shop = _shop(lake, rules)
    judged = _judge(lake, ledger, shop, rules.guardrails, now)
    rolled_back = None
    if judged.asks_rollback and not dry_run:
        rolled_back = _roll_back(judged, ledger, registry, actor)
    steps: list[StepJudgement] = []
    if not dry_run:
        # After a rollback, the canary's control is another version: its hours begin anew with the next look.
        steps = Advance(
            lake=lake,
            registry=registry,
            rules=rules,
            gate=GateRules.of(settings),
            shop=shop,
            actor=actor,
            now=now,
        ).run()
        _tag(ledger.moves(), registry)
    version = ledger.standing().champion
    return WatchReport(judged, tuple(steps), rolled_back, version, version != before)


def _shop(lake: Lake, rules: ReleaseRules) -> ShopHours | None:
    """Return the figures by hour; None if there are none yet."""
    try:
        return read_hours(lake, rules.guardrails.maturity_hours)
    except NotEnoughDataError as missing:
        logger.info("The guardrails have no figures: %s", missing)
        return None


def _judge(
    lake: Lake, ledger: Ledger, shop: ShopHours | None, limits: GuardrailLimits, now: datetime
) -> ChampionJudgement:
    """Judge the champion by its shoppers and by its services."""
    moves = ledger.moves()
    if shop is None:
        why = "the shop has no figures yet: run `lastaisle attribute`."
        judged = ChampionJudgement(standing(moves).champion, None, 0, (), why_unjudged=why)
    else:
        judged = judge_champion(shop, moves, limits)
    judged = replace(
        judged,
        checks=(*judged.checks, *judge_service(lake, moves, limits, now)),
        held_back=held_back(shop, moves, limits),
    )
    if judged.checks:
        logger.info("Guardrails of version %s:\n%s", judged.version, as_text(judged.checks))
    for check in judged.checks:
        if not check.passed:
            logger.warning("%s", check.reason)
    if judged.reason and judged.held_back:
        logger.warning("No rollback follows. %s", judged.held_back)
    return judged


def _roll_back(judged: ChampionJudgement, ledger: Ledger, registry: Registry, actor: str) -> str | None:
    """Roll the champion back; return the version that had to go, None if it no longer serves."""
    began = next(move for move in reversed(ledger.moves()) if move.to_version == judged.version)
    registry.log_table(began.run_id, COLUMNS, rows_of(judged.checks), TABLE)
    try:
        report = rollback(
            ledger.lake,
            registry,
            reason=f"{ROLLED_BACK} {judged.version} back. {judged.reason}",
            actor=actor,
            dry_run=False,
            leaving=judged.version,
        )
    except LedgerConflictError as overtaken:
        logger.warning("Nothing is rolled back: %s", overtaken)
        return None
    logger.error("Rolled version %s back to version %s: %s", judged.version, report.to_version, report.reason)
    return judged.version


def _tag(moves: Sequence[Move], registry: Registry) -> None:
    """Say in MLflow what became of the versions that moved last; a run that was killed is made up for."""
    back = rolled_back_versions(moves)
    told: dict[str, tuple[str, str]] = {}
    for move in moves[-_TAGGED_MOVES:]:
        if move.action == RETIRE:
            told[move.to_version] = ("retired", move.reason)
        elif move.action == PROMOTE or returns(move):
            told.pop(move.to_version, None)
        if returns(move) and move.from_version in back:
            told[move.from_version] = ("rolled back", back[move.from_version].reason)
    for version, (step, reason) in told.items():
        if registry.find_run_of(version) is not None:
            registry.set_version_tags(version, {STEP_TAG: step, REASON_TAG: reason[:_LONGEST_TAG]})
