"""Keep the tables quick to read, delete rows that are older than allowed, and verify the ledger.

## What it does

`verify_ledger` compares the rows of the table `releases` with their chain, and changes nothing. After it
`prune_versions` deletes model versions that no alias, no experiment and no row of the ledger of the last
`LASTAISLE_KEEP_RELEASES_DAYS` (90; 0 keeps all) days names.

One task for each table:

- Rows that are older than the contract of the table allows are deleted. `docs/audit.md` lists the days.
  `LASTAISLE_KEEP_RAW_DAYS` (400; 0 keeps all) states those of `raw_events` and `quarantine`, and
  `LASTAISLE_KEEP_DAYS` replaces those of other tables. Ages count from ingestion.
- Days with more than four small files are compacted.
- A checkpoint is written, and older log entries are deleted.
- Files that no version of the last week needs are deleted, except files that a training of the last
  `LASTAISLE_KEEP_VERSIONS_DAYS` (30) days read.

## When it runs

Every night at 04:30 UTC. It may run beside other DAGs: ingestion goes on, and a training reads the
table version of its plan.

## Parameters

`dry_run` is off by default: the DAG deletes only data that the settings above let expire, and a table
without maintenance gets slower every hour. Before you shorten a setting, list the data that would be
deleted:

```
bin/airflow dags trigger maintain_tables --conf '{"dry_run": true}'
```

or run `bin/lastaisle maintain --dry-run`. The log of each `maintain_table` names the data, and nothing
changes.

## When it fails

- A failed table holds back no other table.
- **`verify_ledger`:** another program changed the table `releases`. The log names the first entry that is not
  what was written. Releases go on.
- **`LakeConflictError`:** other writers were faster in each attempt. Clear the task.
- **Rows deleted by mistake** stay in the earlier table version for a week. The log names this version:
  `version_before`.

## Run it again

Safe at any time, also after a kill. A finished step is not repeated.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Param, dag

from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS, MAINTENANCE_POOL
from lastaisle_airflow.tasks.maintenance import (
    list_tables,
    maintain_table,
    prune_versions,
    sum_up,
    verify_ledger,
)

PARAMS = {"dry_run": Param(False, type="boolean", description="Only log what would change.")}


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
    """Keep the tables quick to read, and delete rows that are older than allowed."""
    sum_up(maintain_table.expand(table=list_tables()))
    verify_ledger() >> prune_versions()


maintain_tables()
