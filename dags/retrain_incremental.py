"""Learn from the newest partition.

## What it does

1. The champion is warm-started on the sliding window that ends with the partition. A sample of the month
   before the window is added, against forgetting. Without a champion the training starts from scratch.
2. The candidate is evaluated on the window's last hours, beside champion, popularity and co-occurrence.
3. The candidate is promoted if the gate finds it no worse.

## When it runs

Each announcement of the asset `events` starts one run for its partition (`PartitionedAssetTimetable`).
Observed on a real scheduler (Airflow 3.3.2, LocalExecutor):

- Every announced partition starts exactly one run with its key, in the order of announcement, one at a
  time.
- Hours of a topic that are complete together are announced together, in any order. After the training of
  the latest hour, the runs of the other hours are skipped.
- A partition that is ingested again starts one more run. Two announcements of a partition whose run does
  not exist yet start one run.
- A paused DAG is not started, and does not catch up later. Backfill `ingest_sessions` with
  `--reprocess-behavior completed` over the partitions that were missed.

**A partition that is ingested again:** if the champion learned from the partition or was judged by it, the
champion's training is repeated on the present rows. The training starts from the same version as the
champion's own training. The rows of an older partition do not change the champion.

**Ingestion by hour, training by day:** with `LASTAISLE_PARTITION=hour` and `LASTAISLE_LEARN_EVERY=day`, each
hour starts a run for its day. The run is skipped until the day's last hour has come. An hour that is
ingested again starts the run of its day again.

**Skipped runs** are stale: the champion has already learned up to the same moment or later, and its data has
not changed since. Nothing needs to be done.

## When it fails

- **The run waits at `ask_people`** (only with `LASTAISLE_APPROVAL`): the release is risky. Open the run's
  required actions, read the decision table, and approve or reject. Without an answer it is rejected after
  `LASTAISLE_APPROVAL_HOURS`. A rejection is a refusal of the candidate, and the ledger has the name.
- **A refused candidate** is not a failure. It is registered, and keeps its alias `challenger`. No service
  gets it. Read the reasons in the log of `release_candidate`, in the table `releases`, or in the MLflow run
  (button on the task). The second refusal in a row starts `retrain_full` up to the same moment, once.
- **A candidate that was rolled back,** or that started from a version that was rolled back, is not released:
  `release_candidate` fails without a retry. The run of the next partition starts from the version that
  serves now. To start this run from that version, clear `plan_window`.
- **Somebody deleted versions in MLflow:** nothing stops. The log and the table `releases` name the lost
  version, and the version that serves now. If no version is left, the training starts from scratch.
- **A new champion does harm:** use `rollback_model`.
- **`NotAnnouncedError` in `send_announcements`:** a service did not get its webhook. The log names the
  service and the answer. The release stands. Later runs of this and other DAGs try again.

## Run it again

Safe at any time:

- A finished training is reused by its run key. A half-finished training or evaluation starts again.
  `train_and_evaluate` does both, and its log says how long each took.
- A release that was killed goes on where it stopped.
"""

from datetime import timedelta

from airflow.sdk import chain, dag

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS
from lastaisle_airflow.runtime.links import link_to_mlflow
from lastaisle_airflow.runtime.operators import TriggerWithNote
from lastaisle_airflow.runtime.schedules import training_schedule
from lastaisle_airflow.tasks.approval import release_with_approval, time_to_answer
from lastaisle_airflow.tasks.release import announce_champion, fall_back
from lastaisle_airflow.tasks.training import plan_partition_window, train_and_evaluate
from lastaisle_airflow.tasks.webhooks import send_announcements


@dag(
    schedule=training_schedule(Settings.from_env()),
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULT_ARGS, "owner": "machine-learning"},
    dagrun_timeout=timedelta(hours=3) + time_to_answer(),
    doc_md=__doc__,
    tags=["lastaisle", "models"],
)
def retrain_incremental() -> None:
    """Learn from the newest partition."""
    planned = plan_partition_window()
    trained = train_and_evaluate(planned)
    released = release_with_approval(trained)
    link_to_mlflow(trained, released)
    # The full training learns up to the same moment: in a backfill, it must not learn from the future.
    fall_back(planned, released) >> TriggerWithNote(
        task_id="start_retrain_full",
        trigger_dag_id="retrain_full",
        trigger_run_id="refused__{{ dag_run.run_id }}",
        conf={"data_end": "{{ ti.xcom_pull(task_ids='fall_back')['data_end'] }}"},
        note="{{ ti.xcom_pull(task_ids='fall_back')['note'] }}",
        skip_when_already_exists=True,
    )
    # The evaluation comes before the release. The announcement comes only when the champion moved, since
    # services wait for it.
    chain(planned, trained, released, [announce_champion(released), send_announcements()])


retrain_incremental()
