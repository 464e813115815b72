"""Do what shoppers ask of their data: erase it and prove it, copy it, restrict its use.

## What it does

`list_requests` finds the requests that wait in the inbox (`LASTAISLE_REQUESTS`), and mends those whose
process was killed. `do_request` does each of them in a task of its own:

- **erase:** the shopper's rows leave every table, and old files are deleted. Then every byte is searched for
  the ids and pseudonyms. A signed receipt tells the counts. Tombstones keep logs that are read again from
  bringing the shopper back.
- **export:** a copy of the shopper's data is written into the folder of requests. The account that runs the
  tasks has to be one of `LASTAISLE_RAW_READERS`.
- **restrict, object:** the purposes are refused in the table `consents`.

`decide_on_training` starts `retrain_full` if a model version learned from an erased shopper
(`LASTAISLE_ERASED_MODELS` is `retrain`). `retire_versions` moves the champion away from such a version (with
`retire`), or tells which version serves until then. Once a version without the shopper serves, it takes all
other aliases from the versions that learned from the shopper.

No parameter, log, XCom or note holds the id of a shopper.

## When it runs

Every day at 05:10 UTC, after `maintain_tables`, so that a request waits a day at most. By hand at any time:

```
bin/airflow dags trigger erase_subjects
```

To ask, use `bin/lastaisle subjects erase --later --user-id-file FILE`.

## Parameters

- `request_id`: only this request. If it is empty, all that wait are done.
- `dry_run`: off by default. A request in the inbox was asked by a person who had to count its rows first or
  to ask on purpose, and a shopper waits for it by law. With `dry_run`, the tasks count what an erasure would
  erase, and nothing changes.

## When it fails

- **One request fails:** the others are done. `bin/lastaisle subjects show ID` names the problem. Mend it, and
  clear the task.
- **`ErasureUnprovenError`:** the search still finds the shopper, or an ingestion is about to write rows. The
  log of `do_request` names the places. Clear the task when no ingestion runs.
- **`KafkaSourceError`:** the settings name a topic, and the brokers do not answer. The rows in the tables may
  be erased already; the request stays open, and the next run goes on.
- **`NotARawReaderError`:** the account of the tasks may make no copies. Name it in `LASTAISLE_RAW_READERS`,
  or do the request by `bin/lastaisle subjects resume ID` under an account that may.
- **`RequestError`, has no ids:** `LASTAISLE_REQUESTS` names another folder here than where the request was
  asked. On several machines the folder has to be shared.

## Run it again

Safe at any time, also after a kill. A request that is done is not done again.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Param, dag

from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS, MAINTENANCE_POOL
from lastaisle_airflow.runtime.operators import TriggerWithNote
from lastaisle_airflow.runtime.params import optional_param
from lastaisle_airflow.tasks.subjects import (
    decide_on_training,
    do_request,
    list_requests,
    retire_versions,
    sum_up,
)

PARAMS = {
    "request_id": optional_param(
        "string", "Only this request; empty: all that wait.", pattern="^[0-9a-f]{16}$"
    ),
    "dry_run": Param(False, type="boolean", description="Only count what would be erased."),
}


@dag(
    schedule=CronTriggerTimetable("10 5 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    default_args={**DEFAULT_ARGS, "execution_timeout": timedelta(hours=2), "pool": MAINTENANCE_POOL},
    dagrun_timeout=timedelta(hours=8),
    doc_md=__doc__,
    tags=["lastaisle", "data"],
)
def erase_subjects() -> None:
    """Do what shoppers ask of their data, and prove it."""
    versions = sum_up(do_request.expand(name=list_requests()))
    start_training = TriggerWithNote(
        task_id="start_retrain_full",
        trigger_dag_id="retrain_full",
        trigger_run_id="erased__{{ run_id }}",
        note="{{ ti.xcom_pull(task_ids='decide_on_training') }}",
        skip_when_already_exists=True,
    )
    decide_on_training(versions) >> start_training
    versions >> retire_versions()


erase_subjects()
