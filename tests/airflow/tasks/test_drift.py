"""The tasks of `detect_drift`."""

from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from lastaisle_airflow.tasks import drift, training
from tests.airflow.runs import DagRun


def test_drift_starts_a_training_only_after_an_alarm_and_the_cooldown():
    report = {"day": "2025-10-09", "alarmed": 2, "words": "prices rose", "retrain": True, "reason": "why"}
    assert drift.require_alarm(report)["words"] == "prices rose"
    soon = datetime(2025, 10, 12, 23, tzinfo=UTC)
    assert drift.require_training(report, soon) == "prices rose"
    with pytest.raises(AirflowSkipException, match="why"):
        drift.require_training({**report, "retrain": False}, soon)
    with pytest.raises(AirflowSkipException, match="2025-10-09 is more than 3 days past"):
        drift.require_training(report, soon + timedelta(hours=2))
    with pytest.raises(AirflowSkipException, match="prices rose"):
        drift.require_alarm({**report, "alarmed": 0})


def test_a_day_without_events_is_neither_measured_nor_learned(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setenv("LASTAISLE_PARTITION", "hour")
    with pytest.raises(AirflowSkipException, match="'events'"):
        drift.measure_drift.function(dag_run=DagRun(partition_key="2025-10-09"))
    with pytest.raises(AirflowSkipException, match="'events'"):
        training.plan_partition("2025-10-09")
