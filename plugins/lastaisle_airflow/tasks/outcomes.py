"""The tasks of `attribute_outcomes`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date
from typing import Any

from airflow.sdk import TriggerRule, task

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.assets import OUTCOMES, SHOP_METRICS
from lastaisle_airflow.runtime.notes import note, skipped
from lastaisle_airflow.runtime.progress import log_progress
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks import sentences
from lastaisle_airflow.tasks.flows import tell_attributed, tell_counted

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)
OUTCOME_COUNTS = ("exposures", "clicks", "views", "adds", "orders", "unattributed_by_reason")


@task(outlets=[OUTCOMES])
def attribute_outcomes(*, params: Any = None, ti: Any = None, outlet_events: Any = None) -> dict[str, Any]:
    """Join the actions of shoppers to exposures; return the counts; announce the days that changed.

    Raises:
        AirflowSkipException: no outcome changed.
    """
    from lastaisle.feedback.outcomes.attribute import attribute

    settings = Settings.from_env()
    days = days_of(params)
    report = attribute(open_lake(settings), settings, days=days, progress=log_progress(log)).to_dict()
    for reason, rows in report["unattributed_by_reason"].items():
        log.info("%d rows are in no outcome: %s", rows, reason)
    tell_attributed()
    announced = announced_days(report, "outcome", ti.try_number)
    note(sentences.of_outcomes(report))
    counts = {name: report[name] for name in OUTCOME_COUNTS}
    outlet_events[OUTCOMES].extra = announced | counts | {"words": sentences.of_outcomes(report)}
    return report


# It also runs if no outcome changed: a killed run may have left outcomes that are not counted yet.
@task(trigger_rule=TriggerRule.NONE_FAILED, outlets=[SHOP_METRICS])
def count_metrics(*, params: Any = None, ti: Any = None, outlet_events: Any = None) -> dict[str, Any]:
    """Count the outcomes of the days that changed; return the counts; announce these days.

    Raises:
        AirflowSkipException: no figure changed.
    """
    from lastaisle.feedback.metrics.count import count_metrics as count

    lake = open_lake(Settings.from_env())
    report = count(lake, days=days_of(params), progress=log_progress(log)).to_dict()
    tell_counted()
    announced = announced_days(report, "figure", ti.try_number)
    note(sentences.of_metrics(report))
    counts = {name: report[name] for name in ("exposures", "sessions", "rows")}
    outlet_events[SHOP_METRICS].extra = announced | counts | {"words": sentences.of_metrics(report)}
    return report


def days_of(params: Mapping[str, Any]) -> list[date] | None:
    """Return the days of the parameter `days`; None if it is empty."""
    return [date.fromisoformat(day) for day in params["days"] or ()] or None


def announced_days(report: Mapping[str, Any], noun: str, try_number: int) -> dict[str, Any]:
    """Return the extra of an announcement.

    A task that is tried again announces in any case: a try that was killed may have stored the change.

    Raises:
        AirflowSkipException: nothing changed.
    """
    if not report["changed_days"] and try_number == 1:
        raise skipped(f"no {noun} changed")
    return {"days": report["changed_days"]}
