"""The topics of the tests' Airflow that drains a broker."""

from __future__ import annotations

from tests.services.kafka import Broker, make_topic
from tests.services.waiting import wait_until

#: The names must be set before Airflow starts.
CLICKS, CONTROL, FEEDBACK = "clicks", "control-of-clicks", "feedback-of-clicks"


def make_anew(broker: Broker, topic: str, partitions: int = 1) -> None:
    """Delete a topic with all its messages, and create it again."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient(broker.config)
    admin.delete_topics([topic])[topic].result(30)
    wait_until(f"{topic} is gone", lambda: topic not in admin.list_topics(timeout=30).topics)
    make_topic(broker, partitions, topic)
