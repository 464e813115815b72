"""The task that tells services of releases and of experiments that end."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import TriggerRule, task

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.notes import skipped
from lastaisle_airflow.runtime.stores import open_lake

# The task imports the pipeline inside its function: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)


# The DAG processor holds no addresses, so the task is always there, and skips where no address is set.
@task(trigger_rule=TriggerRule.NONE_FAILED, execution_timeout=timedelta(minutes=15))
def send_announcements() -> dict[str, Any]:
    """Send the announcements that are due; return the report.

    Raises:
        AirflowSkipException: LASTAISLE_WEBHOOKS names no address.
        NotAnnouncedError: an announcement did not arrive; a retry, or a later run, tries again.
    """
    settings = Settings.from_env()
    if not settings.announcements.addresses:
        raise skipped("LASTAISLE_WEBHOOKS names no address")
    from lastaisle.release.announcements.announce import announce

    report = announce(open_lake(settings), settings)
    for line in report.lines():
        log.info("%s", line)
    report.require_delivered()
    return report.to_dict()
