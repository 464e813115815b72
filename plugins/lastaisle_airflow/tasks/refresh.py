"""The tasks of `refresh_on_abandonment`, beside those in `training` and `release`."""

from __future__ import annotations

import json
import logging
from typing import Any

from airflow.sdk import task

from lastaisle.errors import NotEnoughDataError
from lastaisle.settings import Settings
from lastaisle_airflow.runtime.notes import skipped
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks import sentences

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)


@task
def plan_refresh() -> dict[str, Any]:
    """Decide what a refresh learns from: all abandoned checkouts that wait for a refresh.

    Raises:
        AirflowSkipException: there is nothing to refresh, too few abandoned checkouts wait, or the privacy
            budget has no room for a refresh; the alert `budget` tells of that. Or the refresh would be
            private, but the champion was trained without noise.
    """
    from lastaisle.privacy.budget.budget import BudgetSpentError
    from lastaisle.registry.registry import Registry
    from lastaisle.release.start import champion_to_refresh
    from lastaisle.training.private import CannotBePrivateError
    from lastaisle.training.refresh import NothingToRefreshError
    from lastaisle.training.refresh import plan_refresh as plan

    settings = Settings.from_env()
    lake = open_lake(settings)
    try:
        training_plan = plan(lake, settings, champion_to_refresh(lake, Registry(settings)))
    except (BudgetSpentError, CannotBePrivateError, NothingToRefreshError, NotEnoughDataError) as no_refresh:
        raise skipped(str(no_refresh)) from no_refresh
    planned: dict[str, Any] = json.loads(training_plan.to_json())
    log.info("Planned %s: %s", training_plan.run_key, sentences.of_plan(planned))
    return planned


@task
def finish_refresh(planned: dict[str, Any]) -> None:
    """Record that the plan's abandoned checkouts have had their refresh."""
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.training.refresh import finish_refresh as finish

    finish(open_lake(Settings.from_env()), TrainingPlan.from_json(json.dumps(planned)))
