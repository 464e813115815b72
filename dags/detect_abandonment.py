"""Notice checkouts that were left without an order, as soon as events came in.

A session counts that sent `checkout_abandoned`, or `checkout_started` and no order for
`LASTAISLE_ABANDONED_AFTER_MINUTES` (30) by the time of the newest event; each counts once, and stands in the
table `abandonments`.

**How it is woken:** from Kafka, by the asset `arrivals`, which each run of `ingest_sessions` announces that
took rows in; from files, by each partition of `events`.

**Whom it tells:** `LASTAISLE_CONTROL_TOPIC`, where it is set, in one message of counts, whole hours and
random ids that names nobody; a watcher of that topic starts `refresh_on_abandonment`. Without a control topic
this DAG starts it.

**Skipped runs:** no checkout was abandoned since the last look, or the last one more than three days ago: a
backfill starts no refresh.

**Red:** the topic did not take the message. What was noticed is kept, and told by the next run.

**Again:** safe at any time. At worst a message is sent once more, which starts no second training.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS
from lastaisle_airflow.tasks.drifting import TriggerWithNote
from lastaisle_airflow.tasks.refreshing import looking

SETTINGS = Settings.from_env()


@dag(
    schedule=looking(SETTINGS),
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULT_ARGS, "owner": "machine-learning"},
    dagrun_timeout=timedelta(hours=1),
    doc_md=__doc__,
    tags=["lastaisle", "models"],
)
def detect_abandonment() -> None:
    """Notice checkouts that were left without an order, as soon as events came in."""

    @task
    def detect_abandoned() -> dict[str, Any]:
        from lastaisle_airflow.tasks.refreshing import detect

        return detect()

    found = detect_abandoned()
    if not SETTINGS.abandonment.control_topic:
        burst = "ti.xcom_pull(task_ids='detect_abandoned')"
        found >> TriggerWithNote(
            task_id="start_refresh",
            trigger_dag_id="refresh_on_abandonment",
            trigger_run_id=f"burst__{{{{ {burst}['bursts'][0] }}}}",
            conf={"noticed_at": f"{{{{ {burst}['noticed_at'] }}}}"},
            note=f"{{{{ {burst}['sessions'] }}}} checkouts were abandoned",
            skip_when_already_exists=True,
        )


detect_abandonment()
