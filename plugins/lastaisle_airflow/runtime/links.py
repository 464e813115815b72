"""Links from Airflow to MLflow: from a task and from the note of a run to the MLflow run that they made."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, BaseOperatorLink, XComArg
from airflow.sdk.execution_time.xcom import XCom

from lastaisle.registry import links
from lastaisle.settings import Settings

TRAIN_TASK = "train_and_evaluate"
TRAINED_PAGE = "mlflow_page"


def note_trained_page(task_instance: Any, page: str) -> None:
    """Store the page that the links of a DAG run open, even if the evaluation fails later."""
    task_instance.xcom_push(key=TRAINED_PAGE, value=page)


def trained_page(task_instance: Any) -> str:
    """Return the page of the MLflow run that this DAG run trained; empty if nothing is trained yet."""
    page = XCom.get_one(
        key=TRAINED_PAGE,
        dag_id=task_instance.dag_id,
        task_id=TRAIN_TASK,
        run_id=task_instance.run_id,
    )
    return str(page or "")


def first_page() -> str:
    """Return the address of MLflow's list of experiments."""
    return links.first_page(Settings.from_env().services.mlflow_ui)


def run_page(run_id: str) -> str:
    """Return the address of the page of an MLflow run."""
    return links.run_page(Settings.from_env().services.mlflow_ui, run_id)


class MlflowRunLink(BaseOperatorLink):
    """The button on a task that opens its MLflow run."""

    @property
    def name(self) -> str:
        """Name the button."""
        return "MLflow run"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address; a task calls this when it ends, and Airflow stores the answer."""
        return trained_page(ti_key) or first_page()


def link_to_mlflow(*steps: XComArg) -> None:
    """Add the button to the tasks that return these results."""
    for step in steps:
        for operator, _ in step.iter_references():
            operator.operator_extra_links = (MlflowRunLink(),)
