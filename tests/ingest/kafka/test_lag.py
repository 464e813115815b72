"""Lag is what waits: in messages, and in the age of the oldest."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from lastaisle.ingest.kafka.client import watermarks
from lastaisle.ingest.kafka.lag import LAG_SCHEMA, lag_table, measure_lag
from tests.services.kafka import make_topic

NOW = datetime(2025, 10, 10, tzinfo=UTC)


def written(seconds_before: float) -> int:
    return int((NOW.timestamp() - seconds_before) * 1000)


def test_each_partition_says_how_many_wait_and_for_how_long(broker, send, connection):
    topic = make_topic(broker, partitions=3)
    for age in (90.5, 60, 30):
        send(topic, [b"{}"] * 10, partition=0, timestamp=written(age))
    send(topic, [b"{}"] * 5, partition=1, timestamp=written(5))
    first, second, _ = watermarks(connection, [topic])
    committed = {first.app_id: 10, second.app_id: 5}
    rows = measure_lag(connection, [topic], committed, now=NOW)
    assert [(row.partition, row.committed, row.end, row.lag, row.lost) for row in rows] == [
        (0, 10, 30, 20, 0),
        (1, 5, 5, 0, 0),
        (2, None, 0, 0, 0),
    ]
    assert [row.oldest_seconds for row in rows] == [pytest.approx(60), None, None]
    (unread,) = (row for row in measure_lag(connection, [topic], {}, now=NOW) if row.partition == 0)
    assert (unread.lag, unread.oldest_seconds) == (30, pytest.approx(90.5))


def test_messages_deleted_unread_are_lost_and_not_waiting(broker, topic, send, connection):
    send(topic, [b"{}"] * 10, timestamp=written(7))
    admin, place = AdminClient(broker.config), TopicPartition(topic, 0, 6)
    admin.delete_records([place])[place].result(30)
    (marks,) = watermarks(connection, [topic])
    rows = measure_lag(connection, [topic], {marks.app_id: 2}, now=NOW)
    assert [(row.lag, row.lost, row.oldest_seconds) for row in rows] == [(4, 4, pytest.approx(7))]
    table = lag_table(rows)
    assert table.schema == LAG_SCHEMA
    assert table["lag"].to_pylist() == [4]
