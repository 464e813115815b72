"""The tasks of `update_bandit`."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import task

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.notes import note, skipped
from lastaisle_airflow.runtime.progress import log_progress
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks import sentences

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)


@task
def update_bandits(*, params: Any = None, dag_run: Any = None) -> list[dict[str, Any]]:
    """Let the running bandits learn from the newest outcomes; return what each learned.

    Raises:
        AirflowSkipException: no bandit runs.
        BanditError: a bandit cannot run, or no running bandit has a given name; the others learned.
    """
    from lastaisle.experiments.bandits.errors import BanditError
    from lastaisle.experiments.bandits.update import update_bandits as update

    lake = open_lake(Settings.from_env())
    reports = update(lake, params["bandits"], actor=dag_run.run_id, progress=log_progress(log))
    for report in reports:
        log.info("%s: %s", report.name, report.problem or report.reason or "nothing new")
    if not reports:
        raise skipped("no bandit runs")
    dicts = [report.to_dict() for report in reports]
    note(sentences.of_bandits(dicts), warn=any(report.problem for report in reports))
    problems = [report.problem for report in reports if report.problem]
    if problems:
        raise BanditError("; ".join(problems))
    return dicts
