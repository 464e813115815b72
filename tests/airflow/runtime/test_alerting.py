"""Airflow's callbacks open and resolve alerts, and never make a task fail."""

import logging
from types import SimpleNamespace

import pytest

from lastaisle.lake import Lake
from lastaisle.lake.tables import ALERTS
from lastaisle.monitor.alerts.log import read_alerts
from lastaisle_airflow.runtime.alerting import (
    report_failed_task,
    report_missed_deadline,
    resolve_failed_task,
)
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS


def context(run="r1", index=-1, task="train", downstream=("release",)):
    return {
        "ti": SimpleNamespace(
            dag_id="retrain_full",
            task_id=task,
            run_id=run,
            map_index=index,
            try_number=3,
            log_url=f"http://airflow/{run}/{index}",
        ),
        "dag_run": SimpleNamespace(partition_key="2026-11-24"),
        "task": SimpleNamespace(downstream_task_ids=set(downstream)),
        "exception": ValueError("user anna@shop.example"),
    }


@pytest.fixture
def lake(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    return Lake(tmp_path / "lake")


def open_rules(lake):
    return [alert.rule for alert in read_alerts(lake).open()]


def test_a_task_that_failed_is_an_alert_with_its_log_and_without_the_text_of_its_error(lake):
    report_failed_task(context())
    report_failed_task(context("r2"))
    (alert,) = read_alerts(lake).open()
    assert alert.scope == {"dag": "retrain_full", "task": "train"} and alert.rule == "failed_task"
    assert "ValueError" in alert.summary and "2026-11-24" in alert.summary and "anna" not in str(alert)
    assert alert.evidence[0].url == "http://airflow/r1/-1"


def test_the_success_of_the_same_task_resolves_it(lake):
    report_failed_task(context())
    resolve_failed_task(context("r2", task="evaluate"))
    assert open_rules(lake) == ["failed_task"]
    resolve_failed_task(context("r2"))
    assert open_rules(lake) == []


def test_another_part_of_the_same_run_does_not_resolve_a_mapped_task(lake):
    report_failed_task(context(index=2))
    resolve_failed_task(context(index=3))
    assert open_rules(lake) == ["failed_task"]
    resolve_failed_task(context(index=2))
    assert open_rules(lake) == []
    report_failed_task(context(index=2))
    resolve_failed_task(context("r2", index=0))
    assert open_rules(lake) == []


def test_the_end_of_a_run_resolves_a_missed_deadline(lake):
    report_missed_deadline({"dag": "retrain_full", "run": "r1", "state": "running", "due": "12:00"})
    resolve_failed_task(context())
    assert open_rules(lake) == ["deadline"]
    resolve_failed_task(context(downstream=()))
    assert open_rules(lake) == []


def test_a_success_writes_nothing_where_no_alert_is(lake):
    resolve_failed_task(context())
    assert lake.version(ALERTS) is None
    report_failed_task(context(task="other"))
    version = lake.version(ALERTS)
    resolve_failed_task(context())
    assert lake.version(ALERTS) == version


@pytest.mark.parametrize(
    "setting",
    [{"LASTAISLE_LAKE": "ftp://x"}, {"LASTAISLE_PARTITION": "year"}, {"LASTAISLE_LAKE": "/dev/null/x"}],
    ids=str,
)
def test_no_task_fails_when_the_lake_or_the_settings_are_away(monkeypatch, tmp_path, caplog, setting):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.WARNING, "lastaisle.alerts"):
        report_failed_task(context())
        report_missed_deadline({"dag": "a", "run": "r1", "state": "running", "due": "12:00"})
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2 and all("The table alerts does not know of it" in text for text in told)
    resolve_failed_task(context())


def test_every_task_has_the_callbacks(dagbag):
    assert report_failed_task in DEFAULT_ARGS["on_failure_callback"]
    for dag in dagbag.dags.values():
        for task in dag.tasks:
            assert report_failed_task in task.on_failure_callback, f"{dag.dag_id}.{task.task_id}"
            assert resolve_failed_task in task.on_success_callback, f"{dag.dag_id}.{task.task_id}"
