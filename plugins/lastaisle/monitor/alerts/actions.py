"""What open alerts start by rule: a rollback, or a training. Nothing is started unless a rule says so.

A rule's part of the configuration names its action. An action happens once in an episode of an alert: its
request names the alert and the episode. A silenced alert starts nothing, since people know of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lastaisle.errors import LastaisleError
from lastaisle.monitor.alerts.log import read_alerts
from lastaisle.registry.ledger import PROMOTE, Ledger, LedgerConflictError, Move, returns, standing
from lastaisle.release.rollback import rollback

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.monitor.alerts.config import AlertConfig
    from lastaisle.monitor.alerts.model import Alert
    from lastaisle.registry.registry import Registry

ROLL_BACK: Final = "rollback"
RETRAIN: Final = "retrain"
#: Alerts name the hour in which they began: a version of the same hour may be to blame.
_HOUR: Final = timedelta(hours=1)
#: An alert starts a training within this time after it was raised, or not at all.
_TRAINS_WITHIN: Final = timedelta(days=1)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Action:
    """What an alert starts.

    Attributes:
        alert: the id of the alert.
        rule: the rule of the alert.
        action: rollback or retrain.
        request: names the alert and its episode: the same request acts once.
        sentence: what was done, what would be done in a dry run, or why nothing is done.
        acted: whether this call moved a version; of a training, whether one is to be started.
    """

    alert: str
    rule: str
    action: str
    request: str
    sentence: str
    acted: bool


@dataclass(frozen=True)
class ActionReport:
    """What all alerts started.

    Attributes:
        actions: an action an alert whose rule names one.
        training: the training to start: the keys `run_id` and `note`; None = none. A run of the DAG
            retrain_full with this id starts it once.
    """

    actions: tuple[Action, ...]
    training: dict[str, str] | None = None

    def lines(self) -> list[str]:
        """Return the report in sentences, the training with the command that starts it."""
        told = [
            f"alert {one.alert} ({one.rule}): {one.sentence}" for one in self.actions if one.action != RETRAIN
        ]
        if self.training is not None:
            told.append(
                f"{self.training['note']} Airflow starts retrain_full; without Airflow run `lastaisle train`."
            )
        return told

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it."""
        return {"actions": [asdict(one) for one in self.actions], "training": self.training}


def act(
    lake: Lake,
    registry: Callable[[], Registry],
    config: AlertConfig,
    *,
    dry_run: bool = True,
    now: datetime | None = None,
) -> ActionReport:
    """Roll back, and say which training is to be started, as the rules of the open alerts name it.

    A second call does nothing more. A killed call is called again.

    Args:
        lake: where the alerts and the ledger are.
        registry: opens the registry, where the versions are.
        config: which rule has which action.
        dry_run: say what would be done, and do nothing.
        now: the moment; the present by default.

    Raises:
        ExceptionGroup: rollbacks that failed; all other actions were carried out before.
    """
    now = now or datetime.now(UTC)
    actions, failures = [], []
    training: tuple[int, dict[str, str]] | None = None
    for alert in read_alerts(lake).open(now):
        action = config.options_of(alert.rule).action
        if action is None:
            continue
        if alert.silence is not None:
            reason = (
                f"Nothing is started: the alert is silenced until {alert.silence.until:%Y-%m-%d %H:%M} UTC."
            )
            actions.append(_action(alert, action, reason))
        elif action == RETRAIN:
            due = now - alert.raised_at <= _TRAINS_WITHIN
            if due and (training is None or alert.episode > training[0]):
                training = (alert.episode, {"run_id": _request(alert), "note": _note(alert)})
            late = "No training is started: the alert was raised more than a day ago."
            actions.append(_action(alert, action, _note(alert) if due else late, acted=due))
        else:
            try:
                actions.append(_roll_back(alert, lake, registry(), dry_run=dry_run))
            except LastaisleError as failed:
                logger.error("Alert %s (%s) cannot roll back: %s", alert.id, alert.rule, failed)
                failures.append(failed)
    if failures:
        raise ExceptionGroup("rollbacks that alerts started failed", failures)
    return ActionReport(tuple(actions), None if training is None else training[1])


def _roll_back(alert: Alert, lake: Lake, registry: Registry, *, dry_run: bool) -> Action:
    """Roll the champion back because of an alert, if the champion may be to blame."""
    moves = Ledger(lake, registry.model_name).moves()
    request = _request(alert)
    done = next((move for move in moves if move.move_id == f"rollback/{request}"), None)
    if done is None and (excuse := _excuse(alert, moves)):
        return _action(alert, ROLL_BACK, f"No rollback. {excuse}")
    champion = standing(moves).champion
    if dry_run:
        would = f"Version {champion} would be rolled back to version {standing(moves).previous}."
        return _action(alert, ROLL_BACK, _already(done) if done else would)
    try:
        # A rollback that was killed is finished by the same request: aliases and card follow the ledger.
        report = rollback(
            lake,
            registry,
            reason=alert.summary,
            actor=f"alert {alert.id} ({alert.rule})",
            dry_run=False,
            request_id=request,
            leaving=champion if done is None else None,
        )
    except LedgerConflictError as overtaken:
        return _action(alert, ROLL_BACK, f"No rollback. {overtaken}.")
    if done is not None:
        return _action(alert, ROLL_BACK, _already(done))
    sentence = f"Version {report.from_version} was rolled back to version {report.to_version}."
    logger.error("Alert %s (%s): %s %s", alert.id, alert.rule, sentence, alert.summary)
    return _action(alert, ROLL_BACK, sentence, acted=True)


def _excuse(alert: Alert, moves: Sequence[Move]) -> str:
    """Return why the champion is not to blame, or cannot be left; empty if neither."""
    last = next((move for move in reversed(moves) if move.action == PROMOTE or returns(move)), None)
    now = standing(moves)
    if last is None or now.champion is None:
        return "No version serves."
    if returns(last):
        return (
            f"Version {last.to_version} serves because {last.actor} returned to it: alerts never roll back "
            "to and fro."
        )
    if now.previous is None:
        return f"No version served before version {now.champion}: there is no version to return to."
    if alert.since + _HOUR <= last.moved_at:
        return (
            f"The alert began at {alert.since:%Y-%m-%d %H:%M} UTC, before version {now.champion} became "
            f"champion at {last.moved_at:%Y-%m-%d %H:%M} UTC: a rollback would not help."
        )
    return ""


def _already(done: Move) -> str:
    return (
        f"Version {done.from_version} was rolled back to version {done.to_version} at "
        f"{done.moved_at:%Y-%m-%d %H:%M} UTC."
    )


def _request(alert: Alert) -> str:
    return f"alert_{alert.id}_{alert.episode}"


def _note(alert: Alert) -> str:
    return f"Started by alert {alert.id} ({alert.rule}): {alert.summary}"


def _action(alert: Alert, action: str, sentence: str, *, acted: bool = False) -> Action:
    return Action(alert.id, alert.rule, action, _request(alert), sentence, acted)
