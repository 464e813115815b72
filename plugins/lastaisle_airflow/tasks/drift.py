"""The tasks of `detect_drift`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import task

from lastaisle.errors import NotEnoughDataError
from lastaisle.settings import Settings
from lastaisle_airflow.runtime.assets import DRIFT
from lastaisle_airflow.runtime.defaults import OLDEST_DATA_THAT_STARTS_A_TRAINING, TRAINING_POOL
from lastaisle_airflow.runtime.notes import note, skipped
from lastaisle_airflow.runtime.partitions import interval, partition_of, unfinished
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks import sentences

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)


# In the training pool: the task ranks with the champion, and TensorFlow takes all cores.
@task(pool=TRAINING_POOL)
def measure_drift(*, dag_run: Any = None) -> dict[str, Any]:
    """Measure the day of the run's partition; return the report without its single scores.

    Raises:
        AirflowSkipException: the day is not over yet (partitions are hours), or it cannot be judged yet since
            too few days lie before it.
    """
    from lastaisle.monitor.drift.detect import detect
    from lastaisle.monitor.drift.serving import serving_versions
    from lastaisle.registry.registry import Registry
    from lastaisle.sessions.windows import newest_data_end

    key, settings = partition_of(dag_run), Settings.from_env()
    lake = open_lake(settings)
    try:
        reason_to_wait = unfinished(key, newest_data_end(lake), settings)
        if reason_to_wait:
            raise skipped(reason_to_wait)
        day = interval(key)[0].date()
        drift_report = detect(lake, settings, day, serving_versions(lake, Registry(settings)))
    except NotEnoughDataError as too_few:
        raise skipped(str(too_few)) from too_few
    if not drift_report.is_judged:
        raise skipped(drift_report.summary)
    log.info("%s", drift_report.summary)
    report = drift_report.to_dict()
    del report["findings"]
    report["first"] = drift_report.alarms[0].sentence if drift_report.alarms else ""
    note(sentences.of_drift(report), warn=bool(report["alarmed"]))
    return report


@task(outlets=[DRIFT])
def announce_drift(report: dict[str, Any], *, outlet_events: Any = None) -> None:
    """Announce the asset `drift` with the day's alarms in words; skip if nothing drifted."""
    outlet_events[DRIFT].extra = require_alarm(report)


@task
def decide_on_training(report: dict[str, Any]) -> str:
    """Return the reason for a full training in words; skip if drift may not start a training now."""
    return require_training(report)


def require_alarm(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the extra of the announcement.

    Raises:
        AirflowSkipException: nothing drifted.
    """
    if not report["alarmed"]:
        raise skipped(report["words"])
    return {
        name: report[name] for name in ("day", "words", "retrain", "alarmed", "compared") if name in report
    }


def require_training(report: Mapping[str, Any], now: datetime | None = None) -> str:
    """Return the reason for a full training in words.

    Raises:
        AirflowSkipException: drift started another training shortly before, or the day is long past.
    """
    if not report["retrain"]:
        raise skipped(report["reason"])
    day_end = datetime.fromisoformat(report["day"]).replace(tzinfo=UTC) + timedelta(days=1)
    oldest = OLDEST_DATA_THAT_STARTS_A_TRAINING
    if (now or datetime.now(UTC)) - day_end > oldest:
        raise skipped(f"{report['day']} is more than {oldest.days} days past: it starts no training")
    return str(report["words"])
