"""Send a test notice through the channels of alerts, with the secrets that tasks hold.

## What it does

Each channel of the file of `LASTAISLE_ALERTS` gets one test notice. The log of `send_test_notices` has one
line for each channel. Nothing else is written, and no alert is raised. An incident that the test opens in
PagerDuty is resolved at once.

This command does the same, but reads no Airflow connection and uses no notifier of Airflow:

```
bin/lastaisle alerts test
```

## When it runs

By hand only.

## Parameters

- `channel`: the name of a channel, to try that one alone; empty for all channels.

## When it fails

The error names each channel that did not take the notice, and why: a variable or a connection that is
missing, an address that answers 404, a mail server that refuses the login. Mend it, and trigger the DAG
again; the task is not tried again by itself. `docs/alert-channels.md` says what each channel needs.

## Run it again

Safe at any time. Each run sends its notices again.
"""

from datetime import timedelta

from airflow.sdk import dag

from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS
from lastaisle_airflow.runtime.params import optional_param
from lastaisle_airflow.tasks.channels import send_test_notices


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params={"channel": optional_param("string", "The name of a channel; empty: all channels.")},
    default_args=DEFAULT_ARGS,
    dagrun_timeout=timedelta(minutes=15),
    doc_md=__doc__,
    tags=["lastaisle", "alerts"],
)
def send_test_alert() -> None:
    """Send a test notice through the channels of alerts."""
    send_test_notices()


send_test_alert()
