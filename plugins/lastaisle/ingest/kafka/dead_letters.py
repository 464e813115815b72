"""Send copies of unusable messages to a topic of their own, with headers that give the reason."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from lastaisle.ingest.kafka.messages import ASK, STALL_SECONDS, RangeMessages
from lastaisle.ingest.kafka.ranges import OffsetRange
from lastaisle.ingest.reading.lines import PAYLOAD_BYTES
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.kafka.errors import KafkaSourceError

SUFFIX = ".dead-letters"
ID = "dead-letter-id"
_PREFIX = "dead-letter-"
_Headers: TypeAlias = "list[tuple[str, str | bytes | None]]"
_Letter: TypeAlias = "tuple[bytes | None, bytes | None, _Headers]"


@dataclass(frozen=True)
class DeadLetters:
    """The result of sending the unusable messages of a range.

    Attributes:
        topic: the topic to which they were sent.
        sent: the number of sent messages.
        gone: the number of messages that the brokers no longer hold. Quarantine still holds their beginning.
    """

    topic: str
    sent: int
    gone: int


def send_dead_letters(
    connection: KafkaConnection,
    span: OffsetRange,
    reasons: Mapping[int, str],
    *,
    topic: str | None = None,
    timeout: float = 60.0,
    stall_seconds: float = STALL_SECONDS,
) -> DeadLetters:
    """Send the messages at some offsets of a range to its dead-letter topic, with unchanged bytes.

    Each message keeps its key, value and headers. It gets the headers dead-letter-id
    (topic/partition/offset), dead-letter-reason, -topic, -partition, -offset, -timestamp (milliseconds since
    1970) and -batch-id. A batch that is ingested again may send them again; a reader can drop the second copy
    by its dead-letter-id. A message that is too large for that topic is cut; dead-letter-bytes then gives its
    length.

    Args:
        connection: how to reach the cluster.
        span: the range; a header carries its batch id.
        reasons: the reason of each message, by offset.
        topic: the dead-letter topic; by default the name of the topic and ".dead-letters". A missing topic is
            created.
        timeout: seconds to wait for the brokers to accept the messages.
        stall_seconds: seconds to wait without progress while the messages are read again.

    Raises:
        KafkaSourceError: the messages cannot be read again, or not all were delivered.
    """
    topic = topic or f"{span.topic}{SUFFIX}"
    if not reasons:
        return DeadLetters(topic, 0, 0)
    _require_topic(connection, topic, timeout)
    try:
        outbox = _Outbox(connection.producer(), topic, timeout)
        for message in _messages_at(connection, span, sorted(reasons), stall_seconds):
            headers = _headers(message, span, reasons[message.offset() or 0])
            outbox.send((message.key(), message.value(), headers))
        sent = outbox.close()
    except KafkaException as error:
        raise KafkaSourceError(f"cannot send dead letters to {topic}: {error.args[0]}") from error
    return DeadLetters(topic, sent, len(reasons) - sent)


def _messages_at(
    connection: KafkaConnection, span: OffsetRange, offsets: list[int], stall_seconds: float
) -> Iterator[Message]:
    """Yield the messages at sorted offsets; the messages between near offsets are read and dropped."""
    offsets_to_send = set(offsets)
    begin = 0
    for index, offset in enumerate(offsets):
        if index + 1 < len(offsets) and offsets[index + 1] - offset < ASK:
            continue
        part = replace(span, start=offsets[begin], end=offset + 1)
        for messages in RangeMessages(connection, part, stall_seconds):
            yield from (message for message in messages if message.offset() in offsets_to_send)
        begin = index + 1


def _headers(message: Message, span: OffsetRange, reason: str) -> _Headers:
    offset, (_, milliseconds) = message.offset(), message.timestamp()
    values = {
        "id": f"{span.topic}/{span.partition}/{offset}",
        "reason": reason,
        "topic": span.topic,
        "partition": str(span.partition),
        "offset": str(offset),
        "timestamp": str(milliseconds),
        "batch-id": span.batch_id,
    }
    original = list(dict(message.headers() or {}).items())
    return [*original, *((_PREFIX + name, value.encode()) for name, value in values.items())]


@dataclass
class _Outbox:
    """Sends messages and counts the accepted messages.

    Attributes:
        producer: the client.
        topic: the topic to send to.
        timeout: the seconds of each wait for the brokers.
        sent: the number of messages that the brokers accepted.
        failed: the reasons of the messages that were not accepted.
        refused: the messages that the brokers refused as too large.
    """

    producer: Producer
    topic: str
    timeout: float
    sent: int = 0
    failed: list[str] = field(default_factory=list)
    refused: list[_Letter] = field(default_factory=list)

    def send(self, letter: _Letter) -> None:
        """Pass one message to the client."""
        self._produce(letter, self.refused)

    def close(self) -> int:
        """Wait until all messages were accepted, and return how many.

        If a message is too large, the brokers refuse all messages of the same request. Each of them is sent
        again, and a long message is cut.

        Raises:
            KafkaSourceError: some messages were not accepted.
        """
        waiting = self.producer.flush(self.timeout)
        for letter in self.refused:
            self._produce(_cut(letter))
        waiting += self.producer.flush(self.timeout) if self.refused else 0
        if waiting or self.failed:
            why = self.failed[0] if self.failed else "the brokers did not answer in time"
            raise KafkaSourceError(
                f"{waiting + len(self.failed)} dead letters were not taken by {self.topic}: {why}; do the"
                " batch again"
            )
        return self.sent

    def _produce(self, letter: _Letter, refused: list[_Letter] | None = None) -> None:
        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is None:
                self.sent += 1
            elif refused is not None and error.code() == error.MSG_SIZE_TOO_LARGE:
                refused.append(letter)  # a client must not be called inside its own callback
            else:
                self.failed.append(error.str())

        key, value, headers = letter
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            try:
                self.producer.produce(self.topic, value, key, headers=headers, on_delivery=delivered)
                self.producer.poll(0)
                return
            except BufferError:
                self.producer.poll(0.1)
        self.failed.append("the brokers took none for so long that the queue is full")


def _cut(letter: _Letter) -> _Letter:
    key, value, headers = letter
    if value is None or len(value) <= PAYLOAD_BYTES:
        return letter
    return key, value[:PAYLOAD_BYTES], [*headers, (f"{_PREFIX}bytes", str(len(value)).encode())]


def _require_topic(connection: KafkaConnection, topic: str, timeout: float) -> None:
    """Create a missing topic, with the defaults of the brokers."""
    admin = connection.admin()
    try:
        if topic not in admin.list_topics(timeout=timeout).topics:
            made = admin.create_topics([NewTopic(topic, num_partitions=-1, replication_factor=-1)])
            made[topic].result(timeout)
    except (KafkaException, TimeoutError) as error:
        reason = error.args[0] if error.args else "no answer in time"
        if getattr(reason, "name", lambda: "")() != "TOPIC_ALREADY_EXISTS":
            raise KafkaSourceError(
                f"cannot make the dead-letter topic {topic} on {connection.servers}: {reason}; make it, or"
                " name another"
            ) from error
