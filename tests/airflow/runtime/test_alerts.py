"""The alert of a failed task, and the link to its MLflow run."""

import json
import logging
import re

from lastaisle_airflow.runtime import defaults, links
from tests.airflow.runs import DagRun, TaskInstance


def test_a_failure_report_names_the_run_and_its_log(monkeypatch, caplog):
    monkeypatch.setattr(defaults, "trained_page", lambda task_instance: "http://mlflow:5000/#/runs/abc123")
    context = {"ti": TaskInstance(), "dag_run": DagRun(), "exception": ValueError("broken")}
    with caplog.at_level(logging.ERROR, "lastaisle.alerts"):
        defaults.report_failure(context)
    (record,) = caplog.records
    report = json.loads(record.getMessage().split("failed: ", 1)[1])
    assert report == {
        "dag": "ingest_sessions",
        "run": "backfill__2025-10-09__x",
        "partition": "2025-10-09",
        "task": "ingest_batches",
        "map_index": 3,
        "try": 2,
        "tries": 3,
        "error": "ValueError: broken",
        "log": "http://airflow/log",
        "mlflow_run": "http://mlflow:5000/#/runs/abc123",
    }


def test_the_link_leads_to_mlflow_even_before_there_is_a_run(monkeypatch):
    monkeypatch.setenv("LASTAISLE_MLFLOW_PORT", "5055")
    monkeypatch.setattr(links, "trained_page", lambda task_instance: "")
    page = links.MlflowRunLink().get_link(None, ti_key=None)
    assert page == "http://127.0.0.1:5055/#/experiments?workflowType=machine_learning"


def test_the_page_of_a_run_is_in_the_view_for_training(monkeypatch):
    monkeypatch.setenv("LASTAISLE_MLFLOW_UI", "http://mlflow:5000/")
    page = links.run_page("abc123")
    assert re.fullmatch(
        r"http://mlflow:5000/#/experiments/\d+/runs/abc123\?workflowType=machine_learning", page
    )


def test_airflow_shows_the_link_on_the_tasks_that_have_a_run(dagbag):
    for name in ("retrain_incremental", "retrain_full", "refresh_on_abandonment"):
        linked = {
            task.task_id
            for task in dagbag.dags[name].tasks
            if any(isinstance(link, links.MlflowRunLink) for link in task.operator_extra_links)
        }
        assert linked == {"train_and_evaluate", "release_candidate"}
