"""The tab of a DAG in Airflow: the page of the dashboard that shows what the DAG does."""

from __future__ import annotations

from typing import Final

from fastapi import Request
from starlette.responses import RedirectResponse

PATH: Final = "/dag/{dag_id}"
"""Below the dashboard's address; Airflow fills in the DAG."""

PAGE_OF: Final = {
    "analyze_experiments": "/experiments",
    "attribute_outcomes": "/shop",
    "audit_privacy": "/privacy",
    "detect_abandonment": "/shop",
    "detect_drift": "/drift",
    "erase_subjects": "/privacy",
    "ingest_catalogue": "/data",
    "ingest_sessions": "/data",
    "maintain_tables": "/privacy",
    "raise_alerts": "/",
    "refresh_on_abandonment": "/quality",
    "retrain_full": "/quality",
    "retrain_incremental": "/quality",
    "rollback_model": "/releases",
    "send_test_alert": "/",
    "train_federated": "/quality",
    "update_bandit": "/experiments",
    "update_online": "/quality",
    "watch_releases": "/releases",
}
"""The page of each DAG; a DAG of the shop itself leads to the first page."""


def open_page_of_dag(dag_id: str, request: Request) -> RedirectResponse:
    """Lead to the page that shows what a DAG does."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}{PAGE_OF.get(dag_id, '/')}", 303)
