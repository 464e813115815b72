"""The tasks of `watch_releases`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import TriggerRule, task
from airflow.sdk.exceptions import AirflowFailException

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.notes import note, skipped
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks import sentences
from lastaisle_airflow.tasks.release import actor_of

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.


# In Airflow's default pool: a rollback does not wait for a training.
@task(execution_timeout=timedelta(minutes=15))
def watch(*, dag_run: Any = None) -> dict[str, Any]:
    """Judge the champion, the canary and the shadow; return the report, and the moves of this run.

    A try that was killed may have moved a version. So the moves are those that the ledger has of this run.

    Raises:
        AirflowFailException: the file of release rules cannot be used; a retry would not help.
    """
    from lastaisle.registry.ledger import PROMOTE, ROLLBACK, Ledger
    from lastaisle.registry.registry import Registry
    from lastaisle.release.guardrails.watch import watch_releases
    from lastaisle.release.steps.rules import ReleaseRulesError

    settings, actor = Settings.from_env(), actor_of(dag_run)
    lake, registry = open_lake(settings), Registry(settings)
    try:
        report = watch_releases(lake, registry, settings, actor=actor).to_dict()
    except ReleaseRulesError as wrong:
        raise AirflowFailException(str(wrong)) from wrong
    moves = [move for move in Ledger(lake, registry.model_name).moves() if move.actor == actor]
    report["rolled_back"] = next((move.reason for move in moves if move.action == ROLLBACK), None)
    report["champion_moved"] = any(move.action in (PROMOTE, ROLLBACK) for move in moves)
    report["words"] = sentences.of_watch(report)
    note(report["words"], warn=report["rolled_back"] is not None)
    return report


@task(trigger_rule=TriggerRule.NONE_FAILED, retries=0)
def raise_alarm(report: dict[str, Any]) -> None:
    """Fail if the guardrails rolled the champion back, so that people look; skip otherwise.

    Raises:
        AirflowFailException: the champion was rolled back. Another version serves already.
        AirflowSkipException: nothing was rolled back.
    """
    if report["rolled_back"] is None:
        raise skipped("nothing was rolled back")
    note(sentences.of_watch(report), warn=True)
    raise AirflowFailException(f"{report['rolled_back']} Version {report['version']} serves.")
