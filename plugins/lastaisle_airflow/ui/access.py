"""Who may see the dashboard in Airflow, and who may roll back: Airflow's own users and their roles."""

from __future__ import annotations

from typing import Final

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag, requires_access_view
from fastapi import Request

from lastaisle.dashboard.access import Access, require_own_page

ROLLBACK_DAG: Final = "rollback_model"

_may_trigger = requires_access_dag("POST", DagAccessEntity.RUN, ROLLBACK_DAG)


def _may_roll_back(request: Request, user: GetUserDep) -> str:
    """Refuse a user who may not trigger the DAG that rolls back; return the name of a user who may."""
    _may_trigger(request, user)
    require_own_page(request)
    return user.get_name()


AIRFLOW_ACCESS: Final = Access(requires_access_view(AccessView.PLUGINS), _may_roll_back)
"""Airflow mounts an application of a plugin without any check, so each path asks (apache/airflow #72655)."""
