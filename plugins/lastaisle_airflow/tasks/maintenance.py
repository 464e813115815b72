"""The tasks of `maintain_tables`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk import TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.notes import note, skipped
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks import sentences
from lastaisle_airflow.tasks.release import actor_of

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)


@task
def list_tables() -> list[str]:
    """Return the names of the tables that exist.

    Raises:
        AirflowSkipException: there are no tables yet.
    """
    from lastaisle.lake.maintenance import tables_of

    lake = open_lake(Settings.from_env())
    tables = tables_of(lake)
    if not tables:
        raise skipped(f"the lake {lake.url} has no tables yet")
    return tables


@task(map_index_template="{{ table_name }}")
def maintain_table(table: str) -> dict[str, Any]:
    """Maintain one table by the settings, or only log the changes; return the report."""
    context = get_current_context()
    context["table_name"] = table  # type: ignore[typeddict-unknown-key]
    return maintain(table, dry_run=context["params"]["dry_run"])


def maintain(table: str, *, dry_run: bool) -> dict[str, Any]:
    """Maintain one table by the settings; return the report of the changes."""
    from lastaisle.lake.maintenance import MaintenancePolicy
    from lastaisle.lake.maintenance import maintain as maintain_in_lake

    settings = Settings.from_env()
    policy = MaintenancePolicy.from_settings(settings)
    report = maintain_in_lake(open_lake(settings), table, policy, dry_run=dry_run)
    told = sentences.of_maintenance([report.to_dict()])
    log.info("%s: %s; its version before was %d", table, told, report.version_before)
    return report.to_dict()


@task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
def sum_up(reports: Any) -> None:
    """Tell what the run changed in all tables; a table that failed holds back no other."""
    listed = [reports] if isinstance(reports, Mapping) else reports or []
    note(sentences.of_maintenance([report for report in listed if report]))


@task
def prune_versions(*, params: Any = None, dag_run: Any = None) -> dict[str, Any]:
    """Delete the model versions that nothing needs any more, or only log them; return the report."""
    from lastaisle.registry.registry import Registry
    from lastaisle.release.prune import prune

    settings = Settings.from_env()
    report = prune(
        open_lake(settings),
        Registry(settings),
        days=settings.registry.keep_versions_days,
        dry_run=params["dry_run"],
        actor=actor_of(dag_run),
    )
    for version, reason in report.kept.items():
        log.info("Version %s is kept: %s", version, reason)
    note(sentences.of_pruning(report.to_dict()))
    return report.to_dict()


@task
def verify_ledger() -> dict[str, Any]:
    """Compare the rows of the ledger with their chain; return the number of rows and the chain's end.

    Raises:
        AirflowFailException: rows were changed, removed or added; a retry would not help.
        AirflowSkipException: the ledger has no rows yet.
    """
    from lastaisle.registry.ledger import Ledger
    from lastaisle.release.verify import LedgerChangedError, require_whole_ledger

    settings = Settings.from_env()
    lake = open_lake(settings)
    chain = Ledger(lake, settings.registry.model_name).check()
    try:
        require_whole_ledger(chain, lake.url)
    except LedgerChangedError as changed:
        raise AirflowFailException(str(changed)) from changed
    if not chain.entries:
        raise skipped("the ledger has no rows yet")
    log.info("The ledger is whole: %d rows, end of the chain %s", chain.entries, chain.end)
    return {"entries": chain.entries, "end": chain.end}
