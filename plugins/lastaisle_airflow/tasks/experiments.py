"""The tasks of `analyze_experiments`."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import TriggerRule, task

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.notes import note, skipped
from lastaisle_airflow.runtime.progress import log_progress
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks import sentences

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)


@task
def apply_definitions(*, dag_run: Any = None) -> dict[str, Any]:
    """Start, change and stop experiments and bandits as their files say; return what became of each.

    Raises:
        AirflowSkipException: nothing is defined.
        DefinitionError: a file cannot be used; the others were applied.
    """
    from lastaisle.experiments.definition.apply import apply_definitions as apply
    from lastaisle.experiments.definition.definition import DefinitionError
    from lastaisle.registry.registry import Registry

    settings = Settings.from_env()
    report = apply(open_lake(settings), settings, Registry(settings), datetime.now(UTC), actor=dag_run.run_id)
    for line in report.lines():
        log.info("%s", line)
    if told := sentences.of_definitions(report.to_dict()):
        note(told, warn=bool(report.refused))
    if report.refused:
        first = report.refused[0]
        raise DefinitionError(first.path, list(first.problems))
    if not report.applied:
        raise skipped(f"no experiment is defined in {report.place}")
    return report.to_dict()


# It also runs if a definition was refused: the experiments that run are analysed all the same.
@task(trigger_rule=TriggerRule.ALL_DONE)
def analyze(*, params: Any = None, dag_run: Any = None) -> list[dict[str, Any]]:
    """Compare the arms of running experiments, end those with a verdict; return how each stands.

    Raises:
        AirflowSkipException: no experiment runs.
        AnalysisError: an experiment cannot be analysed; the others were.
    """
    from lastaisle.experiments.analysis.analyze import analyze as run
    from lastaisle.experiments.analysis.errors import AnalysisError

    settings = Settings.from_env()
    names, actor = params["experiments"] or None, dag_run.run_id
    found = run(open_lake(settings), settings, names, actor=actor, progress=log_progress(log))
    for one in found:
        log.info("%s: %s. %s", one.name, one.state, one.problem or one.reason)
    if not found:
        raise skipped("no experiment runs")
    dicts = [one.to_dict() for one in found]
    note(sentences.of_experiments(dicts), warn=any(one.problem for one in found))
    problems = [f"{one.name}: {one.problem}" for one in found if one.problem]
    if problems:
        raise AnalysisError("; ".join(problems))
    return dicts
