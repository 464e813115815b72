"""Announce releases and experiments that end: each message at least once to each address.

A message is sent, and then noted in the table `announcements`. A run that is killed between the two sends the
message again, with the same id. Receivers know a repeated message by its id.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.experiments.traffic import read_traffic
from lastaisle.registry.ledger import Ledger
from lastaisle.release.announcements.message import (
    TEST,
    Message,
    messages_of_releases,
    messages_of_trials,
)
from lastaisle.release.announcements.outbox import FAILED, GIVEN_UP, SENT, History, Outbox, receiver_of
from lastaisle.release.announcements.send import send

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings

log = logging.getLogger(__name__)


class NotAnnouncedError(LastaisleError):
    """Announcements that did not reach their services. The releases themselves stand."""

    exit_code = ExitCode.NOT_ANNOUNCED


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
        receiver: the name of the receiver; see `receiver_of`.
        is_new: whether the receiver was used for the first time. Earlier moves are not announced to it.
        sent: the types of the messages that arrived.
        failed: the messages that did not arrive, and are tried again.
        given_up: the messages that did not arrive, and are not tried again.
        waiting: how many messages wait for a later run.
    """

    receiver: str
    is_new: bool = False
    sent: list[str] = field(default_factory=list)
    failed: list[Undelivered] = field(default_factory=list)
    given_up: list[Undelivered] = field(default_factory=list)
    waiting: int = 0

    def lines(self) -> list[str]:
        """Return the report in sentences."""
        told = []
        if self.is_new:
            told.append(f"{self.receiver} is new: it hears of all moves from now on")
        if self.sent:
            told.append(f"{self.receiver} got {', '.join(self.sent)}")
        told += [f"{_named(one, self.receiver)}. It is tried again later" for one in self.failed]
        told += [f"{_named(one, self.receiver)}. It is given up" for one in self.given_up]
        if self.waiting:
            told.append(f"{self.waiting:,} announcements to {self.receiver} wait for a later run")
        return told


@dataclass(frozen=True)
class AnnouncementReport:
    """What a run did.

    Attributes:
        receivers: one report for each address, in the order of the setting.
    """

    receivers: tuple[ReceiverReport, ...]

    def lines(self) -> list[str]:
        """Return the report in sentences."""
        return [line for one in self.receivers for line in one.lines()]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return dataclasses.asdict(self)

    def require_delivered(self) -> None:
        """Refuse a run in which a message did not arrive.

        Raises:
            NotAnnouncedError: a message failed or was given up; the error names each.
        """
        lost = [
            _named(one, each.receiver)
            + (": given up, it is not sent again" if one in each.given_up else ": a later run tries again")
            for each in self.receivers
            for one in (*each.failed, *each.given_up)
        ]
        if lost:
            raise NotAnnouncedError("; ".join(lost) + ". The releases stand. See docs/releases.md")


def announce(lake: Lake, settings: Settings, now: datetime | None = None) -> AnnouncementReport:
    """Send each message that is due to each address of LASTAISLE_WEBHOOKS; safe to run at any time.

    Args:
        lake: where the ledger and the table `announcements` are.
        settings: the settings.
        now: the present moment (UTC); None for that of the clock.
    """
    now = now or datetime.now(UTC)
    addresses, keys = settings.announcements.addresses, settings.announcements.signing_keys
    moves = Ledger(lake, settings.registry.model_name).numbered_moves()
    traffic = read_traffic(lake)
    for problem in traffic.problems:
        log.warning("%s", problem)
    newest = (max((entry for entry, _ in moves), default=-1), traffic.next_entry - 1)
    reports = []
    for address in addresses:
        report = ReceiverReport(receiver_of(address))
        outbox = Outbox(lake, report.receiver)
        history = outbox.read()
        if history.started is None:
            outbox.start(newest, now)
            report.is_new = True
        else:
            after_release, after_traffic = history.started
            messages = messages_of_releases(moves, after_release) + messages_of_trials(traffic, after_traffic)
            hours = settings.announcements.webhook_hours
            _Delivery(address, keys, outbox, history, hours).run(messages, now, report)
        reports.append(report)
    return AnnouncementReport(tuple(reports))


def send_test(settings: Settings) -> AnnouncementReport:
    """Send a message of the type webhook.test to each address once; nothing is noted."""
    message = Message(
        f"msg_{uuid.uuid4().hex}",
        TEST,
        datetime.now(UTC),
        {"model": settings.registry.model_name, "reason": "A test: nothing moved."},
    )
    reports = []
    for address in settings.announcements.addresses:
        report = ReceiverReport(receiver_of(address))
        answer = send(message, address, settings.announcements.signing_keys)
        if answer.problem:
            report.given_up.append(Undelivered(message.id, message.type, answer.problem))
        else:
            report.sent.append(message.type)
        reports.append(report)
    return AnnouncementReport(tuple(reports))


@dataclass(frozen=True)
class _Delivery:
    """How messages go to one receiver."""

    address: str
    keys: Sequence[bytes]
    outbox: Outbox
    history: History
    hours: float

    def run(self, messages: Iterable[Message], now: datetime, report: ReceiverReport) -> None:
        """Try each message that is due, oldest first; after a try without an answer, the rest waits."""
        answers = True
        for message in messages:
            if message.id in self.history.done:
                continue
            until = self.history.waits_until(message.id)
            if not answers or (until is not None and now < until):
                report.waiting += 1
                continue
            answers = self._try(message, now, report)

    def _try(self, message: Message, now: datetime, report: ReceiverReport) -> bool:
        """Try one message, and note what came of it; tell whether the receiver answered."""
        tries = self.history.tries.get(message.id, [])
        answer = send(message, self.address, self.keys)
        attempt = len(tries) + 1
        if not answer.problem:
            self.outbox.note(message, SENT, attempt, now)
            report.sent.append(message.type)
            return True
        is_last = now - min(tries, default=now) >= timedelta(hours=self.hours)
        self.outbox.note(message, GIVEN_UP if is_last else FAILED, attempt, now, answer.problem)
        undelivered = Undelivered(message.id, message.type, answer.problem)
        (report.given_up if is_last else report.failed).append(undelivered)
        return answer.answered


def _named(one: Undelivered, receiver: str) -> str:
    return f"announcement {one.id} ({one.type}) did not reach {receiver}: {one.problem}"
