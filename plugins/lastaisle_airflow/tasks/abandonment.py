"""The tasks of `detect_abandonment`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import task

from lastaisle.kafka.control import control_topic, send_control
from lastaisle.settings import Settings
from lastaisle_airflow.runtime.defaults import OLDEST_DATA_THAT_STARTS_A_TRAINING
from lastaisle_airflow.runtime.kafka import kafka_connection
from lastaisle_airflow.runtime.notes import note, skipped
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks import sentences

if TYPE_CHECKING:
    from lastaisle.sessions.abandonments import Burst

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.


@task
def detect_abandoned() -> dict[str, Any]:
    """Store the checkouts that were abandoned since the last run, and send the control topic a message.

    Without a control topic, the next task starts the refresh. So the burst counts as notified only after that
    task, in `mark_notified`: a run that is killed before starts again, and loses no refresh.

    Returns:
        The burst of abandoned checkouts: counts, whole hours and random ids.

    Raises:
        AirflowSkipException: no checkout was abandoned, or the last abandonment is so old that a backfill
            must have brought it.
    """
    from lastaisle.monitor.abandonment import detect, detect_unnotified
    from lastaisle.sessions.abandonments import NOTIFIED, mark_done

    settings = Settings.from_env()
    lake = open_lake(settings)
    if settings.abandonment.control_topic:
        burst = detect(lake, settings, send=send_burst)
    else:
        burst = detect_unnotified(lake, settings)
    if burst is None:
        raise skipped("no checkout was abandoned since the last run")
    if is_long_past(burst):
        mark_done(lake, burst.names, NOTIFIED)
        days = OLDEST_DATA_THAT_STARTS_A_TRAINING.days
        raise skipped(f"the checkouts are more than {days} days past: they start no refresh")
    report = burst.to_dict()
    note(sentences.of_abandonment(report))
    return report


# It also runs if a killed run had started the refresh already, so that the task before it was skipped.
@task(trigger_rule="none_failed")
def mark_notified(detected: dict[str, Any] | None) -> None:
    """Record that the refresh for the burst was started.

    Raises:
        AirflowSkipException: there is no burst.
    """
    from lastaisle.sessions.abandonments import NOTIFIED, mark_done

    if detected is None:
        raise skipped("no checkout was abandoned since the last run")
    mark_done(open_lake(Settings.from_env()), detected["bursts"], NOTIFIED)


def send_burst(burst: Burst) -> None:
    """Send the control topic one message, if the burst is not long past."""
    if not is_long_past(burst):
        name, topic = control_topic(Settings.from_env().abandonment.control_topic)
        send_control(kafka_connection(name), topic, burst.to_dict())


def is_long_past(burst: Burst) -> bool:
    """Return whether the last abandonment of a burst is so old that a backfill must have brought it."""
    return datetime.now(UTC) - burst.end > OLDEST_DATA_THAT_STARTS_A_TRAINING
