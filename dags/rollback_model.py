"""Move the champion back to an older version.

## What it does

Use this DAG when the champion does harm. Services that pull `models:/checkout-recommender@champion` get the
older version at their next load. Nothing is deleted, and the move is a row in the table `releases`.

## When it runs

Only by hand:

1. **Look:** trigger the DAG and leave its form as it opens. `dry_run` is on: the log of `move_champion`
   names the present version and the version that would become champion, and nothing moves.
2. **Move:** trigger the DAG again with `dry_run` off. Nothing needs to be typed; a `reason` helps the next
   shift:

   ```
   bin/airflow dags trigger rollback_model --conf '{"to_version": 3, "reason": "CTR fell", "dry_run": false}'
   ```

3. **Keep the older version:** the next `retrain_incremental` warm-starts from this version, never from the
   version that was rolled back, and may promote its candidate. To prevent this, pause `retrain_incremental`
   and `retrain_full` first.

## Parameters

- `to_version`: the registered version that becomes champion. If it is empty, the alias `previous` names the
  version.
- `reason`: the reason, for the ledger. The form opens with one.
- `dry_run`: on by default.
- `force`: off by default. A version that the gate refused, or has not judged, becomes champion only with
  `force`. The ledger and the version's model card then say so.

## When it fails

The log of `move_champion` says why, for example that the version does not exist, or that the gate
refused the version and `force` is off. The champion has not moved. Trigger the DAG again with corrected
parameters.

**`NotAnnouncedError` in `send_announcements`:** a service did not get its webhook. The log names the
service and the answer. The rollback stands. Later runs of this and other DAGs try again.

## Run it again

Safe at any time. A retry of the same run moves the champion once.
"""

from datetime import timedelta

from airflow.sdk import Param, dag

from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS
from lastaisle_airflow.runtime.params import optional_param
from lastaisle_airflow.tasks.release import announce_champion
from lastaisle_airflow.tasks.rollback import DEFAULT_REASON, move_champion
from lastaisle_airflow.tasks.webhooks import send_announcements

PARAMS = {
    "to_version": optional_param("integer", "Registered version; empty: the previous champion.", minimum=1),
    "reason": optional_param("string", "Reason, for the ledger.", default=DEFAULT_REASON, maxLength=500),
    "dry_run": Param(True, type="boolean", description="Only log what would move."),
    "force": Param(False, type="boolean", description="Also move to a version that the gate never promoted."),
}


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    default_args={**DEFAULT_ARGS, "owner": "machine-learning"},
    dagrun_timeout=timedelta(minutes=30),
    doc_md=__doc__,
    tags=["lastaisle", "models", "emergency"],
)
def rollback_model() -> None:
    """Move the champion back to an older version."""
    moved = move_champion()
    moved >> [announce_champion(moved), send_announcements()]


rollback_model()
