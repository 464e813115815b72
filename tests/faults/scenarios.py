"""Scenarios for faults: sent rows, a lake, and a task that brings the rows into the lake."""

from __future__ import annotations

import random
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from lastaisle.ingest.job import Ingestion
from lastaisle.ingest.kafka.client import watermarks
from lastaisle.ingest.kafka.messages import RangeMessages
from lastaisle.ingest.kafka.ranges import plan
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.reading.files import list_files
from lastaisle.ingest.run import ingest_file
from lastaisle.ingest.sources import adapter
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys
from tests.faults.boundaries import BOUNDARIES, OF_FILES, OF_SHARDS
from tests.faults.reconcile import Counts, UnreconciledError, reconcile
from tests.faults.traffic import Message, Sent, Traffic
from tests.faults.work import BATCH_ROWS, RAW, SHARDS, AnonymizeShards, DrainTopics, IngestFiles, Task, Work
from tests.services.kafka import Broker, make_topic

PARTITIONS = 2
EVENTS = 100
QUICK = {"log_level": "2"}
SENT_FIRST = 80  # messages that are sent before the fault
KEYS = PseudonymKeys(1, {1: bytes(range(32))})


class Scenario(ABC):
    """A source with mixed traffic, and a lake.

    Attributes:
        messages: the messages that are sent first.
        late: the messages that a fault may send afterwards.
        rival: another task, which began before the task that the fault hits.

    Args:
        folder: folder for the lake and all other files.
        seed: seed of the traffic.
        broker: a running broker, for scenarios with Kafka.
        disk: folder of a small disk, if the lake should lie there.
    """

    boundaries: Sequence[str] = BOUNDARIES

    def __init__(
        self, folder: Path, seed: int, broker: Broker | None = None, disk: Path | None = None
    ) -> None:
        self.folder = folder
        self.disk = disk
        self.broker = broker
        self.lake = Lake((disk or folder) / f"lake-{uuid.uuid4().hex[:8]}")
        Path(self.lake.url).mkdir()
        Path(self.lake.url).chmod(0o777)
        self.random = random.Random(seed)
        self.traffic = Traffic(self.random)
        self.sent = Sent()
        self.rival: Task | None = None
        messages = self.traffic.mixed(EVENTS)
        self.messages, self.late = messages[:SENT_FIRST], messages[SENT_FIRST:]
        self.prepare()
        self.send(self.messages)

    @abstractmethod
    def prepare(self) -> None:
        """Make the topic or the folder for messages."""

    @property
    @abstractmethod
    def work(self) -> Work:
        """The work that brings all sent messages into the lake."""

    @property
    def other_work(self) -> Work:
        """Work with the same effect, done in another way."""
        return self.work

    @abstractmethod
    def send(self, messages: Sequence[Message]) -> None:
        """Send messages, and record their places."""

    def reconcile(self) -> Counts:
        """Account for all sent rows."""
        return reconcile(self.lake, self.sent.table())


