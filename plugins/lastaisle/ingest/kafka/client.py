"""Ask a cluster what it holds, and read ranges of it as lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lastaisle.ingest.files import LINES
from lastaisle.ingest.kafka.connection import KafkaConnection, Trouble
from lastaisle.ingest.kafka.errors import KafkaSourceError
from lastaisle.ingest.kafka.messages import STALL_SECONDS, RangeMessages
from lastaisle.ingest.kafka.payloads import Decoder
from lastaisle.ingest.kafka.ranges import Gap, OffsetRange, Watermarks

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

TIMEOUT_SECONDS = 30.0
_CHANGES_OF_LEADER = (
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_FOR_PARTITION",
    "FENCED_LEADER_EPOCH",
    "UNKNOWN_LEADER_EPOCH",
)


class RangeRead:
    """One reading of a range: iterate it for the lines, then ask what was absent.

    Args:
        connection: how to reach the cluster.
        span: what to read.
        decoder: turns messages into lines.
        stall_seconds: how long to wait without any news.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        span: OffsetRange,
        decoder: Decoder,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self.span = span
        self._connection = connection
        self._decoder = decoder
        self._messages = RangeMessages(connection, span, stall_seconds)

    @property
    def rows(self) -> int:
        """Messages given so far."""
        return self._messages.rows

    @property
    def gaps(self) -> list[Gap]:
        """Offsets that the brokers deleted after the range was planned."""
        return self._messages.gaps

    @property
    def absent(self) -> int:
        """Offsets that hold no message: compacted away, or of transactions. Known when all was read."""
        return len(self.span) - self.rows - sum(map(len, self.gaps))

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield batches of LINES; source_row is the offset.

        Raises:
            KafkaSourceError: see RangeMessages; or the topic was deleted and made anew meanwhile.
        """
        from confluent_kafka import Message

        for messages in self._messages:
            payload, reason = self._decoder.decode(
                list(map(Message.value, messages)), list(map(Message.headers, messages))
            )
            offsets = pa.array(list(map(Message.offset, messages)), pa.int64())
            yield pa.RecordBatch.from_arrays([offsets, payload, reason], schema=LINES)
        self._require_same_topic()

    def _require_same_topic(self) -> None:
        """Check last that it is the planned topic: ids never come back, so it was the same all along."""
        span = self.span
        found = {(marks.cluster, marks.topic_id) for marks in _identify(self._connection, [span.topic])}
        if found != {(span.cluster, span.topic_id)}:
            raise KafkaSourceError(
                f"topic {span.topic} is no longer the one that was planned ({span.topic_id} of cluster"
                f" {span.cluster}): it was made anew meanwhile. Nothing of this range was ingested"
            )


def read_range(
    connection: KafkaConnection,
    span: OffsetRange,
    decoder: Decoder | None = None,
    *,
    stall_seconds: float = STALL_SECONDS,
) -> RangeRead:
    """Return the reading of a range; nothing happens before it is iterated.

    Args:
        connection: how to reach the cluster.
        span: what to read.
        decoder: turns messages into lines; by default one that takes any contract version.
        stall_seconds: how long to wait without any news.
    """
    return RangeRead(connection, span, decoder or Decoder(), stall_seconds)


def watermarks(
    connection: KafkaConnection, topics: Sequence[str], *, timeout: float = TIMEOUT_SECONDS
) -> list[Watermarks]:
    """Ask what the brokers hold of every partition of some topics; again while one changes its leader.

    Raises:
        KafkaSourceError: the cluster cannot be reached or refuses, or a topic is not there.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return _watermarks(connection, topics, timeout)
        except KafkaSourceError as error:
            if not _is_change_of_leader(error.__cause__) or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _is_change_of_leader(error: BaseException | None) -> bool:
    """Tell whether a partition is between two leaders, as for a moment after a broker started again."""
    from confluent_kafka import KafkaException

    return isinstance(error, KafkaException) and error.args[0].name() in _CHANGES_OF_LEADER


def _watermarks(connection: KafkaConnection, topics: Sequence[str], timeout: float) -> list[Watermarks]:
    from confluent_kafka import IsolationLevel, TopicPartition
    from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

    with _Asking(connection, timeout) as asking:
        found = asking.partitions(topics)
        places = [TopicPartition(one.topic, one.partition) for one in found]
        specs = (OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call]
        lows, ends = (
            asking.admin.list_offsets(
                dict.fromkeys(places, spec),
                isolation_level=IsolationLevel.READ_COMMITTED,
                request_timeout=timeout,
            )
            for spec in specs
        )
        return [
            Watermarks(
                one.cluster,
                one.topic,
                one.topic_id,
                one.partition,
                lows[place].result(timeout).offset,
                ends[place].result(timeout).offset,
            )
            for one, place in zip(found, places, strict=True)
        ]


def _identify(connection: KafkaConnection, topics: Sequence[str]) -> list[Watermarks]:
    with _Asking(connection, TIMEOUT_SECONDS) as asking:
        return asking.partitions(topics)


class _Asking:
    """A client for questions, whose errors say what is wrong with the cluster or the connection."""

    def __init__(self, connection: KafkaConnection, timeout: float) -> None:
        self.connection = connection
        self.timeout = timeout
        self.trouble = Trouble()
        self.admin: AdminClient

    def __enter__(self) -> _Asking:
        from confluent_kafka import KafkaException

        try:
            self.admin = self.connection.admin(self.trouble)
        except KafkaException as error:
            raise KafkaSourceError(f"{self.connection!r} cannot be used: {error.args[0]}") from error
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        from confluent_kafka import KafkaException

        if isinstance(error, KafkaException | TimeoutError):
            self.admin.poll(0)
            why = self.trouble.text or (error.args[0] if error.args else "no answer in time")
            raise KafkaSourceError(f"cannot ask {self.connection!r}: {why}") from error

    def partitions(self, topics: Sequence[str]) -> list[Watermarks]:
        """Return the partitions of some topics, without their watermarks."""
        from confluent_kafka import TopicCollection

        cluster = self.admin.list_topics(timeout=self.timeout)
        missing = [topic for topic in topics if topic not in cluster.topics]
        if missing:
            known = sorted(name for name in cluster.topics if not name.startswith("__"))
            raise KafkaSourceError(
                f"no topic {', '.join(missing)} on {self.connection.servers}; there are"
                f" {', '.join(known[:20]) or 'none'}{' and more' if len(known) > 20 else ''}"
            )
        answers = self.admin.describe_topics(TopicCollection(list(topics)), request_timeout=self.timeout)
        described = [(topic, answers[topic].result(self.timeout)) for topic in topics]
        return [
            Watermarks(str(cluster.cluster_id), topic, _url_safe(str(told.topic_id)), partition.id, 0, 0)
            for topic, told in described
            for partition in sorted(told.partitions, key=lambda one: one.id)
        ]


def _url_safe(topic_id: str) -> str:
    """Return an id as Kafka's own tools print it."""
    return topic_id.replace("+", "-").replace("/", "_").rstrip("=")
