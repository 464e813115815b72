"""Detect days on which the shop differs from the shop that the model learned from.

## What it does

The day is compared with the seven days before it:

- the items, the prices, the places and the devices of visits; for all visits, by kind of shopper, and by
  device;
- the number of new items, and the number of events that repeat another event exactly;
- the difference between the champion's lists and the lists of the version before;
- the share of next items that the champion's first 20 items contain.

Limits are learned from the days before (table `drift`). Of 1,000 days on which nothing changed, one raises
an alarm (`LASTAISLE_DRIFT_FALSE_ALARMS`).

**An alarm** announces the asset `drift`, says in words what drifted, and starts `retrain_full` with those
words as its note. It starts no training if drift started a training less than
`LASTAISLE_DRIFT_COOLDOWN_HOURS` (72) ago, or if the day is more than three days past, since a backfill
starts no training. The gate judges the new candidate like any other, so a bad day of data moves no champion.

## When it runs

Each announcement of the asset `events` starts one run for the day of its partition.

**Skipped tasks:** `announce_drift` if nothing drifted; `measure_drift` if the day is not over yet (partitions
are hours), or if it cannot be judged yet. The first 14 days that are compared have no limits: the task's log
says "cannot judge yet", which does not mean that nothing drifted.

## When it raises an alarm

1. **Read** the note of the `retrain_full` run, or the log of `measure_drift`: the feature that drifted, the
   shoppers or devices concerned, and the size of the drift.
2. **Look** at the scores beside their limits:

   ```
   bin/lastaisle drift --day 2025-10-09 --chart drift.png
   ```

3. **Is the feed broken?** Repeated events, crawlers, missing prices: mend the feed, and ingest the
   partition again.
4. **Did the shop change?** A launch, a sale: nothing needs to be done. Within a week the change is normal,
   and raises no more alarms.

## When it fails

Read the log of the failed task, and clear the task.

## Run it again

Safe at any time. The same events give the same answer, and a day starts at most one training.
"""

from datetime import timedelta

from airflow.sdk import chain, dag

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.assets import EVENTS
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS
from lastaisle_airflow.runtime.operators import TriggerWithNote
from lastaisle_airflow.runtime.schedules import daily_schedule
from lastaisle_airflow.tasks.drift import announce_drift, decide_on_training, measure_drift


@dag(
    schedule=daily_schedule(EVENTS, Settings.from_env()),
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULT_ARGS, "owner": "machine-learning"},
    dagrun_timeout=timedelta(hours=3),
    doc_md=__doc__,
    tags=["lastaisle", "models"],
)
def detect_drift() -> None:
    """Detect days on which the shop differs from the shop that the model learned from."""
    report = measure_drift()
    # This is a trigger and not a schedule on the asset: an asset event with a partition wakes only DAGs with
    # partitions (Airflow 3.3.2), and `retrain_full`, which also runs by the clock, has none.
    start_training = TriggerWithNote(
        task_id="start_retrain_full",
        trigger_dag_id="retrain_full",
        trigger_run_id="drift__{{ dag_run.partition_key }}",
        note="{{ ti.xcom_pull(task_ids='decide_on_training') }}",
        skip_when_already_exists=True,
    )
    # Drift is announced before a training starts, and no training starts without an announcement.
    chain(report, announce_drift(report), decide_on_training(report), start_training)


detect_drift()
