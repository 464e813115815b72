"""The broker that the tests run against is a real one, and survives what they do to it."""

from __future__ import annotations

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from tests.services.kafka import PINS


def test_every_jar_is_pinned_by_its_hash():
    lines = [line.split() for line in PINS.read_text().splitlines()]
    assert len(lines) > 30
    assert all(len(digest) == 64 and path.endswith(".jar") for digest, path in lines)


def test_acknowledged_messages_survive_a_killed_broker(broker, topic):
    producer = Producer(broker.config | {"acks": "all"})
    producer.produce(topic, b"{}")
    assert producer.flush(20) == 0
    broker.kill()
    broker.restart()
    assert topic in AdminClient(broker.config).list_topics(timeout=10).topics
