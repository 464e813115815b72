"""Ranges against a real broker: nothing lost, nothing waited for in vain, every loss told."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from lastaisle.ingest.kafka.client import read_range, watermarks
from lastaisle.ingest.kafka.ranges import plan
from lastaisle.ingest.reading.lines import LINES, MAX_LINE_BYTES
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.kafka.errors import KafkaSourceError, OffsetsWentBackError
from tests.services.kafka import make_topic
from tests.services.waiting import wait_until


def lines(reading) -> list[tuple[int, str]]:
    return [(row["source_row"], row["payload"]) for batch in reading for row in batch.to_pylist()]


def events(count: int, begin: int = 0) -> list[bytes]:
    return [b'{"event_id": "%d"}' % number for number in range(begin, begin + count)]


def test_ranges_give_every_message_once_under_its_offset(topic, send, read_all):
    send(topic, events(1000))
    rows, readings = read_all(topic, batch_rows=300)
    assert [row["source_row"] for row in rows] == list(range(1000))
    assert [row["payload"].encode() for row in rows] == events(1000)
    assert {row["reason"] for row in rows} == {None}
    assert [(reading.rows, reading.absent, reading.gaps) for reading in readings] == [
        (300, 0, []),
        (300, 0, []),
        (300, 0, []),
        (100, 0, []),
    ]


def test_batches_have_the_schema_of_lines_and_the_same_range_reads_the_same(topic, send, connection):
    send(topic, events(50))
    (span,) = plan(watermarks(connection, [topic]), {}).ranges
    send(topic, events(50, begin=50))  # what comes later is of a later range
    first, second = (list(read_range(connection, span)) for _ in range(2))
    assert first == second
    assert all(batch.schema == LINES for batch in first)
    assert sum(map(len, first)) == 50


def test_large_messages_come_in_bounded_batches(broker, send, connection):
    topic = make_topic(broker, max_message_bytes="3000000")
    send(topic, [b'{"a": "%s"}' % (b"x" * 200_000)] * 300)
    (span,) = plan(watermarks(connection, [topic]), {}).ranges
    sizes = [batch.nbytes for batch in read_range(connection, span)]
    assert sum(sizes) > 60_000_000
    assert max(sizes) < 20_000_000


def test_compacted_offsets_are_counted_and_never_waited_for(broker, send, connection, read_all):
    topic = make_topic(
        broker,
        cleanup_policy="compact",
        segment_ms="100",
        min_cleanable_dirty_ratio="0.001",
        max_compaction_lag_ms="100",
        delete_retention_ms="100",
    )
    send(topic, events(500), key=b"one")

    def compacted():
        rows, (reading,) = read_all(topic)
        send(topic, events(1, begin=600), key=b"two")  # closes the segment, so that it may be compacted
        return (rows, reading) if reading.absent else None

    rows, reading = wait_until("a compaction", compacted, pause=0.2)
    assert reading.absent > 400
    assert reading.rows + reading.absent == len(reading.span)
    assert rows[-1]["source_row"] == reading.span.end - 1
    inside = _cut(reading.span, 0, 400)  # ends inside the hole; a read that waits meets the test's time limit
    assert lines(read_range(connection, inside, stall_seconds=100_000)) == []


def test_markers_and_messages_of_aborted_transactions_are_not_seen(broker, topic, read_all):
    producer = Producer(broker.config | {"transactional.id": f"{topic}-writer"})
    producer.init_transactions(30)
    for number, outcome in enumerate(["commit", "abort", "commit", "abort"]):
        producer.begin_transaction()
        for event in events(10, begin=10 * number):
            producer.produce(topic, event)
        producer.flush(30)
        getattr(producer, f"{outcome}_transaction")(30)
    rows, (reading,) = read_all(topic)
    assert [row["payload"].encode() for row in rows] == events(10) + events(10, begin=20)
    assert (reading.rows, reading.absent, len(reading.span)) == (20, 24, 44)


def test_an_open_transaction_is_not_read_yet(broker, topic, send, connection):
    send(topic, events(5))
    producer = Producer(broker.config | {"transactional.id": f"{topic}-open"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"{}")
    producer.flush(30)
    assert [marks.end for marks in watermarks(connection, [topic])] == [5]
    producer.commit_transaction(30)
    assert [marks.end for marks in watermarks(connection, [topic])] == [7]


def test_offsets_deleted_before_the_plan_are_a_gap_of_the_plan(broker, topic, send, connection):
    send(topic, events(100))
    (before,) = watermarks(connection, [topic])
    _delete_before(broker, topic, 60)
    planned = plan(watermarks(connection, [topic]), {before.app_id: 20})
    assert [(gap.start, gap.end) for gap in planned.gaps] == [(20, 60)]
    (span,) = planned.ranges
    assert [row for row, _ in lines(read_range(connection, span))] == list(range(60, 100))


@pytest.mark.parametrize(("deleted", "rows", "gap"), [(30, 20, (0, 30)), (80, 0, (0, 50))])
def test_offsets_deleted_after_the_plan_are_a_gap_of_the_reading(
    broker, topic, send, connection, deleted, rows, gap
):
    send(topic, events(100))
    (span, _) = plan(watermarks(connection, [topic]), {}, batch_rows=50).ranges
    _delete_before(broker, topic, deleted)
    reading = read_range(connection, span)
    assert len(lines(reading)) == reading.rows == rows
    assert [(gap.start, gap.end) for gap in reading.gaps] == [gap]
    assert reading.absent == 0


def test_partitions_that_are_added_are_read_from_their_first_offset(broker, topic, send, connection):
    send(topic, events(3))
    (first,) = watermarks(connection, [topic])
    admin = AdminClient(broker.config)
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(30)
    wait_until("three partitions", lambda: len(watermarks(connection, [topic])) == 3)
    send(topic, events(4), partition=2)
    planned = plan(watermarks(connection, [topic]), {first.app_id: 3})
    assert [(one.partition, one.start, one.end) for one in planned.ranges] == [(2, 0, 4)]
    assert sorted(planned.lag.values()) == [0, 0, 4]


def test_a_topic_created_again_is_not_taken_for_the_planned_topic(broker, topic, send, connection):
    send(topic, events(10))
    (span,) = plan(watermarks(connection, [topic]), {}).ranges
    admin = AdminClient(broker.config)
    admin.delete_topics([topic])[topic].result(30)
    wait_until("the topic is gone", lambda: topic not in admin.list_topics(timeout=10).topics)
    make_topic(broker, name=topic)
    send(topic, events(12))
    with pytest.raises(KafkaSourceError, match="created again"):
        lines(read_range(connection, span))
    (anew,) = plan(watermarks(connection, [topic]), {span.app_id: 10}).ranges
    assert (anew.start, anew.end) == (0, 12)


def test_a_partition_that_lost_its_newest_messages_is_refused(topic, send, connection):
    send(topic, events(10))
    (span,) = plan(watermarks(connection, [topic]), {}).ranges
    beyond = _cut(span, 40, 60)
    with pytest.raises(OffsetsWentBackError, match="ends at 10"):
        lines(read_range(connection, beyond))


def test_every_unusable_message_is_kept_with_its_reason(broker, send, read_all):
    topic = make_topic(broker, max_message_bytes="3000000")
    too_long = b'{"a": "' + b"x" * MAX_LINE_BYTES + b'"}'
    send(
        topic,
        [
            b'{"good": 1}',
            b'{"caf\xe9": 1}',
            None,
            too_long,
            b'{\n  "pretty": "yes"\r\n}\n',
            b"1,2,3\n4,5,6",
            b"1,2,3\r\n",
            b"",
            b"\x00\x00\x00\x00\x07rest",
            b"\xc3\x01rest",
            b"\x89PNG\r\n\x1a\n\x00",
            "ß".encode(),
        ],
    )
    rows, (reading,) = read_all(topic)
    assert [row["reason"] for row in rows] == [
        None,
        "not_utf8",
        "tombstone",
        "line_too_long",
        None,
        "several_lines",
        None,
        None,
        "avro_schema_unknown",
        "avro_undecodable",
        "not_utf8",
        None,
    ]
    assert rows[1]["payload"] == '{"caf\\xe9": 1}'
    assert len(rows[3]["payload"]) < 20_000
    assert rows[4]["payload"] == '{   "pretty": "yes"  }'
    assert rows[6]["payload"] == "1,2,3"
    assert rows[8]["payload"].startswith("\\x00")
    assert reading.absent == 0


def test_a_broker_that_hangs_gives_a_clear_error_in_time(broker, topic, send, connection):
    send(topic, events(10))
    (span,) = plan(watermarks(connection, [topic]), {}).ranges
    reading = read_range(connection, span, stall_seconds=2)
    broker.freeze()
    try:
        with pytest.raises(KafkaSourceError, match=r"at offset 0 of 0 to 10: .*Nothing of this range"):
            lines(reading)
        with pytest.raises(KafkaSourceError, match="cannot ask"):
            watermarks(connection, [topic], timeout=2)
    finally:
        broker.thaw()
    assert len(lines(read_range(connection, span))) == 10


def test_a_lost_request_is_repeated_by_a_new_client(topic, send, connection, monkeypatch):
    send(topic, events(10))
    describe, clients = AdminClient.describe_topics, []

    def lose_the_first(client, *args, **options):
        clients.append(client)
        return {topic: Future()} if len(clients) == 1 else describe(client, *args, **options)

    monkeypatch.setattr(AdminClient, "describe_topics", lose_the_first)
    monkeypatch.setattr("lastaisle.ingest.kafka.client.ANSWER_SECONDS", 0.5)
    (marks,) = watermarks(connection, [topic])
    assert marks.end == 10
    assert clients[0] is not clients[1]


def test_a_read_continues_when_the_broker_is_killed_and_restarted(broker, topic, send, connection):
    send(topic, [b'{"n": "%s"}' % (b"x" * 1000)] * 60_000)
    (span,) = plan(watermarks(connection, [topic]), {}).ranges
    batches = iter(read_range(connection, span))
    rows = [next(batches).num_rows]
    broker.kill()
    again = threading.Timer(1, broker.restart)
    again.start()
    rows += [batch.num_rows for batch in batches]
    again.join()
    assert sum(rows) == 60_000


def test_no_consumer_group_is_left_behind(broker, topic, send, read_all):
    def groups():
        return {
            group.group_id for group in AdminClient(broker.config).list_consumer_groups().result(30).valid
        }

    before = groups()  # those that watch a control topic have one
    send(topic, events(10))
    read_all(topic)
    assert groups() <= before


def test_a_missing_topic_and_missing_brokers_are_named(topic, connection):
    with pytest.raises(KafkaSourceError, match=r"no topic nowhere on 127\.0\.0\.1:\d+; there are \S"):
        watermarks(connection, ["nowhere"])
    nobody = KafkaConnection({"bootstrap.servers": "127.0.0.1:1"})
    with pytest.raises(KafkaSourceError, match=r"cannot ask .*127\.0\.0\.1:1"):
        watermarks(nobody, [topic], timeout=2)


def _cut(span, start: int, end: int):
    return type(span)(span.cluster, span.topic, span.topic_id, span.partition, start, end)


def _delete_before(broker, topic: str, offset: int) -> None:
    admin = AdminClient(broker.config)
    place = TopicPartition(topic, 0, offset)
    admin.delete_records([place])[place].result(30)
