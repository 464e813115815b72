"""A control message on a real broker: there once, whole, and without anything that names a person."""

import json
from datetime import UTC, datetime

import pytest

from lastaisle.kafka.connection import KafkaConnection
from lastaisle.kafka.control import control_topic, read_control, send_control
from lastaisle.kafka.errors import KafkaSourceError
from lastaisle.sessions.abandonments import Burst
from lastaisle.settings import SettingsError
from tests.services.kafka import make_topic


def test_a_message_is_there_once_when_sending_returns(broker, connection):
    from confluent_kafka import Consumer

    topic = make_topic(broker, partitions=1)
    send_control(connection, topic, {"event": "checkouts_abandoned", "sessions": 3})
    settings = {"group.id": "test", "auto.offset.reset": "earliest", "enable.partition.eof": True}
    consumer = Consumer(broker.config | settings)
    consumer.subscribe([topic])
    values = []
    while (message := consumer.poll(30)) is not None and not message.error():
        values.append(json.loads(message.value()))
    consumer.close()
    assert values == [{"event": "checkouts_abandoned", "sessions": 3}]


def test_a_missing_topic_is_named(broker):
    connection = KafkaConnection(broker.config | {"topic.metadata.propagation.max.ms": 500})
    with pytest.raises(KafkaSourceError, match="no-such-topic"):
        send_control(connection, "no-such-topic", {"sessions": 1})


def test_an_address_names_one_connection_and_one_topic():
    assert control_topic("kafka://shop/control") == ("shop", "control")
    with pytest.raises(SettingsError, match="one topic"):
        control_topic("kafka://shop/one,two")
    with pytest.raises(KafkaSourceError):
        control_topic("shop/control")


def test_only_the_sent_fields_of_a_burst_are_read():
    noon = datetime(2025, 10, 9, 12, tzinfo=UTC)
    burst = Burst(("a", "b"), 31, {"abandoned": 31}, noon, noon, noon)
    expected = {"sessions": 31, "noticed_at": "2025-10-09T12:00:00+00:00"}
    sent = burst.to_dict() | {"user_id": "somebody"}
    assert read_control(json.dumps(sent).encode()) == expected
    assert read_control(json.dumps({**sent, "noticed_at": "2025-10-09T14:00:00+02:00"})) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff\xfe",
        b"{",
        b"[" * 100_000,
        b"[1]",
        b"null",
        b'{"event": "other", "sessions": 1, "noticed_at": "2025-10-09"}',
        b'{"event": "checkouts_abandoned"}',
        b'{"event": "checkouts_abandoned", "sessions": [], "noticed_at": "2025-10-09"}',
        b'{"event": "checkouts_abandoned", "sessions": Infinity, "noticed_at": "2025-10-09"}',
        b'{"event": "checkouts_abandoned", "sessions": 1, "noticed_at": 5}',
        b'{"event": "checkouts_abandoned", "sessions": 1, "noticed_at": "yesterday"}',
        b'{"event": "checkouts_abandoned", "sessions": 1, "noticed_at": "0001-01-01T00:00:00+14:00"}',
    ],
)
def test_other_messages_in_the_topic_are_skipped(value):
    assert read_control(value) is None
