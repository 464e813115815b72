"""Links from a task in Airflow to the MLflow run that the task made or judged."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, BaseOperatorLink, XComArg
from airflow.sdk.execution_time.xcom import XCom

from lastaisle.settings import Settings

TRAIN_TASK = "train_and_evaluate"
TRAINED_RUN = "mlflow_run"


def note_trained_run(task_instance: Any, run_id: str) -> None:
    """Store the MLflow run that the links of a DAG run open, even if the evaluation fails later."""
    task_instance.xcom_push(key=TRAINED_RUN, value=run_id)


def trained_run(task_instance: Any) -> str | None:
    """Return the id of the MLflow run that this DAG run trained; None if nothing is trained yet."""
    run_id: str | None = XCom.get_one(
        key=TRAINED_RUN,
        dag_id=task_instance.dag_id,
        task_id=TRAIN_TASK,
        run_id=task_instance.run_id,
    )
    return run_id


def run_page(run_id: str | None) -> str:
    """Return the address of a run's page, or of MLflow's first page if no run is known."""
    base = Settings.from_env().services.mlflow_ui
    return f"{base}/#/runs/{run_id}" if run_id else base


class MlflowRunLink(BaseOperatorLink):
    """The button on a task that opens its MLflow run."""

    @property
    def name(self) -> str:
        """Name the button."""
        return "MLflow run"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address; a task calls this when it ends, and Airflow stores the answer."""
        return run_page(trained_run(ti_key))


def link_to_mlflow(*steps: XComArg) -> None:
    """Add the button to the tasks that return these results."""
    for step in steps:
        for operator, _ in step.iter_references():
            operator.operator_extra_links = (MlflowRunLink(),)
