"""What the tests of Kafka share: a connection to the broker, and messages to send."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from lastaisle.ingest.kafka.client import RangeRead, read_range, watermarks
from lastaisle.ingest.kafka.payloads import Decoder
from lastaisle.ingest.kafka.ranges import plan
from lastaisle.kafka.connection import KafkaConnection


@pytest.fixture
def connection(broker) -> KafkaConnection:
    return KafkaConnection(broker.config)


@pytest.fixture
def send(broker) -> Callable[..., None]:
    """send(topic, values, partition=0, headers=None, key=None): each value is bytes, text or None."""
    from confluent_kafka import Producer

    config = broker.config | {"acks": "all", "linger.ms": 5, "message.max.bytes": 5_000_000}

    def deliver(topic: str, values: Iterable[Any], partition: int = 0, **given: Any) -> None:
        failed = []
        producer = Producer(config)
        for value in values:
            producer.produce(
                topic,
                value,
                partition=partition,
                on_delivery=lambda error, _: failed.append(error) if error else None,
                **given,
            )
        assert producer.flush(30) == 0
        assert failed == []

    return deliver


@pytest.fixture
def read_all(connection) -> Callable[..., tuple[list[dict], list[RangeRead]]]:
    """read_all(topic) reads all that a topic holds; gives the rows and the readings."""

    def read(
        topic: str, decoder: Decoder | None = None, **options: Any
    ) -> tuple[list[dict], list[RangeRead]]:
        rows, readings = [], []
        for span in plan(watermarks(connection, [topic]), {}, **options).ranges:
            reading = read_range(connection, span, decoder)
            rows += [row for batch in reading for row in batch.to_pylist()]
            readings.append(reading)
        return rows, readings

    return read
