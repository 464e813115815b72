"""Roll back from the dashboard: a run of the DAG rollback_model, so that Airflow shows and logs the move."""

from __future__ import annotations

from airflow.api.common.trigger_dag import trigger_dag
from airflow.utils.types import DagRunTriggeredByType

from lastaisle.dashboard.render import RollBackRequest
from lastaisle.errors import RegistryError
from lastaisle_airflow.ui.access import ROLLBACK_DAG


def start_rollback(request: RollBackRequest) -> str:
    """Start the DAG that moves the champion, and say where to watch it.

    Raises:
        RegistryError: Airflow has no such DAG.
    """
    conf = {"reason": request.reason, "dry_run": False, "force": request.force}
    if request.to_version is not None:
        conf["to_version"] = int(request.to_version)
    run = trigger_dag(
        ROLLBACK_DAG,
        triggered_by=DagRunTriggeredByType.UI,
        triggering_user_name=request.actor,
        conf=conf,
        note=request.reason,
    )
    if run is None:
        raise RegistryError(f"Airflow has no DAG {ROLLBACK_DAG}: nothing was started")
    return f"Airflow moves the champion in the run {run.run_id} of {ROLLBACK_DAG}."
