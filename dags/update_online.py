"""Move the champion's embeddings by the sessions that have just ended.

Each announcement of the asset `events` brings one run. Sessions that ended since the last run, half an hour
before the partition's end at the latest, are learned one by one on top of the champion; the outcome is a
version of its own, and the alias `online` names it. Services that want it pull
`models:/checkout-recommender@online` instead of `@champion`.

**Paused at first:** each run adds a version to the registry and takes the training pool for some seconds;
unpause it when a service wants that.

**What it is on top of:** one champion version. When the champion moves, by promotion or by `rollback_model`,
the alias goes to the new champion as it is, and the delta is dropped; `retrain_incremental` begins with
champion and delta, as far as the delta knows nothing of the hours that judge the candidate.

**Skipped runs:** there is no champion yet, or one whose architecture has no embeddings to move (attention,
gru and transformer have). Nothing to do.

**It harms?** Pause this DAG, and let services pull `@champion` again; or take the alias to the champion's
version in MLflow. No gate judges a delta: each session moves an item by a bounded step.

**Again:** safe at any time. What a finished run learned is not learned twice; a half-finished one is redone.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, get_current_context, task

from lastaisle_airflow.runtime.assets import EVENTS
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS, TRAINING_POOL


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

    # The learning takes one core, but packing the model loads TensorFlow, and the champion must not be
    # replaced meanwhile: the pool has one slot.
    @task(pool=TRAINING_POOL)
    def learn_sessions() -> dict[str, Any]:
        from lastaisle_airflow.tasks.updating import update

        return update(get_current_context())

    learn_sessions()


update_online()
