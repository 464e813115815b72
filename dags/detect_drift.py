"""Notice when the shop is no longer the one that the model learned from.

Each announcement of the asset `events` brings one run for the day it belongs to. The day is compared with
the seven days before it: what visits looked at, at which prices, from where, on what (by shopper and device);
items that are new; events that repeat one exactly; how much the lists of the champion differ from those of
the version before; and whether its first 20 still hold the next item. Limits are learned from the days before
(table `drift`), so that of 1,000 days on which nothing changed one alarms (`LASTAISLE_DRIFT_FALSE_ALARMS`).

**An alarm** announces the asset `drift`, with what drifted in words, and starts `retrain_full` with those
words as its note, unless drift started one less than `LASTAISLE_DRIFT_COOLDOWN_HOURS` (72) hours before, or
the day is more than three days past: a backfill starts no training.
That training is judged like any other: a bad day of data moves no champion.

1. **Read** the note of the `retrain_full` run, or the log of `measure_drift`: which feature, whose, how much.
2. **Look:** `lastaisle drift --day 2025-10-09 --chart drift.png` shows the scores beside their limits.
3. **Is it the feed?** Repeated events, crawlers, missing prices: mend it, and ingest the partition anew. **Is
   it the shop?** A launch, a sale: nothing to do; within a week it is what is usual, and alarms no more.

**Skipped runs:** nothing drifted, or the day cannot be compared: not over yet (partitions are hours), or too
few days before it. The first 14 days of a shop have no limits and raise no alarm.

**Again:** safe at any time: the same events give the same answer, and a day starts one training at most.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import chain, dag, get_current_context, task

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.assets import DRIFT, EVENTS
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS, TRAINING_POOL
from lastaisle_airflow.runtime.partitions import by_day
from lastaisle_airflow.tasks.drifting import TriggerWithNote


@dag(
    schedule=by_day(EVENTS, Settings.from_env()),
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULT_ARGS, "owner": "machine-learning"},
    dagrun_timeout=timedelta(hours=3),
    doc_md=__doc__,
    tags=["lastaisle", "models"],
)
def detect_drift() -> None:
    """Notice when the shop is no longer the one that the model learned from."""

    # It ranks with the champion: TensorFlow takes all cores.
    @task(pool=TRAINING_POOL)
    def measure_drift() -> dict[str, Any]:
        from lastaisle_airflow.tasks.drifting import measure

        return measure(get_current_context())

    @task(outlets=[DRIFT])
    def announce_drift(found: dict[str, Any], *, outlet_events: Any = None) -> None:
        from lastaisle_airflow.tasks.drifting import require_alarm

        outlet_events[DRIFT].extra = require_alarm(found)

    @task
    def decide_on_training(found: dict[str, Any]) -> str:
        from lastaisle_airflow.tasks.drifting import require_retrain

        return require_retrain(found)

    # Not by a schedule on the asset: an event of a partition (Airflow 3.3.2) wakes only partitioned DAGs, and
    # `retrain_full`, which also runs by the clock, is none.
    retrain = TriggerWithNote(
        task_id="start_retrain_full",
        trigger_dag_id="retrain_full",
        trigger_run_id="drift__{{ dag_run.partition_key }}",
        note="{{ ti.xcom_pull(task_ids='decide_on_training') }}",
        skip_when_already_exists=True,
    )
    found = measure_drift()
    announced = announce_drift(found)
    # Announced before a training starts, and no training without an announcement.
    chain(found, announced, decide_on_training(found), retrain)


detect_drift()
