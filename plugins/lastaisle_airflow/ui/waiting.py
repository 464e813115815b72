"""The questions to people that Airflow's runs wait for, such as a risky release."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlsplit

from airflow.configuration import conf
from airflow.models.dag import DagTag
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from lastaisle.dashboard.render import Waiting
from lastaisle.errors import ExitCode, LastaisleError

TAG: Final = "lastaisle"
MOST: Final = 50
_UNANSWERED: Final = (
    select(
        HITLDetail.subject,
        HITLDetail.created_at,
        TaskInstance.trigger_timeout,
        TaskInstance.dag_id,
        TaskInstance.run_id,
        TaskInstance.task_id,
    )
    .join(TaskInstance, TaskInstance.id == HITLDetail.ti_id)
    .join(DagTag, DagTag.dag_id == TaskInstance.dag_id)
    .where(
        DagTag.name == TAG,
        HITLDetail.responded_at.is_(None),
        TaskInstance.state.in_((TaskInstanceState.AWAITING_INPUT, TaskInstanceState.DEFERRED)),
    )
    .order_by(HITLDetail.created_at)
    .limit(MOST)
)


class AirflowUnreadableError(LastaisleError):
    """Airflow's database does not answer."""

    exit_code = ExitCode.SERVICE_DOWN


def questions() -> list[Waiting]:
    """Return the questions of our DAGs that nobody has answered yet, the oldest first.

    Raises:
        AirflowUnreadableError: Airflow's database cannot be read.
    """
    try:
        with create_session() as session:
            rows = session.execute(_UNANSWERED).all()
    except SQLAlchemyError as error:
        raise AirflowUnreadableError(
            f"Airflow's database does not tell which runs wait: {type(error).__name__}. Open Browse, then "
            "Required actions, in Airflow"
        ) from error
    return [
        Waiting(row.subject, row.created_at, row.trigger_timeout, _page(row.dag_id, row.run_id, row.task_id))
        for row in rows
    ]


def _page(dag_id: str, run_id: str, task_id: str) -> str:
    """Return the page of Airflow on which a question is answered."""
    base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return (
        f"{base}/dags/{quote(dag_id)}/runs/{quote(run_id, safe='')}/tasks/{quote(task_id)}/required_actions"
    )
