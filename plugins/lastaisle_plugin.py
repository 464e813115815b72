"""Lastaisle's additions to Airflow: the dashboard, MLflow in the menu, links to runs, and a deadline."""

from airflow.plugins_manager import AirflowPlugin

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.deadlines import AbandonmentNoticed
from lastaisle_airflow.runtime.links import MlflowRunLink
from lastaisle_airflow.ui.mounted import URL_PREFIX, MountedDashboard


class LastaislePlugin(AirflowPlugin):
    """Register the dashboard, the menu entries, the link and the deadline."""

    name = "lastaisle"
    operator_extra_links = (MlflowRunLink(),)
    fastapi_apps = ({"app": MountedDashboard(), "url_prefix": URL_PREFIX, "name": "Lastaisle"},)
    external_views = (
        {"name": "Lastaisle", "href": f"{URL_PREFIX}/", "destination": "nav", "url_route": "lastaisle"},
        {"name": "MLflow", "href": Settings.from_env().services.mlflow_ui, "destination": "nav"},
    )
    deadline_references = (AbandonmentNoticed,)
