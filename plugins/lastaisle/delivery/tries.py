"""Send the messages of one receiver: oldest first, each until it arrives or its hours are over.

A message is sent, and then noted in the table `announcements`. A run that is killed between the two sends the
message again, with the same id. Receivers know a repeated message by its id.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from lastaisle.delivery.outbox import FAILED, GIVEN_UP, SENT, History, Outbox, Sendable
from lastaisle.delivery.sent import Sent

LONGEST_RUN_SECONDS: Final = 60.0
"""How long a run sends to one receiver before the rest waits for a later run."""

_Message = TypeVar("_Message", bound=Sendable)


@dataclass(frozen=True)
class Undelivered:
    """A message that did not arrive.

    Attributes:
        id: the id of the message.
        type: its type.
        problem: why it did not arrive.
    """

    id: str
    type: str
    problem: str


@dataclass
class ReceiverReport:
    """What a run did for one receiver.

    Attributes:
        receiver: the name of the receiver.
        is_new: whether the receiver was used for the first time.
        sent: the types of the messages that arrived.
        remarks: what a person should know of messages that arrived.
        failed: the messages that did not arrive, and are tried again.
        given_up: the messages that did not arrive, and are not tried again.
        waiting: how many messages wait for a later run.
    """

    receiver: str
    is_new: bool = False
    sent: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    failed: list[Undelivered] = field(default_factory=list)
    given_up: list[Undelivered] = field(default_factory=list)
    waiting: int = 0

    def note_only_try(self, message: Sendable, sent: Sent) -> None:
        """Note a message that is tried once, whatever comes of it."""
        if sent.problem:
            self.given_up.append(Undelivered(message.id, message.type, sent.problem))
        else:
            self.note_arrival(message, sent)

    def note_arrival(self, message: Sendable, sent: Sent) -> None:
        """Note a message that arrived."""
        self.sent.append(message.type)
        self.remarks += [sent.remark] if sent.remark else []

    def lines(self) -> list[str]:
        """Return the report in sentences."""
        told = []
        if self.sent:
            told.append(f"{self.receiver} got {', '.join(self.sent)}")
        told += [f"{self.receiver}: {remark}" for remark in self.remarks]
        told += [f"{self._named(one)}. It is tried again later" for one in self.failed]
        told += [f"{self._named(one)}. It is given up" for one in self.given_up]
        if self.waiting:
            told.append(f"{self.waiting:,} messages to {self.receiver} wait for a later run")
        return told

    def lost(self) -> list[str]:
        """Name each message that did not arrive, and say whether it is tried again."""
        return [
            *(f"{self._named(one)}: a later run tries again" for one in self.failed),
            *(f"{self._named(one)}: given up, it is not sent again" for one in self.given_up),
        ]

    def _named(self, one: Undelivered) -> str:
        return f"message {one.id} ({one.type}) did not reach {self.receiver}: {one.problem}"


@dataclass(frozen=True)
class Tries(Generic[_Message]):
    """How messages go to one receiver.

    Attributes:
        send: sends one message.
        outbox: the rows of the receiver.
        history: what the receiver got before this run.
        hours: how long after its first try a message is tried again.
    """

    send: Callable[[_Message], Sent]
    outbox: Outbox
    history: History
    hours: float

    def run(self, messages: Iterable[_Message], now: datetime, report: ReceiverReport) -> None:
        """Try each message that is due, oldest first.

        The rest waits for a later run after a try without an answer, after an answer that asks for a pause,
        and after a minute: a slow receiver holds back no other.
        """
        goes_on, began = now >= self.history.not_before, time.monotonic()
        for message in messages:
            if message.id in self.history.done:
                continue
            until = self.history.waits_until(message.id)
            is_slow = time.monotonic() - began > LONGEST_RUN_SECONDS
            if not goes_on or is_slow or (until is not None and now < until):
                report.waiting += 1
                continue
            goes_on = self._try(message, now, report)

    def _try(self, message: _Message, now: datetime, report: ReceiverReport) -> bool:
        """Try one message, and note what came of it; tell whether the next can follow at once."""
        tries = self.history.tries.get(message.id, [])
        sent = self.send(message)
        attempt = len(tries) + 1
        if not sent.problem:
            self.outbox.note(message, SENT, attempt, now, sent)
            report.note_arrival(message, sent)
            return True
        is_last = now - min(tries, default=now) >= timedelta(hours=self.hours)
        self.outbox.note(message, GIVEN_UP if is_last else FAILED, attempt, now, sent)
        undelivered = Undelivered(message.id, message.type, sent.problem)
        (report.given_up if is_last else report.failed).append(undelivered)
        return sent.answered and not sent.wait
