"""Check the rules of alerts, write what they find into the table `alerts`, and send the messages.

## What it does

- `check_rules` lets each rule look at the lake and at MLflow. It opens, changes and resolves alerts in one
  commit. A rule whose tables did not change is skipped. A rule that cannot look is an alert of its own.
- `act_on_alerts` rolls back, if an open alert belongs to a rule with `action: rollback`. By default no rule
  has an action. docs/drops.md says when an alert acts.
- `name_training` and `start_retrain_full` start one training for rules with `action: retrain`.
- `send_alerts` sends the messages that are due through the channels of `LASTAISLE_ALERTS`.

`bin/lastaisle alerts` lists the open alerts. docs/alerts.md explains each rule, and what to do.

## When it runs

Every ten minutes. A run takes some seconds.

**Skipped tasks:** `send_alerts`, if the configuration names no channel. `name_training` and
`start_retrain_full`, if no alert asks for a training, or if the training was started already.

## When it fails

- **`AlertConfigError` in `check_rules`:** the file of `LASTAISLE_ALERTS` has a mistake. The log names the
  line. No rule is checked until the file is right.
- **`LakeUnusableError`:** the table `alerts` cannot be read or written. The log says why.
- **`ExceptionGroup` in `act_on_alerts`:** a rollback failed. The log names the alert and the reason. All
  other actions were carried out, and the next run tries again.
- **`NotDeliveredError` in `send_alerts`:** a message did not arrive, or a channel cannot be used. The log
  names the channel and the answer. The alerts stand, and the next run tries again.
- **`ExceptionGroup`:** a rule has a fault. The alerts of the other rules are
  written. Please report the fault.

## Run it again

Safe at any time, also after a kill at any moment. The same state opens no alert twice, and a message that
was sent is not sent again.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag

from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS
from lastaisle_airflow.runtime.operators import TriggerWithNote
from lastaisle_airflow.tasks.alerts import act_on_alerts, check_rules, name_training, send_alerts


@dag(
    schedule=CronTriggerTimetable("*/10 * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    dagrun_timeout=timedelta(hours=1),
    doc_md=__doc__,
    tags=["lastaisle", "data"],
)
def raise_alerts() -> None:
    """Check the rules of alerts, act where a rule says so, and send the messages."""
    acted = act_on_alerts()
    start_training = TriggerWithNote(
        task_id="start_retrain_full",
        trigger_dag_id="retrain_full",
        trigger_run_id="{{ ti.xcom_pull(task_ids='name_training')['run_id'] }}",
        note="{{ ti.xcom_pull(task_ids='name_training')['note'] }}",
        skip_when_already_exists=True,
    )
    # A rollback does not wait for the messages.
    check_rules() >> acted >> send_alerts()
    name_training(acted) >> start_training


raise_alerts()
