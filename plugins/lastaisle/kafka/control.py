"""Control messages: messages that start runs, and carry counts instead of data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lastaisle.kafka.address import parse_source
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.kafka.errors import KafkaSourceError
from lastaisle.settings import SettingsError

DELIVERY_SECONDS = 30
CHECKOUTS_ABANDONED = "checkouts_abandoned"


def control_topic(address: str) -> tuple[str, str]:
    """Return the connection and the topic of an address such as kafka://shop/lastaisle-control.

    Raises:
        KafkaSourceError: the text is not the address of a topic.
        SettingsError: the address names several topics.
    """
    source = parse_source(address)
    if len(source.topics) != 1:
        raise SettingsError(f"LASTAISLE_CONTROL_TOPIC should name one topic, received {address!r}")
    return source.name, source.topics[0]


def send_control(connection: KafkaConnection, topic: str, message: Mapping[str, Any]) -> None:
    """Send one message, and return when all in-sync replicas have it; the client sends it once.

    Raises:
        KafkaSourceError: the brokers did not take the message in time.
    """
    from confluent_kafka import KafkaException  # inside the function, for the reason in connection.py

    failed: list[str] = []
    producer = connection.producer(defaults={"delivery.timeout.ms": DELIVERY_SECONDS * 1000})
    try:
        producer.produce(
            topic,
            json.dumps(message).encode(),
            on_delivery=lambda error, _: failed.append(error.str()) if error else None,
        )
        undelivered = producer.flush(DELIVERY_SECONDS + 5)
    except (BufferError, KafkaException) as error:
        raise KafkaSourceError(f"Kafka takes no message for topic {topic!r}: {error}") from error
    if failed or undelivered:
        reason = failed[0] if failed else "no answer in time"
        raise KafkaSourceError(f"{connection.servers} did not take the message for topic {topic!r}: {reason}")


def read_control(value: object) -> dict[str, Any] | None:
    """Read a message about abandoned checkouts: their number, and the moment when they were noticed.

    Args:
        value: the message as it arrived; any program may have written it.

    Returns:
        `sessions`, and `noticed_at` as text in UTC; other fields of the message are left out. None if the
        message is not about abandoned checkouts.
    """
    try:
        message = json.loads(value) if isinstance(value, bytes | str) else None
        if not isinstance(message, dict) or message["event"] != CHECKOUTS_ABANDONED:
            return None
        return {"sessions": int(message["sessions"]), "noticed_at": moment(message["noticed_at"]).isoformat()}
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None


def moment(text: str) -> datetime:
    """Return the moment (UTC) that an ISO 8601 text names; a text without a zone is in UTC.

    Raises:
        ValueError: the text names no moment.
    """
    parsed = datetime.fromisoformat(text)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
