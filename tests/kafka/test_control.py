"""A control message on a real broker: there once, whole, and without anything that names a person."""

import json

import pytest

from lastaisle.config import SettingsError
from lastaisle.ingest.kafka.control import control_topic, send_control
from lastaisle.ingest.kafka.errors import KafkaSourceError
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


def test_a_topic_that_is_not_there_is_told(connection):
    with pytest.raises(KafkaSourceError, match="no-such-topic"):
        send_control(connection, "no-such-topic", {"sessions": 1})


def test_an_address_names_one_connection_and_one_topic():
    assert control_topic("kafka://shop/control") == ("shop", "control")
    with pytest.raises(SettingsError, match="one topic"):
        control_topic("kafka://shop/one,two")
    with pytest.raises(KafkaSourceError):
        control_topic("shop/control")
