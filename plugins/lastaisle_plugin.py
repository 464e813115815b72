"""Lastaisle's additions to Airflow: MLflow in the menu, the link from a task to its run, and a deadline."""

from airflow.plugins_manager import AirflowPlugin

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.deadlines import AbandonmentNoticed
from lastaisle_airflow.runtime.links import MlflowRunLink


class LastaislePlugin(AirflowPlugin):
    """Register the menu entry, the link and the deadline."""

    name = "lastaisle"
    operator_extra_links = (MlflowRunLink(),)
    external_views = (
        {"name": "MLflow", "href": Settings.from_env().services.mlflow_ui, "destination": "nav"},
    )
    deadline_references = (AbandonmentNoticed,)
