"""Learn from scratch on a long window.

## What it does

A model learns from scratch on the last 30 days (`LASTAISLE_FULL_WINDOW_HOURS`). A warm start keeps
old tastes, and items that are no longer sold; a full training forgets them. The gate judges the candidate
like any other: it must not be worse than the champion on the same sessions.

## When it runs

- Every Monday at 03:00 UTC.
- By hand.
- When `detect_drift` starts it. The note of the run then says in words what drifted.
- When two candidates in a row were refused. `retrain_incremental` starts it, with data up to the same
  moment.

## Parameters

An empty parameter takes its value from the settings. The form behind the Trigger button names these values.
Use the form, or:

```
bin/airflow dags trigger retrain_full --conf '{"window_hours": 336, "epochs": 6}'
```

`data_end` (UTC) trains as if that moment were now, for a comparison with the past. If it is empty, the
training ends with the newest day in `events`. A candidate that has learned up to an earlier moment than the
champion is not released, unless `allow_older` is on.

**Another model,** for one run:

```
bin/airflow dags trigger retrain_full --conf '{"architecture": "gru", "hyperparameters": {"layers": 2}}'
```

For every full training, set `LASTAISLE_ARCHITECTURE` and `LASTAISLE_HYPERPARAMETERS`. After the new model
has become champion, `retrain_incremental` continues with it.

## When it fails

- **The run waits at `ask_people`** (only with `LASTAISLE_APPROVAL`): the release is risky. Open the run's
  required actions, read the decision table, and approve or reject. Without an answer it is rejected after
  `LASTAISLE_APPROVAL_HOURS`. A rejection is a refusal of the candidate, and the ledger has the name.
- **A model or a hyperparameter that does not exist** fails `plan_window` without a retry. Correct the
  parameters, and trigger the DAG again.
- **The champion has moved on** while the training waited, and has learned the hours that were to judge it:
  `train_and_evaluate` or `release_candidate` fails without a retry. Trigger the DAG again.
- **Another process trains the same:** the log of `train_and_evaluate` names the process. A retry begins
  after that process has ended.
- **A refused candidate** is not a failure. The registry keeps it, and no service gets it. Read the reasons
  in the log of `release_candidate`, or in the MLflow run (button on the task).
- **`NotAnnouncedError` in `send_announcements`:** a service did not get its webhook. The log names the
  service and the answer. The release stands. Later runs of this and other DAGs try again.

## Run it again

Safe at any time. A run with the same data and the same parameters reuses the parts that are finished, also
when `train_and_evaluate` died after its training.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, chain, dag

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS
from lastaisle_airflow.runtime.links import link_to_mlflow
from lastaisle_airflow.runtime.params import full_training_params
from lastaisle_airflow.tasks.approval import release_with_approval, time_to_answer
from lastaisle_airflow.tasks.release import announce_champion
from lastaisle_airflow.tasks.training import plan_full_window, train_and_evaluate
from lastaisle_airflow.tasks.webhooks import send_announcements


@dag(
    schedule=CronTriggerTimetable("0 3 * * 1", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    params=full_training_params(Settings.from_env()),
    default_args={**DEFAULT_ARGS, "owner": "machine-learning", "execution_timeout": timedelta(hours=4)},
    dagrun_timeout=timedelta(hours=8) + time_to_answer(),
    doc_md=__doc__,
    tags=["lastaisle", "models"],
)
def retrain_full() -> None:
    """Learn from scratch on a long window."""
    planned = plan_full_window()
    trained = train_and_evaluate(planned)
    released = release_with_approval(trained)
    link_to_mlflow(trained, released)
    # The evaluation comes before the release. The announcement comes only when the champion moved, since
    # services wait for it.
    chain(planned, trained, released, [announce_champion(released), send_announcements()])


retrain_full()
