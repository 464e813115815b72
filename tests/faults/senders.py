"""The senders of events in a soak: to topics as JSON and Avro, into a folder, and to the collector."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock

from lastaisle.kafka.connection import KafkaConnection
from tests.faults.scenarios import Sender
from tests.faults.traffic import BEGIN, STEP, Message, Sent

WRITE_KEY = "soak"
AVRO_ID = 7
AVRO = {
    "type": "record",
    "name": "Event",
    "fields": [
        *({"name": name, "type": "string"} for name in ("event_id", "event_type", "user_id", "item_id")),
        {"name": "occurred_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "price", "type": "double"},
        {"name": "currency", "type": "string"},
    ],
}
_USERS = 400
_ACTS = 5  # of a visit; then the visitor stays away for an hour


class Visitors:
    """Make events of visitors; some events come late, twice, out of order, or broken.

    Args:
        seed: seed of every random choice.
        name: name of the visitors' kind; each kind has its own visitors.
    """

    def __init__(self, seed: int, name: str) -> None:
        self.random = random.Random(f"{seed}-{name}")
        self.name = name
        self._number = 0
        self._late: list[Message] = []
        self._recent: list[Message] = []

    def messages(self, count: int, form: str = "json") -> list[Message]:
        """Make about `count` messages, as JSON or as Avro."""
        events = [self._event(form) for _ in range(count)]
        held = [event for event in events if self.random.random() < 0.05]
        self._late += held
        given = [event for event in events if event not in held]
        if self.random.random() < 0.3:
            given += self._late
            self._late = []
        given += self.random.sample(self._recent, min(len(self._recent), max(1, count // 50)))
        self._recent = (self._recent + events)[-500:]
        if self.random.random() < 0.5:
            given += self._broken(form)
        self.random.shuffle(given)
        return given

    def rest(self) -> list[Message]:
        """Return the messages that were held back so far."""
        late, self._late = self._late, []
        return late

    def _event(self, form: str) -> Message:
        number, self._number = self._number, self._number + 1
        user, act = number % _USERS, number // _USERS
        occurred = BEGIN + timedelta(seconds=user) + STEP * act + timedelta(hours=1) * (act // _ACTS)
        event_id, user_id = f"{self.name}-{number}", f"{self.name}-user-{user}"
        return Message(_encode(event_id, user_id, occurred, form), event_id, user_id, occurred)

    def _broken(self, form: str) -> list[Message]:
        whole = self._event(form).value or b""
        self._number += 1
        if form == "avro":
            return [Message(None, poison=True), Message(whole[:20], poison=True)]
        return [
            Message(whole[: len(whole) // 2]),
            Message(b"\xff" + whole, poison=True),
            Message(json.dumps(json.loads(whole) | {"price": -1}).encode()),
        ]


def _encode(event_id: str, user_id: str, occurred: datetime, form: str) -> bytes:
    event = {
        "event_id": event_id,
        "event_type": "item_viewed",
        "occurred_at": occurred,
        "user_id": user_id,
        "item_id": f"item-{hash(event_id) % 50}",
        "price": 9.5,
        "currency": "EUR",
    }
    if form == "json":
        return json.dumps(event, default=datetime.isoformat).encode()
    from fastavro import parse_schema, schemaless_writer

    out = io.BytesIO(b"\0" + AVRO_ID.to_bytes(4, "big"))
    out.seek(0, io.SEEK_END)
    schemaless_writer(out, parse_schema(AVRO), event)
    return out.getvalue()


class TopicSender:
    """Send JSON to one topic and Avro to another topic, to random partitions.

    Args:
        connection: connection to the cluster.
        cluster: id of the cluster.
        topics: name and number of partitions of the topic, by form.
        sent: record of all sent rows.
        visitors: the makers of events, by form.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        cluster: str,
        topics: dict[str, tuple[str, int]],
        sent: Sent,
        visitors: dict[str, Visitors],
    ) -> None:
        self.sender = Sender(connection, cluster, sent)
        self.topics = topics
        self.visitors = visitors
        self.random = random.Random(1)

    def send(self, count: int) -> None:
        """Send about `count` messages to each topic, and wait until all are confirmed."""
        for form, visitors in self.visitors.items():
            self._send(form, visitors.messages(count, form))

    def close(self) -> None:
        """Send the messages that were held back."""
        for form, visitors in self.visitors.items():
            self._send(form, visitors.rest())

    def _send(self, form: str, messages: Sequence[Message]) -> None:
        topic, partitions = self.topics[form]
        self.sender.send(topic, self.random.randrange(partitions), messages, 240)


