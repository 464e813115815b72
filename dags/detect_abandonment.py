"""Detect checkouts that were left without an order, as soon as events arrive.

## What it does

- A session counts as abandoned if it sent `checkout_abandoned`, or if it sent `checkout_started` and no
  order for `LASTAISLE_ABANDONED_AFTER_MINUTES` (30) by the time of the newest event.
- Each session counts once, and is stored in the table `abandonments`.
- **With a control topic** (`LASTAISLE_CONTROL_TOPIC`) the topic gets one message of counts, whole hours and
  random ids, without any personal data. A watcher of the topic starts `refresh_on_abandonment`.
- **Without a control topic** this DAG starts `refresh_on_abandonment` itself, and then records that in
  `mark_notified`.

## When it runs

- **Source Kafka:** after the asset `arrivals`. Each run of `ingest_sessions` that stored rows announces it.
- **Source files:** after each partition of `events`.

**Skipped runs:** no checkout was abandoned since the last run; or the last checkout was abandoned more than
three days ago, since a backfill starts no refresh.

## When it fails

The topic did not accept the message, or the refresh could not be started. The abandoned sessions are stored,
and the next run sends them or starts the refresh for them.

## Run it again

Safe at any time, also after a kill at any moment. At worst a message is sent twice, which starts no second
training.
"""

from datetime import timedelta

from airflow.sdk import chain, dag

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS
from lastaisle_airflow.runtime.operators import TriggerWithNote
from lastaisle_airflow.runtime.schedules import abandonment_schedule
from lastaisle_airflow.tasks.abandonment import detect_abandoned, mark_notified

SETTINGS = Settings.from_env()
BURST = "ti.xcom_pull(task_ids='detect_abandoned')"


@dag(
    schedule=abandonment_schedule(SETTINGS),
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULT_ARGS, "owner": "machine-learning"},
    dagrun_timeout=timedelta(hours=1),
    doc_md=__doc__,
    tags=["lastaisle", "models"],
)
def detect_abandonment() -> None:
    """Detect checkouts that were left without an order, as soon as events arrive."""
    detected = detect_abandoned()
    # With a control topic, the watcher of the topic starts the refresh.
    if not SETTINGS.abandonment.control_topic:
        started = TriggerWithNote(
            task_id="start_refresh",
            trigger_dag_id="refresh_on_abandonment",
            # The newest burst: an earlier run may have started a refresh for the others, and been killed.
            trigger_run_id=f"burst__{{{{ {BURST}['bursts'][-1] }}}}",
            conf={"noticed_at": f"{{{{ {BURST}['noticed_at'] }}}}"},
            note=f"{{{{ {BURST}['sessions'] }}}} checkouts were abandoned",
            skip_when_already_exists=True,
        )
        chain(detected, started, mark_notified(detected))


detect_abandonment()
