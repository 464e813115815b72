"""Read the messages of one range of offsets, completely and in order, or raise a clear error."""

from __future__ import annotations

import time
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from lastaisle.ingest.kafka.ranges import Gap, OffsetRange
from lastaisle.kafka.connection import KafkaConnection, Trouble
from lastaisle.kafka.errors import KafkaSourceError, OffsetsWentBackError

ASK = 20_000  # messages a call: more are no faster, and the last call waits longer
BYTES = 16 << 20  # of values a batch
POLL_SECONDS = 0.1
STALL_SECONDS = 30.0
_FEWEST = 16


class RangeMessages:
    """Reads a range once, as lists of messages.

    Offsets without a message (compacted, markers of transactions, messages of aborted transactions) are
    skipped. The range is complete when a message at or after its end arrives, or when the partition ends.

    Args:
        connection: how to reach the cluster.
        span: the range to read.
        stall_seconds: how long to wait without progress.

    Attributes:
        rows: the number of messages read so far.
        gaps: the offsets that the brokers deleted since the range was planned.
    """

    def __init__(
        self, connection: KafkaConnection, span: OffsetRange, stall_seconds: float = STALL_SECONDS
    ) -> None:
        self.connection = connection
        self.span = span
        self.stall_seconds = stall_seconds
        self.rows = 0
        self.gaps: list[Gap] = []
        self._next = span.start
        self._trouble = Trouble()

    def __iter__(self) -> Iterator[list[Message]]:
        """Yield the messages; when the iteration ends without an error, the range is complete.

        Raises:
            KafkaSourceError: no progress within `stall_seconds`, a refused login, a deleted topic, or another
                topic of the same name.
            OffsetsWentBackError: the partition ends before the range does.
        """
        try:
            consumer = self.connection.consumer(self._trouble)
        except KafkaException as error:
            raise KafkaSourceError(f"{self.connection!r} cannot be used: {error.args[0]}") from error
        try:
            self._assign(consumer)
            yield from self._drain(consumer)
        except KafkaException as error:
            raise self._broken(str(error.args[0])) from error
        finally:
            consumer.close()

    def _drain(self, consumer: Consumer) -> Iterator[list[Message]]:
        progressed_at = time.monotonic()
        ask = _FEWEST  # the size of the messages is not known yet
        while self._next < self.span.end:
            received = consumer.consume(min(ask, self.span.end - self._next), POLL_SECONDS)
            before = self._next
            messages = self._sort_out(consumer, received)
            if messages:
                self.rows += len(messages)
                ask = _next_ask(messages)
                yield messages
            if messages or self._next > before:
                progressed_at = time.monotonic()
            elif self._trouble.refused or time.monotonic() - progressed_at > self.stall_seconds:
                raise self._broken(self._trouble.text or "the brokers gave nothing")

    def _sort_out(self, consumer: Consumer, received: list[Message]) -> list[Message]:
        """Return the messages of the range, and move the position behind the received messages."""
        messages = received
        events: list[Message] = []
        if received and any(map(type(received[0]).error, received)):
            messages = [message for message in received if not message.error()]
            events = [message for message in received if message.error()]
        if messages:
            self._next = (messages[-1].offset() or 0) + 1
            if self._next > self.span.end:
                messages = [message for message in messages if (message.offset() or 0) < self.span.end]
        for event in events:
            self._on_event(consumer, event)
        return messages

    def _on_event(self, consumer: Consumer, event: Message) -> None:
        error = event.error()
        if error is None:
            return
        if error.code() == error._PARTITION_EOF:
            self._next = max(self._next, event.offset() or 0)
        elif error.code() in (error._AUTO_OFFSET_RESET, error.OFFSET_OUT_OF_RANGE):
            self._skip_deleted(consumer)
        elif error.retriable() or error.code() in (error._TRANSPORT, error._ALL_BROKERS_DOWN):
            self._trouble.note(error)
        else:
            raise self._broken(error.str())

    def _skip_deleted(self, consumer: Consumer) -> None:
        """Continue at the oldest offset that is left, and record the deleted offsets as a gap."""
        span = self.span
        low, high = consumer.get_watermark_offsets(_position(span, self._next), timeout=self.stall_seconds)
        if self._next > high:
            raise OffsetsWentBackError(
                f"{span.topic}/{span.partition} should be read from {self._next} to {span.end}, but it ends"
                f" at {high}: the brokers lost its newest messages. Nothing of this range was ingested"
            )
        if low > self._next:
            lost = (span.cluster, span.topic, span.topic_id, span.partition)
            self.gaps.append(Gap(*lost, self._next, min(low, span.end)))
            self._next = low
        self._assign(consumer)

    def _assign(self, consumer: Consumer) -> None:
        consumer.assign([_position(self.span, self._next)])

    def _broken(self, why: str) -> KafkaSourceError:
        span = self.span
        return KafkaSourceError(
            f"cannot read {span.topic}/{span.partition} from {self.connection.servers}: at offset"
            f" {self._next} of {span.start} to {span.end}: {why}. Nothing of this range was ingested;"
            " the next run reads it again"
        )


def _next_ask(messages: list[Message]) -> int:
    """Return how many messages to request, so that large messages do not fill the memory."""
    sample = messages[:: max(1, len(messages) // 16)]
    mean = sum(len(message) for message in sample) // len(sample)
    return max(_FEWEST, min(ASK, BYTES // max(1, mean)))


def _position(span: OffsetRange, offset: int) -> TopicPartition:
    return TopicPartition(span.topic, span.partition, offset)
