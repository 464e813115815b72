"""What the task of `update_online` does."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.partitions import interval, partition_of
from lastaisle_airflow.runtime.stores import open_lake

log = logging.getLogger(__name__)


def update(context: Mapping[str, Any]) -> dict[str, Any]:
    """Learn the sessions that ended before the end of the run's partition; return the report.

    Raises:
        AirflowSkipException: no champion, or one that cannot learn online.
    """
    from lastaisle.registry.registry import Registry
    from lastaisle.release.online import update_online
    from lastaisle.release.release import current_champion, settle
    from lastaisle.training.online import finished_until
    from models.recommender import ModelError

    _, end = interval(partition_of(context))
    settings = Settings.from_env()
    lake, registry = open_lake(settings), Registry(settings)
    champion = current_champion(lake, registry)
    if champion is None:
        raise AirflowSkipException(f"{settings.registry.model_name} has no champion to update yet")
    try:
        report = update_online(champion, lake, registry, finished_until(lake, end))
    except ModelError as cannot:
        raise AirflowSkipException(str(cannot)) from cannot
    settle(lake, registry)  # the champion may have moved meanwhile
    log.info("%s", report)
    return report.to_dict()
