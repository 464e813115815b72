"""The lag of ingestion: for each partition, in messages and in time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import pyarrow as pa
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaException, TopicPartition

from lastaisle.ingest.kafka.client import TIMEOUT_SECONDS, watermarks
from lastaisle.ingest.kafka.ranges import Watermarks
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.kafka.errors import KafkaSourceError

LAG_SCHEMA = pa.schema(
    [
        pa.field("measured_at", pa.timestamp("us", tz="UTC")),
        pa.field("topic", pa.string()),
        pa.field("partition", pa.int32()),
        pa.field("committed", pa.int64()),
        pa.field("end", pa.int64()),
        pa.field("lag", pa.int64()),
        pa.field("lost", pa.int64()),
        pa.field("oldest_seconds", pa.float64()),
    ]
)


@dataclass(frozen=True)
class PartitionLag:
    """The lag of one partition.

    Attributes:
        measured_at: the time of the measurement.
        topic: the topic.
        partition: the number of the partition.
        committed: the offset after the last ingested offset; None if nothing was ingested.
        end: the offset after the newest offset.
        lag: the waiting offsets. Some of them may hold no message.
        lost: the offsets that were deleted before they were ingested.
        oldest_seconds: the age of the oldest waiting message, by its own timestamp. None if no message waits,
            or if the message has no timestamp.
    """

    measured_at: datetime
    topic: str
    partition: int
    committed: int | None
    end: int
    lag: int
    lost: int
    oldest_seconds: float | None


def measure_lag(
    connection: KafkaConnection,
    topics: Sequence[str],
    committed: Mapping[str, int],
    *,
    now: datetime | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> list[PartitionLag]:
    """Compare the offsets of the brokers with the offsets of the tables.

    Args:
        connection: how to reach the cluster.
        topics: the topics.
        committed: by app_id, the offset after the last ingested offset.
        now: the time, with a time zone; the current time by default.
        timeout: seconds to wait for an answer.

    Raises:
        KafkaSourceError: see `watermarks`.
    """
    partitions = watermarks(connection, topics, timeout=timeout)
    now = (now or datetime.now(UTC)).astimezone(UTC)
    waiting = {marks: max(committed.get(marks.app_id, marks.low), marks.low) for marks in partitions}
    oldest = _timestamps(
        connection, {marks: begin for marks, begin in waiting.items() if begin < marks.end}, timeout
    )
    return [
        PartitionLag(
            now,
            marks.topic,
            marks.partition,
            committed.get(marks.app_id),
            marks.end,
            max(0, marks.end - begin),
            max(0, marks.low - committed.get(marks.app_id, marks.low)),
            max(0.0, now.timestamp() - oldest[marks]) if marks in oldest else None,
        )
        for marks, begin in waiting.items()
    ]


def lag_table(rows: Iterable[PartitionLag]) -> pa.Table:
    """Return the rows as a table of LAG_SCHEMA."""
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=LAG_SCHEMA)


def _timestamps(
    connection: KafkaConnection, positions: Mapping[Watermarks, int], timeout: float
) -> dict[Watermarks, float]:
    """Return the timestamp of the first message from each position on, in seconds since 1970."""
    places = {(marks.topic, marks.partition): marks for marks in positions}
    timestamps: dict[Watermarks, float] = {}
    consumer = connection.consumer()
    deadline = time.monotonic() + timeout
    try:
        consumer.assign([TopicPartition(marks.topic, marks.partition, at) for marks, at in positions.items()])
        while places and time.monotonic() < deadline:
            for message in consumer.consume(100, 0.1):
                marks = places.pop((message.topic() or "", message.partition() or 0), None)
                if marks is None:
                    continue
                consumer.incremental_unassign([TopicPartition(marks.topic, marks.partition)])
                kind, milliseconds = message.timestamp()
                if not message.error() and kind != TIMESTAMP_NOT_AVAILABLE:
                    timestamps[marks] = milliseconds / 1000
    except KafkaException as error:
        raise KafkaSourceError(f"cannot read from {connection.servers}: {error.args[0]}") from error
    finally:
        consumer.close()
    return timestamps
