"""The collector in front of a real broker: what it acknowledges is in the topic, whatever is killed."""

from __future__ import annotations

import json
import threading
from collections import defaultdict

import pytest

from lastaisle.ingest.kafka.client import read_range, watermarks
from lastaisle.ingest.kafka.ranges import plan
from lastaisle.kafka.connection import KafkaConnection
from tests.services.kafka import make_topic
from tests.services.waiting import wait_until


@pytest.fixture
def topic(broker):
    return make_topic(broker, partitions=3)


@pytest.fixture
def start(make_collector, broker, topic):
    def start(config=None, name=topic):
        return make_collector(f"kafka://shop/{name}", LASTAISLE_KAFKA=json.dumps(config or broker.config))

    return start


def stored(broker, topic):
    """The calls in the topic, partition by partition, as ingestion reads them."""
    connection = KafkaConnection(broker.config)
    calls = defaultdict(list)
    for span in plan(watermarks(connection, [topic]), {}).ranges:
        for batch in read_range(connection, span, None):
            for row in batch.to_pylist():
                assert row["reason"] is None
                calls[span.partition].append(json.loads(row["payload"]))
    return calls


@pytest.mark.parametrize("listener", ["config", "secure"])
def test_the_calls_of_a_user_stay_together_and_in_their_order(start, broker, topic, listener):
    collector = start(getattr(broker, listener))
    for first in range(0, 300, 20):
        batch = [
            {"type": "track", "userId": f"u{number % 20}", "messageId": str(number)}
            for number in range(first, first + 20)
        ]
        assert collector.post("/v1/batch", {"batch": batch}).status == 200
    collector.stop()
    calls = stored(broker, topic)
    partitions = defaultdict(set)
    orders = defaultdict(list)
    for partition, found in calls.items():
        for call in found:
            partitions[call["userId"]].add(partition)
            orders[call["userId"]].append(int(call["messageId"]))
    assert len(calls) > 1
    assert len(partitions) == 20
    assert all(len(found) == 1 for found in partitions.values())
    assert all(numbers == sorted(set(numbers)) and len(numbers) == 15 for numbers in orders.values())


def test_every_acknowledged_event_outlives_the_brokers_death(start, broker, topic):
    collector = start()
    acknowledged, statuses = set(), set()
    ended = threading.Event()

    def send(sender):
        number = 0
        while not ended.is_set():
            body = {"type": "track", "userId": f"u{sender}", "messageId": f"{sender}-{number}"}
            number += 1
            answer = collector.post("/v1/track", body)
            statuses.add(answer.status)
            if answer.status == 200:
                acknowledged.add(body["messageId"])

    senders = [threading.Thread(target=send, args=(number,), daemon=True) for number in range(4)]
    for sender in senders:
        sender.start()
    wait_until("50 events are acknowledged", lambda: len(acknowledged) >= 50)
    broker.kill()
    down = len(acknowledged)
    wait_until("an event is refused", lambda: 503 in statuses)
    broker.restart()
    wait_until("50 more events are acknowledged", lambda: len(acknowledged) > down + 50)
    ended.set()
    for sender in senders:
        sender.join()
    collector.stop()
    assert statuses == {200, 503}
    found = {call["messageId"] for calls in stored(broker, topic).values() for call in calls}
    assert acknowledged <= found


def test_it_does_not_start_without_its_topic(start):
    with pytest.raises(AssertionError, match="no topic 'never-made' to write to"):
        start(name="never-made")


def test_it_does_not_start_without_a_cluster(start):
    with pytest.raises(AssertionError, match="cannot reach Kafka"):
        start({"bootstrap.servers": "127.0.0.1:1"})


def test_it_writes_to_one_topic(start):
    with pytest.raises(AssertionError, match="written to one topic"):
        start(name="one,two")
