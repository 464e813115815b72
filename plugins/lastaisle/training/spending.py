"""What a private training spends: refused without room, else written before its weights are seen."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from lastaisle.lake.errors import LakeConflictError
from lastaisle.lake.retries import retry_overtaken
from lastaisle.lake.tables import PRIVACY_SPENT
from lastaisle.privacy.budget.budget import planned_spending, require_room, usual_unit
from lastaisle.privacy.budget.spent import Spending, read_spendings, record
from lastaisle.registry.tags import DELTA, EPSILON, MECHANISM
from lastaisle.sessions.windows import oldest_event
from models.private.accounting import epsilon_of
from models.private.mechanism import Mechanism

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.registry.registry import Registry
    from lastaisle.settings.sections import PrivacySettings

EPSILON_METRIC: Final = "privacy_epsilon"
DELTA_METRIC: Final = "privacy_delta"
YEAR_METRIC: Final = "privacy_epsilon_year"

logger = logging.getLogger(__name__)


def require_planned(plan: TrainingPlan, lake: Lake, privacy: PrivacySettings) -> None:
    """Refuse a private training for which the budget has no room, before it starts.

    A training that has spent already is not refused: a second call finds its finished run.

    Raises:
        BudgetSpentError: the budget has no room.
    """
    epsilon = plan.options.get("epsilon")
    if epsilon is None or not privacy.epsilon:
        return
    if any(one.run_key == plan.run_key for one in read_spendings(lake)):
        return
    planned = planned_spending(
        run_key=plan.run_key,
        epsilon=float(epsilon),
        delta=float(plan.options["delta"]),
        window=events_read(plan, lake),
        unit=usual_unit(lake),
        now=datetime.now(UTC),
    )
    require_room(lake, privacy, planned)


def spend(plan: TrainingPlan, mechanism: Mechanism, run_id: str, lake: Lake, registry: Registry) -> None:
    """Write what a training spends, before its metrics and weights leave the process.

    So no kill can lose a spending: what anybody may have seen was written before. A process that dies between
    the row and the weights has spent for nothing, and the repeated training spends again.

    Args:
        plan: the training.
        mechanism: what it will release.
        run_id: its MLflow run.
        lake: where `privacy_spent` and `events` are.
        registry: where the run is, with the budget.

    Raises:
        BudgetSpentError: the budget has no room for what the training really spends.
        LakeConflictError: other trainings spent at every attempt.
    """
    spending = _spending(plan, mechanism, run_id, lake, datetime.now(UTC))
    lost = f"{plan.run_key}: other trainings spent at every attempt; run again"
    retry_overtaken(lost, LakeConflictError)(lambda: _record_if_room(lake, registry.privacy, spending))
    registry.set_tag(run_id, MECHANISM, json.dumps(mechanism.to_dict(), sort_keys=True))
    registry.set_tag(run_id, EPSILON, f"{spending.epsilon:.6g}")
    registry.set_tag(run_id, DELTA, f"{spending.delta:.6g}")
    registry.log_metrics(run_id, {EPSILON_METRIC: spending.epsilon, DELTA_METRIC: spending.delta})


def _record_if_room(lake: Lake, privacy: PrivacySettings, spending: Spending) -> None:
    """Write a spending, if no other training spent since the budget was asked; two cannot share its rest."""
    version = lake.version(PRIVACY_SPENT)
    require_room(lake, privacy, spending)
    record(lake, spending, if_version=-1 if version is None else version)


def restore(run_id: str, lake: Lake, registry: Registry) -> bool:
    """Write the row of a private run that the table has lost, by the run; return whether it was lost.

    A lake that was restored from an older backup has lost rows. The run in MLflow says what was released.
    """
    tags = registry.tags(run_id)
    if MECHANISM not in tags or any(one.run_id == run_id for one in read_spendings(lake)):
        return False
    mechanism = Mechanism.from_dict(json.loads(tags[MECHANISM]))
    ended = datetime.fromtimestamp(registry.times(run_id)[1] / 1000, UTC)
    logger.warning("the table privacy_spent had no row of run %s: it is written again", run_id)
    return record(lake, _spending(registry.plan_of(run_id), mechanism, run_id, lake, ended))


def _spending(
    plan: TrainingPlan, mechanism: Mechanism, run_id: str, lake: Lake, finished_at: datetime
) -> Spending:
    start, end = events_read(plan, lake)
    delta = float(plan.options["delta"])
    return Spending(
        run_key=plan.run_key,
        run_id=run_id,
        model_name=plan.model_name,
        architecture=plan.architecture,
        unit=mechanism.unit,
        window_start=start,
        window_end=end,
        shoppers=mechanism.shoppers,
        mechanism=mechanism,
        epsilon=epsilon_of([mechanism], delta).epsilon,
        delta=delta,
        finished_at=finished_at,
    )


def events_read(plan: TrainingPlan, lake: Lake) -> tuple[datetime, datetime]:
    """Return the stretch of events that a training can read: replayed sessions and waiting checkouts too."""
    start = plan.window.start
    if plan.warm_start_version is not None:
        start -= timedelta(hours=plan.replay_hours)
    end = plan.holdout_end if plan.kind == "refresh" else plan.window.end
    return max(start, oldest_event(lake)), end
