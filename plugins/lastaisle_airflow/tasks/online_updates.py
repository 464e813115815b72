"""The task of `update_online`."""

from __future__ import annotations

from typing import Any

from airflow.sdk import task

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.defaults import TRAINING_POOL
from lastaisle_airflow.runtime.links import run_page
from lastaisle_airflow.runtime.notes import note, skipped
from lastaisle_airflow.runtime.partitions import interval, partition_of
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks import sentences

# The task imports the pipeline inside its function: nothing heavy may be loaded before a worker forks.


# In the training pool, which has one slot: the learning takes one core, but packing the model loads
# TensorFlow, and no training may replace the champion meanwhile.
@task(pool=TRAINING_POOL)
def learn_sessions(*, dag_run: Any = None) -> dict[str, Any]:
    """Learn the sessions that ended before the end of the run's partition; return the report.

    Raises:
        AirflowSkipException: there is no champion, the champion's model cannot learn online, or each version
            has to be private.
    """
    from lastaisle.registry.registry import Registry
    from lastaisle.release.online import update_online
    from lastaisle.release.release import current_champion, sync_aliases
    from lastaisle.training.online import OnlineUpdatesNotPrivateError, finished_until
    from models.stored import ModelError

    _, end = interval(partition_of(dag_run))
    settings = Settings.from_env()
    lake, registry = open_lake(settings), Registry(settings)
    champion = current_champion(lake, registry)
    if champion is None:
        raise skipped(f"{settings.registry.model_name} has no champion to update yet")
    try:
        report = update_online(champion, lake, registry, finished_until(lake, end))
    except (ModelError, OnlineUpdatesNotPrivateError) as cannot_learn:
        raise skipped(str(cannot_learn)) from cannot_learn
    sync_aliases(lake, registry)  # another run may have moved the champion meanwhile
    link = run_page(report.run_id) if report.run_id else ""
    note(sentences.of_online(report.to_dict()), link=link)
    return report.to_dict()
