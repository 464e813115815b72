"""The task of `send_test_alert`."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.notes import note

# The task imports the pipeline inside its function: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)


@task(execution_timeout=timedelta(minutes=10))
def send_test_notices(*, params: Any = None) -> dict[str, Any]:
    """Send a test notice through one channel, or through all; return the report.

    Raises:
        AirflowFailException: a channel did not take the notice, cannot be used, or does not exist. A retry
            would send the others their notices again.
    """
    from lastaisle.delivery.channels import named
    from lastaisle.delivery.deliver import NotDeliveredError, send_test
    from lastaisle.delivery.resolver import ChannelError
    from lastaisle.yaml_model import YamlModelError
    from lastaisle_airflow.runtime.channels import configured_channels

    channel = (params["channel"] or "").strip()
    try:
        channels = named(configured_channels(Settings.from_env()), [channel] if channel else None)
        report = send_test(channels)
        for line in report.lines():
            log.info("%s", line)
        report.require_delivered()
    except (ChannelError, NotDeliveredError, YamlModelError) as error:
        raise AirflowFailException(str(error)) from error
    note("; ".join(report.lines()))
    return report.to_dict()
