"""Learn from checkouts that were just abandoned.

The sessions that wait in the table `abandonments`, and those most like them, move the champion by a short
warm start; the candidate is judged like any other, and promoted if the gate finds it no worse.

**How it is woken:** by a message on `LASTAISLE_CONTROL_TOPIC`, which `detect_abandonment` or
`lastaisle abandonment` sends and the triggerer watches; without that topic `detect_abandonment` starts it.

**A burst is one run.** A run takes all that waits. Messages that come meanwhile make one more run, which
skips if nothing new waits.

**Skipped runs:** there is no champion; fewer than `LASTAISLE_REFRESH_MIN_SESSIONS` (20) wait; or the last
refresh is less than `LASTAISLE_REFRESH_COOLDOWN_MINUTES` (30) old. What waits is taken by a later run.

**Deadline:** `LASTAISLE_REFRESH_DEADLINE_MINUTES` (10) after the first of its abandonments was noticed. Of a
run that is not over then, a line of JSON tells once on the logger `lastaisle.alerts`; the run goes on. Look
where it waits: the pool `training` has one slot, and `retrain_full` may hold it.

**Nothing happens?** Is `airflow triggerer` up? Its log names what it finds wrong with the topic; the Airflow
connection of a control topic needs `group.id` and `"enable.auto.commit": false`. Messages that are no control
messages are passed over.

**Again:** safe at any time. A finished training is reused by its run key, a half-finished one is redone, and
abandonments count as done only after the release.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import chain, dag, task

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.assets import abandoned_checkouts
from lastaisle_airflow.runtime.deadlines import refresh_deadline
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS
from lastaisle_airflow.runtime.links import link_to_mlflow
from lastaisle_airflow.tasks.learning import announce_champion, release_candidate, train_and_evaluate

SETTINGS = Settings.from_env()


@dag(
    schedule=[abandoned_checkouts(SETTINGS)],
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULT_ARGS, "owner": "machine-learning"},
    dagrun_timeout=timedelta(hours=3),
    deadline=refresh_deadline(SETTINGS),
    doc_md=__doc__,
    tags=["lastaisle", "models"],
)
def refresh_on_abandonment() -> None:
    """Learn from checkouts that were just abandoned."""

    @task
    def plan_refresh() -> dict[str, Any]:
        from lastaisle_airflow.tasks.refreshing import plan

        return plan()

    @task
    def finish_refresh(planned: dict[str, Any]) -> None:
        from lastaisle_airflow.tasks.refreshing import finish

        finish(planned)

    planned = plan_refresh()
    trained = train_and_evaluate(planned)
    released = release_candidate(trained)
    link_to_mlflow(trained, released)
    # Done when released, be it refused: a run that is killed before is redone, and loses no abandonment.
    chain(planned, trained, released, finish_refresh(planned))
    released >> announce_champion(released)


refresh_on_abandonment()
