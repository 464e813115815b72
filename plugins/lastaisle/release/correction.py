"""What the champion learned from was corrected afterwards: its training again, on what is there now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastaisle.evaluation.evaluate import plan_of
from lastaisle.registry.plan import StalePlanError, TrainingPlan, plan_window
from lastaisle.release.release import current_champion

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from lastaisle.settings import Settings


def plan_correction(lake: Lake, settings: Settings, registry: Registry) -> TrainingPlan:
    """Plan the champion's training anew, from where it began, if events in its reach have changed since.

    An hour that is ingested again may lie before all that the champion has learned from, within it, or
    within the hours that judged it. Only what lies in reach counts, so exactly the window that serves is
    learned again, and from the version that the champion itself went on from: to go on from the champion
    would let the unchanged hours count twice. What the gate decides on it is as for any candidate.

    Raises:
        StalePlanError: nothing in the champion's reach has changed, there is no champion, or it learned from
            scratch on a long window, of which an hour is too little to learn it all again.
    """
    champion = current_champion(lake, registry)
    if champion is None:
        raise StalePlanError("no version serves: there is no training to correct")
    plan = plan_of(champion.run_id, registry)
    while plan.kind == "refresh":  # it learned on top of the training that counts
        assert plan.warm_start_version is not None, "a refresh always has a champion"
        plan = plan_of(registry.run_of(plan.warm_start_version), registry)
    if plan.kind != "incremental":
        raise StalePlanError(f"champion version {champion.version} is of a {plan.kind} training")
    # With the champion's own reach: where the setting has changed since, that is no change of the events.
    settings = settings.replace(replay_hours=plan.replay_hours)
    origin = None if plan.warm_start_version is None else registry.champion(plan.warm_start_version)
    again = plan_window(
        lake,
        settings,
        plan.holdout_end,
        champion=origin,
        architecture=plan.architecture,
        options=plan.options,
    )
    if again.run_key == plan.run_key:
        raise StalePlanError(
            f"champion version {champion.version} has learned from all that is there up to "
            f"{plan.holdout_end.isoformat()}"
        )
    return again
