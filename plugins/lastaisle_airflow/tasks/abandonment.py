"""The task of `detect_abandonment`."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.kafka.control import control_topic, send_control
from lastaisle.settings import Settings
from lastaisle_airflow.runtime.defaults import OLDEST_DATA_THAT_STARTS_A_TRAINING
from lastaisle_airflow.runtime.kafka import kafka_connection
from lastaisle_airflow.runtime.stores import open_lake

if TYPE_CHECKING:
    from lastaisle.sessions.abandonments import Burst

# The task imports the pipeline inside its function: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)


@task
def detect_abandoned() -> dict[str, Any]:
    """Store the checkouts that were abandoned since the last run, and send the control topic a message.

    Returns:
        The burst of abandoned checkouts: counts, whole hours and random ids.

    Raises:
        AirflowSkipException: no checkout was abandoned, or the last abandonment is so old that a backfill
            must have brought it.
    """
    from lastaisle.monitor.abandonment import detect

    settings = Settings.from_env()
    burst = detect(open_lake(settings), settings, send=send_burst)
    if burst is None:
        raise AirflowSkipException("no checkout was abandoned since the last run")
    log.info("%d abandoned checkouts: %s", burst.sessions, dict(burst.reasons))
    if is_long_past(burst):
        days = OLDEST_DATA_THAT_STARTS_A_TRAINING.days
        raise AirflowSkipException(f"the checkouts are more than {days} days past: they start no refresh")
    return burst.to_dict()


def send_burst(burst: Burst) -> None:
    """Send the control topic one message, if a topic is set and the burst is not long past."""
    address = Settings.from_env().abandonment.control_topic
    if address and not is_long_past(burst):
        name, topic = control_topic(address)
        send_control(kafka_connection(name), topic, burst.to_dict())


def is_long_past(burst: Burst) -> bool:
    """Return whether the last abandonment of a burst is so old that a backfill must have brought it."""
    return datetime.now(UTC) - burst.end > OLDEST_DATA_THAT_STARTS_A_TRAINING
