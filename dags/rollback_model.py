"""Move the champion back.

For when the champion harms. Services that pull `models:/checkout-recommender@champion` get the older version
at their next load; nothing is deleted, and the move is a row in the table `releases`.

1. **Look:** trigger it as it is. `dry_run` is on: the log of `move_champion` says what would move, from where
   to where, and nothing moves. `to_version` empty means the alias `previous`.
2. **Move:** trigger it again with `dry_run` off and a `reason` that the next shift will understand.
3. **Keep it so:** the next `retrain_incremental` warm-starts from the version that you moved back to, and may
   promote its candidate. To hold the old version, pause `retrain_incremental` and `retrain_full` first.

`airflow dags trigger rollback_model --conf '{"to_version": 3, "reason": "CTR fell", "dry_run": false}'`
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS
from lastaisle_airflow.tasks.learning import announce_champion

PARAMS = {
    "to_version": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        description="Registered version; empty: the previous champion.",
    ),
    "reason": Param(
        "", type="string", maxLength=500, description="Why; kept in the ledger. Needed for a real move."
    ),
    "dry_run": Param(True, type="boolean", description="Only say what would move."),
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
    """Move the champion back."""

    # Outside every pool: an emergency waits for no training.
    @task(execution_timeout=timedelta(minutes=10))
    def move_champion() -> dict[str, Any]:
        from lastaisle_airflow.tasks.learning import roll_back

        context = get_current_context()
        params = context["params"]
        return roll_back(params["to_version"], params["reason"], params["dry_run"], context["dag_run"])

    announce_champion(move_champion())


rollback_model()
