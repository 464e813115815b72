"""The deadline of a refresh: the time in which a version must learn from a noticed abandonment."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.configuration import conf
from airflow.sdk.definitions.callback import AsyncCallback, SyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert

from lastaisle.kafka.control import moment
from lastaisle_airflow.runtime.alerting import log, report_missed_deadline

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from lastaisle.settings import Settings


class AbandonmentNoticed(BaseDeadlineReference):
    """The moment when the first abandonment of a refresh was noticed.

    The scheduler asks for the moment while it creates the run. It attaches the run's asset events only
    afterwards, so this class reads the events since the run before. A run that another DAG started has the
    moment in its `conf`.
    """

    required_kwargs: ClassVar[set[str]] = {"dag_id", "run_id"}

    def _evaluate_with(self, *, session: Session, dag_id: str, run_id: str) -> datetime | None:
        # Inside the function: DAG files import this module, and must stay light.
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        query = select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        run = session.scalars(query).one_or_none()
        if run is None:
            return None
        messages = _announced(session, run) if run.run_type == "asset_triggered" else [run.conf]
        return first_noticed(messages, run.run_after)


def first_noticed(messages: Iterable[Any], latest: datetime) -> datetime:
    """Return the earliest `noticed_at` of the messages, or the run's own moment if it is earlier.

    This function never raises, since an error here would end the scheduler.
    """
    moments = [latest]
    for message in messages:
        if isinstance(message, Mapping):
            with suppress(KeyError, TypeError, ValueError, OverflowError):
                moments.append(moment(message["noticed_at"]))
    return min(moments)


def _announced(session: Session, run: Any) -> list[Any]:
    """Return the messages in the asset events that a run is about to take."""
    # Inside the function, for the reason that `_evaluate_with` gives.
    from airflow.models.asset import AssetEvent, DagScheduleAssetReference
    from airflow.models.dagrun import DagRun
    from sqlalchemy import func, select

    run_before = session.scalar(
        select(func.max(DagRun.run_after)).where(
            DagRun.dag_id == run.dag_id, DagRun.run_type == run.run_type, DagRun.run_after < run.run_after
        )
    )
    watched = select(DagScheduleAssetReference.asset_id).where(DagScheduleAssetReference.dag_id == run.dag_id)
    events = select(AssetEvent).where(AssetEvent.asset_id.in_(watched), AssetEvent.timestamp <= run.run_after)
    if run_before is not None:
        events = events.where(AssetEvent.timestamp > run_before)
    return [(event.extra or {}).get("payload") for event in session.scalars(events)]


def refresh_deadline(settings: Settings) -> DeadlineAlert:
    """Return the deadline of a refresh; a missed deadline calls `report_miss`.

    The executor runs the callback, except under KubernetesExecutor. That executor runs no callbacks in
    Airflow 3.3.2, and a scheduler that gives it a callback ends. With it, the triggerer runs the callback.
    """
    kubernetes = "Kubernetes" in conf.get("core", "executor")
    return DeadlineAlert(
        reference=AbandonmentNoticed(),
        interval=timedelta(minutes=settings.refresh.deadline_minutes),
        callback=AsyncCallback(report_miss_async) if kubernetes else SyncCallback(report_miss),
    )


def miss_report(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run that has not released its version, and the moment of its deadline."""
    run = context["dag_run"]
    return {
        "dag": run["dag_id"],
        "run": run["dag_run_id"],
        "state": run["state"],
        "due": str(context["deadline"]["deadline_time"]),
    }


def report_miss(context: Mapping[str, Any]) -> None:
    """Log one line of JSON that an alerting rule can match, as `report_failure` does, and open an alert."""
    report = miss_report(context)
    log.error("Run %s missed its deadline: %s", report["run"], json.dumps(report))
    report_missed_deadline(report)


async def report_miss_async(context: Mapping[str, Any]) -> None:
    """Do the same as `report_miss` in the triggerer, beside the other triggers."""
    await asyncio.to_thread(report_miss, context)
