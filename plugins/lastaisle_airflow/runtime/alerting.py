"""Report failed tasks and missed deadlines to the table `alerts`; nothing here makes a task fail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.stores import open_lake

if TYPE_CHECKING:
    from lastaisle.lake import Lake

# Functions import the pipeline inside: nothing heavy may be loaded before a worker forks.

log = logging.getLogger("lastaisle.alerts")
ACTOR = "airflow"


def report_failed_task(context: Mapping[str, Any]) -> None:
    """Open the alert of a task that failed for good; Airflow calls this after the task's last try."""
    ti, run = context["ti"], context["dag_run"]
    part = f" for {run.partition_key}" if run.partition_key else ""
    # The text of an error may hold a line of a log. The log of the task shows it.
    kind = type(context.get("exception")).__name__ if context.get("exception") else "no error is known"
    summary = f"Task {ti.task_id} of {ti.dag_id} failed{part} after {ti.try_number} tries: {kind}."
    evidence = (place_of(ti), str(ti.log_url))

    def write(lake: Lake) -> None:
        from lastaisle.monitor.alerts.log import report
        from lastaisle.monitor.alerts.model import FAILED_TASK, Evidence, Finding

        told = (Evidence(evidence[0], url=evidence[1]),)
        scope = {"dag": ti.dag_id, "task": ti.task_id}
        report(lake, Finding(FAILED_TASK, "warning", scope, summary, datetime.now(UTC), told), actor=ACTOR)

    _attempt(write, summary)


def resolve_failed_task(context: Mapping[str, Any]) -> None:
    """Resolve the alert of a task that succeeds; the last task of a run also resolves a missed deadline.

    A mapped task that failed is not mended by the success of another part of the same run.
    """
    ti, own = context["ti"], place_of(context["ti"])
    is_last = not context["task"].downstream_task_ids

    def write(lake: Lake) -> None:
        from lastaisle.monitor.alerts.log import read_alerts, resolve
        from lastaisle.monitor.alerts.model import DEADLINE, FAILED_TASK, id_of

        scope = {"dag": ti.dag_id, "task": ti.task_id}
        alerts = read_alerts(lake).standing.alerts
        alert = alerts.get(id_of(FAILED_TASK, scope))
        if alert is not None and alert.is_open:
            failed = alert.evidence[0].text if alert.evidence else ""
            if failed == own or not failed.startswith(_run_of(ti)):
                resolve(lake, FAILED_TASK, scope, reason=f"the task succeeded in {ti.run_id}", actor=ACTOR)
        late = alerts.get(id_of(DEADLINE, {"dag": ti.dag_id}))
        if is_last and late is not None and late.is_open:
            resolve(lake, DEADLINE, late.scope, reason=f"{ti.run_id} came to its end", actor=ACTOR)

    _attempt(write, f"Task {ti.task_id} of {ti.dag_id} succeeded")


def report_missed_deadline(report: Mapping[str, Any]) -> None:
    """Open the alert of a run that missed its deadline.

    Args:
        report: the run, as `lastaisle_airflow.runtime.deadlines.miss_report` returns it.
    """
    summary = f"Run {report['run']} of {report['dag']} was not over by {report['due']}."

    def write(lake: Lake) -> None:
        from lastaisle.monitor.alerts.log import report as write_report
        from lastaisle.monitor.alerts.model import DEADLINE, Evidence, Finding

        told = (Evidence(f"The run {report['run']} in Airflow"),)
        scope = {"dag": str(report["dag"])}
        write_report(lake, Finding(DEADLINE, "warning", scope, summary, datetime.now(UTC), told), actor=ACTOR)

    _attempt(write, summary)


def place_of(ti: Any) -> str:
    """Name a task of a run, for the evidence of its alert."""
    index = f", part {ti.map_index}" if ti.map_index >= 0 else ""
    return f"{_run_of(ti)}{index}"


def _run_of(ti: Any) -> str:
    return f"The log of the task in run {ti.run_id}"


def _attempt(write: Callable[[Lake], None], what: str) -> None:
    """Open the lake and write; if that fails, the log says so."""
    try:
        write(open_lake(Settings.from_env()))
    except Exception as error:  # of the lake, the settings or a connection: no task may fail by its alert
        log.warning("%s. The table alerts does not know of it: %s: %s", what, type(error).__name__, error)
