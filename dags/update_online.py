"""Move the champion's embeddings by the sessions that have just ended.

## What it does

The champion learns the sessions that ended since the last run, one by one. It learns only sessions that
ended at least half an hour before the partition's end. The result is a version of its own with the alias
`online`. Services that want this version pull `models:/checkout-recommender@online` instead of `@champion`.

The update stands on one champion version. When the champion moves, by promotion or by `rollback_model`, the
alias moves to the new champion without any update, and the old updates are dropped. `retrain_incremental`
starts from the champion and its newest updates that learned nothing from the hours that judge the candidate.

## When it runs

Each announcement of the asset `events` starts one run.

**The DAG is paused at first:** each run adds a version to the registry, and takes the training pool for some
seconds. Unpause it when a service wants the alias `online`.

**Skipped runs:** there is no champion yet, or the champion's architecture has no embeddings to move
(attention, gru and transformer have them). Nothing needs to be done.

## When it fails

- **The online version does harm:** pause this DAG, and let services pull `@champion` again; or move the alias
  to the champion's version in MLflow. No gate judges an update: each session moves an item by a bounded step.
- **A failed task:** read its log, and clear it.

## Run it again

Safe at any time. Sessions that a finished run learned are not learned twice; a half-finished run starts
again.
"""

from datetime import timedelta

from airflow.sdk import PartitionedAssetTimetable, dag

from lastaisle_airflow.runtime.assets import EVENTS
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS
from lastaisle_airflow.tasks.online_updates import learn_sessions


@dag(
    schedule=PartitionedAssetTimetable(assets=EVENTS),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    default_args={**DEFAULT_ARGS, "owner": "machine-learning"},
    dagrun_timeout=timedelta(hours=1),
    doc_md=__doc__,
    tags=["lastaisle", "models"],
)
def update_online() -> None:
    """Move the champion's embeddings by the sessions that have just ended."""
    learn_sessions()


update_online()
