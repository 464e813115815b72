"""Made-up visitors of a shop, and a record of all sent rows."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from tests.faults.reconcile import SENT

BEGIN = datetime(2025, 10, 9, 22, 30, tzinfo=UTC)  # visits cross midnight into another partition
STEP = timedelta(minutes=7)


@dataclass(frozen=True)
class Message:
    """One message, or one line of a file.

    Attributes:
        value: bytes of the message; None for a tombstone.
        event_id: id of the event; None if the message belongs in quarantine.
        user_id: the visitor of the event's visit.
        occurred_at: the moment of the event.
        poison: whether the message cannot be read as text.
    """

    value: bytes | None
    event_id: str | None = None
    user_id: str | None = None
    occurred_at: datetime | None = None
    poison: bool = False


@dataclass
class Sent:
    """All rows that were sent, each with its place.

    Attributes:
        rows: rows in the form of the table SENT.
        poison: the places of the messages that cannot be read.
    """

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    poison: set[tuple[str, int]] = field(default_factory=set)

    def add(self, source: str, row: int, message: Message) -> None:
        """Record the place of a message."""
        self.rows.append((source, row, message.event_id, message.user_id, message.occurred_at))
        if message.poison:
            self.poison.add((source, row))

    def table(self) -> pa.Table:
        """Return the rows as the table that `reconcile` takes."""
        columns = zip(*self.rows, strict=True) if self.rows else [[] for _ in SENT]
        return pa.Table.from_arrays(
            [pa.array(values, one.type) for values, one in zip(columns, SENT, strict=True)], schema=SENT
        )


@dataclass
class Traffic:
    """Make messages, most of them good events of few users; every batch holds a part of their visits.

    Attributes:
        random: generator of the random order.
        number: number of events made so far.
    """

    random: random.Random
    number: int = 0

    def events(self, count: int, users: int = 5) -> list[Message]:
        """Make good events: a visitor acts every 7 minutes, and pauses for an hour after five acts."""
        return [self._event(users) for _ in range(count)]

    def broken(self) -> list[Message]:
        """Make one message of each kind that cannot become an event."""
        self.number += 1
        good = json.loads(self._event(5).value or b"")
        return [
            Message(None, poison=True),
            Message(f"\udcff{self.number}".encode("utf-8", "surrogateescape"), poison=True),
            Message(b'{"event_id": '),
            Message(json.dumps(good | {"price": -1}).encode()),
            Message(json.dumps(good | {"occurred_at": "yesterday"}).encode()),
        ]

    def mixed(self, count: int) -> list[Message]:
        """Make good events, broken messages and some repetitions; the order is shuffled a little."""
        events = self.events(count)
        messages = [*events, *self.broken(), *self.random.sample(events, max(1, count // 10))]
        return sorted(messages, key=lambda _: self.random.random())

    def _event(self, users: int) -> Message:
        number, self.number = self.number, self.number + 1
        user, act = number % users, number // users
        occurred = BEGIN + timedelta(seconds=user) + STEP * act + timedelta(hours=1) * (act // 5)
        event_id, user_id = f"event-{number}", f"user-{user}"
        event = {
            "event_id": event_id,
            "event_type": "item_viewed",
            "occurred_at": occurred.isoformat(),
            "user_id": user_id,
            "item_id": f"item-{number % 11}",
            "price": 9.5,
            "currency": "EUR",
        }
        return Message(json.dumps(event).encode(), event_id, user_id, occurred)
