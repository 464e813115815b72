"""What Lastaisle adds to Airflow's pages: MLflow in the menu, and the link from a task to its run."""

from airflow.plugins_manager import AirflowPlugin

from lastaisle.config import Settings
from lastaisle_airflow.links import MlflowRunLink


class LastaislePlugin(AirflowPlugin):
    """Registers the links."""

    name = "lastaisle"
    operator_extra_links = (MlflowRunLink(),)
    external_views = ({"name": "MLflow", "href": Settings.from_env().mlflow_ui, "destination": "nav"},)
