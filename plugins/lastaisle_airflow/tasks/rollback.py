"""The task of `rollback_model`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.notes import note
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks import sentences
from lastaisle_airflow.tasks.release import actor_of

# The task imports the pipeline inside its function: nothing heavy may be loaded before a worker forks.

DEFAULT_REASON = "Rolled back by hand in Airflow"


# In Airflow's default pool: an emergency does not wait for a training.
@task(execution_timeout=timedelta(minutes=10))
def move_champion(*, params: Any = None, dag_run: Any = None) -> dict[str, Any]:
    """Move the champion back, or only log the move; a retry of the same run does not move it again.

    Raises:
        AirflowFailException: the version is missing, or the gate refused the version and `force` is off; a
            retry would not help.
    """
    from lastaisle.errors import RegistryError
    from lastaisle.registry.registry import Registry
    from lastaisle.release.rollback import rollback

    settings = Settings.from_env()
    to_version, dry_run = params["to_version"], params["dry_run"]
    try:
        report = rollback(
            open_lake(settings),
            Registry(settings),
            to_version=None if to_version is None else str(to_version),
            reason=(params["reason"] or "").strip() or DEFAULT_REASON,
            actor=actor_of(dag_run),
            dry_run=dry_run,
            force=params["force"],
            request_id=dag_run.run_id,
        )
    except RegistryError as wrong:
        raise AirflowFailException(str(wrong)) from wrong
    told = report.to_dict()
    words = sentences.of_rollback(told)
    note(words, warn=report.moved)
    return {"version": report.to_version, "champion_moved": report.moved, "words": words, **told}
