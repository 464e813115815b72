"""Store calls in a Kafka topic; the calls of one user go to one partition, in their order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from threading import Event, Lock, Thread
from typing import Any

from confluent_kafka import KafkaException, Producer

from lastaisle.collect.calls import Call
from lastaisle.kafka.address import parse_source
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.settings import SettingsError
from lastaisle.web.refusal import BusyError, StorageError

log = logging.getLogger(__name__)

WAITING_BYTES = 64 << 20
REACH_SECONDS = 10
CHECK_SECONDS = 3

_DEFAULTS = {
    "linger.ms": 5,
    "compression.type": "lz4",
    "partitioner": "murmur2_random",  # the partitioner of Java's producers, which may write to the same topic
    "queue.buffering.max.messages": 500_000,
    "delivery.timeout.ms": 10_000,  # Segment's clients wait 15 s for their answer
}


class KafkaSink:
    """Produce calls, and wait until the brokers say that all in-sync replicas have the calls.

    Args:
        connection: the connection to the cluster.
        topic: name of an existing topic.
    """

    def __init__(self, connection: KafkaConnection, topic: str) -> None:
        self.connection = connection
        self.topic = topic
        self.waiting = 0
        self._broken = False  # whether librdkafka gave up for good: a new producer is needed
        self._producer: Any = None
        self._ended = Event()
        self._poller = Thread(target=self._poll, name="kafka-delivery", daemon=True)

    @classmethod
    def at(cls, address: str) -> KafkaSink:
        """Make the sink of the topic that an address names.

        Raises:
            SettingsError: the address names several topics.
            KafkaSourceError: the address names no topic, or LASTAISLE_KAFKA holds no connection.
        """
        source = parse_source(address)
        if len(source.topics) != 1:
            raise SettingsError(f"lines are written to one topic, received {address!r}")
        return cls(KafkaConnection.from_env(), source.topics[0])

    def open(self) -> None:
        """Connect to the cluster, and start to produce.

        Raises:
            SettingsError: the cluster cannot be reached, or has no such topic.
        """
        self._producer = self._make_producer()
        if problem := self._find_problem(REACH_SECONDS):
            raise SettingsError(problem)
        self._poller.start()

    async def append(self, calls: Sequence[Call]) -> None:
        """Return when all in-sync replicas have every call.

        Raises:
            BusyError: too many bytes wait for the brokers.
            StorageError: the brokers do not have every call.
        """
        size = sum([len(call.line) for call in calls])
        if not self._poller.is_alive():
            raise StorageError("the service is ending")
        if self.waiting + size > WAITING_BYTES:
            raise BusyError(f"{self.waiting:,} bytes wait for Kafka already")
        delivery = _Delivery(len(calls))
        self.waiting += size
        try:
            self._produce(calls, delivery)
            await delivery.done
        finally:
            self.waiting -= size

    def check(self) -> None:
        """Ask the cluster about the topic.

        Raises:
            StorageError: the cluster cannot be reached, or has no such topic.
        """
        if problem := self._find_problem(CHECK_SECONDS):
            raise StorageError(problem)

    def _find_problem(self, seconds: float) -> str:
        """Return why the topic cannot be written to; empty if the cluster knows the topic."""
        try:
            metadata = self._producer.list_topics(self.topic, timeout=seconds).topics[self.topic]
        except KafkaException as error:
            return f"cannot reach Kafka for topic {self.topic!r}: {error.args[0].str()}"
        if metadata.error:
            return f"Kafka has no topic {self.topic!r} to write to: {metadata.error.str()}; create it"
        return ""

    def close(self) -> None:
        """Wait for the produced calls, and end the thread."""
        self._producer.flush(REACH_SECONDS)
        self._ended.set()
        self._poller.join()

    def _produce(self, calls: Sequence[Call], delivery: _Delivery) -> None:
        if self._broken:
            self._renew()
        messages: list[dict[str, Any]] = [{"key": call.user, "value": call.line[:-1]} for call in calls]
        try:
            accepted = self._producer.produce_batch(self.topic, messages, on_delivery=delivery.report)
        except (BufferError, KafkaException) as error:
            raise StorageError(f"Kafka accepts no calls for topic {self.topic!r}: {error}") from error
        if accepted < len(messages):
            refused = next(message["_error"] for message in messages if "_error" in message)
            delivery.report(refused, None, len(messages) - accepted)

    def _renew(self) -> None:
        """Replace a producer that failed for good; the requests that wait for this producer fail."""
        failed, self._producer, self._broken = self._producer, self._make_producer(), False
        failed.purge()
        failed.poll(0)

    def _make_producer(self) -> Producer:
        return self.connection.producer(on_error=self._note, defaults=_DEFAULTS)

    def _poll(self) -> None:
        while not self._ended.is_set():
            self._producer.poll(0.1)

    def _note(self, error: Any) -> None:
        """Note an error that concerns no single message."""
        self._broken = self._broken or error.fatal()
        log.warning("Kafka: %s", error.str())


class _Delivery:
    """The delivery of one request's calls: done with the last report, failed if a call failed."""

    def __init__(self, calls: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._left = calls
        self._error: Any = None
        self._lock = Lock()

    def report(self, error: Any, _message: Any, calls: int = 1) -> None:
        """Count the report of one call or of several; librdkafka's thread calls this method."""
        with self._lock:
            self._left -= calls
            self._error = error or self._error
            ended = self._left == 0
        if ended:
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self.done.cancelled():
            return
        if self._error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(StorageError(f"Kafka did not take the calls: {self._error}"))
