"""Learn from the newest partition.

Each announcement of the asset `events` brings one run for its partition. The champion is warm-started on the
sliding window that ends with the partition, and on a sample of the month before it against forgetting
(without a champion: trained from scratch), judged on the window's last hours beside champion, popularity and
co-occurrence, and promoted if the gate finds it no worse.

**How it is woken:** `PartitionedAssetTimetable`. On the real scheduler (Airflow 3.3.2, LocalExecutor) every
announced partition gives exactly one run with that partition's key, in the order of announcement, one at a
time (hours of a topic that complete together are announced together, in any order: once the latest was
learned from, the others skip); ingesting a partition anew gives one more; two announcements of a partition
whose run is not yet made give one run. A paused DAG is not woken, and later catches up on nothing: backfill
`ingest_sessions` with `--reprocess-behavior completed` over the partitions missed.

**A partition ingested again** that the champion has learned from, or was judged by, brings its training once
more on what is there now, from the version that the champion itself went on from. One that lies before
changes nothing that serves.

**Hours ingested, days learned:** with `LASTAISLE_PARTITION=hour` and `LASTAISLE_LEARN_EVERY=day` each hour
brings a run for its day, which skips until the day's last hour is there; an hour ingested again brings its
day's run again.

**Skipped runs** are stale: the champion has already learned from data as late, and nothing in its reach has
changed since. Nothing to do.

**A refused candidate** is registered, keeps its alias `challenger`, and serves nobody. The reasons are in the
log of `release_candidate`, in the table `releases`, and in its MLflow run (button on the task). The second
refusal in a row starts `retrain_full` up to the same moment, once.

**Again:** safe at any time. A finished training is reused by its run key, a half-finished one is redone, and
so is an evaluation (`train_and_evaluate` does both; its log says how long each took); a release that was
killed goes on where it stood. If the new champion harms, use `rollback_model`.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import chain, dag, get_current_context, task

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.assets import EVENTS
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS
from lastaisle_airflow.runtime.links import link_to_mlflow
from lastaisle_airflow.runtime.partitions import learning, partition_of
from lastaisle_airflow.tasks.drifting import TriggerWithNote
from lastaisle_airflow.tasks.learning import announce_champion, release_candidate, train_and_evaluate


@dag(
    schedule=learning(EVENTS, Settings.from_env()),
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULT_ARGS, "owner": "machine-learning"},
    dagrun_timeout=timedelta(hours=3),
    doc_md=__doc__,
    tags=["lastaisle", "models"],
)
def retrain_incremental() -> None:
    """Learn from the newest partition."""

    @task
    def plan_window() -> dict[str, Any]:
        from lastaisle_airflow.tasks.learning import plan_partition

        return plan_partition(partition_of(get_current_context()))

    planned = plan_window()
    evaluated = train_and_evaluate(planned)
    released = release_candidate(evaluated)
    link_to_mlflow(evaluated, released)

    @task
    def fall_back(planned: dict[str, Any], move: dict[str, Any]) -> dict[str, str]:
        from lastaisle_airflow.tasks.learning import require_fallback

        return require_fallback(planned, move)

    # Up to the same moment: of a backfill's past, it must not learn the future.
    due = fall_back(planned, released)
    due >> TriggerWithNote(
        task_id="start_retrain_full",
        trigger_dag_id="retrain_full",
        trigger_run_id="refused__{{ dag_run.run_id }}",
        conf={"data_end": "{{ ti.xcom_pull(task_ids='fall_back')['data_end'] }}"},
        note="{{ ti.xcom_pull(task_ids='fall_back')['note'] }}",
        skip_when_already_exists=True,
    )
    # Judged before released, and announced only when the champion moved: services listen to the announcement.
    chain(planned, evaluated, released, announce_champion(released))


retrain_incremental()
