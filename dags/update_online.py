"""Move the champion's embeddings by the sessions that have just ended.

## What it does

Sessions that ended since the last run are learned one by one on top of the champion. The last of them ended
half an hour before the partition's end at the latest. The result is a version of its own with the alias
`online`. Services that want it pull `models:/checkout-recommender@online` instead of `@champion`.

The update stands on one champion version. When the champion moves, by promotion or by `rollback_model`, the
alias moves to the new champion as it is, and the delta is dropped. `retrain_incremental` starts from
champion and delta, as far as the delta has learned nothing from the hours that judge the candidate.

## When it runs

Each announcement of the asset `events` starts one run.

**It is paused at first:** each run adds a version to the registry, and takes the training pool for some
seconds. Unpause it when a service wants the alias `online`.

**Skipped runs:** there is no champion yet, or the champion's architecture has no embeddings to move
(attention, gru and transformer have them). Nothing needs to be done.

## When it fails

- **The online version harms:** pause this DAG, and let services pull `@champion` again; or move the alias
  to the champion's version in MLflow. No gate judges a delta: each session moves an item by a bounded step.
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
