"""What a private training spends: refused without room, else written before its weights are seen."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from lastaisle.privacy.budget.budget import planned_spending, require_room, usual_unit
from lastaisle.privacy.budget.spent import Spending, read_spendings, record
from lastaisle.registry.tags import DELTA, EPSILON, MECHANISM
from lastaisle.sessions.windows import oldest_event
from models.private.accounting import epsilon_of

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.registry.registry import Registry
    from lastaisle.settings.sections import PrivacySettings
    from models.private.mechanism import Mechanism

EPSILON_METRIC: Final = "privacy_epsilon"
DELTA_METRIC: Final = "privacy_delta"
YEAR_METRIC: Final = "privacy_epsilon_year"


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
    """
    spending = _spending(plan, mechanism, run_id, lake)
    require_room(lake, registry.privacy, spending)
    registry.set_tag(run_id, MECHANISM, json.dumps(mechanism.to_dict(), sort_keys=True))
    registry.set_tag(run_id, EPSILON, f"{spending.epsilon:.6g}")
    registry.set_tag(run_id, DELTA, f"{spending.delta:.6g}")
    registry.log_metrics(run_id, {EPSILON_METRIC: spending.epsilon, DELTA_METRIC: spending.delta})
    record(lake, spending)


def _spending(plan: TrainingPlan, mechanism: Mechanism, run_id: str, lake: Lake) -> Spending:
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
        finished_at=datetime.now(UTC),
    )


def events_read(plan: TrainingPlan, lake: Lake) -> tuple[datetime, datetime]:
    """Return the stretch of events that a training can read: replayed sessions and waiting checkouts too."""
    start = plan.window.start
    if plan.warm_start_version is not None:
        start -= timedelta(hours=plan.replay_hours)
    end = plan.holdout_end if plan.kind == "refresh" else plan.window.end
    return max(start, oldest_event(lake)), end
