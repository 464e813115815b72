"""Poison messages arrive in a topic of their own, byte by byte, with headers that say why."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, TopicPartition

from lastaisle.ingest.kafka.client import read_range, watermarks
from lastaisle.ingest.kafka.dead_letters import ID, send_dead_letters
from lastaisle.ingest.kafka.ranges import plan
from lastaisle.kafka.errors import KafkaSourceError
from tests.services.kafka import make_topic

POISON = b'{"caf\xe9": 1}'


@pytest.fixture
def received(broker) -> Callable[[str], list]:
    """received(topic) returns all messages of a topic of one partition."""

    def receive(topic: str) -> list:
        consumer = Consumer(broker.config | {"group.id": "reader", "enable.auto.commit": False})
        place = TopicPartition(topic, 0, 0)
        consumer.assign([place])
        _, end = consumer.get_watermark_offsets(place, timeout=10)
        found = []
        while len(found) < end:
            found += consumer.consume(end - len(found), 1)
        consumer.close()
        return found

    return receive


def reasons_of(reading) -> dict[int, str]:
    rows = [row for batch in reading for row in batch.to_pylist()]
    return {row["source_row"]: row["reason"] for row in rows if row["reason"]}


def span_of(connection, topic):
    (span,) = plan(watermarks(connection, [topic]), {}).ranges
    return span


def test_unusable_messages_are_sent_unchanged_with_place_and_reason(topic, send, connection, received):
    send(topic, [b"{}"] * 3)
    send(topic, [POISON], key=b"user-\xff", headers=[("trace", b"abc"), ("empty", None)])
    send(topic, [None], key=b"gone", timestamp=1_760_000_000_123)
    span = span_of(connection, topic)
    done = send_dead_letters(connection, span, reasons_of(read_range(connection, span)))
    assert (done.topic, done.sent, done.gone) == (f"{topic}.dead-letters", 2, 0)
    poison, tombstone = received(done.topic)
    assert (poison.key(), poison.value()) == (b"user-\xff", POISON)
    headers = dict(poison.headers())
    assert headers.pop("dead-letter-timestamp").isdigit()
    assert headers == {
        "trace": b"abc",
        "empty": None,
        "dead-letter-id": f"{topic}/0/3".encode(),
        "dead-letter-reason": b"not_utf8",
        "dead-letter-topic": topic.encode(),
        "dead-letter-partition": b"0",
        "dead-letter-offset": b"3",
        "dead-letter-batch-id": span.batch_id.encode(),
    }
    assert (tombstone.key(), tombstone.value()) == (b"gone", None)
    assert dict(tombstone.headers())["dead-letter-timestamp"] == b"1760000000123"


def test_a_repeated_batch_sends_again_under_the_same_ids(topic, send, connection, received):
    send(topic, [POISON, b"{}", POISON])
    span = span_of(connection, topic)
    reasons = reasons_of(read_range(connection, span))
    for _ in range(2):
        done = send_dead_letters(connection, span, reasons)
    ids = [dict(message.headers())[ID] for message in received(done.topic)]
    assert len(ids) == 4
    assert sorted(set(ids)) == [f"{topic}/0/0".encode(), f"{topic}/0/2".encode()]


def test_unusable_messages_far_apart_are_found_without_reading_all(topic, send, connection, received):
    send(topic, [POISON] + [b"{}"] * 50_000 + [POISON] * 2)
    span = span_of(connection, topic)
    done = send_dead_letters(connection, span, {0: "a", 50_001: "b", 50_002: "c"})
    told = [dict(message.headers())["dead-letter-reason"] for message in received(done.topic)]
    assert told == [b"a", b"b", b"c"]


def test_messages_that_the_brokers_deleted_are_counted(broker, topic, send, connection):
    from confluent_kafka.admin import AdminClient

    send(topic, [POISON] * 4)
    span = span_of(connection, topic)
    admin, place = AdminClient(broker.config), TopicPartition(topic, 0, 3)
    admin.delete_records([place])[place].result(30)
    done = send_dead_letters(connection, span, dict.fromkeys(range(4), "not_utf8"))
    assert (done.sent, done.gone) == (1, 3)


def test_a_message_too_large_for_the_topic_is_cut_and_the_others_are_not(broker, send, connection, received):
    topic = make_topic(broker, max_message_bytes="3000000")
    letters = make_topic(broker, max_message_bytes="50000")
    large = b"\xff" * 2_000_000
    send(topic, [POISON, large, POISON])
    span = span_of(connection, topic)
    done = send_dead_letters(connection, span, dict.fromkeys(range(3), "not_utf8"), topic=letters)
    assert (done.topic, done.sent) == (letters, 3)
    by_offset = {dict(one.headers())["dead-letter-offset"]: one for one in received(letters)}
    assert by_offset[b"0"].value() == by_offset[b"2"].value() == POISON
    assert large.startswith(by_offset[b"1"].value())
    assert dict(by_offset[b"1"].headers())["dead-letter-bytes"] == b"2000000"
    assert "dead-letter-bytes" not in dict(by_offset[b"0"].headers())


def test_brokers_that_refuse_dead_letters_are_an_error(broker, topic, send, connection):
    send(topic, [POISON])
    span = span_of(connection, topic)
    letters = make_topic(broker, max_message_bytes="100")  # too small for any
    with pytest.raises(KafkaSourceError, match=f"1 dead letters were not taken by {letters}: .*too large"):
        send_dead_letters(connection, span, {0: "not_utf8"}, topic=letters, timeout=5)
    with pytest.raises(KafkaSourceError, match="cannot make the dead-letter topic a b"):
        send_dead_letters(connection, span, {0: "not_utf8"}, topic="a b")


def test_without_unusable_messages_no_topic_is_created(broker, topic, send, connection):
    send(topic, [b"{}"])
    done = send_dead_letters(connection, span_of(connection, topic), {})
    assert (done.sent, done.gone) == (0, 0)
    with pytest.raises(KafkaSourceError, match="no topic"):
        watermarks(connection, [done.topic])