class KafkaScenario(Scenario):
    """A topic of two partitions on a real broker."""

    def prepare(self) -> None:
        """Make the topic."""
        assert self.broker is not None
        self.config = self.broker.config | QUICK
        self.connection = KafkaConnection(self.config)
        self.topic = make_topic(self.broker, PARTITIONS)
        self.letters = make_topic(self.broker, name=f"{self.topic}.dead-letters")
        (self.cluster,) = {mark.cluster for mark in watermarks(self.connection, [self.topic])}
        self.sender = Sender(self.connection, self.cluster, self.sent)

    @property
    def work(self) -> Work:
        """The work that drains the topic."""
        return DrainTopics(self.lake.url, KEYS, self.config, (self.topic,))

    @property
    def other_work(self) -> Work:
        """The same work, cut into other ranges."""
        options = IngestOptions(gx_sample_rows=0, batch_rows=BATCH_ROWS // 3)
        return DrainTopics(self.lake.url, KEYS, self.config, (self.topic,), options=options)

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages to random partitions."""
        places = [(self.random.randrange(PARTITIONS), message) for message in messages]
        for partition in range(PARTITIONS):
            self.send_to(partition, [message for place, message in places if place == partition])

    def send_to(self, partition: int, messages: Sequence[Message]) -> None:
        """Send messages to a partition, in their order."""
        self.sender.send(self.topic, partition, messages)

    def reconcile(self) -> Counts:
        """Account for all sent rows, for the offsets, and for the dead letters."""
        ends = {mark.app_id: mark.end for mark in watermarks(self.connection, [self.topic])}
        counts = reconcile(self.lake, self.sent.table(), ends)
        letters, poison = self._dead_letters(), {f"{source}/{row}" for source, row in self.sent.poison}
        if letters != poison:
            raise UnreconciledError(
                f"dead letters are missing for {sorted(poison - letters)}, "
                f"and were sent for {sorted(letters - poison)}"
            )
        return counts

    def _dead_letters(self) -> set[str]:
        """Return the original places of the messages in the dead-letter topic, without repetitions."""
        places = set()
        for span in plan(watermarks(self.connection, [self.letters]), {}).ranges:
            for messages in RangeMessages(self.connection, span):
                for message in messages:
                    letter_id = dict(message.headers() or [])["dead-letter-id"]
                    places.add(f"kafka://{self.cluster}/{letter_id.decode()}")
        return places


class FilesScenario(Scenario):
    """A folder of log files; some events are in several files."""

    boundaries = OF_FILES

    def prepare(self) -> None:
        """Make the folder."""
        (self.folder / "logs").mkdir()

    @property
    def work(self) -> Work:
        """The work that ingests the folder."""
        return IngestFiles(self.lake.url, KEYS, str(self.folder / "logs"))

    def send(self, messages: Sequence[Message]) -> None:
        """Write a file of messages; files have no tombstones."""
        logs = self.folder / "logs"
        path = logs / f"{len(list(logs.iterdir())):03}-{uuid.uuid4().hex}.jsonl"
        written = [message for message in messages if message.value is not None]
        path.write_bytes(b"".join((message.value or b"") + b"\n" for message in written))
        for row, message in enumerate(written, 1):
            self.sent.add(str(path), row, message)


class ShardsScenario(FilesScenario):
    """Files that are already in raw_events, and wait for the tasks that anonymize the shards."""

    boundaries = OF_SHARDS

    @property
    def work(self) -> Work:
        """The work that anonymizes the shards."""
        return AnonymizeShards(self.lake.url, KEYS)

    def send(self, messages: Sequence[Message]) -> None:
        """Write a file, and ingest it into raw_events."""
        super().send(messages)
        options = IngestOptions(gx_sample_rows=0, batch_rows=BATCH_ROWS, shards=SHARDS)
        job = Ingestion(self.lake, adapter("canonical"), RAW, options)
        for file in list_files(str(self.folder / "logs")).files:
            ingest_file(file, job, source="canonical logs")


class Sender:
    """Send messages to a topic, and record their offsets when the broker confirms them.

    Args:
        connection: connection to the cluster.
        cluster: id of the cluster.
        sent: record of all sent rows.
    """

    def __init__(self, connection: KafkaConnection, cluster: str, sent: Sent) -> None:
        self.producer = connection.producer(defaults={"linger.ms": 2})
        self.cluster = cluster
        self.sent = sent

    def send(self, topic: str, partition: int, messages: Sequence[Message], seconds: float = 60) -> None:
        """Send messages, and wait until all are confirmed."""
        failed: list[str] = []
        source = f"kafka://{self.cluster}/{topic}/{partition}"

        def confirm(message: Message, error: object, delivered: object) -> None:
            if error:
                failed.append(str(error))
            else:
                self.sent.add(source, delivered.offset(), message)

        for message in messages:
            self.producer.produce(
                topic,
                message.value,
                partition=partition,
                on_delivery=lambda error, delivered, message=message: confirm(message, error, delivered),
            )
        waiting = self.producer.flush(seconds)
        if waiting or failed:
            raise AssertionError(f"{waiting} messages were not confirmed, {failed[:3]} failed")
