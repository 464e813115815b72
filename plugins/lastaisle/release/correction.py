"""Repeat the champion's training when its events were corrected afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastaisle.registry.ledger import Ledger
from lastaisle.registry.lineage import Lineage
from lastaisle.registry.losses import missing_part
from lastaisle.registry.plan import Champion, TrainingPlan
from lastaisle.release.release import current_champion
from lastaisle.training.kinds import kind_for
from lastaisle.training.planning import StalePlanError, plan_window

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from lastaisle.settings import Settings


def plan_correction(lake: Lake, settings: Settings, registry: Registry) -> TrainingPlan:
    """Plan the champion's training again, from the same start, if events in its reach have changed since.

    An hour that is ingested again may lie before the champion's window, within it, or within the hours that
    judged the champion. Only events in reach of the training count. So exactly the window that serves is
    learned again, from the version that the champion itself started from: a start from the champion would
    count the unchanged hours twice. The gate decides on the new candidate as on any other.

    Raises:
        StalePlanError: nothing in the champion's reach has changed; there is no champion; or the champion
            learned from scratch on a long window, in which a corrected hour is too small to learn all again;
            or the version that the champion started from is gone, was refused or was rolled back.
    """
    champion = current_champion(lake, registry)
    if champion is None:
        raise StalePlanError("no version serves: there is no training to correct")
    plan = registry.plan_of(champion.run_id)
    while kind_for(plan).corrects_base:
        plan = registry.plan_of(_start_of(plan, champion.version, lake, registry).run_id)
    if not kind_for(plan).correctable:
        raise StalePlanError(f"champion version {champion.version} is of a {plan.kind} training")
    # The champion's own replay_hours: a changed setting is no change of the events.
    settings = settings.replace(replay_hours=plan.replay_hours)
    origin = None if plan.warm_start_version is None else _start_of(plan, champion.version, lake, registry)
    again = plan_window(
        lake,
        settings,
        plan.holdout_end,
        champion=origin,
        architecture=plan.architecture,
        options=plan.options,
        repeats=plan,
    )
    if again.run_key == plan.run_key:
        raise StalePlanError(
            f"champion version {champion.version} has learned from all that is there up to "
            f"{plan.holdout_end.isoformat()}"
        )
    return again


def _start_of(plan: TrainingPlan, champion: str, lake: Lake, registry: Registry) -> Champion:
    """Return the version that a warm start began with.

    Raises:
        StalePlanError: that version is gone, was refused or was rolled back.
    """
    assert plan.warm_start_version is not None, "it started from a version"
    why = Lineage(lake, Ledger(lake, registry.model_name).moves()).unfit(plan.warm_start_version)
    if why is not None:
        raise StalePlanError(
            f"champion version {champion} cannot be trained again from its start, version "
            f"{plan.warm_start_version}: {why} To learn again from corrected data, run a full training"
        )
    part = missing_part(plan.warm_start_version, plan.warm_start_run_id, registry)
    if part is not None:
        raise StalePlanError(
            f"champion version {champion} cannot be trained again from its start, version "
            f"{plan.warm_start_version}, which is lost: {part}. To learn again from corrected data, run a "
            "full training"
        )
    return registry.champion(plan.warm_start_version)
