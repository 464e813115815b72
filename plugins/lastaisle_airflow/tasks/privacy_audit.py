"""The task of `audit_privacy`."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import task

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.notes import note
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks import sentences

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)


@task
def audit_month(*, params: Any = None) -> dict[str, Any]:
    """Audit a month, keep the page, and return the findings without the data map."""
    report = audit_of(str(params["month"] or ""))
    note(sentences.of_audit(report))
    return report


def audit_of(month: str) -> dict[str, Any]:
    """Audit a month (the last one if the text is empty), keep the page, and return the findings."""
    from lastaisle.audit.audit import audit
    from lastaisle.audit.month import days_of_month
    from lastaisle.audit.store import folder_of, keep

    settings, now = Settings.from_env(), datetime.now(UTC)
    lake = open_lake(settings)
    found = audit(lake, settings, *days_of_month(month, now), now=now)
    is_new = keep(lake, folder_of(settings), found)
    report = found.to_dict()
    for one in report["findings"]:
        log.info("%s: %s, %s: %s", one["state"], one["section"], one["name"], one["told"])
    log.info("The audit %s is %s", found.audit_id, "kept" if is_new else "the same as before")
    del report["tables"]
    return report
