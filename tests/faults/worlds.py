"""What a fault meets: something that was sent, a lake, and a task that brings the one into the other."""

from __future__ import annotations

import random
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from lastaisle.ingest.files import list_files
from lastaisle.ingest.job import Ingestion
from lastaisle.ingest.kafka.client import watermarks
from lastaisle.ingest.kafka.messages import RangeMessages
from lastaisle.ingest.kafka.ranges import plan
from lastaisle.ingest.options import IngestOptions
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
SENT_FIRST = 80  # of the messages that these become
KEYS = PseudonymKeys(1, {1: bytes(range(32))})


class World(ABC):
    """A source with mixed traffic in it.

    Attributes:
        messages: what is there from the beginning.
        late: what the fault sends afterwards, some of it from between the others.
        rival: another task that began before the one that a fault befalls.

    Args:
        folder: for the lake and whatever else lies in files.
        seed: of the traffic.
        broker: for those that need one.
        disk: where the lake lies on a small disk.
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
        """Make the place where messages go."""

    @property
    @abstractmethod
    def work(self) -> Work:
        """What brings all that was sent into the lake."""

    @property
    def other_work(self) -> Work:
        """What does the same in another way."""
        return self.work

    @abstractmethod
    def send(self, messages: Sequence[Message]) -> None:
        """Send messages, and note where they went."""

    def reconcile(self) -> Counts:
        """Account for all that was sent."""
        return reconcile(self.lake, self.sent.table())


class KafkaWorld(World):
    """A topic of two partitions on a real broker."""

    def prepare(self) -> None:
        """Make the topic."""
        assert self.broker is not None
        self.config = self.broker.config | QUICK
        self.connection = KafkaConnection(self.config)
        self.topic = make_topic(self.broker, PARTITIONS)
        self.letters = make_topic(self.broker, name=f"{self.topic}.dead-letters")
        (self.cluster,) = {one.cluster for one in watermarks(self.connection, [self.topic])}
        self.sender = Sender(self.connection, self.cluster, self.sent)

    @property
    def work(self) -> Work:
        """What drains the topic."""
        return DrainTopics(self.lake.url, KEYS, self.config, (self.topic,))

    @property
    def other_work(self) -> Work:
        """The same, cut into other ranges."""
        options = IngestOptions(gx_sample_rows=0, batch_rows=BATCH_ROWS // 3)
        return DrainTopics(self.lake.url, KEYS, self.config, (self.topic,), options=options)

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages to partitions at random."""
        places = [(self.random.randrange(PARTITIONS), message) for message in messages]
        for partition in range(PARTITIONS):
            self.send_to(partition, [message for place, message in places if place == partition])

    def send_to(self, partition: int, messages: Sequence[Message]) -> None:
        """Send messages to a partition, in their order."""
        self.sender.send(self.topic, partition, messages)

    def reconcile(self) -> Counts:
        """Account for all that was sent, for the offsets, and for the dead letters."""
        ends = {one.app_id: one.end for one in watermarks(self.connection, [self.topic])}
        counts = reconcile(self.lake, self.sent.table(), ends)
        told, poison = self._dead_letters(), {f"{source}/{row}" for source, row in self.sent.poison}
        if told != poison:
            raise UnreconciledError(
                f"dead letters are missing for {sorted(poison - told)}, were sent for {sorted(told - poison)}"
            )
        return counts

    def _dead_letters(self) -> set[str]:
        """Return the places of all messages in the dead-letter topic, each once."""
        found = set()
        for span in plan(watermarks(self.connection, [self.letters]), {}).ranges:
            for messages in RangeMessages(self.connection, span):
                for message in messages:
                    told = dict(message.headers() or [])["dead-letter-id"]
                    found.add(f"kafka://{self.cluster}/{told.decode()}")
        return found


class FilesWorld(World):
    """A folder of log files, which hold the same events in part."""

    boundaries = OF_FILES

    def prepare(self) -> None:
        """Make the folder."""
        (self.folder / "logs").mkdir()

    @property
    def work(self) -> Work:
        """What ingests the folder."""
        return IngestFiles(self.lake.url, KEYS, str(self.folder / "logs"))

    def send(self, messages: Sequence[Message]) -> None:
        """Write a file of messages; there are no tombstones in files."""
        logs = self.folder / "logs"
        path = logs / f"{len(list(logs.iterdir())):03}-{uuid.uuid4().hex}.jsonl"
        written = [message for message in messages if message.value is not None]
        path.write_bytes(b"".join((message.value or b"") + b"\n" for message in written))
        for row, message in enumerate(written, 1):
            self.sent.add(str(path), row, message)


class ShardsWorld(FilesWorld):
    """Files that lie in raw_events already and wait for the tasks that anonymize a shard each."""

    boundaries = OF_SHARDS

    @property
    def work(self) -> Work:
        """What anonymizes the shards."""
        return AnonymizeShards(self.lake.url, KEYS)

    def send(self, messages: Sequence[Message]) -> None:
        """Write a file, and bring it into raw_events."""
        super().send(messages)
        options = IngestOptions(gx_sample_rows=0, batch_rows=BATCH_ROWS, shards=SHARDS)
        job = Ingestion(self.lake, adapter("canonical"), RAW, options)
        for file in list_files(str(self.folder / "logs")):
            ingest_file(file, job, source="canonical logs")


class Sender:
    """Sends messages to a topic and notes their offsets as the broker confirms them.

    Args:
        connection: how to reach the cluster.
        cluster: its id.
        sent: where they are noted.
    """

    def __init__(self, connection: KafkaConnection, cluster: str, sent: Sent) -> None:
        self.producer = connection.producer(defaults={"linger.ms": 2})
        self.cluster = cluster
        self.sent = sent

    def send(self, topic: str, partition: int, messages: Sequence[Message], seconds: float = 60) -> None:
        """Send, and wait until all are confirmed."""
        failed: list[str] = []
        source = f"kafka://{self.cluster}/{topic}/{partition}"

        def confirm(message: Message, error: object, told: object) -> None:
            if error:
                failed.append(str(error))
            else:
                self.sent.add(source, told.offset(), message)

        for message in messages:
            self.producer.produce(
                topic,
                message.value,
                partition=partition,
                on_delivery=lambda error, told, message=message: confirm(message, error, told),
            )
        waiting = self.producer.flush(seconds)
        if waiting or failed:
            raise AssertionError(f"{waiting} messages were not confirmed, {failed[:3]} failed")
