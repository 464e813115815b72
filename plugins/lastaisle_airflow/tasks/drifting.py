"""What the tasks of `detect_drift` do, and the operator that starts a training for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.partitions import interval, partition_of, unfinished
from lastaisle_airflow.runtime.stores import open_lake

log = logging.getLogger(__name__)

# A day judged later than this is a backfill's: its champion may lag behind by all the trainings to come, and
# a full training, which learns up to the newest event, would make those stale.
PAST = timedelta(days=3)


class TriggerWithNote(TriggerDagRunOperator):
    """Trigger a DAG run whose note may be a template too, so that it says why it runs."""

    template_fields = (*TriggerDagRunOperator.template_fields, "note")


def measure(context: Mapping[str, Any]) -> dict[str, Any]:
    """Measure the day that is the run's partition; return what was found, without the single scores.

    Raises:
        AirflowSkipException: the day is not over yet (partitions are hours), or it cannot be compared, as the
            first days of a shop.
    """
    from lastaisle.errors import NotEnoughDataError
    from lastaisle.monitor.drift.detect import detect
    from lastaisle.monitor.drift.serving import serving_versions
    from lastaisle.registry.registry import Registry
    from lastaisle.sessions.windows import newest_data_end

    key, settings = partition_of(context), Settings.from_env()
    lake = open_lake(settings)
    try:
        waiting = unfinished(key, newest_data_end(lake), settings)
        if waiting:
            raise AirflowSkipException(waiting)
        day = interval(key)[0].date()
        report = detect(lake, settings, day, serving_versions(lake, Registry(settings)))
    except NotEnoughDataError as too_few:
        raise AirflowSkipException(str(too_few)) from too_few
    log.info("%s", report.summary)
    found = report.to_dict()
    del found["findings"]
    return found


def require_alarm(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the announcement says.

    Raises:
        AirflowSkipException: nothing drifted.
    """
    if not found["alarmed"]:
        raise AirflowSkipException(found["words"])
    return {name: found[name] for name in ("day", "words", "retrain", "alarmed")}


def require_retrain(found: Mapping[str, Any], now: datetime | None = None) -> str:
    """Return why a full training is started.

    Raises:
        AirflowSkipException: another one was started shortly before, or the day is long past.
    """
    if not found["retrain"]:
        raise AirflowSkipException(found["reason"])
    ended = datetime.fromisoformat(found["day"]).replace(tzinfo=UTC) + timedelta(days=1)
    if (now or datetime.now(UTC)) - ended > PAST:
        raise AirflowSkipException(
            f"{found['day']} is more than {PAST.days} days past: it starts no training"
        )
    return str(found["words"])
