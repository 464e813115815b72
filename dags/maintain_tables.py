"""Keep the tables quick to read and no older than they may be.

Every night, one task a table: rows of `raw_events` and `quarantine` that were ingested more than
`LASTAISLE_KEEP_RAW_DAYS` (400; 0 keeps all) days ago are deleted; days with more than four small files are
compacted; a checkpoint is written and older log entries are deleted; files are deleted that no version of the
last week needs, and none that a training of the last `LASTAISLE_KEEP_VERSIONS_DAYS` (30) days read.

**What it can destroy:** what the settings above let expire, nothing else. So it is no dry run by default: a
table that nobody maintains gets slower with every hour. Before you shorten a setting, look:
`airflow dags trigger maintain_tables --conf '{"dry_run": true}'`, or `lastaisle maintain --dry-run`; the log
of each `maintain_table` says what would be deleted, and nothing changes.

**Beside other runs:** safe at any time. Ingestion goes on meanwhile, and so does a training, which reads the
version that it has planned with.

**Again:** safe at any time, also after a kill; what is done is not done twice. A failed table holds back no
other; `LakeConflictError` means that other writers won each time: clear the task.

**Deleted by mistake?** For a week the rows are still in the version before: see `version_before` in the log.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task

from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS, MAINTENANCE_POOL

PARAMS = {"dry_run": Param(False, type="boolean", description="Only say what would change.")}


@dag(
    schedule=CronTriggerTimetable("30 4 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    default_args={**DEFAULT_ARGS, "execution_timeout": timedelta(hours=2), "pool": MAINTENANCE_POOL},
    dagrun_timeout=timedelta(hours=8),
    doc_md=__doc__,
    tags=["lastaisle", "data"],
)
def maintain_tables() -> None:
    """Keep the tables quick to read and no older than they may be."""

    @task
    def list_tables() -> list[str]:
        from lastaisle_airflow.tasks.maintenance import tables

        return tables()

    @task(map_index_template="{{ table_name }}")
    def maintain_table(table: str) -> dict[str, Any]:
        from lastaisle_airflow.tasks.maintenance import maintain

        context = get_current_context()
        context["table_name"] = table
        return maintain(table, context["params"]["dry_run"])

    maintain_table.expand(table=list_tables())


maintain_tables()
