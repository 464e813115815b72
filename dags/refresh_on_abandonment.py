"""Learn from checkouts that were just abandoned.

## What it does

The abandoned sessions that wait in the table `abandonments`, and the sessions most like them, move the
champion by a short warm start. The candidate is judged like any other, and promoted if the gate finds it no
worse.

## When it runs

- **With a control topic** (`LASTAISLE_CONTROL_TOPIC`): the triggerer watches the topic. A message from
  `detect_abandonment` or `bin/lastaisle abandonment` starts a run.
- **Without a control topic:** `detect_abandonment` starts this DAG.

A run takes all sessions that wait. Messages that come during the run start one more run, which is skipped if
no new session waits.

**Skipped runs:** there is no champion; or fewer than `LASTAISLE_REFRESH_MIN_SESSIONS` (20) sessions wait;
or the last refresh was less than `LASTAISLE_REFRESH_COOLDOWN_MINUTES` (30) ago. A later run takes the
sessions that wait.

**Deadline:** `LASTAISLE_REFRESH_DEADLINE_MINUTES` (10) after the run's first abandonment was noticed. If the
run is not over by then, the logger `lastaisle.alerts` gets one line of JSON, and the run goes on. See which
task of the run waits: the pool `training` has one slot, and `retrain_full` may hold it.

## When it fails

- **The run waits at `ask_people`** (only with `LASTAISLE_APPROVAL`): the release is risky. Open the run's
  required actions, read the decision table, and approve or reject. Without an answer it is rejected after
  `LASTAISLE_APPROVAL_HOURS`. A rejection is a refusal of the candidate, and the ledger has the name.
- **No run starts.** Check that the triggerer runs; `make up` starts it. Its log names problems of the topic.
  The Airflow connection of a control topic needs `group.id` and `"enable.auto.commit": false`. Messages that
  are not control messages are passed over.
- **Too few sessions to learn from** fails `train_and_evaluate` without a retry. These abandonments count as
  done: a later run could not learn from them either.
- **A refused candidate** is not a failure. Read the reasons in the log of `release_candidate`.
- **`NotAnnouncedError` in `send_announcements`:** a service did not get its webhook. The log names the
  service and the answer. The release stands. Later runs of this and other DAGs try again.

## Run it again

Safe at any time. A finished training is reused by its run key, a half-finished training starts again, and
abandonments count as done only after the release.
"""

from datetime import timedelta

from airflow.sdk import chain, dag

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.assets import abandoned_checkouts
from lastaisle_airflow.runtime.deadlines import refresh_deadline
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS
from lastaisle_airflow.runtime.links import link_to_mlflow
from lastaisle_airflow.tasks.approval import release_with_approval, time_to_answer
from lastaisle_airflow.tasks.refresh import finish_refresh, plan_refresh
from lastaisle_airflow.tasks.release import announce_champion
from lastaisle_airflow.tasks.training import train_and_evaluate
from lastaisle_airflow.tasks.webhooks import send_announcements

SETTINGS = Settings.from_env()


@dag(
    schedule=[abandoned_checkouts(SETTINGS)],
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULT_ARGS, "owner": "machine-learning"},
    dagrun_timeout=timedelta(hours=3) + time_to_answer(),
    deadline=refresh_deadline(SETTINGS),
    doc_md=__doc__,
    tags=["lastaisle", "models"],
)
def refresh_on_abandonment() -> None:
    """Learn from checkouts that were just abandoned."""
    planned = plan_refresh()
    trained = train_and_evaluate(planned)
    released = release_with_approval(trained)
    link_to_mlflow(trained, released)
    # Abandonments count as done after the release, even if the gate refuses the candidate. A run that is
    # killed before the release starts again, and loses no abandonment.
    chain(planned, trained, released, finish_refresh(planned))
    released >> [announce_champion(released), send_announcements()]


refresh_on_abandonment()
