"""The deadline of a refresh: from when an abandonment was noticed until a version knows of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.configuration import conf
from airflow.sdk.definitions.callback import AsyncCallback, SyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert

from lastaisle.kafka.control import moment
from lastaisle_airflow.runtime.defaults import log

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from lastaisle.settings import Settings


class AbandonmentNoticed(BaseDeadlineReference):
    """When the first of the abandonments was noticed that a run is there for.

    The scheduler asks while it makes the run, whose asset events it attaches only afterwards: they are those
    since the run before. A run started by another DAG is told in its `conf`.
    """

    required_kwargs: ClassVar[set[str]] = {"dag_id", "run_id"}

    def _evaluate_with(self, *, session: Session, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        asked = select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        run = session.scalars(asked).one_or_none()
        if run is None:
            return None
        said = _announced(session, run) if run.run_type == "asset_triggered" else [run.conf]
        return first_noticed(said, run.run_after)


def first_noticed(said: Iterable[Any], latest: datetime) -> datetime:
    """Return the earliest `noticed_at` of what was said; never later than the run itself.

    It never raises: the scheduler would end by it.
    """
    found = [latest]
    for each in said:
        if isinstance(each, Mapping):
            with suppress(KeyError, TypeError, ValueError, OverflowError):
                found.append(moment(each["noticed_at"]))
    return min(found)


def _announced(session: Session, run: Any) -> list[Any]:
    """Return what the asset events say that a run is about to take."""
    from airflow.models.asset import AssetEvent, DagScheduleAssetReference
    from airflow.models.dagrun import DagRun
    from sqlalchemy import func, select

    before = session.scalar(
        select(func.max(DagRun.run_after)).where(
            DagRun.dag_id == run.dag_id, DagRun.run_type == run.run_type, DagRun.run_after < run.run_after
        )
    )
    watched = select(DagScheduleAssetReference.asset_id).where(DagScheduleAssetReference.dag_id == run.dag_id)
    events = select(AssetEvent).where(AssetEvent.asset_id.in_(watched), AssetEvent.timestamp <= run.run_after)
    if before is not None:
        events = events.where(AssetEvent.timestamp > before)
    return [(event.extra or {}).get("payload") for event in session.scalars(events)]


def refresh_deadline(settings: Settings) -> DeadlineAlert:
    """Return the deadline of a refresh, which tells `report_miss`.

    The executor calls back. Where that is KubernetesExecutor the triggerer does: the former runs no callbacks
    in Airflow 3.3.2, and a scheduler that hands it one ends.
    """
    kubernetes = "Kubernetes" in conf.get("core", "executor")
    return DeadlineAlert(
        reference=AbandonmentNoticed(),
        interval=timedelta(minutes=settings.refresh.deadline_minutes),
        callback=AsyncCallback(report_miss_async) if kubernetes else SyncCallback(report_miss),
    )


def miss_report(context: Mapping[str, Any]) -> dict[str, Any]:
    """Say which run has not brought its version, and by when it should have."""
    run = context["dag_run"]
    return {
        "dag": run["dag_id"],
        "run": run["dag_run_id"],
        "state": run["state"],
        "due": str(context["deadline"]["deadline_time"]),
    }


def report_miss(context: Mapping[str, Any]) -> None:
    """Log one line of JSON that an alerting rule can match, as `report_failure` does."""
    report = miss_report(context)
    log.error("Run %s missed its deadline: %s", report["run"], json.dumps(report))


async def report_miss_async(context: Mapping[str, Any]) -> None:
    """Do the same in the triggerer."""
    report_miss(context)
