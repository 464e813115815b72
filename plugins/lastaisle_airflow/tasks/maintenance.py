"""What the tasks of `maintain_tables` do."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.stores import open_lake

log = logging.getLogger(__name__)


def tables() -> list[str]:
    """Return the names of the tables that exist.

    Raises:
        AirflowSkipException: there are none yet.
    """
    from lastaisle.lake.maintenance import tables_of

    lake = open_lake(Settings.from_env())
    found = tables_of(lake)
    if not found:
        raise AirflowSkipException(f"the lake {lake.url} has no tables yet")
    return found


def maintain(table: str, dry_run: bool) -> dict[str, Any]:
    """Maintain one table as the settings say; return what changed."""
    from lastaisle.lake.maintenance import MaintenancePolicy
    from lastaisle.lake.maintenance import maintain as run

    settings = Settings.from_env()
    policy = MaintenancePolicy.from_settings(settings)
    report = run(open_lake(settings), table, policy, dry_run=dry_run)
    log.info("%s", report)
    return report.to_dict()
