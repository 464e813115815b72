"""The defaults of all our tasks: owner, retries, time limits, pools, and the alert of a failure."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from lastaisle_airflow.runtime.alerting import report_failed_task, resolve_failed_task
from lastaisle_airflow.runtime.links import first_page, trained_page
from lastaisle_airflow.runtime.notes import note_failure

log = logging.getLogger("lastaisle.alerts")

INGEST_POOL = "ingest"
TRAINING_POOL = "training"
MAINTENANCE_POOL = "maintenance"

#: A run about data older than this belongs to a backfill, and starts no training by itself. Many trainings
#: of the backfill may still follow. A full training learns up to the newest event, and would make those
#: trainings stale.
OLDEST_DATA_THAT_STARTS_A_TRAINING = timedelta(days=3)


def failure_report(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the failed run and task, the number of the try, and the places of its log and MLflow run."""
    task_instance, run = context["ti"], context["dag_run"]
    return {
        "dag": task_instance.dag_id,
        "run": task_instance.run_id,
        "partition": run.partition_key,
        "task": task_instance.task_id,
        "map_index": task_instance.map_index,
        "try": task_instance.try_number,
        "tries": task_instance.max_tries + 1,
        "error": f"{type(context.get('exception')).__name__}: {context.get('exception')}",
        "log": task_instance.log_url,
        "mlflow_run": trained_page(task_instance) or first_page(),
    }


def report_failure(context: Mapping[str, Any]) -> None:
    """Log one line of JSON that an alerting rule can match and a person can follow."""
    report = failure_report(context)
    log.error("Task %s of run %s failed: %s", report["task"], report["run"], json.dumps(report))


DEFAULT_ARGS: dict[str, Any] = {
    "owner": "data-engineering",
    "retries": 2,
    "retry_delay": timedelta(seconds=20),
    "retry_exponential_backoff": 3.0,
    "max_retry_delay": timedelta(minutes=10),
    "execution_timeout": timedelta(minutes=30),
    "on_failure_callback": [report_failure, note_failure, report_failed_task],
    "on_success_callback": [resolve_failed_task],
    "on_retry_callback": report_failure,
    "show_return_value_in_logs": False,  # the log tells the result in a sentence
}
"""A task is tried again after 20 s and after 1 min, so that a restart of a database costs no run."""
