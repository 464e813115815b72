"""Read the watermarks of topics, and read ranges of offsets as lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
from confluent_kafka import IsolationLevel, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from lastaisle.ingest.kafka.messages import STALL_SECONDS, RangeMessages
from lastaisle.ingest.kafka.payloads import Decoder
from lastaisle.ingest.kafka.ranges import Gap, OffsetRange, Watermarks
from lastaisle.ingest.reading.lines import LINES
from lastaisle.kafka.connection import KafkaConnection, Trouble
from lastaisle.kafka.errors import KafkaSourceError

TIMEOUT_SECONDS = 30.0
ANSWER_SECONDS = 10.0  # for one answer, once the cluster was reached
_CHANGES_OF_LEADER = (
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_FOR_PARTITION",
    "FENCED_LEADER_EPOCH",
    "UNKNOWN_LEADER_EPOCH",
)


class RangeRead:
    """One reading of a range: iterate it for the lines; `absent` is known afterwards.

    Args:
        connection: how to reach the cluster.
        span: the range to read.
        decoder: turns messages into lines.
        stall_seconds: how long to wait without progress.
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
        """The number of messages read so far."""
        return self._messages.rows

    @property
    def gaps(self) -> list[Gap]:
        """The offsets that the brokers deleted after the range was planned."""
        return self._messages.gaps

    @property
    def absent(self) -> int:
        """The offsets without a message (compacted, or of transactions); known when all was read."""
        return len(self.span) - self.rows - sum(map(len, self.gaps))

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield batches of LINES; source_row is the offset.

        Raises:
            KafkaSourceError: see RangeMessages; or the topic was deleted and created again meanwhile.
        """
        for messages in self._messages:
            payload, reason = self._decoder.decode_messages(messages)
            offsets = pa.array(list(map(Message.offset, messages)), pa.int64())
            yield pa.RecordBatch.from_arrays([offsets, payload, reason], schema=LINES)
        self._require_same_topic()

    def _require_same_topic(self) -> None:
        """Check that it is the planned topic. Ids are never used again, so one check at the end suffices."""
        span = self.span
        topics = {
            (marks.cluster, marks.topic_id)
            for marks in _ask(
                self._connection, TIMEOUT_SECONDS, lambda asking: asking.partitions([span.topic])
            )
        }
        if topics != {(span.cluster, span.topic_id)}:
            raise KafkaSourceError(
                f"topic {span.topic} is no longer the one that was planned ({span.topic_id} of cluster"
                f" {span.cluster}): the topic was created again meanwhile. Nothing of this range was ingested"
            )


def read_range(
    connection: KafkaConnection,
    span: OffsetRange,
    decoder: Decoder | None = None,
    *,
    stall_seconds: float = STALL_SECONDS,
) -> RangeRead:
    """Return the reading of a range; it connects when it is iterated.

    Args:
        connection: how to reach the cluster.
        span: the range to read.
        decoder: turns messages into lines; by default a decoder that accepts any contract version.
        stall_seconds: how long to wait without progress.
    """
    return RangeRead(connection, span, decoder or Decoder(), stall_seconds)


def watermarks(
    connection: KafkaConnection, topics: Sequence[str], *, timeout: float = TIMEOUT_SECONDS
) -> list[Watermarks]:
    """Return the oldest and the newest offset of every partition of some topics.

    Raises:
        KafkaSourceError: the cluster cannot be reached or refuses, or a topic does not exist.
    """
    return _ask(connection, timeout, lambda asking: asking.watermarks(topics))


def _ask(
    connection: KafkaConnection, timeout: float, question: Callable[[_Asking], list[Watermarks]]
) -> list[Watermarks]:
    """Ask until there is an answer, each time with a new client: an old one may wait for a broker in vain."""
    deadline = time.monotonic() + timeout

    def ask() -> list[Watermarks]:
        with _Asking(connection, deadline) as asking:
            return question(asking)

    retrying = Retrying(
        retry=retry_if_exception(_is_momentary),
        stop=stop_after_delay(timeout),
        wait=wait_fixed(0.1),
        reraise=True,
    )
    return retrying(ask)


def _is_momentary(error: BaseException) -> bool:
    """Tell whether an error passes by itself, as after a broker hung or started again.

    No answer came, although the cluster was reached, or a partition is between two leaders.
    """
    if not isinstance(error, KafkaSourceError):
        return False
    cause = error.__cause__
    if isinstance(cause, KafkaException):
        return cause.args[0].name() in _CHANGES_OF_LEADER
    return isinstance(cause, TimeoutError)


class _Asking:
    """An admin client whose errors say what is wrong with the cluster or the connection.

    Args:
        connection: how to reach the cluster.
        deadline: when to give up, by the monotonic clock. One answer of a reached cluster has less time.
    """

    def __init__(self, connection: KafkaConnection, deadline: float) -> None:
        self.connection = connection
        self.deadline = deadline
        self.trouble = Trouble()
        self.admin: AdminClient

    def __enter__(self) -> _Asking:
        try:
            self.admin = self.connection.admin(self.trouble)
        except KafkaException as error:
            raise KafkaSourceError(f"{self.connection!r} cannot be used: {error.args[0]}") from error
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, KafkaException | TimeoutError):
            self.admin.poll(0)
            why = self.trouble.text or (error.args[0] if error.args else "no answer in time")
            raise KafkaSourceError(f"cannot ask {self.connection!r}: {why}") from error

    def watermarks(self, topics: Sequence[str]) -> list[Watermarks]:
        """Return the partitions of some topics with their watermarks."""
        partitions = self.partitions(topics)
        places = [TopicPartition(marks.topic, marks.partition) for marks in partitions]
        specs = (OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call]
        patience = self._patience()
        lows, ends = (
            self.admin.list_offsets(
                dict.fromkeys(places, spec),
                isolation_level=IsolationLevel.READ_COMMITTED,
                request_timeout=patience,
            )
            for spec in specs
        )
        return [
            replace(marks, low=lows[place].result(patience).offset, end=ends[place].result(patience).offset)
            for marks, place in zip(partitions, places, strict=True)
        ]

    def partitions(self, topics: Sequence[str]) -> list[Watermarks]:
        """Return the partitions of some topics, without their watermarks."""
        cluster = self.admin.list_topics(timeout=self._seconds_left())
        missing = [topic for topic in topics if topic not in cluster.topics]
        if missing:
            known = sorted(name for name in cluster.topics if not name.startswith("__"))
            raise KafkaSourceError(
                f"no topic {', '.join(missing)} on {self.connection.servers}; there are"
                f" {', '.join(known[:20]) or 'none'}{' and more' if len(known) > 20 else ''}"
            )
        patience = self._patience()
        answers = self.admin.describe_topics(TopicCollection(list(topics)), request_timeout=patience)
        described = [(topic, answers[topic].result(patience)) for topic in topics]
        return [
            Watermarks(str(cluster.cluster_id), topic, _url_safe(str(details.topic_id)), partition.id, 0, 0)
            for topic, details in described
            for partition in sorted(details.partitions, key=lambda entry: entry.id)
        ]

    def _seconds_left(self) -> float:
        return max(0.1, self.deadline - time.monotonic())

    def _patience(self) -> float:
        return min(ANSWER_SECONDS, self._seconds_left())


def _url_safe(topic_id: str) -> str:
    """Return an id in the form that Kafka's own tools print."""
    return topic_id.replace("+", "-").replace("/", "_").rstrip("=")
