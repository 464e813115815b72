"""Topics of Kafka: tombstones for the keys of a shopper, and the retention of topics that keep no keys."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from lastaisle.kafka.errors import KafkaSourceError
from lastaisle.rights.erasure.folders import Asked
from lastaisle.rights.erasure.model import PlaceReport, Topic

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

_SECONDS: Final = 30.0
_BATCH: Final = 1000


@dataclass
class _Read:
    """The messages of a topic that name a shopper.

    Attributes:
        messages: how many were read.
        size: their bytes.
        found: how many name a shopper.
        keys: for each partition and key, whether the newest message names a shopper.
        keyless: how many messages that name a shopper have no key.
    """

    messages: int = 0
    size: int = 0
    found: int = 0
    keys: dict[tuple[int, bytes], bool] = field(default_factory=dict)
    keyless: int = 0


def erase_from_topic(topic: Topic, asked: Asked) -> PlaceReport:
    """Write a message without a value for each key under which a message names a shopper.

    A compacted topic keeps the newest message of each key, so its cleaner then deletes the messages of the
    shopper. The cleaner runs when the brokers decide; until then a consumer that reads from the beginning may
    still meet them. A topic that is not compacted deletes messages by age alone: the report says the age.

    Raises:
        KafkaSourceError: the brokers do not answer, or refuse to read or to write.
    """
    report = PlaceReport(topic.place, "topic")
    configured = _configuration(topic)
    if configured is None:
        missing = f"{topic.connection.servers} has no such topic"
        return replace(report, note=missing) if topic.may_be_absent else replace(report, unsearched=missing)
    policy, retention = configured
    read = _read(topic, asked)
    named = [key for key, names in read.keys.items() if names]
    compacted = "compact" in policy
    if compacted and named and not asked.dry_run:
        _tombstones(topic, named)
    left = read.keyless + (len(named) if asked.dry_run else 0) if compacted else read.found
    return replace(
        report,
        rows=len(named) if compacted else 0,
        files_scanned=1,
        bytes_scanned=read.size,
        found=left,
        note=f"cleanup.policy is {policy}. {_note(read, retention, compacted=compacted)}".strip(),
    )


def _note(read: _Read, retention: str, *, compacted: bool) -> str:
    if not read.found:
        return ""
    left = read.keyless if compacted else read.found
    if not left:
        return f"{read.found} messages have a tombstone behind them: the cleaner of the brokers deletes them"
    why = "have no key" if compacted else "lie in a topic that is not compacted"
    return f"{left} messages that name a shopper {why}: the brokers delete them {retention}"


def _configuration(topic: Topic) -> tuple[str, str] | None:
    """Return the cleanup policy and when messages are deleted, in words; None if there is no such topic."""
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]

    resource, admin = ConfigResource("topic", topic.name), topic.connection.admin()
    try:
        described = admin.describe_configs([resource], request_timeout=_SECONDS)
        entries = described[resource].result(_SECONDS)
    except (KafkaException, TimeoutError) as error:
        reason = error.args[0] if error.args else None
        if isinstance(reason, KafkaError) and reason.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise KafkaSourceError(
            f"{topic.connection.servers} does not describe the topic {topic.name!r}: {error}"
        ) from error
    age = int(entries["retention.ms"].value or -1)
    when = f"after {age / 86_400_000:g} days" if age >= 0 else "never: set retention.ms of the topic"
    return str(entries["cleanup.policy"].value), when


def _read(topic: Topic, asked: Asked) -> _Read:
    """Read all messages that a topic holds now."""
    from confluent_kafka import KafkaException, TopicPartition

    consumer, read = topic.connection.consumer(), _Read()
    try:
        partitions = consumer.list_topics(topic.name, timeout=_SECONDS).topics[topic.name].partitions
        ends = {}
        for number in partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic.name, number), timeout=_SECONDS)
            if high > low:
                ends[number] = high
                consumer.incremental_assign([TopicPartition(topic.name, number, low)])
        _consume(consumer, ends, asked, read)
    except KafkaException as error:
        raise KafkaSourceError(
            f"cannot read the topic {topic.name!r} of {topic.connection.servers}: {error}"
        ) from error
    finally:
        consumer.close()
    return read


def _consume(consumer: Consumer, ends: dict[int, int], asked: Asked, read: _Read) -> None:
    from confluent_kafka import KafkaError, KafkaException

    last = time.monotonic()
    while ends:
        for message in consumer.consume(_BATCH, timeout=1.0):
            last = time.monotonic()
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            partition, offset = message.partition(), message.offset()
            if error is None:
                _judge(message, asked, read)
            if partition in ends and offset is not None and offset + (error is None) >= ends[partition]:
                del ends[partition]
        if time.monotonic() - last > _SECONDS:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def _judge(message: Message, asked: Asked, read: _Read) -> None:
    key, value = message.key(), message.value()
    content = b"\n".join(_bytes(part) for part in (key, value))
    read.messages += 1
    read.size += len(content)
    names = value is not None and (
        any(True for _ in asked.needles.find(content)) or asked.names(_bytes(value).decode(errors="replace"))
    )
    read.found += names
    if key is None:
        read.keyless += names
    else:
        read.keys[message.partition() or 0, _bytes(key)] = names


def _bytes(part: str | bytes | None) -> bytes:
    return part.encode() if isinstance(part, str) else part or b""


def _tombstones(topic: Topic, keys: list[tuple[int, bytes]]) -> None:
    """Write a message without a value for each key, to the partition of the key."""
    failed: list[str] = []
    producer = topic.connection.producer()
    for partition, key in keys:
        producer.produce(
            topic.name,
            key=key,
            partition=partition,
            on_delivery=lambda error, _: failed.append(error.str()) if error else None,
        )
    if producer.flush(_SECONDS) or failed:
        raise KafkaSourceError(
            f"{topic.connection.servers} did not take all tombstones for the topic {topic.name!r}: "
            f"{failed[0] if failed else 'no answer in time'}. Erase again"
        )
