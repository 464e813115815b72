"""Lastaisle's additions to Airflow: dashboard, MLflow in the menu, links and notes of runs, a deadline."""

from airflow.plugins_manager import AirflowPlugin

from lastaisle_airflow.runtime import note_of_run
from lastaisle_airflow.runtime.deadlines import AbandonmentNoticed
from lastaisle_airflow.runtime.links import MlflowRunLink, first_page
from lastaisle_airflow.ui.mounted import URL_PREFIX, MountedDashboard


class LastaislePlugin(AirflowPlugin):
    """Register the dashboard, the menu entries, the link, the writer of notes, and the deadline."""

    name = "lastaisle"
    operator_extra_links = (MlflowRunLink(),)
    fastapi_apps = ({"app": MountedDashboard(), "url_prefix": URL_PREFIX, "name": "Lastaisle"},)
    external_views = (
        {"name": "Lastaisle", "href": f"{URL_PREFIX}/", "destination": "nav", "url_route": "lastaisle"},
        {
            "name": "Lastaisle",
            "href": f"{URL_PREFIX}/dag/{{DAG_ID}}",
            "destination": "dag",
            "url_route": "lastaisle-dag",
        },
        {"name": "MLflow", "href": first_page(), "destination": "nav"},
    )
    listeners = (note_of_run,)
    deadline_references = (AbandonmentNoticed,)
