"""Check the rules of alerts, write what they find into the table `alerts`, and send the messages.

## What it does

- `check_rules` lets each rule look at the lake and at MLflow. It opens, changes and resolves alerts in one
  commit. A rule whose tables did not change is skipped. A rule that cannot look is an alert of its own.
- `send_alerts` sends the messages that are due through the channels of `LASTAISLE_ALERTS`.

`bin/lastaisle alerts` lists the open alerts. docs/alerts.md explains each rule, and what to do.

## When it runs

Every ten minutes. A run takes some seconds.

**Skipped tasks:** the configuration names no channel.

## When it fails

- **`AlertConfigError` in `check_rules`:** the file of `LASTAISLE_ALERTS` has a mistake. The log names the
  line. No rule is checked until the file is right.
- **`LakeUnusableError`:** the table `alerts` cannot be read or written. The log says why.
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
from lastaisle_airflow.tasks.alerts import check_rules, send_alerts


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
    """Check the rules of alerts, and send the messages."""
    check_rules() >> send_alerts()


raise_alerts()