class FileSender:
    """Put files into a folder; each file has an unfinished file's name until it is complete.

    Args:
        folder: the folder.
        sent: record of all sent rows.
        visitors: the maker of events.
    """

    def __init__(self, folder: Path, sent: Sent, visitors: Visitors) -> None:
        self.folder = folder
        self.sent = sent
        self.visitors = visitors
        self.files = 0
        folder.mkdir()

    def send(self, count: int) -> None:
        """Write a file of about `count` lines."""
        self._write(self.visitors.messages(count))

    def close(self) -> None:
        """Write a file of the messages that were held back."""
        self._write(self.visitors.rest())

    def _write(self, messages: Sequence[Message]) -> None:
        written = [message for message in messages if message.value is not None]
        path = self.folder / f"{self.files:05}.jsonl"
        self.files += 1
        draft = path.with_suffix(".part")
        with draft.open("wb") as stream:
            stream.write(b"".join((message.value or b"") + b"\n" for message in written))
            os.fsync(stream.fileno())
        for row, message in enumerate(written, 1):
            self.sent.add(str(path), row, message)
        draft.rename(path)


class CollectorSender:
    """Call the collector as a shop does, again and again until it acknowledges a batch.

    Args:
        port: port of the collector.
        visitors: the maker of events.
    """

    def __init__(self, port: int, visitors: Visitors) -> None:
        self.url = f"http://127.0.0.1:{port}/v1/batch"
        self.visitors = visitors
        self.acknowledged: set[str] = set()
        self._waiting: list[Message] = []
        self._lock = Lock()

    def send(self, count: int) -> None:
        """Send one batch; if it is not acknowledged, keep it for the next call."""
        with self._lock:
            batch = self._waiting or [
                message for message in self.visitors.messages(count) if message.event_id is not None
            ]
            self._waiting = batch
            if batch and self._post(batch):
                self.acknowledged |= {message.event_id or "" for message in batch}
                self._waiting = []

    def close(self) -> None:
        """Send the batches that are left."""
        self._waiting += self.visitors.rest()
        while self._waiting:
            self.send(0)

    def _post(self, batch: Sequence[Message]) -> bool:
        calls = [
            {
                "type": "track",
                "event": "Product Viewed",
                "messageId": message.event_id,
                "userId": message.user_id,
                "timestamp": message.occurred_at.isoformat() if message.occurred_at else "",
                "properties": {"product_id": "item-1", "price": 9.5, "currency": "EUR"},
            }
            for message in batch
        ]
        key = base64.b64encode(f"{WRITE_KEY}:".encode()).decode()
        request = urllib.request.Request(
            self.url, json.dumps({"batch": calls}).encode(), {"Authorization": f"Basic {key}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def landed(folder: Path, sent: Sent) -> set[str]:
    """Record every line of a landing folder as sent, and return the event ids in the lines."""
    found = set()
    for path in sorted(folder.rglob("*.jsonl")):
        for row, line in enumerate(path.read_bytes().splitlines(), 1):
            call = json.loads(line)
            occurred = datetime.fromisoformat(call["timestamp"])
            sent.add(str(path), row, Message(line, call["messageId"], call["userId"], occurred))
            found.add(call["messageId"])
    return found
