"""Plan a refresh: which abandoned checkouts wait for one, and when it may be made.

How a refresh learns is in lastaisle.training.kinds.refresh.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from lastaisle.errors import ExitCode, LastaisleError, NotEnoughDataError
from lastaisle.lake.tables import TRAINING_RUNS
from lastaisle.registry.plan import Champion, TrainingPlan
from lastaisle.sessions.abandonments import REFRESHED, Burst, mark_done, pending_burst
from lastaisle.sessions.windows import Window, newest_data_end
from lastaisle.training.kinds.refresh import Refresh
from lastaisle.training.planning import choose_learner, tables_read_by
from lastaisle.training.private import require_possible
from lastaisle.training.spending import require_planned

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings


class NothingToRefreshError(LastaisleError):
    """No version to refresh, too few abandoned checkouts, or a refresh too soon after the last."""

    exit_code = ExitCode.NOTHING_TO_TRAIN


def plan_refresh(lake: Lake, settings: Settings, champion: Champion | None) -> TrainingPlan:
    """Plan a refresh for all abandoned checkouts that have had none.

    A second plan for the same checkouts on the same champion is the same training.

    Raises:
        NothingToRefreshError: there is no champion, fewer than settings.refresh.min_sessions wait, or the
            last refresh is not settings.refresh.cooldown_minutes old. They go on waiting.
        BudgetSpentError: the privacy budget of the shoppers has no room for the refresh.
        CannotBePrivateError: the refresh has epsilon, but the champion was trained without noise.
    """
    if champion is None:
        raise NothingToRefreshError(f"{settings.registry.model_name} has no champion to refresh yet")
    burst = _require_burst(lake, settings)
    architecture, options, _ = choose_learner(None, {}, settings, champion)
    digest = hashlib.sha256("\n".join(sorted(burst.names)).encode()).hexdigest()[:12]
    run_key = f"{Refresh.name}-v{champion.version}-{digest}"
    _require_rest(lake, settings, run_key)
    start = champion.window_end - timedelta(hours=settings.learning.window_hours)
    end = newest_data_end(lake)
    plan = TrainingPlan(
        run_key=run_key,
        kind=Refresh.name,
        model_name=settings.registry.model_name,
        architecture=architecture,
        window=Window(start, champion.window_end, settings.learning.half_life_hours),
        holdout_end=end,
        lake_versions=lake.versions(tables_read_by(architecture, options)),
        options=Refresh.bounded(options),
        warm_start_version=champion.version,
        bursts=burst.names,
        warm_start_run_id=champion.run_id,
        half_learned_until=max(end, champion.half_learned_until or end),
        unseen_items=settings.learning.unseen_items,
    )
    require_possible(plan, champion)
    require_planned(plan, lake, settings.privacy)
    return plan


def _require_burst(lake: Lake, settings: Settings) -> Burst:
    """Return the abandoned checkouts that wait for a refresh, if they are enough."""
    try:
        burst = pending_burst(lake, REFRESHED)
    except NotEnoughDataError as error:
        raise NothingToRefreshError(str(error)) from error
    sessions = 0 if burst is None else burst.sessions
    if burst is None or sessions < settings.refresh.min_sessions:
        raise NothingToRefreshError(
            f"{sessions} abandoned checkouts wait for a refresh, which needs {settings.refresh.min_sessions} "
            "(LASTAISLE_REFRESH_MIN_SESSIONS): they go on waiting"
        )
    return burst


def _require_rest(lake: Lake, settings: Settings, run_key: str) -> None:
    """Make sure that no other refresh was made a short while ago."""
    if lake.version(TRAINING_RUNS) is None:
        return
    runs = lake.scan(TRAINING_RUNS, ["kind", "run_key", "finished_at"]).to_pylist()
    others = [run for run in runs if run["kind"] == Refresh.name and run["run_key"] != run_key]
    last = max((run["finished_at"] for run in others), default=None)
    rest = timedelta(minutes=settings.refresh.cooldown_minutes)
    if last is not None and datetime.now(UTC) - last < rest:
        raise NothingToRefreshError(
            f"the last refresh ended at {last:%H:%M} UTC, less than {settings.refresh.cooldown_minutes:g} "
            "minutes ago (LASTAISLE_REFRESH_COOLDOWN_MINUTES): abandoned checkouts go on waiting"
        )


def finish_refresh(lake: Lake, plan: TrainingPlan) -> None:
    """Remember that the plan's bursts had their refresh, whatever the gate decided.

    A plan of another kind has no bursts, so nothing is written.
    """
    mark_done(lake, plan.bursts, REFRESHED)
