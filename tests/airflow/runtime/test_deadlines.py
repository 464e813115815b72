"""The deadline of a refresh: its start, the place of its callback, and its alert."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.lake import Lake
from lastaisle.monitor.alerts.log import read_alerts
from lastaisle.settings import Settings
from lastaisle_airflow.runtime.deadlines import first_noticed, refresh_deadline, report_miss

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)


def test_the_deadline_counts_from_the_first_noticed_abandonment():
    early, late = (NOON - timedelta(minutes=minutes) for minutes in (9, 4))
    messages = [{"noticed_at": late.isoformat()}, {"noticed_at": early.isoformat()}, None, "x", {}]
    assert first_noticed(messages, NOON) == early


@pytest.mark.parametrize("noticed_at", ["soon", 5, None, "9999-12-31T23:59:59", "0001-01-01T00:00:00+14:00"])
def test_an_impossible_moment_counts_from_the_run(noticed_at):
    assert first_noticed([{"noticed_at": noticed_at}], NOON) == NOON


@pytest.mark.parametrize(
    ("executor", "kind"),
    [
        ("LocalExecutor", "SyncCallback"),
        ("CeleryExecutor", "SyncCallback"),
        ("KubernetesExecutor", "AsyncCallback"),
    ],
)
def test_the_triggerer_runs_the_callback_if_the_executor_cannot(monkeypatch, executor, kind):
    monkeypatch.setattr("lastaisle_airflow.runtime.deadlines.conf.get", lambda *_: executor)
    alert = refresh_deadline(Settings.of(refresh_deadline_minutes=7))
    assert type(alert.callback).__name__ == kind
    assert alert.interval == timedelta(minutes=7)


def test_a_missed_deadline_is_one_line_of_json_and_an_alert(caplog, monkeypatch, tmp_path):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    run = {"dag_id": "refresh_on_abandonment", "dag_run_id": "r", "state": "running"}
    report_miss({"dag_run": run, "deadline": {"id": "x", "deadline_time": NOON}})
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("lastaisle.alerts", "ERROR")
    assert json.loads(record.getMessage().split("deadline: ", 1)[1]) == {
        "dag": "refresh_on_abandonment",
        "run": "r",
        "state": "running",
        "due": "2025-10-09 12:00:00+00:00",
    }
    (alert,) = read_alerts(Lake(tmp_path / "lake")).open()
    assert (alert.rule, alert.scope) == ("deadline", {"dag": "refresh_on_abandonment"})
    assert "2025-10-09 12:00" in alert.summary
